//! Every snippet of `docs/extending.md` does what the page says.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dask_operator::plugin::webhook::Webhook;
use dask_operator::plugin::{Declaration, Entry, How, Registry, check, config};
use dask_operator::sim::story;
use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/extending.md");

/// The snippet that is the file of this name.
fn snippet(file: &str) -> &'static str {
    let mark = format!(" file={file}\n");
    let (_, rest) = PAGE.split_once(&mark).unwrap_or_else(|| panic!("the page has no {file}"));
    rest.split_once("\n```").expect("a snippet ends").0
}

fn cluster(labels: &Value) -> String {
    let mut cluster = story::cluster("simple", 1);
    cluster["metadata"]["labels"] = labels.clone();
    cluster.to_string()
}

/// What `plugin check` prints about a cluster with these labels, and whether the answer can be used.
async fn checked(entry: &Entry, labels: Value) -> check::Checked {
    let world = check::world(&[cluster(&labels)]).expect("a cluster can be read");
    let parent = world.cache.resources().next().expect("it is known").clone();
    check::ask(&world, entry, &parent).await.expect("it is about clusters")
}

#[test]
fn every_snippet_is_tested_here() {
    let files: Vec<&str> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("```")?.split_once(" file="))
        .map(|(_, file)| file)
        .collect();
    assert_eq!(
        files,
        [
            "plugins.yaml",
            "payer.py",
            "payer.go",
            "payer.yaml",
            "values.yaml",
            "values-outside.yaml",
            "main.rs",
            "lab.yaml",
            "status.rs"
        ]
    );
    let fences = PAGE.lines().filter(|line| line.starts_with("```") && line.len() > 3).count();
    assert_eq!(fences, files.len() + 1, "and the command that `plugins.yaml` is checked with");
}

#[tokio::test]
async fn the_edits_as_data_do_what_they_say() {
    let config =
        config::parse(snippet("plugins.yaml").as_bytes(), Path::new("plugins.yaml")).expect("it is read");
    let plugin = config.plugins.into_iter().next().expect("one plugin");
    let entry = config::entry(plugin, None).expect("it can be");
    let gold = checked(&entry, serde_json::json!({"tier": "gold"})).await;
    assert!(gold.usable, "{}", gold.text);
    for line in [
        "changes service (Service simple-scheduler)",
        "example.org/cluster: default-simple",
        "adds PodDisruptionBudget default/simple-scheduler",
    ] {
        assert!(gold.text.contains(line), "{}", gold.text);
    }
    assert!(checked(&entry, serde_json::json!({})).await.text.contains("changes nothing"));
}

#[test]
fn the_values_are_configurations() {
    for file in ["payer.yaml", "values.yaml", "values-outside.yaml"] {
        let mut values: Value = serde_yaml::from_str(snippet(file)).expect("it is YAML");
        let plugin = values["plugins"][0].as_object_mut().expect("a plugin");
        // What is for Kubernetes alone is taken out by the chart, and this certificate is none.
        for key in ["container", "clientCertificateSecret", "caBundle"] {
            plugin.remove(key);
        }
        let config = config::parse(values.to_string().as_bytes(), Path::new(file)).expect("it is read");
        let mut plugin = config.plugins.into_iter().next().expect("one plugin");
        plugin.url = plugin.url.map(|url| url.replace("https:", "http:"));
        Registry::new(vec![config::entry(plugin, None).expect("it can be")]).expect("it can live");
    }
}

#[test]
fn the_program_in_rust_is_the_example() {
    let example = include_str!("../../examples/own-operator/main.rs");
    let (before, main) = snippet("main.rs").split_once("\n\n").expect("two parts");
    assert!(example.contains(before) && example.contains(main), "{before}\n{main}");
}

#[test]
fn the_kind_of_ones_own_is_the_example() {
    assert_eq!(include_str!("../../examples/own-kind/lab.yaml").trim_end(), snippet("lab.yaml"));
    assert!(include_str!("../../examples/own-kind/src/lab.rs").contains(snippet("status.rs")));
}

/// A process that is killed with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The payers of the page, in whatever language, do the same.
async fn check_payer(mut command: Command) {
    let started = command.arg("0").stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let mut server = Server(started.expect("it can be started"));
    let mut line = String::new();
    let output = server.0.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("it says its port");
    let url = format!("http://127.0.0.1:{}/", line.trim());
    let webhook = Webhook::new(&url, Duration::from_secs(30), None).expect("a good URL");
    let declaration = Declaration::new("payer").adds("v1", "ConfigMap", "configmaps");
    let entry = Entry { declaration, how: How::Webhook(webhook.into()) };
    let paid = checked(&entry, serde_json::json!({"payer": "physics"})).await;
    assert!(paid.usable, "{}", paid.text);
    for line in
        ["example.org/payer: physics", "adds ConfigMap default/simple-address", "tcp://simple-scheduler:8786"]
    {
        assert!(paid.text.contains(line), "{}", paid.text);
    }
    let unpaid = checked(&entry, serde_json::json!({})).await;
    assert!(unpaid.text.contains("it vetoes: PayerMissing: set the label payer"), "{}", unpaid.text);
}

/// Whether a program can be run here; where not, the test says that it is skipped.
fn is_there(program: &str, version: &str) -> bool {
    let there = Command::new(program).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = there.is_ok_and(|status| status.success());
    if !there {
        println!("skipped: there is no {program}");
    }
    there
}

#[tokio::test]
async fn the_webhook_in_python_does_what_it_says() {
    if !is_there("python3", "--version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("payer.py");
    std::fs::write(&path, snippet("payer.py")).expect("it is written");
    let mut command = Command::new("python3");
    command.arg(&path);
    check_payer(command).await;
}

#[tokio::test]
async fn the_webhook_in_go_does_what_it_says() {
    if !is_there("go", "version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (path, program) = (folder.path().join("payer.go"), folder.path().join("payer"));
    std::fs::write(&path, format!("{}\n", snippet("payer.go"))).expect("it is written");
    // Built and not run by `go run`, whose child would outlive it.
    let mut build = Command::new("go");
    build.args(["build", "-o"]).args([&program, &path]).env("GOPROXY", "off").env("GOTOOLCHAIN", "local");
    assert!(build.status().expect("go can be run").success(), "it does not compile");
    check_payer(Command::new(program)).await;
}
