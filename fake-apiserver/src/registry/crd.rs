//! The resources a CustomResourceDefinition asks for.

use std::sync::Arc;

use serde_json::Value;

use super::{Column, Custom, Resource, ScalePaths, SchemaSource, Subresource};
use crate::schema::Schema;
use crate::status::Cause;
use crate::storage::{GroupResource, SelectableField};

/// One resource for each served version of a definition.
pub(super) fn resources(definition: &Value, edition: u64) -> Result<Vec<Resource>, Vec<Cause>> {
    let versions = definition["spec"]["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let stored =
        versions.iter().find(|version| version["storage"] == true).map(|version| text(&version["name"]));
    let mut resources = Vec::new();
    let mut causes = Vec::new();
    // The real server keeps a schema that all versions share once, and names it so in what it refuses.
    let shared = versions.windows(2).all(|pair| pair[0]["schema"] == pair[1]["schema"]);
    for (index, version) in versions.iter().enumerate() {
        let path = if shared {
            "spec.validation.openAPIV3Schema".into()
        } else {
            format!("spec.versions[{index}].schema.openAPIV3Schema")
        };
        match Schema::from_crd(&version["schema"]["openAPIV3Schema"], &path) {
            Ok(schema) if version["served"] == true => {
                resources.push(resource(definition, version, schema, stored.unwrap_or_default(), edition));
            }
            Ok(_) => {}
            Err(found) if shared => return Err(found),
            Err(found) => causes.extend(found),
        }
    }
    if causes.is_empty() { Ok(resources) } else { Err(causes) }
}

fn resource(definition: &Value, version: &Value, schema: Schema, stored: &str, edition: u64) -> Resource {
    let (spec, names) = (&definition["spec"], &definition["spec"]["names"]);
    let (group, plural, kind) = (text(&spec["group"]), text(&names["plural"]), text(&names["kind"]));
    let name = text(&version["name"]);
    let list_kind = names["listKind"].as_str().map_or_else(|| format!("{kind}List"), str::to_owned);
    let singular = names["singular"].as_str().map_or_else(|| kind.to_lowercase(), str::to_owned);
    let deprecation = (version["deprecated"] == true).then(|| {
        let said = version["deprecationWarning"].as_str().map(str::to_owned);
        said.unwrap_or_else(|| format!("{group}/{name} {kind} is deprecated"))
    });
    let fields = version["selectableFields"].as_array().map_or(&[][..], Vec::as_slice);
    Resource {
        group: group.into(),
        version: name.into(),
        plural: plural.into(),
        singular,
        kind: kind.into(),
        list_kind,
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        namespaced: text(&spec["scope"]) == "Namespaced",
        verbs: ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
            .map(str::to_owned)
            .into(),
        subresources: subresources(group, name, kind, version),
        storage: GroupResource::from_parts(group, plural),
        storage_api_version: format!("{group}/{stored}"),
        schema: SchemaSource::Custom(Arc::new(schema)),
        columns: columns(version),
        selectable_fields: fields.iter().map(|f| SelectableField::text(&path(&f["jsonPath"]))).collect(),
        scale: scale(version),
        counts_generation: true,
        deprecation,
        custom: Some(Custom {
            definition: text(&definition["metadata"]["name"]).into(),
            edition,
            openapi: Arc::new(version["schema"]["openAPIV3Schema"].clone()),
            conversion: (spec["conversion"]["strategy"] == "Webhook")
                .then(|| Arc::new(spec["conversion"]["webhook"].clone())),
        }),
    }
}

fn subresources(group: &str, version: &str, kind: &str, served: &Value) -> Vec<Subresource> {
    let verbs: Vec<String> = ["get", "patch", "update"].map(str::to_owned).into();
    let mut subresources = Vec::new();
    if served["subresources"]["status"].is_object() {
        subresources.push(Subresource {
            name: "status".into(),
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            verbs: verbs.clone(),
        });
    }
    if served["subresources"]["scale"].is_object() {
        subresources.push(Subresource {
            name: "scale".into(),
            group: "autoscaling".into(),
            version: "v1".into(),
            kind: "Scale".into(),
            verbs,
        });
    }
    subresources
}

fn scale(version: &Value) -> Option<ScalePaths> {
    let scale = version["subresources"]["scale"].as_object()?;
    Some(ScalePaths {
        spec_replicas: path(scale.get("specReplicasPath")?),
        status_replicas: path(scale.get("statusReplicasPath")?),
        selector: scale.get("labelSelectorPath").map(path).filter(|path| !path.is_empty()),
    })
}

/// `additionalPrinterColumns`, or the age alone, after the name that every table begins with.
fn columns(version: &Value) -> Vec<Column> {
    let name = Column {
        name: "Name".into(),
        kind: "string".into(),
        format: "name".into(),
        json_path: ".metadata.name".into(),
        ..Column::default()
    };
    let own = version["additionalPrinterColumns"].as_array().filter(|own| !own.is_empty());
    let age = Column {
        name: "Age".into(),
        kind: "date".into(),
        json_path: ".metadata.creationTimestamp".into(),
        ..Column::default()
    };
    let own: Vec<Column> = own.map_or_else(
        || vec![age],
        |own| own.iter().filter_map(|column| serde_json::from_value(column.clone()).ok()).collect(),
    );
    std::iter::once(name).chain(own).collect()
}

fn path(value: &Value) -> String {
    text(value).trim_start_matches('.').to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
