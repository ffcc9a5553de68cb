//! Typed clients on the tower service: what operators written with kube-rs do.

use std::collections::BTreeMap;

use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod};
use kube::api::{
    Api, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Discovery, ResourceExt, discovery::verbs};
use serde_json::json;

use crate::server;

fn client() -> Client {
    Client::new(server().service(), "default")
}

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: kube::api::ObjectMeta { name: Some(name.into()), ..Default::default() },
        data: Some(BTreeMap::from([("key".to_owned(), "value".to_owned())])),
        ..Default::default()
    }
}

fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "main", "image": "busybox:1"}]},
    }))
    .unwrap()
}

fn deployment(replicas: i32) -> Deployment {
    serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
            },
        },
    }))
    .unwrap()
}

#[tokio::test]
async fn objects_are_created_read_replaced_and_deleted() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client());
    let created = maps.create(&PostParams::default(), &config_map("conf")).await.unwrap();
    assert!(created.uid().is_some() && created.resource_version().is_some());
    let mut found = maps.get("conf").await.unwrap();
    found.data = None;
    let replaced = maps.replace("conf", &PostParams::default(), &found).await.unwrap();
    assert_ne!(replaced.resource_version(), created.resource_version());
    let stale = maps.replace("conf", &PostParams::default(), &found).await;
    assert_eq!(code(stale), 409);
    assert_eq!(code(maps.create(&PostParams::default(), &config_map("conf")).await), 409);
    maps.delete("conf", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("conf").await.unwrap().is_none());
}

fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> u16 {
    match result {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("no refusal: {other:?}"),
    }
}

#[tokio::test]
async fn server_side_apply_keeps_owners_apart() {
    let deployments: Api<Deployment> = Api::default_namespaced(client());
    let apply = |manager: &str| PatchParams::apply(manager);
    let first = deployments.patch("web", &apply("one"), &Patch::Apply(deployment(1))).await.unwrap();
    assert_eq!(first.spec.unwrap().replicas, Some(1));
    assert_eq!(code(deployments.patch("web", &apply("two"), &Patch::Apply(deployment(2))).await), 409);
    let forced = deployments.patch("web", &apply("two").force(), &Patch::Apply(deployment(2))).await.unwrap();
    assert_eq!(forced.spec.unwrap().replicas, Some(2));
    let merged = json!({"metadata": {"labels": {"a": "b"}}});
    let merged = deployments.patch("web", &PatchParams::default(), &Patch::Merge(&merged)).await.unwrap();
    assert_eq!(merged.labels()["a"], "b");
    let scale = json!({"spec": {"replicas": 3}});
    let scaled =
        deployments.patch_scale("web", &PatchParams::default(), &Patch::Merge(&scale)).await.unwrap();
    assert_eq!(scaled.spec.unwrap().replicas, Some(3));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client());
    for name in ["a", "b", "c"] {
        maps.create(&PostParams::default(), &config_map(name)).await.unwrap();
    }
    let own = ListParams::default().fields("metadata.name!=kube-root-ca.crt");
    let page = maps.list(&own.clone().limit(2)).await.unwrap();
    assert_eq!(page.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["a", "b"]);
    let token = page.metadata.continue_.unwrap();
    let rest = maps.list(&own.limit(2).continue_token(&token)).await.unwrap();
    assert_eq!(rest.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["c"]);
    let slim = maps.list_metadata(&ListParams::default()).await.unwrap();
    assert!(slim.items.iter().any(|item: &PartialObjectMeta<ConfigMap>| item.name_any() == "a"));
}

#[tokio::test]
async fn a_watch_tells_of_every_change() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client());
    let params = WatchParams::default().fields("metadata.name=conf").timeout(20);
    let mut events = maps.watch(&params, "0").await.unwrap().boxed();
    maps.create(&PostParams::default(), &config_map("conf")).await.unwrap();
    maps.delete("conf", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    while let Some(event) = events.try_next().await.unwrap() {
        match event {
            WatchEvent::Added(_) => seen.push("added"),
            WatchEvent::Deleted(_) => {
                seen.push("deleted");
                break;
            }
            _ => {}
        }
    }
    assert_eq!(seen, ["added", "deleted"]);
}

#[tokio::test]
async fn watchers_list_and_follow_in_both_ways() {
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let maps: Api<ConfigMap> = Api::default_namespaced(client());
        maps.create(&PostParams::default(), &config_map("one")).await.unwrap();
        let mut objects =
            watcher(maps.clone(), config.fields("metadata.name!=kube-root-ca.crt")).applied_objects().boxed();
        assert_eq!(objects.try_next().await.unwrap().unwrap().name_any(), "one");
        maps.create(&PostParams::default(), &config_map("two")).await.unwrap();
        assert_eq!(objects.try_next().await.unwrap().unwrap().name_any(), "two");
    }
}

#[tokio::test]
async fn a_deployment_gets_its_pods() {
    let client = client();
    let nodes: Api<Node> = Api::all(client.clone());
    assert!(!nodes.list(&ListParams::default()).await.unwrap().items.is_empty());
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    deployments.create(&PostParams::default(), &deployment(2)).await.unwrap();
    let ready = kube::runtime::wait::await_condition(deployments, "web", |found: Option<&Deployment>| {
        found.and_then(|d| d.status.as_ref()).is_some_and(|status| status.ready_replicas == Some(2))
    });
    ready.await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client);
    assert_eq!(pods.list(&ListParams::default().labels("app=web")).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn logs_are_read_and_followed() {
    let pods: Api<Pod> = Api::default_namespaced(client());
    pods.create(&PostParams::default(), &pod("talker")).await.unwrap();
    kube::runtime::wait::await_condition(pods.clone(), "talker", kube::runtime::conditions::is_pod_running())
        .await
        .unwrap();
    let read = pods.logs("talker", &LogParams::default()).await.unwrap();
    assert_eq!(
        code(pods.logs("talker", &LogParams { container: Some("other".into()), ..Default::default() }).await),
        400
    );
    let follow = LogParams { follow: true, ..Default::default() };
    let followed = pods.log_stream("talker", &follow).await.unwrap();
    pods.delete("talker", &DeleteParams::default().grace_period(0)).await.unwrap();
    let lines: Vec<String> = followed.lines().try_collect().await.unwrap();
    assert!(lines.join("\n").starts_with(read.trim_end()), "{read:?} {lines:?}");
}

#[tokio::test]
async fn discovery_finds_every_kind_in_both_forms() {
    let client = client();
    let legacy = Discovery::new(client.clone()).run().await.unwrap();
    let aggregated = Discovery::new(client.clone()).run_aggregated().await.unwrap();
    for discovery in [legacy, aggregated] {
        let apps = discovery.get("apps").unwrap();
        let (resource, capabilities) = apps.recommended_kind("Deployment").unwrap();
        assert_eq!(
            (resource.plural.as_str(), capabilities.supports_operation(verbs::WATCH)),
            ("deployments", true)
        );
        assert!(
            capabilities
                .subresources
                .iter()
                .any(|(sub, _)| sub.plural.ends_with("scale") || sub.kind == "Scale")
        );
    }
    assert_eq!(client.apiserver_version().await.unwrap().major, "1");
    let namespaces: Api<Namespace> = Api::all(client);
    assert!(namespaces.get("kube-system").await.is_ok());
}
