//! One kubectl with a server of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use fake_apiserver::face::kubeconfig::Kubeconfig;
use fake_apiserver::face::serve::serve;
use fake_apiserver::face::tls::Identity;
use fake_apiserver::face::{Authentication, HttpService, Server};
use fake_apiserver::request::User;
use fake_apiserver::server::Config;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};

/// Longer than any command here takes; a hanging one fails the test by name.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Kubectl {
    program: PathBuf,
    pub(crate) minor: u16,
    home: tempfile::TempDir,
}

impl Kubectl {
    /// `kubectl.1.{minor}` on PATH or in the folder `kubectl` really lives in.
    pub(crate) fn find(minor: u16) -> Option<PathBuf> {
        let path = std::env::var_os("PATH")?;
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let real = folders.iter().find_map(|folder| folder.join("kubectl").canonicalize().ok());
        folders.extend(real.as_deref().and_then(Path::parent).map(Path::to_owned));
        folders
            .into_iter()
            .map(|folder| folder.join(format!("kubectl.1.{minor}")))
            .find(|program| program.is_file())
    }

    /// Points kubectl at a cluster that is there.
    pub(crate) fn at(program: PathBuf, minor: u16, kubeconfig: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::copy(kubeconfig, home.path().join("kubeconfig")).unwrap();
        Self { program, minor, home }
    }

    /// Starts a server and points kubectl at it; everything ends with the test.
    pub(crate) async fn start(program: PathBuf, minor: u16, config: Config) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let identity = Identity::new(&[IpAddr::from(Ipv4Addr::LOCALHOST)]).unwrap();
        let server = Server::new(config);
        let known = Authentication::default().certificate(identity.client_der.clone(), User::default());
        let service = HttpService::new(server.clone(), Some(known));
        let home = tempfile::tempdir().unwrap();
        Kubeconfig::secure(format!("https://{address}"), &identity)
            .write(&home.path().join("kubeconfig"))
            .unwrap();
        let acceptor = identity.acceptor().unwrap();
        tokio::spawn(async move { server.run().await });
        tokio::spawn(serve(listener, service, Some(acceptor), std::future::pending()));
        Self { program, minor, home }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words(line))
            .current_dir(self.home.path())
            .env("KUBECONFIG", self.home.path().join("kubeconfig"))
            .env("HOME", self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn output(&self, line: &str, input: &str) -> Output {
        let mut child = self.command(line).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let finished = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        finished.unwrap_or_else(|_| panic!("1.{}: kubectl {line}: still running", self.minor)).unwrap()
    }

    /// Makes another namespace the one of commands that name none.
    pub(crate) async fn enter(&self, namespace: &str) {
        self.ok(&format!("config set-context --current --namespace={namespace}")).await;
    }

    /// Runs a command: exit code and both outputs.
    pub(crate) async fn said(&self, line: &str, input: &str) -> (i32, String, String) {
        let output = self.output(line, input).await;
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Runs a command that has to succeed; answers what it prints.
    pub(crate) async fn ok(&self, line: &str) -> String {
        self.ok_with(line, "").await
    }

    /// The same with standard input.
    pub(crate) async fn ok_with(&self, line: &str, input: &str) -> String {
        let output = self.output(line, input).await;
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "1.{}: kubectl {line}: {}\n{out}\n{error}",
            self.minor,
            output.status
        );
        out
    }

    /// Asserts that a command ends with exit code 1 and prints the text, on either stream.
    pub(crate) async fn refuses(&self, line: &str, input: &str, wanted: &str) {
        let output = self.output(line, input).await;
        let all = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "1.{}: kubectl {line}\n{all}", self.minor);
        assert!(all.contains(wanted), "1.{}: kubectl {line}: no {wanted:?} in\n{all}", self.minor);
    }

    /// Asserts that a command succeeds and prints each of the texts.
    pub(crate) async fn says(&self, line: &str, texts: &[&str]) {
        self.says_to(line, "", texts).await;
    }

    /// The same with standard input.
    pub(crate) async fn says_to(&self, line: &str, input: &str, texts: &[&str]) {
        let out = self.ok_with(line, input).await;
        for wanted in texts {
            assert!(out.contains(wanted), "1.{}: kubectl {line}: no {wanted:?} in\n{out}", self.minor);
        }
    }

    /// Starts a command that goes on.
    pub(crate) fn follow(&self, line: &str) -> Following {
        let mut child = self.command(line).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Following { child, lines, what: format!("1.{}: kubectl {line}", self.minor) }
    }
}

/// A command that goes on; killed when dropped.
pub(crate) struct Following {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    what: String,
}

impl Following {
    /// Waits for a line with all of the texts.
    pub(crate) async fn line_with(&mut self, texts: &[&str]) -> String {
        let found = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if texts.iter().all(|wanted| line.contains(wanted)) {
                    return line;
                }
            }
            panic!("{}: ended without {texts:?}", self.what);
        });
        found.await.unwrap_or_else(|_| panic!("{}: no line with {texts:?}", self.what))
    }

    /// Waits for the end of the command.
    pub(crate) async fn ends(mut self) {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        assert!(
            ended.unwrap_or_else(|_| panic!("{}: does not end", self.what)).unwrap().success(),
            "{}",
            self.what
        );
    }
}

/// A command line in words; single quotes keep blanks together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
