//! OpenAPI: for v3 one document for each group version, for v2 one of all definitions.
//!
//! kubectl looks for the PATCH operation of a kind and its query parameters (`fieldValidation`, `dryRun`) before it applies
//! or creates, and `explain` follows the schemas.

mod v2;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::discovery::hash;
use crate::registry::{Registry, Resource, components};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// One document, serialised, and the hash its address carries.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub(super) hash: String,
    pub(super) bytes: Bytes,
}

/// The documents of the registry's present generation, made when first asked for.
#[derive(Debug, Default)]
pub(super) struct OpenApi {
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    generation: Option<u64>,
    documents: BTreeMap<String, Document>,
}

impl OpenApi {
    /// `/openapi/v3`: where the document of each group version is.
    pub(super) fn index(&self, registry: &Registry) -> Value {
        let paths: Map<String, Value> = document_names(registry)
            .into_iter()
            .filter_map(|name| {
                let document = self.document(registry, &name)?;
                let url = format!("/openapi/v3/{name}?hash={}", document.hash);
                Some((name, json!({ "serverRelativeURL": url })))
            })
            .collect();
        json!({ "paths": paths })
    }

    /// `/openapi/v2`, in protobuf.
    pub(super) fn v2(&self, registry: &Registry) -> Document {
        self.cached(registry, "v2", || {
            let mut all = Builder::default();
            registry.resources().for_each(|resource| all.add(resource));
            Some(Document { hash: String::new(), bytes: v2::document(&all.schemas) })
        })
        .unwrap_or_default()
    }

    /// The document of a group version, for instance `apis/apps/v1`.
    pub(super) fn document(&self, registry: &Registry, name: &str) -> Option<Document> {
        self.cached(registry, name, || {
            let text = render(registry, name)?.to_string();
            Some(Document { hash: hash(&text), bytes: text.into() })
        })
    }

    fn cached(
        &self,
        registry: &Registry,
        name: &str,
        make: impl FnOnce() -> Option<Document>,
    ) -> Option<Document> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.generation != Some(registry.generation()) {
            // Documents of built-in groups do not depend on the generation.
            let built_in = Registry::built_in();
            let groups: BTreeSet<&str> = built_in.groups().map(|(group, _)| group).collect();
            cache.documents.retain(|name, _| name != "v2" && groups.contains(group_of(name)));
            cache.generation = Some(registry.generation());
        }
        if let Some(document) = cache.documents.get(name) {
            return Some(document.clone());
        }
        let document = make()?;
        cache.documents.insert(name.to_owned(), document.clone());
        Some(document)
    }
}

fn document_names(registry: &Registry) -> Vec<String> {
    registry
        .groups()
        .flat_map(|(group, known)| known.versions.keys().map(move |version| home(group, version)))
        .collect()
}

fn home(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn group_of(document: &str) -> &str {
    document.strip_prefix("apis/").and_then(|rest| rest.split_once('/')).map_or("", |(group, _)| group)
}

fn render(registry: &Registry, name: &str) -> Option<Value> {
    let (group, version) = match name.split('/').collect::<Vec<_>>()[..] {
        ["api", version] => ("", version),
        ["apis", group, version] => (group, version),
        _ => return None,
    };
    let (_, known) = registry.groups().find(|(known, _)| *known == group)?;
    let mut document = Builder::default();
    for resource in known.versions.get(version)?.values() {
        document.add(resource);
    }
    document.add_component(&format!("{META}.DeleteOptions"));
    document.add_component(&format!("{META}.Status"));
    Some(json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": document.paths, "components": {"schemas": document.schemas},
    }))
}

#[derive(Default)]
struct Builder {
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl Builder {
    fn add(&mut self, resource: &Arc<Resource>) {
        let schema = self.add_schema(resource);
        let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
        let scope = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
        let collection = format!("/{}/{scope}{}", home(&resource.group, &resource.version), resource.plural);
        let item = format!("{collection}/{{name}}");
        self.paths.insert(collection, path(&resource.verbs, &COLLECTION, &kind, schema.as_deref()));
        for sub in &resource.subresources {
            let kind = json!({"group": sub.group, "version": sub.version, "kind": sub.kind});
            let mut operations = path(&sub.verbs, &ITEM, &kind, None);
            if let Some(create) = sub.verbs.iter().find(|verb| *verb == "create") {
                operations["post"] = operation(create, &kind, None);
            }
            self.paths.insert(format!("{item}/{}", sub.name), operations);
        }
        self.paths.insert(item, path(&resource.verbs, &ITEM, &kind, schema.as_deref()));
    }

    /// Adds the schema of a kind and of all it refers to; answers its name.
    fn add_schema(&mut self, resource: &Resource) -> Option<String> {
        if let crate::registry::SchemaSource::BuiltIn { definition, .. } = &resource.schema {
            self.add_component(definition);
            self.add_component(&format!("{definition}List"));
            return Some(definition.clone());
        }
        let custom = resource.custom.as_ref()?;
        let mut reversed: Vec<&str> = resource.group.split('.').collect();
        reversed.reverse();
        let name = format!("{}.{}.{}", reversed.join("."), resource.version, resource.kind);
        let mut schema = (*custom.openapi).clone();
        if !schema.is_object() {
            schema = json!({"type": "object"});
        }
        let (version, kind) = type_meta();
        schema["properties"]["apiVersion"] = version.clone();
        schema["properties"]["kind"] = kind.clone();
        schema["properties"]["metadata"] = json!({
            "description": format!("Standard object's metadata. More info: {CONVENTIONS}#metadata"),
            "allOf": [{"$ref": format!("#/components/schemas/{META}.ObjectMeta")}],
        });
        schema["x-kubernetes-group-version-kind"] =
            json!([{"group": resource.group, "version": resource.version, "kind": resource.kind}]);
        let list = json!({
            "description": format!("{} is a list of {}", resource.list_kind, resource.kind),
            "type": "object", "required": ["items"],
            "properties": {
                "apiVersion": version, "kind": kind,
                "metadata": {
                    "description": format!("Standard list metadata. More info: {CONVENTIONS}#types-kinds"),
                    "allOf": [{"$ref": format!("#/components/schemas/{META}.ListMeta")}],
                },
                "items": {
                    "description": format!("List of {}. More info: {CONVENTIONS}", resource.plural),
                    "type": "array", "items": {"$ref": format!("#/components/schemas/{name}")},
                },
            },
            "x-kubernetes-group-version-kind":
                [{"group": resource.group, "version": resource.version, "kind": resource.list_kind}],
        });
        self.schemas.insert(name.clone(), schema);
        self.schemas.insert(format!("{name}List"), list);
        self.add_component(&format!("{META}.ObjectMeta"));
        self.add_component(&format!("{META}.ListMeta"));
        Some(name)
    }

    fn add_component(&mut self, name: &str) {
        let mut pending = BTreeSet::from([name.to_owned()]);
        while let Some(name) = pending.pop_first() {
            if self.schemas.contains_key(&name) {
                continue;
            }
            let parsed = components().get(&name).and_then(|text| serde_json::from_str::<Value>(text).ok());
            let Some(schema) = parsed else { continue };
            references(&schema, &mut pending);
            self.schemas.insert(name, schema);
        }
    }
}

fn references(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str) {
                found.insert(name.trim_start_matches("#/components/schemas/").to_owned());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// (API verb, HTTP method).
const COLLECTION: [(&str, &str); 3] = [("list", "get"), ("create", "post"), ("deletecollection", "delete")];
const ITEM: [(&str, &str); 4] = [("get", "get"), ("update", "put"), ("patch", "patch"), ("delete", "delete")];

fn path(verbs: &[String], methods: &[(&str, &str)], kind: &Value, schema: Option<&str>) -> Value {
    let served = methods.iter().filter(|(verb, _)| verbs.iter().any(|v| v == verb));
    served
        .map(|(verb, method)| ((*method).to_owned(), operation(verb, kind, schema)))
        .collect::<Map<_, _>>()
        .into()
}

fn operation(verb: &str, kind: &Value, schema: Option<&str>) -> Value {
    let names: &[&str] = match verb {
        "create" | "update" => &["dryRun", "fieldManager", "fieldValidation"],
        "patch" => &["dryRun", "fieldManager", "fieldValidation", "force"],
        "delete" | "deletecollection" => &["dryRun", "gracePeriodSeconds", "propagationPolicy"],
        _ => &[],
    };
    let parameters: Vec<Value> = names
        .iter()
        .map(|name| {
            let kind = match *name {
                "force" => "boolean",
                "gracePeriodSeconds" => "integer",
                _ => "string",
            };
            json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
        })
        .collect();
    let answer = schema.map_or_else(
        || json!({"description": "OK"}),
        |name| {
            let reference = json!({"schema": {"$ref": format!("#/components/schemas/{name}")}});
            json!({"description": "OK", "content": {"application/json": reference}})
        },
    );
    json!({
        "parameters": parameters, "responses": {"200": answer},
        "x-kubernetes-action": verb, "x-kubernetes-group-version-kind": kind,
    })
}

const CONVENTIONS: &str =
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";

/// What the server says of `apiVersion` and `kind` of every custom resource.
fn type_meta() -> (Value, Value) {
    let version = format!(
        "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized \
         schemas to the latest internal value, and may reject unrecognized values. More info: {CONVENTIONS}#resources"
    );
    let kind = format!(
        "Kind is a string value representing the REST resource this object represents. Servers may infer this from the \
         endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: {CONVENTIONS}#types-kinds"
    );
    (json!({"type": "string", "description": version}), json!({"type": "string", "description": kind}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_version_has_a_document_without_dangling_references() {
        let (registry, openapi) = (Registry::built_in(), OpenApi::default());
        let index = openapi.index(&registry);
        let names: Vec<&String> = index["paths"].as_object().unwrap().keys().collect();
        assert!(
            names.iter().any(|name| *name == "api/v1") && names.iter().any(|name| *name == "apis/apps/v1")
        );
        for name in names {
            let document: Value =
                serde_json::from_slice(&openapi.document(&registry, name).unwrap().bytes).unwrap();
            let mut found = BTreeSet::new();
            references(&document, &mut found);
            for reference in found {
                assert!(document["components"]["schemas"].get(&reference).is_some(), "{name}: {reference}");
            }
        }
    }

    #[test]
    fn a_patch_operation_names_its_kind_and_the_parameters_kubectl_needs() {
        let document = render(&Registry::built_in(), "apis/apps/v1").unwrap();
        let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(
            patch["x-kubernetes-group-version-kind"],
            json!({"group": "apps", "version": "v1", "kind": "Deployment"})
        );
        let names: Vec<&str> =
            patch["parameters"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
        assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    }
}
