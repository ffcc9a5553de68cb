//! kubeconform, which many check their manifests with in CI, without a cluster: no unknown field, no wrong type, no key twice.
//!
//! Its schemas are not fetched but made of what is here: the OpenAPI tables of the API server in memory, which were read from a
//! running Kubernetes, our definitions, and those of the Prometheus operator as far as the chart uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::objects;
use crate::shell;

/// Definitions of built-in kinds by their names, and the kinds, each with the name of its definition.
const DEFINITIONS: &str = "fake-apiserver/data/schemas.json";
const KINDS: &str = "fake-apiserver/data/resources.json";
/// What every object has.
const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
/// What references to definitions begin with, there and here.
const THERE: &str = "#/components/schemas/";
const HERE: &str = "#/definitions/";

/// The program and its schemas.
pub(super) struct Kubeconform {
    program: PathBuf,
    schemas: PathBuf,
}

impl Kubeconform {
    /// The program with schemas of all kinds that a chart may make.
    pub(super) fn new(program: &Path) -> Result<Self> {
        let schemas = shell::target().join("chart/schemas");
        // What is left of another version would be found, too.
        if schemas.exists() {
            fs::remove_dir_all(&schemas)?;
        }
        let tables = Tables::read()?;
        for ((group, version, kind), schema) in tables.schemas()? {
            let folder = schemas.join(if group.is_empty() { &version } else { &group });
            fs::create_dir_all(&folder)?;
            let file = folder.join(format!("{}_{version}.json", kind.to_lowercase()));
            fs::write(&file, schema.to_string())
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(Self { program: program.to_owned(), schemas })
    }

    /// Whether all documents are what they say they are.
    pub(super) fn check(&self, documents: &str) -> Result<()> {
        let schemas = self.schemas.join("{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json");
        let mut command = Command::new(&self.program);
        command.args(["-strict", "-summary", "-schema-location"]).arg(schemas).arg("-");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start kubeconform")?;
        child.stdin.take().context("kubeconform has no input")?.write_all(documents.as_bytes())?;
        let output = child.wait_with_output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        ensure!(output.status.success(), "kubeconform: {}", text.trim());
        ensure!(!text.contains("Summary: 0 resources"), "kubeconform has seen no document: {}", text.trim());
        Ok(())
    }

    /// It finds mistakes, and takes what has none.
    pub(super) fn finds_mistakes(&self) -> Result<()> {
        let good = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, namespace: b}\n";
        self.check(good).context("what is right is refused")?;
        let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector: {}\n  template:\n    spec:\n      containers: [{name: c, image: i}]\n";
        self.check(deployment).context("what is right is refused")?;
        let cluster = "apiVersion: kubernetes.dask.org/v1\nkind: DaskCluster\nmetadata: {name: a}\nspec:\n";
        let wrong = [
            ("a field that there is not", format!("{good}secretss: []\n")),
            ("a misspelt field of a container", deployment.replace("image:", "imagee:")),
            ("a number that is a text", format!("{deployment}  replicas: two\n")),
            ("no selector", deployment.replace("  selector: {}\n", "")),
            ("a key twice", format!("{good}kind: ServiceAccount\n")),
            ("a label that is a number", good.replace("name: a,", "name: a, labels: {a: 1},")),
            ("a kind that nobody has", good.replace("ServiceAccount", "ServiceAcount")),
            ("a cluster without workers", format!("{cluster}  scheduler: {{}}\n")),
        ];
        for (what, document) in wrong {
            ensure!(
                self.check(&document).is_err(),
                "kubeconform finds nothing wrong with {what}: {document}"
            );
        }
        Ok(())
    }
}

/// Group, version, kind.
type Type = (String, String, String);

/// What the schemas are made of.
struct Tables {
    definitions: Map<String, Value>,
    kinds: Vec<Value>,
}

impl Tables {
    fn read() -> Result<Self> {
        let text = |file: &str| {
            fs::read_to_string(shell::root().join(file)).with_context(|| format!("cannot read {file}"))
        };
        Ok(Self {
            definitions: serde_json::from_str(&text(DEFINITIONS)?)?,
            kinds: serde_json::from_str(&text(KINDS)?)?,
        })
    }

    /// Each kind with its schema, which needs no other file.
    fn schemas(&self) -> Result<BTreeMap<Type, Value>> {
        let mut schemas = BTreeMap::new();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for kind in &self.kinds {
            let type_ = (text(&kind["group"]), text(&kind["version"]), text(&kind["kind"]));
            let root = json!({"$ref": format!("{THERE}{}", text(&kind["schema"]))});
            schemas.insert(type_, self.whole(&root));
        }
        for definition in custom()? {
            let spec = &definition["spec"];
            for version in spec["versions"].as_array().into_iter().flatten() {
                let type_ = (text(&spec["group"]), text(&version["name"]), text(&spec["names"]["kind"]));
                let mut root = version["schema"]["openAPIV3Schema"].clone();
                for field in ["apiVersion", "kind"] {
                    root["properties"][field] = json!({"type": "string"});
                }
                root["properties"]["metadata"] = json!({"$ref": format!("{THERE}{METADATA}")});
                schemas.insert(type_, self.whole(&root));
            }
        }
        Ok(schemas)
    }

    /// A schema with all definitions that it leads to.
    fn whole(&self, root: &Value) -> Value {
        let mut found = BTreeSet::new();
        let mut ahead = references(root);
        while let Some(name) = ahead.pop() {
            if let Some(definition) = self.definitions.get(&name).filter(|_| found.insert(name.clone())) {
                ahead.extend(references(definition));
            }
        }
        let definitions: Map<String, Value> =
            found.into_iter().map(|name| (name.clone(), strict(&self.definitions[&name]))).collect();
        let mut whole = strict(root);
        whole["definitions"] = Value::Object(definitions);
        whole
    }
}

/// Our definitions, and those that stand in for the Prometheus operator's.
fn custom() -> Result<Vec<Value>> {
    let mut definitions = dask_operator::api::crds();
    let monitors = fs::read_to_string(shell::root().join(objects::MONITORS))?;
    definitions.extend(objects::parse(&monitors)?);
    Ok(definitions)
}

/// The names of the definitions that a schema refers to itself.
fn references(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(map) => {
            let own = map.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix(THERE));
            own.map(str::to_owned).into_iter().chain(map.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// OpenAPI as JSON schema: an object has no other fields than those that are named, where any are.
fn strict(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => {
            let mut made: Map<String, Value> =
                map.iter().map(|(key, inner)| (key.clone(), strict(inner))).collect();
            if let Some(path) = map.get("$ref").and_then(Value::as_str) {
                made.insert("$ref".into(), path.replace(THERE, HERE).into());
            }
            let is_schema = map.get("type").is_some_and(Value::is_string);
            let open = map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
            if is_schema
                && map.contains_key("properties")
                && !map.contains_key("additionalProperties")
                && !open
            {
                made.insert("additionalProperties".into(), false.into());
            }
            if map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
                made.remove("type");
                made.insert("anyOf".into(), json!([{"type": "integer"}, {"type": "string"}]));
            }
            if is_schema && map.get("nullable") == Some(&Value::Bool(true)) {
                made.insert("type".into(), json!([map["type"], "null"]));
            }
            Value::Object(made)
        }
        Value::Array(items) => items.iter().map(strict).collect(),
        other => other.clone(),
    }
}
