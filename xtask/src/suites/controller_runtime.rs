//! controller-runtime, the library in Go that most operators are made with: its tests that need an API server.
//!
//! Each of its packages starts one of its own, as its users' tests do: envtest runs `etcd` and `kube-apiserver` from a folder, and here
//! these are ours (`suites/controller-runtime/assets`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e::process::Running;
use serde::Deserialize;

use super::cluster::kubectl;
use super::ledger::{Ending, Results, worsen};
use super::{Run, Suite, data};
use crate::{shell, tools};

pub(super) const NAME: &str = "controller-runtime";
pub(super) const VERSION: &str = "v0.25.2";

const MODULE: &str = "sigs.k8s.io/controller-runtime";
/// The packages whose tests start an API server.
const PACKAGES: [&str; 17] = [
    "builder",
    "cache",
    "client",
    "client/apiutil",
    "cluster",
    "controller",
    "controller/controllerutil",
    "envtest",
    "handler",
    "internal/controller",
    "internal/recorder",
    "manager",
    "manager/internal/integration",
    "metrics/filters",
    "reconcile",
    "source",
    "webhook",
];
/// The longest takes two minutes on a quiet machine.
const PACKAGE_MAX: Duration = Duration::from_mins(20);

/// What `go mod download` says, as far as it is of use.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Module {
    dir: Option<PathBuf>,
    error: Option<String>,
}

/// What Ginkgo reports of one suite, as far as it is of use.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    spec_reports: Option<Vec<Spec>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_type: String,
    leaf_node_text: String,
    state: String,
    failure: Option<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    message: String,
}

/// Go, with which its tests are built.
pub(super) fn lacks(_: &Suite) -> Option<&'static str> {
    (!tools::has_go()).then_some("there is no Go to build its tests with")
}

pub(super) fn run(run: &Run<'_>) -> Result<Results> {
    let source = source(run.cache)?;
    let assets = assets(run.cache)?;
    let mut results = Results::new();
    for package in PACKAGES {
        let program = build(run.cache, &source, package)?;
        let found = play(run, &source, &assets, package, &program)?;
        for (test, ending) in &found {
            if let Ending::Failed(why) = ending {
                println!("FAILED {test}\n    {why}");
            }
        }
        let passed = found.values().filter(|ending| **ending == Ending::Passed).count();
        println!("{package}: {passed} of {} passed", found.len());
        worsen(&mut results, found);
    }
    Ok(results)
}

/// Where Go has put the module that it fetched.
fn source(cache: &Path) -> Result<PathBuf> {
    let output = go(cache)
        .args(["mod", "download", "-json", &format!("{MODULE}@{VERSION}")])
        .output()
        .context("cannot start go")?;
    let module: Module =
        serde_json::from_slice(&output.stdout).context("go mod download says something else")?;
    match module {
        Module { dir: Some(dir), error: None } => Ok(dir),
        Module { error, .. } => bail!("go cannot fetch {MODULE}: {}", error.unwrap_or_default().trim()),
    }
}

/// Go as it is set up by its users, but for what would have it write into the modules that it fetched.
fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(folder).env_remove("GOFLAGS");
    command
}

/// A folder with what envtest starts.
fn assets(cache: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::symlink;
    let folder = cache.join("assets");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let ours = std::path::absolute(data(NAME).join("assets"))?;
    let programs = [
        ("etcd", ours.join("etcd")),
        ("kube-apiserver", ours.join("kube-apiserver")),
        ("kubectl", kubectl()?),
    ];
    for (name, program) in programs {
        let link = folder.join(name);
        let _ = std::fs::remove_file(&link);
        symlink(program, &link).with_context(|| format!("cannot make {}", link.display()))?;
    }
    Ok(folder)
}

/// The test program of a package.
fn build(cache: &Path, source: &Path, package: &str) -> Result<PathBuf> {
    let program = cache.join("tests").join(format!("{}.test", package.replace('/', "-")));
    let mut command = go(source);
    command.args(["test", "-c", "-o"]).arg(&program).arg(format!("./pkg/{package}"));
    shell::run(&mut command)?;
    Ok(program)
}

/// How each test of a package ended.
fn play(run: &Run<'_>, source: &Path, assets: &Path, package: &str, program: &Path) -> Result<Results> {
    let report = program.with_extension("json");
    let log = program.with_extension("log");
    let _ = std::fs::remove_file(&report);
    let mut command = Command::new(program);
    command
        .current_dir(source.join("pkg").join(package))
        // In the same order each time.
        .args(["-test.v", "-ginkgo.no-color", "-ginkgo.seed=1", "-ginkgo.json-report"])
        .arg(&report)
        .env("KUBEBUILDER_ASSETS", assets)
        .env("KUBEBUILDER_CONTROLPLANE_START_TIMEOUT", "60s")
        .env("FAKE_APISERVER", std::path::absolute(shell::program("fake-apiserver"))?);
    if run.kubeconfig.is_some() {
        command.env("USE_EXISTING_CLUSTER", "true").env("KUBECONFIG", &run.cluster()?.kubeconfig);
    }
    let ended = Running::start(&mut command, &log)?.finish(PACKAGE_MAX)?;
    let said = std::fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let mut results = tests(&said);
    if let Ok(text) = std::fs::read_to_string(&report) {
        worsen(&mut results, specs(&text)?);
    }
    let failed = results.values().any(|ending| matches!(ending, Ending::Failed(_)));
    if !failed && !ended.is_some_and(|status| status.success()) {
        let why = ended.map_or_else(|| "it took too long".to_owned(), |status| status.to_string());
        results.insert("its end".to_owned(), Ending::Failed(format!("{why}; see {}", log.display())));
    }
    let named = |test: String| format!("{package}: {test}");
    let wanted = |test: &String| run.filter.is_none_or(|part| test.contains(part));
    Ok(results
        .into_iter()
        .map(|(test, ending)| (named(test), ending))
        .filter(|(test, _)| wanted(test))
        .collect())
}

/// The specs of Ginkgo's report, and what failed around them.
fn specs(report: &str) -> Result<Results> {
    let reports: Vec<Report> = serde_json::from_str(report).context("this is no report of Ginkgo's")?;
    let mut results = Results::new();
    for spec in reports.into_iter().filter_map(|report| report.spec_reports).flatten() {
        let message = spec.failure.map(|failure| failure.message).unwrap_or_default();
        let why = plain(&message);
        let ending = match spec.state.as_str() {
            "passed" => Ending::Passed,
            "skipped" | "pending" => Ending::Skipped(why),
            state => Ending::Failed(format!("{state}: {why}")),
        };
        if spec.leaf_node_type != "It" && ending == Ending::Passed {
            continue;
        }
        let mut words = spec.container_hierarchy_texts.unwrap_or_default();
        let text = if spec.leaf_node_text.is_empty() { spec.leaf_node_type } else { spec.leaf_node_text };
        words.push(text);
        worsen(&mut results, [(plain(&words.join(" ")), ending)].into());
    }
    Ok(results)
}

/// The tests of Go itself in what a program says, but for those that only begin Ginkgo.
fn tests(said: &str) -> Results {
    let mut begun: BTreeMap<&str, bool> = BTreeMap::new();
    let mut results = Results::new();
    let mut current = "";
    for line in said.lines() {
        if let Some(name) = line.strip_prefix("=== RUN   ") {
            current = name;
        } else if line.starts_with("Running Suite: ") {
            begun.insert(current, true);
        }
        let line = line.trim_start();
        let ended = line.strip_prefix("--- ").and_then(|rest| rest.split_once(": "));
        let Some((how, name)) = ended else { continue };
        let name = name.rsplit_once(" (").map_or(name, |(name, _)| name);
        let ending = match how {
            "PASS" => Ending::Passed,
            "SKIP" => Ending::Skipped(String::new()),
            "FAIL" => Ending::Failed("its log says why".to_owned()),
            _ => continue,
        };
        if !begun.contains_key(name) {
            results.insert(name.to_owned(), ending);
        }
    }
    results
}

/// On one line, with one blank for many.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_have_the_names_of_what_is_around_them() {
        let report = r#"[{"SpecReports": [
            {"ContainerHierarchyTexts": null, "LeafNodeType": "BeforeSuite", "LeafNodeText": "", "State": "passed"},
            {"ContainerHierarchyTexts": ["Client", "Get"], "LeafNodeType": "It", "LeafNodeText": "reads", "State": "passed"},
            {"ContainerHierarchyTexts": ["Client"], "LeafNodeType": "It", "LeafNodeText": "lists", "State": "failed",
             "Failure": {"Message": "Expected\n    0"}},
            {"ContainerHierarchyTexts": ["Client"], "LeafNodeType": "It", "LeafNodeText": "waits", "State": "pending"},
            {"ContainerHierarchyTexts": [], "LeafNodeType": "AfterSuite", "LeafNodeText": "", "State": "failed",
             "Failure": {"Message": "no"}}]}]"#;
        let results = specs(report).unwrap();
        let names: Vec<&str> = results.keys().map(String::as_str).collect();
        assert_eq!(names, ["AfterSuite", "Client Get reads", "Client lists", "Client waits"]);
        assert_eq!(results["Client lists"], Ending::Failed("failed: Expected 0".into()));
        assert_eq!(results["Client waits"], Ending::Skipped(String::new()));
    }

    #[test]
    fn tests_of_go_count_and_those_that_begin_ginkgo_do_not() {
        let said = "=== RUN   TestSource\nRunning Suite: Source Suite - /source\n--- PASS: TestSource (1.00s)\n\
                    === RUN   TestMapper\n=== RUN   TestMapper/one\n    --- FAIL: TestMapper/one (0.1s)\n\
                    --- FAIL: TestMapper (0.1s)\n=== RUN   TestOther\n--- SKIP: TestOther (0.0s)\n";
        let results = tests(said);
        let names: Vec<&str> = results.keys().map(String::as_str).collect();
        assert_eq!(names, ["TestMapper", "TestMapper/one", "TestOther"]);
        assert_eq!(results["TestOther"], Ending::Skipped(String::new()));
    }
}
