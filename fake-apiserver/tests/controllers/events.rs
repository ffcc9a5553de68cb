use fake_apiserver::controllers::Options;

use super::cluster::{Cluster, pod, pod_living};

#[test]
fn the_same_event_again_counts_up() {
    let mut cluster = Cluster::new();
    cluster.create(pod_living("bad", &[("exit-code", "1")]));
    cluster.pass(600);
    let events = cluster.list("Event");
    let back_off: Vec<_> = events.iter().filter(|e| e["reason"] == "BackOff").collect();
    assert_eq!(back_off.len(), 1);
    assert!(back_off[0]["count"].as_i64().unwrap() > 3);
    assert_eq!(back_off[0]["involvedObject"]["fieldPath"], "spec.containers{main}");
    assert!(back_off[0]["firstTimestamp"].as_str() < back_off[0]["lastTimestamp"].as_str());
}

#[test]
fn events_go_after_an_hour() {
    let mut cluster = Cluster::new();
    cluster.create(pod("a"));
    cluster.pass(3_599);
    assert_eq!(cluster.names("Event").len(), 4);
    cluster.pass(1);
    assert_eq!(cluster.names("Event").len(), 0);
}

#[test]
fn events_are_bounded_in_number() {
    let mut cluster = Cluster::with(Options { max_events: 10, ..Options::default() });
    for number in 0..20 {
        cluster.create(pod(&format!("pod-{number}")));
    }
    assert_eq!(cluster.names("Event").len(), 10);
}

#[test]
fn events_can_be_switched_off() {
    let mut cluster = Cluster::with(Options { record_events: false, ..Options::default() });
    cluster.create(pod("a"));
    assert_eq!(cluster.names("Event").len(), 0);
}
