use fake_apiserver::controllers::{Life, Options, Rule};
use fake_apiserver::request::{PatchType, Request};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::cluster::{Cluster, condition, pod, pod_living};

fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

#[test]
fn a_pod_runs_at_once_with_everything_a_strict_client_reads() {
    let mut cluster = Cluster::new();
    cluster.create(pod("a"));
    let pod = cluster.get("Pod", "a");
    let status = &pod["status"];
    assert_eq!(status["phase"], "Running");
    assert_eq!(pod["spec"]["nodeName"], "node-1");
    assert_eq!(status["hostIP"], "10.0.0.1");
    assert_eq!(status["podIPs"], json!([{"ip": status["podIP"]}]));
    assert!(status["podIP"].as_str().unwrap().starts_with("10.244."));
    assert_eq!(status["startTime"], "2026-01-01T00:00:00Z");
    assert_eq!(status["qosClass"], "BestEffort");
    for kind in ["PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"] {
        assert_eq!(condition(&pod, kind)["status"], "True", "{kind}");
    }
    let container = container(&pod);
    assert_eq!(container["image"], "example.com/image:1");
    assert!(container["imageID"].as_str().unwrap().starts_with("example.com/image@sha256:"));
    assert!(container["containerID"].as_str().unwrap().starts_with("containerd://"));
    assert_eq!(
        (&container["ready"], &container["started"], &container["restartCount"]),
        (&json!(true), &json!(true), &json!(0))
    );
    assert!(container["state"]["running"]["startedAt"].is_string());
    assert_eq!(cluster.reasons("a"), ["Scheduled", "Pulled", "Created", "Started"]);
}

#[test]
fn a_slow_pod_is_pending_while_its_container_is_created() {
    let mut cluster = Cluster::new();
    cluster.create(pod_living("slow", &[("start-after", "5s"), ("ready-after", "3s")]));
    let pod = cluster.get("Pod", "slow");
    assert_eq!(pod["status"]["phase"], "Pending");
    assert_eq!(container(&pod)["state"]["waiting"]["reason"], "ContainerCreating");
    assert_eq!(condition(&pod, "Ready")["message"], "containers with unready status: [main]");
    cluster.pass(5);
    let pod = cluster.get("Pod", "slow");
    assert_eq!((&pod["status"]["phase"], &container(&pod)["ready"]), (&json!("Running"), &json!(false)));
    cluster.pass(3);
    let ready = condition(&cluster.get("Pod", "slow"), "Ready");
    assert_eq!(
        (&ready["status"], &ready["lastTransitionTime"]),
        (&json!("True"), &json!("2026-01-01T00:00:08Z"))
    );
}

#[test]
fn a_crash_loop_restarts_at_once_and_then_backs_off() {
    let mut cluster = Cluster::new();
    cluster.create(pod_living("bad", &[("exit-code", "3")]));
    let pod = cluster.get("Pod", "bad");
    assert_eq!(pod["status"]["phase"], "Running");
    let status = container(&pod);
    assert_eq!(status["restartCount"], 1);
    assert_eq!(status["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(status["state"]["waiting"]["message"], "back-off 10s restarting failed container=main");
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(status["lastState"]["terminated"]["reason"], "Error");
    cluster.pass(10);
    assert_eq!(container(&cluster.get("Pod", "bad"))["restartCount"], 2);
    cluster.pass(19);
    assert_eq!(container(&cluster.get("Pod", "bad"))["restartCount"], 2);
    cluster.pass(1);
    assert_eq!(container(&cluster.get("Pod", "bad"))["restartCount"], 3);
}

#[test]
fn an_image_that_cannot_be_pulled_alternates_between_error_and_back_off() {
    let mut cluster = Cluster::new();
    cluster.create(pod_living("lost", &[("pull-error", "no such host")]));
    let reason = |cluster: &mut Cluster| {
        container(&cluster.get("Pod", "lost"))["state"]["waiting"]["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(&mut cluster), "ErrImagePull");
    cluster.pass(1);
    assert_eq!(reason(&mut cluster), "ImagePullBackOff");
    cluster.pass(10);
    assert_eq!(reason(&mut cluster), "ErrImagePull");
    assert_eq!(cluster.get("Pod", "lost")["status"]["phase"], "Pending");
}

#[test]
fn a_program_that_is_not_there_is_a_start_error() {
    let mut cluster = Cluster::new();
    let mut never = pod_living("once", &[("start-error", "128")]);
    never["spec"]["restartPolicy"] = "Never".into();
    cluster.create(never);
    let pod = cluster.get("Pod", "once");
    assert_eq!(pod["status"]["phase"], "Failed");
    let end = &container(&pod)["state"]["terminated"];
    assert_eq!((&end["reason"], &end["exitCode"]), (&json!("StartError"), &json!(128)));
    cluster.create(pod_living("again", &[("start-error", "128")]));
    let pod = cluster.get("Pod", "again");
    assert_eq!(container(&pod)["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(container(&pod)["lastState"]["terminated"]["reason"], "StartError");
}

#[test]
fn a_pod_that_is_not_restarted_succeeds_or_fails_by_its_exit_code() {
    let mut cluster = Cluster::new();
    for (code, phase, reason, why) in
        [("0", "Succeeded", "Completed", "PodCompleted"), ("4", "Failed", "Error", "PodFailed")]
    {
        let name = format!("exit-{code}");
        let mut pod = pod_living(&name, &[("exit-after", "30s"), ("exit-code", code)]);
        pod["spec"]["restartPolicy"] = "Never".into();
        cluster.create(pod);
        assert_eq!(cluster.get("Pod", &name)["status"]["phase"], "Running");
        cluster.pass(30);
        let pod = cluster.get("Pod", &name);
        assert_eq!(pod["status"]["phase"], phase);
        assert_eq!(container(&pod)["state"]["terminated"]["reason"], reason);
        assert_eq!(condition(&pod, "Ready")["reason"], why);
    }
}

#[test]
fn an_evicted_pod_has_failed() {
    let mut cluster = Cluster::new();
    cluster.create(pod_living("fat", &[("evict-after", "1m")]));
    assert_eq!(cluster.get("Pod", "fat")["status"]["phase"], "Running");
    cluster.pass(60);
    let pod = cluster.get("Pod", "fat");
    assert_eq!((&pod["status"]["phase"], &pod["status"]["reason"]), (&json!("Failed"), &json!("Evicted")));
}

#[test]
fn rules_describe_lives_by_image_and_labels() {
    let crash = Life { exit_after: Some(SignedDuration::ZERO), exit_code: 1, ..Life::default() };
    let never = Life { never_ready: true, ..Life::default() };
    let labels = [("tier".to_owned(), "slow".to_owned())].into();
    let mut options = Options::default();
    options.rules.push(Rule { image: Some("bad.example/*".into()), life: crash, ..Rule::default() });
    options.rules.push(Rule { labels, life: never, ..Rule::default() });
    let mut cluster = Cluster::with(options);
    let mut bad = pod("bad");
    bad["spec"]["containers"][0]["image"] = "bad.example/image:2".into();
    cluster.create(bad);
    let mut slow = pod("slow");
    slow["metadata"]["labels"] = json!({"tier": "slow"});
    cluster.create(slow);
    cluster.create(pod("good"));
    assert_eq!(container(&cluster.get("Pod", "bad"))["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(condition(&cluster.get("Pod", "slow"), "Ready")["status"], "False");
    assert_eq!(condition(&cluster.get("Pod", "good"), "Ready")["status"], "True");
}

#[test]
fn init_containers_come_before_the_others() {
    let mut cluster = Cluster::new();
    let mut pod = pod_living("a", &[("start-after", "2s")]);
    pod["spec"]["initContainers"] = json!([{"name": "first", "image": "example.com/init:1"}]);
    cluster.create(pod);
    let pod = cluster.get("Pod", "a");
    assert_eq!(condition(&pod, "Initialized")["message"], "containers with incomplete status: [first]");
    assert_eq!(container(&pod)["state"]["waiting"]["reason"], "PodInitializing");
    cluster.pass(2);
    let pod = cluster.get("Pod", "a");
    assert_eq!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(
        (&condition(&pod, "Initialized")["status"], &pod["status"]["phase"]),
        (&json!("True"), &json!("Pending"))
    );
    cluster.pass(2);
    assert_eq!(cluster.get("Pod", "a")["status"]["phase"], "Running");
}

#[test]
fn a_deleted_pod_takes_its_time_but_not_more_than_its_grace() {
    let mut cluster = Cluster::new();
    cluster.create(pod_living("quick", &[("terminate-after", "5s")]));
    cluster.create(pod_living("stubborn", &[("terminate-after", "1h")]));
    cluster.delete("Pod", "quick");
    cluster.delete("Pod", "stubborn");
    assert!(cluster.get("Pod", "quick")["metadata"]["deletionTimestamp"].is_string());
    cluster.pass(5);
    assert_eq!(cluster.names("Pod"), ["stubborn"]);
    cluster.pass(25);
    assert_eq!(cluster.names("Pod"), Vec::<String>::new());
    assert!(cluster.reasons("quick").contains(&"Killing".to_owned()));
}

#[test]
fn addresses_differ_and_are_given_back() {
    let mut cluster = Cluster::new();
    cluster.create(pod("a"));
    cluster.create(pod("b"));
    let address = |cluster: &mut Cluster, name: &str| cluster.get("Pod", name)["status"]["podIP"].clone();
    let (a, b) = (address(&mut cluster, "a"), address(&mut cluster, "b"));
    assert_ne!(a, b);
    cluster.delete("Pod", "a");
    cluster.create(pod("c"));
    assert_ne!(address(&mut cluster, "c"), a, "an address is not used again at once");
}

#[test]
fn containers_write_logs() {
    let mut cluster = Cluster::new();
    cluster.create(pod_living("talks", &[("log", "hello\nworld"), ("exit-after", "1m"), ("exit-code", "1")]));
    assert_eq!(cluster.log("talks", false).unwrap(), "hello\nworld\n");
    assert!(cluster.log("talks", true).is_err());
    cluster.pass(60);
    assert_eq!(cluster.log("talks", true).unwrap(), "hello\nworld\n");
}

#[test]
fn a_pod_that_is_set_to_failed_by_hand_stays_failed() {
    let mut cluster = Cluster::new();
    cluster.create(pod_living("a", &[("exit-after", "10s")]));
    cluster.patch_status("Pod", "a", json!({"status": {"phase": "Failed"}}));
    cluster.pass(20);
    assert_eq!(cluster.get("Pod", "a")["status"]["phase"], "Failed");
}

#[test]
fn a_container_that_is_added_to_a_running_pod_runs() {
    let mut cluster = Cluster::new();
    cluster.create(pod("a"));
    let body = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox:1"}]}});
    let patch = Request::patch(PatchType::Strategic, "v1", "pods", body);
    cluster.send(&patch.namespace("default").name("a").subresource("ephemeralcontainers")).unwrap();
    cluster.settle();
    let pod = cluster.get("Pod", "a");
    let status = &pod["status"]["ephemeralContainerStatuses"][0];
    assert_eq!((&status["name"], &status["image"]), (&json!("debug"), &json!("busybox:1")));
    assert!(status["state"]["running"]["startedAt"].is_string());
    assert_eq!(condition(&pod, "Ready")["status"], "True");
    assert_eq!(pod["status"]["containerStatuses"].as_array().unwrap().len(), 1);
}
