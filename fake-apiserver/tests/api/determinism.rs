//! The same requests at the same times give the same bytes.

use fake_apiserver::request::{PatchType, Request};
use serde_json::json;

use crate::{Cluster, pod};

fn history() -> Vec<(String, Vec<u8>)> {
    let mut cluster = Cluster::new();
    for round in 0..20 {
        cluster.now += jiff::SignedDuration::from_secs(1);
        let body = json!({"metadata": {"generateName": "c-", "namespace": "default", "labels": {"r": round.to_string()}}});
        cluster.ok(&Request::create("v1", "configmaps", body));
        cluster.ok(&Request::create("v1", "pods", pod(&format!("p{round}"))));
        let service = json!({"metadata": {"name": format!("s{round}"), "namespace": "default"},
            "spec": {"ports": [{"port": 80}], "type": "NodePort"}});
        cluster.ok(&Request::create("v1", "services", service));
        if round % 3 == 0 {
            let patch = json!({"metadata": {"annotations": {"a": "b"}}});
            let patch = Request::patch(PatchType::Merge, "v1", "pods", patch).namespace("default");
            cluster.ok(&patch.name(format!("p{round}")));
            cluster.ok(&Request::delete("v1", "services").namespace("default").name(format!("s{round}")));
        }
    }
    let storage = cluster.api.storage();
    let all = storage.collections().flat_map(|(resource, objects)| {
        objects.iter().map(move |o| (format!("{resource} {}", o.key.name), o.bytes.to_vec()))
    });
    all.collect()
}

#[test]
fn the_same_history_gives_the_same_bytes() {
    let first = history();
    assert!(first.len() > 50);
    assert_eq!(first, history());
}
