//! What users reach of a running pod: commands in it, its own streams, its ports.

use futures::{AsyncBufReadExt as _, FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, AttachedProcess, LogParams, Patch, PatchParams, TerminalSize};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use crate::suite::Body;
use crate::world::World;

pub(crate) const TESTS: &[(&str, Body)] = &[
    ("a_command_runs_as_the_container_does_and_tells_how_it_ended", |world| command(world).boxed()),
    ("a_command_reads_what_its_client_writes", |world| input(world).boxed()),
    ("a_command_on_a_terminal_has_its_size_and_its_signals", |world| terminal(world).boxed()),
    ("a_command_dies_when_its_client_is_gone", |world| vanished(world).boxed()),
    ("what_a_command_leaves_behind_does_not_hold_its_client", |world| left_behind(world).boxed()),
    ("much_output_arrives_whole_at_a_slow_client", |world| much(world).boxed()),
    ("the_streams_of_a_container_can_be_joined", |world| attached(world).boxed()),
    ("a_container_on_a_terminal_can_be_joined", |world| attached_terminal(world).boxed()),
    ("a_container_that_is_added_to_a_running_pod_runs_beside_the_others", |world| added(world).boxed()),
    ("ports_are_forwarded_to_what_listens_in_the_pod", |world| forwarded(world).boxed()),
];

fn both() -> AttachParams {
    AttachParams::default().stdout(true).stderr(true)
}

async fn text(reader: Option<impl AsyncRead + Unpin>) -> String {
    let mut text = String::new();
    reader
        .expect("the stream was asked for")
        .read_to_string(&mut text)
        .await
        .expect("the stream can be read");
    text
}

/// Everything a command says, and the reason and message of its end.
async fn outcome(mut process: AttachedProcess) -> (String, String, String, String) {
    let status = process.take_status().expect("a status");
    let (out, err) = tokio::join!(text(process.stdout()), text(process.stderr()));
    let status = status.await.expect("the end is told");
    let message = status.message.unwrap_or_default();
    (out, err, status.reason.or(status.status).unwrap_or_default(), message)
}

async fn idle(world: &World, name: &str) {
    world
        .pod(
            name,
            json!({"terminationGracePeriodSeconds": 1, "containers": [{"image": "tools:1", "workingDir": "/work",
                "args": ["sleep", "84003"], "env": [{"name": "KEY", "value": "value"}]}]}),
        )
        .await;
    world.until_ready(name, true).await;
}

async fn command(world: World) {
    idle(&world, "p").await;
    let pods = world.served_pods().await;
    let script = "echo $KEY $FROM_IMAGE $(pwd) $(hostname); echo problem >&2; exit 3";
    let process = pods.exec("p", ["/bin/sh", "-c", script], &both()).await.expect("the command starts");
    let (out, err, reason, message) = outcome(process).await;
    assert_eq!((out.as_str(), err.as_str()), ("value yes /work p\n", "problem\n"));
    assert_eq!(reason, "NonZeroExitCode");
    assert!(message.ends_with("exit code 3"), "{message}");
    let process = pods.exec("p", ["true"], &both()).await.expect("the command starts");
    assert_eq!(outcome(process).await.2, "Success");
    let process = pods.exec("p", ["nonesuch"], &both()).await.expect("the request is accepted");
    let (_, _, reason, message) = outcome(process).await;
    assert_eq!(reason, "InternalError");
    assert!(message.contains("\"nonesuch\": executable file not found in $PATH"), "{message}");
    // The container's own view of files and processes.
    let process = pods.exec("p", ["sh", "-c", "echo here > /tmp/mark; cat /proc/1/comm"], &both()).await;
    outcome(process.expect("the command starts")).await;
    assert!(!std::path::Path::new("/tmp/mark").exists());
    let process = pods.exec("p", ["cat", "/tmp/mark"], &both()).await.expect("the command starts");
    assert_eq!(outcome(process).await.0, "here\n");
}

async fn added(world: World) {
    idle(&world, "p").await;
    let debug =
        json!({"name": "debug", "image": "tools:1", "args": ["sh", "-c", "echo looking; exec sleep 84013"]});
    let patch = json!({"spec": {"ephemeralContainers": [debug]}});
    let pods = world.served_pods().await;
    pods.patch_ephemeral_containers("p", &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .expect("added");
    let running = |pod: Option<&Pod>| {
        let statuses = pod.and_then(|pod| pod.status.as_ref()?.ephemeral_container_statuses.as_ref());
        let state = statuses.and_then(|all| all.first()?.state.as_ref());
        state.is_some_and(|state| state.running.is_some())
    };
    let pod = world.until("p", "with a debugger", running).await.expect("a pod");
    assert_eq!(pod.status.expect("a status").phase.as_deref(), Some("Running"));
    let params = LogParams { container: Some("debug".into()), follow: true, ..LogParams::default() };
    let mut lines = pods.log_stream("p", &params).await.expect("the log can be read").lines();
    assert_eq!(lines.next().await.expect("a line").expect("the log can be read"), "looking");
    let process = pods.exec("p", ["hostname"], &both().container("debug")).await.expect("the command starts");
    assert_eq!(outcome(process).await.0, "p\n");
}

async fn input(world: World) {
    idle(&world, "p").await;
    let pods = world.served_pods().await;
    let params = both().stdin(true);
    let mut process =
        pods.exec("p", ["sh", "-c", "cat; echo end"], &params).await.expect("the command starts");
    let mut stdin = process.stdin().expect("stdin was asked for");
    stdin.write_all(b"some words\n").await.expect("stdin can be written");
    stdin.shutdown().await.expect("stdin can be closed");
    assert_eq!(outcome(process).await.0, "some words\nend\n");
}

async fn terminal(world: World) {
    idle(&world, "p").await;
    let pods = world.served_pods().await;
    let params = AttachParams::interactive_tty();
    let script = "read line; until stty size | grep -v '^0 0$'; do sleep 0.1; done; tty; trap 'echo interrupted; exit 5' INT; echo waiting; while :; do sleep 1; done";
    let mut process = pods.exec("p", ["sh", "-c", script], &params).await.expect("the command starts");
    let status = process.take_status().expect("a status");
    let mut sizes = process.terminal_size().expect("a terminal");
    let mut stdin = process.stdin().expect("stdin was asked for");
    let mut lines = BufReader::new(process.stdout().expect("stdout was asked for")).lines();
    let mut until = async |wanted: &str| {
        while let Some(line) = lines.next_line().await.expect("the terminal can be read") {
            if line.contains(wanted) {
                return true;
            }
        }
        false
    };
    futures::SinkExt::send(&mut sizes, TerminalSize { width: 91, height: 37 })
        .await
        .expect("the size is sent");
    stdin.write_all(b"go\n").await.expect("stdin can be written");
    assert!(until("37 91").await, "the size");
    assert!(until("waiting").await, "the trap");
    stdin.write_all(b"\x03").await.expect("stdin can be written");
    assert!(until("interrupted").await, "the signal");
    let status = status.await.expect("the end is told");
    assert!(status.message.unwrap_or_default().ends_with("exit code 5"));
}

/// A pod that ends when the last writer of `/tmp/pipe` is gone.
async fn watcher(world: &World) {
    let script = "mkfifo /tmp/pipe; echo made > /tmp/ready; cat /tmp/pipe; echo closed";
    world.shell("p", "Never", script).await;
    world.until_ready("p", true).await;
}

async fn vanished(world: World) {
    watcher(&world).await;
    let pods = world.served_pods().await;
    // Also its children die, and it does not matter that it reads nothing of what it is sent.
    let script =
        "until [ -e /tmp/ready ]; do sleep 0.1; done; exec 3> /tmp/pipe; sleep 84004 >&3 & echo begun; wait";
    let params = both().stdin(true);
    let mut process = pods.exec("p", ["sh", "-c", script], &params).await.expect("the command starts");
    let mut lines = BufReader::new(process.stdout().expect("stdout was asked for")).lines();
    assert_eq!(lines.next_line().await.expect("stdout can be read").as_deref(), Some("begun"));
    process.abort();
    drop((lines, process));
    world.until_phase("p", "Succeeded").await;
    assert_eq!(world.log("p", kube::api::LogParams::default()).await, "closed\n");
}

async fn left_behind(world: World) {
    idle(&world, "p").await;
    let pods = world.served_pods().await;
    let process =
        pods.exec("p", ["sh", "-c", "sleep 84005 & echo done"], &both()).await.expect("the command starts");
    let (out, _, reason, _) = outcome(process).await;
    assert_eq!((out.as_str(), reason.as_str()), ("done\n", "Success"));
}

async fn much(world: World) {
    idle(&world, "p").await;
    let pods = world.served_pods().await;
    let script = "head -c 20000000 /dev/zero; exit 0";
    let params = both().max_stdout_buf_size(1024);
    let process = pods.exec("p", ["sh", "-c", script], &params).await.expect("the command starts");
    assert_eq!(outcome(process).await.0.len(), 20_000_000);
}

async fn attached(world: World) {
    let script = "while read line; do echo got $line; echo err >&2; done; echo over";
    world
        .pod(
            "p",
            json!({"restartPolicy": "Never", "containers": [
                {"command": ["sh", "-c", script], "stdin": true, "stdinOnce": true}]}),
        )
        .await;
    world.until_ready("p", true).await;
    let pods = world.served_pods().await;
    let mut process = pods.attach("p", &both().stdin(true)).await.expect("the container can be joined");
    let mut stdin = process.stdin().expect("stdin was asked for");
    stdin.write_all(b"one\ntwo\n").await.expect("stdin can be written");
    stdin.shutdown().await.expect("stdin can be closed");
    let (out, err, reason, _) = outcome(process).await;
    assert_eq!(
        (out.as_str(), err.as_str(), reason.as_str()),
        ("got one\ngot two\nover\n", "err\nerr\n", "Success")
    );
    world.until_phase("p", "Succeeded").await;
    assert!(world.log("p", kube::api::LogParams::default()).await.contains("got two\n"));
}

async fn attached_terminal(world: World) {
    let script = "stty -echo; read line; while [ \"$(stty size)\" = '0 0' ]; do sleep 0.1; done; echo size $(stty size) line $line";
    for (name, image) in [("with-init", "busybox:1"), ("alone", "bare:1")] {
        world
            .pod(
                name,
                json!({"restartPolicy": "Never", "containers": [
                    {"image": image, "command": ["sh", "-c", script], "stdin": true, "tty": true}]}),
            )
            .await;
        world.until_ready(name, true).await;
        let pods = world.served_pods().await;
        let params = AttachParams::interactive_tty();
        let mut process = pods.attach(name, &params).await.expect("the container can be joined");
        let mut sizes = process.terminal_size().expect("a terminal");
        futures::SinkExt::send(&mut sizes, TerminalSize { width: 92, height: 38 })
            .await
            .expect("the size is sent");
        let mut stdin = process.stdin().expect("stdin was asked for");
        stdin.write_all(b"word\n").await.expect("stdin can be written");
        let out = text(process.stdout()).await;
        assert!(out.contains("size 38 92 line word"), "{out:?}");
        world.until_phase(name, "Succeeded").await;
    }
}

async fn forwarded(world: World) {
    world
        .pod("p", json!({"terminationGracePeriodSeconds": 1, "containers": [{"image": "tools:1", "args": ["answer", "127.0.0.1:8080", "hello"]}]}))
        .await;
    world.until_ready("p", true).await;
    let pods = world.served_pods().await;
    world.until_log("p", "listening").await;
    let mut forwarder = pods.portforward("p", &[8080, 8081]).await.expect("ports are forwarded");
    let refused = forwarder.take_error(8081).expect("an error channel");
    let mut stream = forwarder.take_stream(8080).expect("a stream");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the stream can be written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the stream can be read");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    let refused = refused.await.expect("the other port refuses");
    assert!(refused.starts_with("error forwarding port 8081 to pod p_default, uid "), "{refused}");
    assert!(refused.ends_with("dial tcp 127.0.0.1:8081: connect: connection refused"), "{refused}");
}
