//! What people type to reach a running pod, with every kubectl found on this machine.
//!
//! Up to 1.29 it upgrades to SPDY; from 1.30 on exec and attach, and from 1.31 on port-forward, go over WebSocket.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use futures::FutureExt as _;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use crate::suite::Body;
use crate::world::World;

pub(crate) const TESTS: &[(&str, Body)] = &[("every_kubectl_reaches_pods", |world| story(world).boxed())];

const MINORS: std::ops::RangeInclusive<u16> = 27..=36;
/// Longer than any command here takes; a hanging one fails the test by name.
const PATIENCE: Duration = Duration::from_mins(1);

async fn story(world: World) {
    let server = world.serve().await;
    let home = tempfile::tempdir().expect("a folder");
    let found: Vec<Kubectl> =
        MINORS.filter_map(|minor| Kubectl::find(minor, &server, home.path().to_owned())).collect();
    if found.is_empty() {
        println!("skipped: no kubectl.1.x on PATH or beside kubectl");
    }
    let ports = json!([{"name": "http", "containerPort": 8080}]);
    world
        .pod(
            "web",
            json!({"terminationGracePeriodSeconds": 1,
                "containers": [{"image": "tools:1", "args": ["answer", "8080", "hello"], "ports": ports}]}),
        )
        .await;
    world.until_ready("web", true).await;
    world.until_log("web", "listening").await;
    crate::services::service(&world, "web").await;
    for kubectl in &found {
        kubectl.runs_commands().await;
        kubectl.copies(home.path()).await;
        kubectl.forwards().await;
        kubectl.attaches(&world).await;
    }
}

struct Kubectl {
    program: PathBuf,
    minor: u16,
    server: String,
    home: PathBuf,
}

impl Kubectl {
    /// `kubectl.1.{minor}` on PATH or in the folder `kubectl` really lives in.
    fn find(minor: u16, server: &str, home: PathBuf) -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let real = folders.iter().find_map(|folder| folder.join("kubectl").canonicalize().ok());
        folders.extend(real.and_then(|real| real.parent().map(PathBuf::from)));
        let mut programs = folders.into_iter().map(|folder| folder.join(format!("kubectl.1.{minor}")));
        let program = programs.find(|program| program.is_file())?;
        Some(Self { program, minor, server: server.to_owned(), home })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--server", &self.server, "--kubeconfig", "/dev/null"]).args(arguments);
        command.env("HOME", &self.home).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.command(arguments).spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        stdin.write_all(input.as_bytes()).await.expect("stdin can be written");
        drop(stdin);
        let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let ended = ended.unwrap_or_else(|_| panic!("1.{}: {arguments:?}: still running", self.minor));
        ended.expect("kubectl ends")
    }

    /// Exit code and both outputs.
    async fn check(&self, arguments: &[&str], input: &str, code: i32, out: &str, err: &str) {
        let output = self.run(arguments, input).await;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let what = format!("1.{}: {arguments:?}\n{said}\n{complained}", self.minor);
        assert_eq!(output.status.code(), Some(code), "{what}");
        assert!(said == out, "{what}");
        assert!(complained.contains(err), "{what}");
    }

    async fn runs_commands(&self) {
        let script = "echo out; echo problem >&2; exit 3";
        let told = "command terminated with exit code 3";
        self.check(&["exec", "web", "--", "sh", "-c", script], "", 3, "out\n", "problem").await;
        self.check(&["exec", "web", "--", "sh", "-c", script], "", 3, "out\n", told).await;
        self.check(&["exec", "-i", "web", "--", "sh", "-c", "cat; echo end"], "in\n", 0, "in\nend\n", "")
            .await;
        let missing = "\"nonesuch\": executable file not found in $PATH";
        self.check(&["exec", "web", "--", "nonesuch"], "", 1, "", missing).await;
        self.check(&["exec", "web", "-c", "other", "--", "true"], "", 1, "", "container other is not valid")
            .await;
        self.types().await;
    }

    /// `exec -it` on a terminal of this machine.
    async fn types(&self) {
        let line = format!(
            "stty cols 93 rows 39; {} --server {} --kubeconfig /dev/null exec -it web -- sh",
            self.program.display(),
            self.server
        );
        let mut command = Command::new("script");
        command.args(["-qefc", &line, "/dev/null"]).env("HOME", &self.home).env("TERM", "xterm");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return println!("skipped: exec -it, without script(1): {error}"),
        };
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        let typed = "until stty size | grep -v '^0 0$'; do sleep 0.1; done; test -t 0 && echo on a ter''minal; exit 7\n";
        stdin.write_all(typed.as_bytes()).await.expect("stdin can be written");
        let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output =
            ended.unwrap_or_else(|_| panic!("1.{}: exec -it: still running", self.minor)).expect("it ends");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("39 93") && said.contains("on a terminal"), "1.{}: {said}", self.minor);
        assert_eq!(output.status.code(), Some(7), "1.{}: {said}", self.minor);
    }

    async fn copies(&self, home: &std::path::Path) {
        let (there, back) =
            (home.join(format!("there-{}", self.minor)), home.join(format!("back-{}", self.minor)));
        let content: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&there, &content).expect("the file can be written");
        let (there, to) = (there.to_string_lossy(), format!("web:/tmp/copy-{}", self.minor));
        self.check(&["cp", &there, &to], "", 0, "", "").await;
        let output = self.run(&["cp", &to, &back.to_string_lossy()], "").await;
        assert!(output.status.success(), "1.{}: {}", self.minor, String::from_utf8_lossy(&output.stderr));
        assert!(
            std::fs::read(&back).expect("the file is back") == content,
            "1.{}: the copy differs",
            self.minor
        );
    }

    async fn forwards(&self) {
        for (target, ports) in [("pod/web", ":8080"), ("svc/web", ":80")] {
            let (_forward, mut lines) = self.follow(&["port-forward", target, ports]);
            let line = next_with(&mut lines, "Forwarding from 127.0.0.1:").await;
            let port = line.split([':', ' ']).find_map(|word| word.parse::<u16>().ok()).expect("a port");
            // One connection after the other, and two at once.
            let (one, two) = tokio::join!(get(port, "/"), get(port, "/"));
            let three = get(port, "/").await;
            assert_eq!([one, two, three], ["hello", "hello", "hello"], "1.{}: {target}", self.minor);
        }
        let (mut forward, mut lines) = self.follow(&["port-forward", "web", ":9"]);
        let mut complaints = BufReader::new(forward.stderr.take().expect("stderr is a pipe")).lines();
        let line = next_with(&mut lines, "Forwarding from 127.0.0.1:").await;
        let port = line.split([':', ' ']).find_map(|word| word.parse::<u16>().ok()).expect("a port");
        assert_eq!(get(port, "/").await, "");
        let refused = async {
            while let Some(line) = complaints.next_line().await.expect("stderr can be read") {
                if line.contains("connection refused") {
                    return true;
                }
            }
            false
        };
        assert!(tokio::time::timeout(PATIENCE, refused).await.expect("it complains"), "1.{}", self.minor);
        let (_proxy, mut lines) = self.follow(&["proxy", "--port", "0"]);
        let line = next_with(&mut lines, "Starting to serve on").await;
        let port = line.rsplit(':').next().and_then(|port| port.trim().parse().ok()).expect("a port");
        for path in ["pods/web:8080", "services/web:80", "services/web:http", "services/http:web:http"] {
            let path = format!("/api/v1/namespaces/default/{path}/proxy/");
            assert_eq!(get(port, &path).await, "hello", "1.{}: {path}", self.minor);
        }
    }

    async fn attaches(&self, world: &World) {
        let name = format!("reads-{}", self.minor);
        let script = "echo ready; while read line; do echo got $line; done; echo over";
        world
            .pod(
                &name,
                json!({"restartPolicy": "Never", "containers": [
                    {"command": ["sh", "-c", script], "stdin": true, "stdinOnce": true}]}),
            )
            .await;
        world.until_ready(&name, true).await;
        world.until_log(&name, "ready").await;
        let (_log, mut followed) = self.follow(&["logs", "-f", &name]);
        next_with(&mut followed, "ready").await;
        self.check(&["attach", "-i", &name], "word\n", 0, "got word\nover\n", "").await;
        next_with(&mut followed, "got word").await;
        next_with(&mut followed, "over").await;
        world.until_phase(&name, "Succeeded").await;
    }

    /// Starts a command that goes on; it is killed when dropped.
    fn follow(&self, arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
        let mut child = self.command(arguments).spawn().expect("kubectl starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
        (child, lines)
    }
}

async fn next_with(lines: &mut Lines<BufReader<ChildStdout>>, wanted: &str) -> String {
    let found = async {
        while let Some(line) = lines.next_line().await.expect("stdout can be read") {
            if line.contains(wanted) {
                return line;
            }
        }
        panic!("ended without {wanted:?}");
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no line with {wanted:?}"))
}

/// The body of an answer over HTTP/1.0; empty when the connection is closed without one.
async fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the port can be connected to");
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost:{port}\r\n\r\n");
    // A connection that is closed at once has no answer.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = String::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}
