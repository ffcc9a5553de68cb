//! kube, the client in Rust that this project uses too: the tests of its published crates that need a cluster.
//!
//! They are those that an ordinary run leaves out. Publishing leaves out that crates of one workspace use each other in their tests; that is put
//! back into the copies' manifests, and nothing else is changed. One of them needs OpenSSL.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e::process::Running;
use serde::Deserialize;

use super::ledger::{Ending, Results};
use super::{Run, Suite, data};
use crate::shell;

pub(super) const NAME: &str = "kube-rs";
pub(super) const VERSION: &str = "5.0.0";

/// The workspace's crates.
const CRATES: [&str; 5] = ["kube", "kube-client", "kube-core", "kube-derive", "kube-runtime"];
/// Those that have tests that need a cluster.
const TESTED: [&str; 3] = ["kube", "kube-client", "kube-runtime"];
/// What those tests ask for.
const FEATURES: &str = "kube/derive,kube/runtime,kube/ws,kube-client/rustls-tls,kube-client/openssl-tls,kube-client/ws,\
                        kube-client/kubelet-debug";
/// What publishing took from manifests.
const TEST_DEPENDENCIES: [(&str, &str); 2] = [
    (
        "kube-client",
        "\n[dev-dependencies.kube]\npath = \"../kube\"\nfeatures = [\"derive\", \"client\", \"ws\"]\n",
    ),
    (
        "kube-runtime",
        "\n[dev-dependencies.kube]\npath = \"../kube\"\nfeatures = [\"derive\", \"client\", \"runtime\"]\n",
    ),
];
/// The tests' own limits are at most 15 s for each of a few steps.
const TEST_MAX: Duration = Duration::from_mins(2);

/// What `cargo metadata` says, as far as it is of use.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
}

/// What cargo says of what it has built, as far as it is of use.
#[derive(Deserialize)]
struct Built {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// OpenSSL, which one test of its client makes its connection with.
pub(super) fn lacks(_: &Suite) -> Option<&'static str> {
    let there = Command::new("pkg-config")
        .args(["--exists", "openssl"])
        .status()
        .is_ok_and(|status| status.success());
    (!there).then_some("OpenSSL's headers and pkg-config are not installed (libssl-dev, pkg-config)")
}

pub(super) fn run(run: &Run<'_>) -> Result<Results> {
    let workspace = workspace(run.cache)?;
    let mut results = Results::new();
    for (name, program) in build(&workspace)? {
        for test in tests(&program)? {
            let full = format!("{name} {test}");
            if run.filter.is_some_and(|part| !full.contains(part)) {
                continue;
            }
            let ending = play(run, &program, &test)?;
            println!("{} {full}", if ending == Ending::Passed { "passed " } else { "FAILED " });
            if let Ending::Failed(why) = &ending {
                println!("    {why}");
            }
            results.insert(full, ending);
        }
    }
    Ok(results)
}

/// A workspace of the published crates below `cache`.
fn workspace(cache: &Path) -> Result<PathBuf> {
    let folder = cache.join("workspace");
    if !folder.exists() {
        // Made beside and moved, so that a half-made one is never used.
        let half = cache.join("half");
        let _ = std::fs::remove_dir_all(&half);
        for (name, source) in sources(cache)? {
            copy(&source, &half.join(&name))?;
            let added = TEST_DEPENDENCIES.iter().find(|(to, _)| *to == name).map_or("", |(_, text)| text);
            let manifest = half.join(name).join("Cargo.toml");
            let text = std::fs::read_to_string(&manifest)? + added;
            std::fs::write(&manifest, text)
                .with_context(|| format!("cannot write {}", manifest.display()))?;
        }
        std::fs::rename(&half, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for (name, file) in [("Cargo.toml", "workspace.toml"), ("Cargo.lock", "workspace.lock")] {
        std::fs::copy(data(NAME).join(file), folder.join(name))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    Ok(folder)
}

/// Where cargo has put the crates that it fetched.
fn sources(cache: &Path) -> Result<Vec<(String, PathBuf)>> {
    let asking = cache.join("fetch");
    std::fs::create_dir_all(&asking).with_context(|| format!("cannot make {}", asking.display()))?;
    let wanted: Vec<String> = CRATES.iter().map(|name| format!("{name} = \"={VERSION}\"")).collect();
    let wanted = wanted.join("\n");
    std::fs::write(
        asking.join("Cargo.toml"),
        format!(
            "[package]\nname = \"fetch\"\n[workspace]\n[lib]\npath = \"lib.rs\"\n[dependencies]\n{wanted}"
        ),
    )?;
    std::fs::write(asking.join("lib.rs"), "")?;
    let output = shell::cargo(&["metadata", "--format-version", "1"])
        .current_dir(&asking)
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo cannot fetch kube {VERSION}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata says something else")?;
    CRATES
        .iter()
        .map(|name| {
            let package =
                metadata.packages.iter().find(|package| package.name == *name && package.version == VERSION);
            let folder = package.and_then(|package| package.manifest_path.parent());
            Ok((
                (*name).to_owned(),
                folder.with_context(|| format!("cargo has not fetched {name}"))?.to_owned(),
            ))
        })
        .collect()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)
                .with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}

/// The crates' test programs, by the crates' names.
fn build(workspace: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut arguments =
        vec!["test", "--lib", "--no-run", "--locked", "--message-format", "json", "--features", FEATURES];
    arguments.extend(TESTED.iter().flat_map(|name| ["--package", name]));
    let mut command = shell::cargo(&arguments);
    // A target folder of its own, whatever this project's is.
    command.current_dir(workspace).env("CARGO_TARGET_DIR", workspace.join("target"));
    let output = command.stderr(std::process::Stdio::inherit()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("kube's tests cannot be built");
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let mut programs = Vec::new();
    for line in said.lines().filter(|line| line.starts_with('{')) {
        let built: Built = serde_json::from_str(line).context("cargo says something else")?;
        if let (Some(target), Some(program)) = (built.target, built.executable) {
            programs.push((target.name.replace('_', "-"), program));
        }
    }
    programs.sort();
    Ok(programs)
}

/// The names of a program's tests that need a cluster.
fn tests(program: &Path) -> Result<Vec<String>> {
    let output = Command::new(program)
        .args(["--list", "--ignored", "--format", "terse"])
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// Runs one test, in a process of its own.
fn play(run: &Run<'_>, program: &Path, test: &str) -> Result<Ending> {
    let log = run.cache.join("test.log");
    let mut command = Command::new(program);
    command
        .args(["--ignored", "--exact", test])
        .env("KUBECONFIG", &run.cluster()?.kubeconfig)
        .env("RUST_BACKTRACE", "0");
    let ended = Running::start(&mut command, &log)?.finish(TEST_MAX)?;
    let said = std::fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(judge(ended.map(|status| status.success()), &said))
}

/// How a test ended: whether it succeeded, if it ended at all, and what it said.
fn judge(success: Option<bool>, said: &str) -> Ending {
    match success {
        Some(true) => Ending::Passed,
        None => Ending::Failed(format!("it took longer than {} s", TEST_MAX.as_secs())),
        Some(false) => {
            let mut lines = said.lines().map(str::trim);
            let panic = |line: &&str| line.contains(" panicked at ");
            let why = lines
                .clone()
                .find(|line| line.starts_with("Error: "))
                .or_else(|| lines.find(panic).and_then(|_| lines.next()));
            Ending::Failed(why.unwrap_or("it says nothing").to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_its_error_or_its_panic() {
        let failed = |why: &str| Ending::Failed(why.to_owned());
        assert_eq!(judge(Some(true), "Error: of another"), Ending::Passed);
        assert_eq!(judge(Some(false), "running 1 test\n\nError: Timeout\n"), failed("Error: Timeout"));
        let panic = "thread 'a' (7) panicked at src/lib.rs:1:2:\nassertion failed\nnote: run with";
        assert_eq!(judge(Some(false), panic), failed("assertion failed"));
        assert_eq!(judge(Some(false), ""), failed("it says nothing"));
        assert_eq!(judge(None, ""), failed("it took longer than 120 s"));
    }
}
