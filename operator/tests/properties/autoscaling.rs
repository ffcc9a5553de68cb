//! Properties of autoscaling: it does not thrash, it costs Kubernetes nothing while nothing changes, and others may do it instead.

use dask_operator::names;
use dask_operator::sim::{Sim, SimConfig, create, dask, delete, patch, request, story};
use fake_apiserver::request::{Request, Verb};
use fake_apiserver::response::Reply;
use jiff::SignedDuration;
use serde_json::{Value, json};

const CLUSTERS: usize = 20;

fn autoscaler(cluster: &str, behavior: &Value) -> Value {
    json!({
        "apiVersion": names::API_VERSION, "kind": "DaskAutoscaler",
        "metadata": {"name": cluster, "namespace": "default"},
        "spec": {"cluster": cluster, "minimum": 0, "maximum": 50, "behavior": behavior},
    })
}

fn make(sim: &mut Sim, plural: &str, object: &Value) {
    sim.user(&create(names::API_VERSION, plural, Some("default"), object)).expect("it is accepted");
}

fn wish(sim: &Sim, cluster: &str, wanted: u32) {
    let host = dask::host(sim, "default", cluster).expect("the scheduler has a Service");
    sim.scheduler.set(&host, |model| model.desired_workers = wanted);
}

fn replicas(sim: &Sim, group: &str) -> i64 {
    let groups = sim.list(names::API_VERSION, "daskworkergroups");
    let found = groups.iter().find(|object| object["metadata"]["name"] == group);
    found.and_then(|group| group["spec"]["worker"]["replicas"].as_i64()).expect("the group is there")
}

/// The numbers a group takes while the scheduler's wish jumps between 0 and 20 every `half` seconds, for ten minutes.
fn square_wave(behavior: &Value, half: i64) -> Vec<i64> {
    let mut sim = Sim::new(SimConfig::default());
    make(&mut sim, "daskclusters", &story::cluster("wave", 0));
    sim.advance(SignedDuration::from_secs(20));
    make(&mut sim, "daskautoscalers", &autoscaler("wave", behavior));
    let mut numbers = vec![replicas(&sim, "wave-default")];
    for second in 0..600 {
        wish(&sim, "wave", if (second / half) % 2 == 0 { 20 } else { 0 });
        sim.advance(SignedDuration::from_secs(1));
        let number = replicas(&sim, "wave-default");
        if numbers.last() != Some(&number) {
            numbers.push(number);
        }
    }
    numbers
}

fn turns(numbers: &[i64]) -> usize {
    let directions: Vec<bool> = numbers.windows(2).map(|pair| pair[1] > pair[0]).collect();
    directions.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

#[test]
fn pain_6_a_wish_that_jumps_does_not_make_a_group_thrash() {
    let numbers = square_wave(&json!({}), 10);
    assert!(numbers.len() > 3, "it follows at all: {numbers:?}");
    // Sixty jumps; a change is followed by fifteen quiet seconds and the next question.
    assert!(turns(&numbers) <= 600 / 15, "{numbers:?}");
    assert!(
        numbers.iter().skip(1).all(|number| *number >= 15),
        "never more than a quarter less: {numbers:?}"
    );

    let calm = square_wave(&json!({"scaleDown": {"stabilizationWindowSeconds": 60}}), 10);
    assert_eq!(calm, [0, 20], "a wish for less that does not last is not followed");
    let patient = square_wave(&json!({"scaleUp": {"stabilizationWindowSeconds": 60}}), 10);
    assert_eq!(patient, [0], "a wish for more that does not last is not followed");
    let slow = square_wave(&json!({"scaleDown": {"stabilizationWindowSeconds": 60, "percent": 100}}), 120);
    assert!((2..=5).contains(&turns(&slow)), "a wish that lasts is followed, five times at most: {slow:?}");
}

#[test]
fn pain_19_autoscaled_clusters_cost_kubernetes_nothing_and_each_scheduler_one_question_an_interval() {
    let mut sim = Sim::new(SimConfig::default());
    for number in 0..CLUSTERS {
        let name = format!("c{number}");
        let mut cluster = story::cluster(&name, 1);
        // Both ask: the autoscaler, and whoever watches over the idle time.
        cluster["spec"]["idleTimeout"] = json!(3_600);
        make(&mut sim, "daskclusters", &cluster);
        make(&mut sim, "daskautoscalers", &autoscaler(&name, &json!({})));
        sim.settle();
    }
    for number in 0..CLUSTERS {
        wish(&sim, &format!("c{number}"), 1);
    }
    sim.advance(SignedDuration::from_mins(5));
    sim.store.inner().take();
    let asked = sim.questions();
    sim.advance(SignedDuration::from_mins(10));
    let calls: Vec<String> = sim.store.inner().take().iter().map(ToString::to_string).collect();
    assert!(calls.is_empty(), "{calls:#?}");
    assert_eq!(sim.questions() - asked, CLUSTERS as u64 * 10 * 60 / 5);
}

#[test]
fn pain_23_a_horizontal_pod_autoscaler_finds_number_and_selector_and_can_drive_a_group() {
    let mut sim = Sim::new(SimConfig::default());
    make(&mut sim, "daskclusters", &story::cluster("simple", 2));
    sim.advance(SignedDuration::from_secs(20));
    let scale = |sim: &Sim| -> Value {
        let request = Request {
            verb: Verb::Get,
            name: Some("simple-default".into()),
            subresource: Some("scale".into()),
            ..request(names::API_VERSION, "daskworkergroups", Some("default"))
        };
        match sim.server.request(&request).expect("the scale is served").reply {
            Reply::Value(scale) => scale,
            other => panic!("not a scale: {other:?}"),
        }
    };
    let found = scale(&sim);
    assert_eq!((&found["spec"]["replicas"], &found["status"]["replicas"]), (&json!(2), &json!(2)));
    let selector = found["status"]["selector"].as_str().expect("there is a selector");
    let labels: Vec<(&str, &str)> = selector.split(',').filter_map(|part| part.split_once('=')).collect();
    let selected = |pod: &Value| labels.iter().all(|(key, value)| pod["metadata"]["labels"][*key] == *value);
    let pods = sim.list("v1", "pods");
    assert_eq!(pods.iter().filter(|pod| selected(pod)).count(), 2);

    let body = json!({"spec": {"replicas": 4}});
    let change = patch(names::API_VERSION, "daskworkergroups", "default", "simple-default", body);
    sim.user(&Request { subresource: Some("scale".into()), ..change }).expect("the scale can be changed");
    sim.advance(SignedDuration::from_secs(20));
    assert_eq!(scale(&sim)["status"]["replicas"], 4);
}

#[test]
fn without_its_autoscaler_a_group_keeps_its_number() {
    let mut sim = Sim::new(SimConfig::default());
    make(&mut sim, "daskclusters", &story::cluster("simple", 1));
    make(&mut sim, "daskautoscalers", &autoscaler("simple", &json!({})));
    sim.advance(SignedDuration::from_secs(20));
    wish(&sim, "simple", 7);
    sim.advance(SignedDuration::from_mins(1));
    sim.user(&delete(names::API_VERSION, "daskautoscalers", "default", "simple")).expect("it can be deleted");
    wish(&sim, "simple", 0);
    sim.advance(SignedDuration::from_mins(5));
    assert_eq!(replicas(&sim, "simple-default"), 7);
}
