//! Commands and what they printed on a real control plane.
//!
//! `golden.yaml` has the commands, `recorded/1.MINOR.json` what kubectl of that version said; `cargo xtask record kubectl`
//! makes it. `known/1.MINOR.txt` lists the commands that still print something else here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::kubectl::Kubectl;
use crate::normal::normal;

/// The namespace of all commands.
pub(crate) const NAMESPACE: &str = "golden";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    run: String,
    /// Which of the manifests is its standard input.
    input: Option<String>,
}

/// What a command has said, in the form in which two clusters can agree.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Said {
    run: String,
    code: i32,
    out: Vec<String>,
    err: Vec<String>,
}

fn file(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kubectl")).join(name)
}

async fn play(kubectl: &Kubectl) -> Vec<Said> {
    let commands: Vec<Command> = serde_yaml::from_str(include_str!("golden.yaml")).unwrap();
    let manifests: BTreeMap<String, String> = serde_yaml::from_str(include_str!("manifests.yaml")).unwrap();
    kubectl.ok(&format!("create namespace {NAMESPACE}")).await;
    kubectl.ok("wait serviceaccount/default --for=jsonpath={.metadata.name}=default --timeout=30s").await;
    let mut all = Vec::new();
    for command in commands {
        let input = command.input.as_ref().map_or("", |name| &manifests[name]);
        let (code, out, err) = kubectl.said(&command.run, input).await;
        all.push(Said { run: command.run, code, out: normal(&out), err: normal(&err) });
    }
    kubectl.ok(&format!("delete namespace {NAMESPACE}")).await;
    all
}

/// Writes down what the commands say on a real cluster.
pub(crate) async fn record(kubectl: &Kubectl) {
    let lines: Vec<String> =
        play(kubectl).await.iter().map(|said| serde_json::to_string(said).unwrap()).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    std::fs::write(file(&format!("recorded/1.{}.json", kubectl.minor)), text).unwrap();
}

/// The commands say what they said on a real cluster.
pub(crate) async fn compare(kubectl: &Kubectl) {
    let recorded = std::fs::read_to_string(file(&format!("recorded/1.{}.json", kubectl.minor)));
    let Ok(recorded) = recorded else {
        println!("skipped: nothing is recorded for kubectl 1.{}", kubectl.minor);
        return;
    };
    let real: Vec<Said> = serde_json::from_str(&recorded).unwrap();
    let ours = play(kubectl).await;
    let commands = |all: &[Said]| all.iter().map(|said| said.run.clone()).collect::<Vec<_>>();
    assert_eq!(commands(&real), commands(&ours), "record again");
    let different: Vec<(String, String)> = real
        .iter()
        .zip(&ours)
        .enumerate()
        .filter(|(_, (real, ours))| real != ours)
        .map(|(number, (real, ours))| (format!("{number} {}", real.run), format!("{real:#?}\n{ours:#?}")))
        .collect();
    hold(&file(&format!("known/1.{}.txt", kubectl.minor)), &different);
}

/// The differences are those that the file names, each below the reason why it stays.
fn hold(file: &Path, different: &[(String, String)]) {
    let known = std::fs::read_to_string(file).unwrap_or_default();
    assert!(known.is_empty() || known.starts_with("# "), "{}: say why, in a line `# …`", file.display());
    let known: Vec<&str> = known.lines().filter(|line| !line.starts_with("# ")).collect();
    let new: Vec<&str> = different
        .iter()
        .filter(|(command, _)| !known.contains(&command.as_str()))
        .map(|(_, difference)| difference.as_str())
        .collect();
    assert!(new.is_empty(), "{} commands say something else\n{}", new.len(), new.join("\n"));
    let gone: Vec<&&str> =
        known.iter().filter(|command| !different.iter().any(|(other, _)| other == **command)).collect();
    assert!(gone.is_empty(), "no longer different; remove them from {}: {gone:#?}", file.display());
}
