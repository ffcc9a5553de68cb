//! Runs each test in a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use fake_apiserver::kubelet::enter_node_namespaces;
use futures::future::BoxFuture;

use crate::world::World;
use crate::{kubectl, pods, services, streams};

/// A test's body.
pub(crate) type Body = fn(World) -> BoxFuture<'static, ()>;

/// Exit code of a test that cannot run here.
const SKIPPED: i32 = 77;
/// A test that hangs must fail; on two busy cores none takes a fifth of it.
const TEST_MAX: Duration = Duration::from_mins(3);
/// Who runs the tests without privileges.
const NOBODY: &str = "65534";

fn tests() -> Vec<(&'static str, Body)> {
    [pods::TESTS, services::TESTS, streams::TESTS, kubectl::TESTS].concat()
}

/// Lists, runs one, or runs all.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["run-one", name] => run_one(name),
        words if words.contains(&"--list") => {
            for case in cases() {
                println!("{}: test", case.name());
            }
            ExitCode::SUCCESS
        }
        words => {
            let filter = words.iter().find(|word| !word.starts_with('-')).copied();
            run_all(filter.unwrap_or_default())
        }
    }
}

fn run_one(name: &str) -> ExitCode {
    let Some((_, body)) = tests().into_iter().find(|(test, _)| *test == name) else {
        println!("there is no test {name}");
        return ExitCode::FAILURE;
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let network = match enter_node_namespaces() {
        Ok(network) => network,
        Err(why) => {
            println!("{why}");
            return ExitCode::from(SKIPPED as u8);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let world = World::start(network).await;
        tokio::time::timeout(TEST_MAX, body(world.clone())).await.expect("the test is over in time");
        world.nothing_is_left().await;
    });
    ExitCode::SUCCESS
}

#[derive(Clone, Copy)]
struct Case {
    test: &'static str,
    privileged: bool,
}

impl Case {
    fn name(self) -> String {
        format!("{}::{}", if self.privileged { "root" } else { "user" }, self.test)
    }

    /// As a shell starts what runs in the background: interrupts are ignored, which pods must not inherit.
    fn run(self, binary: &Path) -> std::io::Result<Output> {
        let mut command = Command::new("sh");
        command.args(["-c", r#"trap "" INT QUIT; exec "$@""#, "sh"]);
        if nix_is_root() && !self.privileged {
            command.args(["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        }
        command.arg(binary);
        command.args(["run-one", self.test]).current_dir("/").output()
    }
}

fn nix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

fn cases() -> Vec<Case> {
    let kinds: &[bool] = if nix_is_root() { &[true, false] } else { &[false] };
    let with = |privileged: &bool| {
        let privileged = *privileged;
        tests().into_iter().map(move |(test, _)| Case { test, privileged })
    };
    kinds.iter().flat_map(with).collect()
}

/// A copy of this binary that every user can read.
fn readable_copy(directory: &Path) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))?;
    let copy = directory.join("kubelet-test");
    std::fs::copy(std::env::current_exe()?, &copy)?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

fn run_all(filter: &str) -> ExitCode {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let binary = readable_copy(directory.path()).expect("this binary can be copied");
    let (mut passed, mut skipped, mut failed) = (0, 0, Vec::new());
    for case in cases().into_iter().filter(|case| case.name().contains(filter)) {
        let name = case.name();
        let output = case.run(&binary).expect("the test's process starts");
        let said = String::from_utf8_lossy(&output.stdout);
        match output.status.code() {
            Some(0) => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Some(SKIPPED) => {
                skipped += 1;
                println!("test {name} ... ignored, {}", said.trim());
            }
            _ => {
                println!("test {name} ... FAILED");
                let errors = String::from_utf8_lossy(&output.stderr).into_owned();
                println!("---- {name} ----\n{said}\n{errors}");
                failed.push(name);
            }
        }
    }
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    let count = failed.len();
    println!(
        "\ntest result: {result}. {passed} passed; {count} failed; {skipped} ignored; 0 measured; 0 filtered out"
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
