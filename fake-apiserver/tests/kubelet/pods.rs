//! Life and death of single pods.

use futures::FutureExt as _;
use k8s_openapi::api::authentication::v1::TokenReview;
use kube::Api;
use kube::api::{DeleteParams, LogParams, PostParams};
use serde_json::json;

use crate::suite::Body;
use crate::world::{World, container, processes, until_processes};

pub(crate) const TESTS: &[(&str, Body)] = &[
    ("a_pod_runs_to_its_end_with_its_environment_and_files", |world| end(world).boxed()),
    ("init_containers_run_first_and_share_volumes", |world| init(world).boxed()),
    ("a_volume_over_the_images_files_hides_none_of_them", |world| volume_over_tmp(world).boxed()),
    ("a_failing_container_is_restarted_and_then_backed_off", |world| crash_loop(world).boxed()),
    ("a_container_killed_from_outside_is_restarted", |world| killed(world).boxed()),
    ("what_cannot_start_says_why", |world| refusals(world).boxed()),
    ("a_deleted_pod_gets_its_signal_and_its_grace_period", |world| deletion(world).boxed()),
    ("liveness_restarts_and_startup_holds_back", |world| probes(world).boxed()),
    ("hooks_run_and_a_sidecar_ends_with_its_pod", |world| hooks(world).boxed()),
    ("logs_are_kept_for_two_runs_and_can_be_followed", |world| logs(world).boxed()),
    ("a_pod_past_its_deadline_fails", |world| deadline(world).boxed()),
    ("a_pod_has_a_token_of_its_account", |world| token(world).boxed()),
];

async fn end(world: World) {
    world.config_map("settings", json!({"key": "value", "file.txt": "content"})).await;
    let script = "echo host=$(hostname) dir=$(pwd); [ $$$$ -lt 10 ] && echo own process numbers\n\
                  echo key=$KEY all=$P_key name=$NAME ip=$IP composed=$COMPOSED image=$FROM_IMAGE\n\
                  cat /etc/new/place/file.txt; echo\n\
                  echo made > /brand-new/made; cat /brand-new/made\n\
                  ls /etc/passwd /tmp\n\
                  touch /etc/new/place/x 2>/dev/null || echo read-only\n\
                  grep -c . /etc/hosts >/dev/null && grep \"$(hostname)\" /etc/hosts\n\
                  echo problem >&2";
    world
        .pod(
            "p",
            json!({"restartPolicy": "Never",
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "settings"}}],
                "containers": [{
                    "image": "tools:1",
                    "args": ["/bin/sh", "-c", script],
                    "workingDir": "/brand-new/work",
                    "volumeMounts": [
                        {"name": "v", "mountPath": "/brand-new"},
                        {"name": "c", "mountPath": "/etc/new/place"}],
                    "envFrom": [{"prefix": "P_", "configMapRef": {"name": "settings"}}],
                    "env": [
                        {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "key"}}},
                        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                        {"name": "COMPOSED", "value": "$(NAME)-$(KEY)"}]}]}),
        )
        .await;
    let pod = world.until_phase("p", "Succeeded").await;
    let status = pod.status.clone().expect("a status");
    let ip = status.pod_ip.clone().expect("an address");
    let log = world.log("p", LogParams::default()).await;
    let expected = format!(
        "host=p dir=/brand-new/work\nown process numbers\nkey=value all=value name=p ip={ip} composed=p-value image=yes\ncontent\nmade\n\
         /etc/passwd\n"
    );
    assert!(log.starts_with(&expected), "{log}");
    assert!(
        log.contains("read-only\n") && log.contains(&format!("{ip}\tp\n")) && log.contains("problem\n"),
        "{log}"
    );
    let end = container(Some(&pod)).and_then(|status| status.state.clone()?.terminated).expect("an end");
    assert_eq!((end.exit_code, end.reason.as_deref()), (0, Some("Completed")));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    for reason in ["Pulled: ", "Created: ", "Started: "] {
        world.until_event("p", reason).await;
    }
    assert!(!std::path::Path::new("/brand-new").exists() && !std::path::Path::new("/etc/new").exists());
}

async fn token(world: World) {
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    let script = format!("cat {folder}/namespace; echo; ls {folder}; cat {folder}/token");
    world
        .pod(
            "p",
            json!({"restartPolicy": "Never", "containers": [{"image": "tools:1", "args": ["/bin/sh", "-c", script]}]}),
        )
        .await;
    world.until_phase("p", "Succeeded").await;
    let log = world.log("p", LogParams::default()).await;
    let mut lines = log.lines();
    assert_eq!(
        lines.by_ref().take(4).collect::<Vec<_>>(),
        ["default", "ca.crt", "namespace", "token"],
        "{log}"
    );
    let token = lines.next().expect("a token");
    let review: TokenReview = serde_json::from_value(json!({"spec": {"token": token}})).expect("a review");
    let reviews: Api<TokenReview> = Api::all(world.client.clone());
    let review = reviews.create(&PostParams::default(), &review).await.expect("an answer");
    let user = review.status.and_then(|status| status.user).expect("a user");
    assert_eq!(user.username.as_deref(), Some("system:serviceaccount:default:default"));
    let extra = user.extra.expect("what the token is bound to");
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], ["p"]);
}

async fn init(world: World) {
    let volume = json!([{"name": "v", "mountPath": "/shared"}]);
    world
        .pod(
            "p",
            json!({"restartPolicy": "Never", "volumes": [{"name": "v", "emptyDir": {}}],
                "initContainers": [
                    {"name": "one", "image": "busybox", "command": ["sh", "-c", "echo one > /shared/f"], "volumeMounts": volume},
                    {"name": "two", "image": "busybox", "command": ["sh", "-c", "echo two >> /shared/f"], "volumeMounts": volume}],
                "containers": [{"command": ["sh", "-c", "cat /shared/f"], "volumeMounts": volume}]}),
        )
        .await;
    world.until_phase("p", "Succeeded").await;
    assert_eq!(world.log("p", LogParams::default()).await, "one\ntwo\n");
    world
        .pod(
            "bad",
            json!({"restartPolicy": "Never",
                "initContainers": [{"name": "one", "image": "busybox", "command": ["sh", "-c", "exit 4"]}],
                "containers": [{"command": ["sh", "-c", "true"]}]}),
        )
        .await;
    let pod = world.until_phase("bad", "Failed").await;
    let waiting =
        container(Some(&pod)).and_then(|status| status.state.clone()?.waiting).expect("a waiting container");
    assert_eq!(waiting.reason.as_deref(), Some("PodInitializing"));
}

/// The directory for temporary files is where the images' files are in these tests; a volume on it must not hide them.
async fn volume_over_tmp(world: World) {
    let volume = json!([{"name": "v", "mountPath": "/tmp"}]);
    world
        .pod(
            "p",
            json!({"restartPolicy": "Never", "volumes": [{"name": "v", "emptyDir": {}}],
                "initContainers": [{"name": "script", "image": "tools:1", "args": ["true"], "volumeMounts": volume}],
                "containers": [{"image": "tools:1", "command": ["/app"], "volumeMounts": volume}]}),
        )
        .await;
    world.until_phase("p", "Succeeded").await;
    assert_eq!(world.log("p", LogParams::default()).await, "app of the image\n");
}

async fn crash_loop(world: World) {
    world.shell("p", "Always", "echo run; exit 3").await;
    let looping = |pod: Option<&k8s_openapi::api::core::v1::Pod>| {
        let reason = container(pod).and_then(|status| status.state.clone()?.waiting?.reason);
        reason.as_deref() == Some("CrashLoopBackOff")
    };
    let pod = world.until("p", "in CrashLoopBackOff", looping).await;
    let status = container(pod.as_ref()).expect("a container");
    let last = status.last_state.clone().and_then(|state| state.terminated).expect("a last state");
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
    assert_eq!(status.restart_count, 1, "the first restart is immediate, the second waits");
    assert_eq!(pod.as_ref().and_then(|pod| pod.status.clone()?.phase).as_deref(), Some("Running"));
    assert_eq!(world.log("p", LogParams::default()).await, "run\n");
    world.until_event("p", "BackOff: Back-off restarting failed container main").await;
}

async fn killed(world: World) {
    world.shell("p", "OnFailure", "sleep 84001").await;
    world.until_phase("p", "Running").await;
    let sleeping = until_processes("84001", 1).await[0];
    let killed = std::process::Command::new("/bin/sh").args(["-c", &format!("kill -9 {sleeping}")]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    let restarted = |pod: Option<&k8s_openapi::api::core::v1::Pod>| {
        container(pod).is_some_and(|status| status.restart_count == 1 && status.ready)
    };
    let pod = world.until("p", "restarted", restarted).await;
    let last =
        container(pod.as_ref()).and_then(|status| status.last_state.clone()?.terminated).expect("an end");
    assert_eq!((last.exit_code, last.reason.as_deref()), (137, Some("Error")));
    world.delete("p").await;
    assert_eq!(processes("84001"), Vec::<i32>::new());
}

async fn refusals(world: World) {
    world.pod("image", json!({"containers": [{"image": "nobody/knows:1"}]})).await;
    world
        .pod(
            "config",
            json!({"containers": [{"command": ["true"], "envFrom": [{"configMapRef": {"name": "late"}}]}],
            "restartPolicy": "Never"}),
        )
        .await;
    world
        .pod("program", json!({"containers": [{"command": ["no-such-program"]}], "restartPolicy": "Never"}))
        .await;
    let waits_for = |reason: &'static str| {
        move |pod: Option<&k8s_openapi::api::core::v1::Pod>| {
            let waiting = container(pod).and_then(|status| status.state.clone()?.waiting);
            waiting.and_then(|waiting| waiting.reason).as_deref() == Some(reason)
        }
    };
    world.until("image", "waiting", waits_for("ImagePullBackOff")).await;
    world.until_event("image", "Failed: Error: ErrImagePull").await;
    let pod = world.until("config", "waiting", waits_for("CreateContainerConfigError")).await;
    let waiting = container(pod.as_ref()).and_then(|status| status.state.clone()?.waiting).expect("a reason");
    assert_eq!(waiting.message.as_deref(), Some("configmap \"late\" not found"));
    world.config_map("late", json!({"k": "v"})).await;
    world.until_phase("config", "Succeeded").await;
    let pod = world.until_phase("program", "Failed").await;
    let end = container(Some(&pod)).and_then(|status| status.state.clone()?.terminated).expect("an end");
    assert_eq!((end.exit_code, end.reason.as_deref()), (128, Some("StartError")));
    let message = end.message.expect("a message");
    assert!(message.contains("\"no-such-program\": executable file not found in $PATH"), "{message}");
}

async fn deletion(world: World) {
    world
        .shell("polite", "Always", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done")
        .await;
    world
        .shell("deaf", "Always", "trap '' TERM; echo up; sleep 84002; sleep 84002; sleep 84002; sleep 84002")
        .await;
    world.until_ready("polite", true).await;
    world.until_ready("deaf", true).await;
    for name in ["polite", "deaf"] {
        let mut lines = follow(&world, name).await;
        assert_eq!(lines.next_line().await, "up", "{name} has set its trap");
        world.pods().delete(name, &DeleteParams::default().grace_period(1)).await.expect("deleted");
        if name == "polite" {
            // The shell may also say that the program it was waiting for was terminated.
            while lines.next_line().await != "bye" {}
        }
        world.until(name, "gone", |pod| pod.is_none()).await;
    }
    assert_eq!(processes("84002"), Vec::<i32>::new());
}

/// Lines of a log that is followed.
struct Lines(std::pin::Pin<Box<dyn futures::io::AsyncBufRead + Send>>);

impl Lines {
    async fn next_line(&mut self) -> String {
        use futures::AsyncBufReadExt as _;
        let mut line = String::new();
        let read = tokio::time::timeout(std::time::Duration::from_mins(1), self.0.read_line(&mut line)).await;
        read.expect("a line comes").expect("the log can be read");
        line.trim_end().to_owned()
    }
}

async fn follow(world: &World, name: &str) -> Lines {
    let params = LogParams { follow: true, ..LogParams::default() };
    Lines(Box::pin(world.pods().log_stream(name, &params).await.expect("the log can be followed")))
}

async fn probes(world: World) {
    let shell = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}, "periodSeconds": 1});
    let mut liveness = shell("test ! -e /tmp/sick");
    liveness["failureThreshold"] = json!(1);
    let mut startup = shell("test -e /tmp/up");
    startup["failureThreshold"] = json!(60);
    let script = "sleep 1; touch /tmp/up; test -e /shared/ran || { touch /shared/ran; sleep 2; touch /tmp/sick; }; sleep 84003";
    world
        .pod(
            "p",
            json!({"terminationGracePeriodSeconds": 1, "volumes": [{"name": "v", "emptyDir": {}}], "containers": [{
                "command": ["sh", "-c", script],
                "startupProbe": startup, "livenessProbe": liveness,
                "volumeMounts": [{"name": "v", "mountPath": "/shared"}]}]}),
        )
        .await;
    let running = |pod: Option<&k8s_openapi::api::core::v1::Pod>| {
        container(pod).is_some_and(|status| {
            status.started == Some(false) && status.state.clone().is_some_and(|s| s.running.is_some())
        })
    };
    world.until("p", "held back by its startup probe", running).await;
    world.until_ready("p", true).await;
    let restarted = |pod: Option<&k8s_openapi::api::core::v1::Pod>| {
        container(pod).is_some_and(|status| status.restart_count == 1 && status.ready)
    };
    world.until("p", "restarted by its liveness probe", restarted).await;
    world.until_event("p", "Killing: Container main failed liveness probe, will be restarted").await;
    world.until_event("p", "Unhealthy: Liveness probe failed").await;
}

async fn hooks(world: World) {
    let volume = json!([{"name": "v", "mountPath": "/shared"}]);
    let hook = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}});
    world
        .pod(
            "p",
            json!({"restartPolicy": "Never", "volumes": [{"name": "v", "emptyDir": {}}], "terminationGracePeriodSeconds": 5,
                "initContainers": [{"name": "side", "image": "busybox", "restartPolicy": "Always",
                    "command": ["sh", "-c", "echo side; sleep 84004"], "volumeMounts": volume}],
                "containers": [{
                    "command": ["sh", "-c", "while ! test -e /shared/hooked; do sleep 0.1; done; echo hooked"],
                    "lifecycle": {"postStart": hook("touch /shared/hooked")}, "volumeMounts": volume}]}),
        )
        .await;
    world.until_phase("p", "Succeeded").await;
    assert_eq!(
        world.log("p", LogParams { container: Some("main".into()), ..LogParams::default() }).await,
        "hooked\n"
    );
    assert_eq!(processes("84004"), Vec::<i32>::new());
    world
        .pod(
            "stopped",
            json!({"terminationGracePeriodSeconds": 20, "containers": [{
                "command": ["sh", "-c", "while ! test -e /tmp/stop; do sleep 0.1; done; echo stopped; sleep 84004"],
                "lifecycle": {"preStop": hook("touch /tmp/stop; sleep 1")}}]}),
        )
        .await;
    world.until_ready("stopped", true).await;
    let mut lines = follow(&world, "stopped").await;
    world.pods().delete("stopped", &DeleteParams::default()).await.expect("deleted");
    assert_eq!(lines.next_line().await, "stopped");
    world.until("stopped", "gone", |pod| pod.is_none()).await;
}

async fn logs(world: World) {
    world.shell("p", "OnFailure", "test -e /tmp/never; echo run; exit 1").await;
    let twice = |pod: Option<&k8s_openapi::api::core::v1::Pod>| {
        container(pod).is_some_and(|status| status.restart_count == 1)
    };
    world.until("p", "restarted", twice).await;
    assert_eq!(world.log("p", LogParams { previous: true, ..LogParams::default() }).await, "run\n");
    world.shell("q", "Never", "for i in 1 2 3 4 5; do echo line $i; done").await;
    world.until_phase("q", "Succeeded").await;
    let tail = LogParams { tail_lines: Some(2), ..LogParams::default() };
    assert_eq!(world.log("q", tail).await, "line 4\nline 5\n");
    let stamped = world.log("q", LogParams { timestamps: true, ..LogParams::default() }).await;
    assert!(stamped.lines().all(|line| line.split_once("Z line ").is_some()), "{stamped}");
}

async fn deadline(world: World) {
    let container = json!({"command": ["sleep", "84005"]});
    world
        .pod("p", json!({"activeDeadlineSeconds": 1, "terminationGracePeriodSeconds": 1, "containers": [container]}))
        .await;
    let pod = world.until_phase("p", "Failed").await;
    assert_eq!(pod.status.and_then(|status| status.reason).as_deref(), Some("DeadlineExceeded"));
    world.until("p", "at its end", container_ended).await;
    assert_eq!(processes("84005"), Vec::<i32>::new());
}

fn container_ended(pod: Option<&k8s_openapi::api::core::v1::Pod>) -> bool {
    container(pod).and_then(|status| status.state.clone()?.terminated).is_some()
}
