//! `dask-operator plugin check`, as it is called: what it prints, and how it ends.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// How it ended, and what it said.
struct Said {
    code: i32,
    text: String,
}

fn check(arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dask-operator"));
    let output = command.args(["plugin", "check"]).args(arguments).output().expect("it can be run");
    let text = [output.stdout, output.stderr].concat();
    Said { code: output.status.code().unwrap_or(-1), text: String::from_utf8_lossy(&text).into_owned() }
}

fn check_says(arguments: &[&str], code: i32, lines: &[&str]) {
    let said = check(arguments);
    assert_eq!(said.code, code, "{}", said.text);
    for line in lines {
        assert!(said.text.contains(line), "{line:?} is not in\n{}", said.text);
    }
}

/// A plugin that answers everything with this.
async fn answering(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    server
}

fn body(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

/// A file of this text in a folder.
fn file(folder: &Path, text: &str) -> String {
    let path = folder.join("plugins.yaml");
    std::fs::write(&path, text).expect("it is written");
    path.display().to_string()
}

#[tokio::test]
async fn a_url_is_shown_every_sample_and_what_it_adds_is_to_be_declared() {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note"}});
    let server = answering(body(json!({"edits": [{"op": "add", "object": map}]}))).await;
    check_says(
        &[&server.uri()],
        0,
        &[
            "plugin plugin, DaskCluster default/simple:",
            "plugin plugin, DaskJob default/",
            "  adds ConfigMap default/note:",
            "  to be declared as its kinds (check the plurals):",
            "plural: configmaps",
        ],
    );
}

#[tokio::test]
async fn what_cannot_be_used_is_said_with_what_to_do() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("http://{}/", listener.local_addr().expect("an address"));
    drop(listener);
    let unreachable = ["Unreachable: 127.0.0.1:", "cannot be reached", "whether the plugin runs there"];
    check_says(&[&nobody], 1, &unreachable);

    let page = answering(ResponseTemplate::new(200).set_body_string("<html>")).await;
    check_says(
        &[&page.uri()],
        1,
        &[
            "Malformed: the answer of",
            "a change is {\"edits\": […], \"conditions\": […]}",
            "it begins: <html>",
        ],
    );

    let misspelt =
        answering(body(json!({"edits": [{"op": "merge", "child": "services", "patch": {}}]}))).await;
    check_says(&[&misspelt.uri()], 1, &["edits[0]", "unknown variant `services`", "`service`"]);

    let missing = answering(ResponseTemplate::new(404).set_body_string("no such page")).await;
    check_says(&[&missing.uri()], 1, &["answered 404: no such page", "the path of its url"]);

    let broken = answering(ResponseTemplate::new(500).set_body_string("KeyError: 'payer'")).await;
    check_says(&[&broken.uri()], 1, &["answered 500: KeyError: 'payer'", "its log"]);

    let label = json!({"metadata": {"labels": {"dask.org/cluster-name": "other"}}});
    let identity =
        answering(body(json!({"edits": [{"op": "merge", "child": "service", "patch": label}]}))).await;
    check_says(
        &[&identity.uri()],
        1,
        &[
            "its answer would be refused: /metadata/labels of service may not be changed: by it the operator knows the child",
        ],
    );

    let slow = answering(body(json!({})).set_delay(Duration::from_mins(5))).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path =
        file(folder.path(), &format!("plugins: [{{name: slow, url: '{}', timeout: 200ms}}]", slow.uri()));
    check_says(
        &[&path],
        1,
        &["TimedOut: 127.0.0.1:", "did not answer within 0.2 s", "a longer `timeout`, at most 30s"],
    );
}

#[test]
fn a_configuration_is_checked_with_its_rights() {
    let folder = tempfile::tempdir().expect("a folder");
    let kinds = "kinds: [{apiVersion: v1, kind: ConfigMap, plural: configmaps}]";
    let add =
        "edits: [{op: add, object: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${name}-note'}}}]";
    let good = file(folder.path(), &format!("plugins: [{{name: notes, {kinds}, {add}}}]"));
    check_says(
        &[&good],
        0,
        &[
            "  adds ConfigMap default/simple-note:",
            "the operator needs these rights for them:\n  configmaps (core): get, list, watch, create, patch, delete",
        ],
    );
    let undeclared = file(folder.path(), &format!("plugins: [{{name: notes, {add}}}]"));
    check_says(
        &[&undeclared],
        1,
        &["ConfigMap simple-note: the plugin has not declared that it adds ConfigMap (v1)"],
    );
    let leaving = file(folder.path(), &format!("plugins: [{{name: notes, removed: true, {kinds}, {add}}}]"));
    check_says(
        &[&leaving],
        0,
        &["plugin notes is not asked any more, and what it added of its kinds is taken back"],
    );
}

#[test]
fn a_configuration_that_cannot_be_is_said_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = file(folder.path(), "plugins: [{name: notes, edit: []}]");
    check_says(&[&wrong], 2, &["plugins.yaml is not a list of plugins: plugins[0]", "unknown field `edit`"]);
    check_says(&["/nowhere/plugins.yaml"], 2, &["cannot read /nowhere/plugins.yaml"]);
    check_says(&["http:///"], 2, &["url"]);
    check_says(&["https://plugin.example/"], 2, &["--ca"]);
}

#[test]
fn what_is_easily_mistaken_is_said_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = |text: &str, line: &str| check_says(&[&file(folder.path(), text)], 2, &[line]);
    said("- {name: notes, edits: []}", "the list belongs under the key `plugins`");
    said("plugins: {name: notes}", "plugins: invalid type: map, expected a sequence");
    said(
        "plugins: [notes]",
        "plugins[0]: invalid type: string \"notes\", expected a plugin: an object with a name",
    );
    let url = "url: 'http://127.0.0.1:1/'";
    said(
        &format!("plugins: [{{name: notes, {url}, timeout: 2}}]"),
        "a time has a unit, such as 2s, and not 2",
    );
    said(
        &format!("plugins: [{{name: notes, {url}, kinds: [ConfigMap]}}]"),
        "expected a kind: an object of apiVersion",
    );
    said(
        &format!("plugins: [{{name: notes, {url}, container: {{}}}}]"),
        "that is a value of the chart alone",
    );
    said("plugins: [{name: notes, url: '127.0.0.1:9000/sync'}]", "it begins with http:// or https://");
    check_says(&["127.0.0.1:9000/sync"], 2, &["is no file; a URL begins with http:// or https://"]);
    let good = file(folder.path(), "plugins: [{name: notes, edits: []}]");
    let other = folder.path().join("pod.yaml");
    std::fs::write(&other, "{apiVersion: v1, kind: Pod, metadata: {name: a}}").expect("it is written");
    check_says(&[&good, "-f", &other.display().to_string()], 2, &["nothing was asked"]);
    check_says(&[&file(folder.path(), "")], 2, &["nothing was asked"]);
}

#[tokio::test]
async fn a_truth_value_for_a_status_and_a_redirect_without_words_are_said_plainly() {
    let said = json!({"conditions": [{"type": "a.b/C", "status": true, "reason": "R"}]});
    let server = answering(body(said)).await;
    let words = "the status of a condition is \"True\", \"False\" or \"Unknown\", and not true";
    check_says(&[&server.uri()], 1, &[words]);
    let moved = answering(ResponseTemplate::new(302).insert_header("location", "/other")).await;
    check_says(&[&moved.uri()], 1, &["answered 302; give the url that it leads to"]);
}

/// Whoever reads no further has what they wanted.
#[test]
fn a_reader_that_goes_away_is_no_reason_to_panic() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dask-operator"));
    command
        .args(["plugin", "schema"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("it can be run");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
