//! The objects of a rendered chart, judged by the API server in memory: no unknown field, no wrong value.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use fake_apiserver::Server;
use fake_apiserver::request::{FieldValidation, Request};
use fake_apiserver::server::Config;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::shell;

/// Definitions of the Prometheus operator's kinds, as far as the chart uses them.
pub(super) const MONITORS: &str = "snapshots/chart/monitors.crds";

/// The documents that are not empty.
pub(super) fn parse(text: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let object = Value::deserialize(document).context("what is rendered is not YAML")?;
        if !object.is_null() {
            objects.push(object);
        }
    }
    Ok(objects)
}

/// A server that knows the kinds of the chart.
pub(super) fn server() -> Result<Server> {
    let server = Server::new(Config::default());
    let monitors = fs::read_to_string(shell::root().join(MONITORS))
        .with_context(|| format!("cannot read {MONITORS}"))?;
    for definition in parse(&monitors)? {
        create(&server, &definition, false)?;
    }
    Ok(server)
}

/// The server would store each of the objects as it is.
pub(super) fn accepted(server: &Server, objects: &[Value]) -> Result<()> {
    for object in objects {
        if let Some(namespace) = object["metadata"]["namespace"].as_str() {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            // The same one is named by several objects.
            let _ = create(server, &namespace, false);
        }
        create(server, object, true)?;
    }
    Ok(())
}

fn create(server: &Server, object: &Value, dry_run: bool) -> Result<()> {
    let field = |name: &str| object[name].as_str().with_context(|| format!("an object has no {name}"));
    let (api_version, kind) = (field("apiVersion")?, field("kind")?);
    let what = format!("{kind} {}", object["metadata"]["name"].as_str().unwrap_or_default());
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = server.with(|api| api.registry().by_kind(group, version, kind).cloned());
    let resource = resource.with_context(|| format!("{what}: the kind is not served in {api_version}"))?;
    let namespace = object["metadata"]["namespace"].as_str();
    ensure!(
        resource.namespaced == namespace.is_some(),
        "{what}: has a namespace and may not, or has none and needs one"
    );
    let mut request = Request::create(api_version, &resource.plural, object.clone());
    request.params.dry_run = dry_run;
    request.params.field_validation = FieldValidation::Strict;
    match server.request(&request) {
        Ok(_) => Ok(()),
        Err(status) => bail!("{what}: {}", status.to_value()["message"].as_str().unwrap_or_default()),
    }
}

/// The text with the definitions left out: they are those of `crds/`, and too long to be reviewed here.
pub(super) fn without_definitions(text: &str) -> Result<String> {
    let mut kept = String::new();
    for document in text.split_inclusive("\n---\n") {
        let object: Value = parse(document)?.into_iter().next().unwrap_or_default();
        if object["kind"] == "CustomResourceDefinition" {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let _ = write!(kept, "# CustomResourceDefinition {name}\n---\n");
        } else {
            kept.push_str(document);
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(object: &str, expected: Option<&str>) {
        let refused =
            accepted(&server().unwrap(), &parse(object).unwrap()).err().map(|error| error.to_string());
        match (&refused, expected) {
            (None, None) => {}
            (Some(refused), Some(expected)) if refused.contains(expected) => {}
            _ => panic!("{object}: {refused:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn what_an_api_server_would_drop_or_refuse_is_found() {
        let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, namespace: b}\n";
        check(account, None);
        check(&format!("{account}secretss: []\n"), Some("secretss"));
        check("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n", Some("needs one"));
        check("apiVersion: v2\nkind: ServiceAccount\nmetadata: {name: a}\n", Some("not served"));
        let monitor =
            "apiVersion: monitoring.coreos.com/v1\nkind: PodMonitor\nmetadata: {name: a, namespace: b}\n";
        check(&format!("{monitor}spec: {{selector: {{}}, podMetricsEndpoints: []}}\n"), None);
        check(&format!("{monitor}spec: {{selector: {{}}, endpoints: []}}\n"), Some("endpoints"));
    }

    #[test]
    fn definitions_are_named_and_left_out() {
        let text = "---\nkind: CustomResourceDefinition\nmetadata: {name: x}\nspec: {}\n---\nkind: Role\n";
        assert_eq!(without_definitions(text).unwrap(), "# CustomResourceDefinition x\n---\nkind: Role\n");
    }
}
