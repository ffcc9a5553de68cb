//! Table answers: what `kubectl get` prints, computed on the server.
//!
//! Column names, types and priorities of the built-in kinds come from `data/columns.json`; the cells of the kinds people
//! look at are computed as `k8s.io/kubernetes/pkg/printers/internalversion` does. Custom resources have their
//! `additionalPrinterColumns`.

mod age;
mod apps;
mod autoscaler;
mod batch;
mod core;
mod fields;
mod jsonpath;
mod network;
mod paths;
mod pods;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::negotiate::TableVersion;
use crate::registry::{Column, Resource};
use crate::server::autoscaler_versions;
use crate::status::Status;
use jsonpath::JsonPath;

/// The plural by which Scales are told apart from what they are of.
const SCALES: &str = "scales";

/// What a row carries beside its cells (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Include {
    Nothing,
    #[default]
    Metadata,
    Object,
}

impl Include {
    /// # Errors
    /// 400 for values the API does not know.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, Status> {
        match text {
            None | Some("" | "Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::Nothing),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', \
                 'Object', 'None', or empty"
            ))),
        }
    }
}

/// How objects of one resource become rows.
#[derive(Clone, Debug)]
pub(super) struct Printer {
    resource: Arc<Resource>,
    /// Paths of a custom resource's columns; the built-in kinds have code instead.
    paths: Option<Vec<JsonPath>>,
}

impl Printer {
    /// The printer of a resource.
    pub(super) fn new(resource: &Arc<Resource>) -> Self {
        let custom = resource.custom.is_some();
        let paths = custom.then(|| resource.columns.iter().map(|c| JsonPath::parse(&c.json_path)).collect());
        Self { resource: Arc::clone(resource), paths }
    }

    /// Of the Scales of any kind.
    pub(super) fn of_scales() -> Self {
        let columns =
            [("Name", "string"), ("Desired", "integer"), ("Available", "integer"), ("Age", "string")];
        let columns =
            columns.map(|(name, kind)| Column { name: name.into(), kind: kind.into(), ..Column::default() });
        let resource = Resource {
            group: "autoscaling".into(),
            version: "v1".into(),
            plural: SCALES.into(),
            columns: columns.into(),
            ..Resource::default()
        };
        Self { resource: Arc::new(resource), paths: None }
    }

    /// The whole Table of a page of objects.
    pub(super) fn table(
        &self,
        version: TableVersion,
        metadata: &Value,
        objects: &[Value],
        include: Include,
        now: Timestamp,
    ) -> Value {
        let columns = self.resource.columns.iter().map(|c| {
            json!({
                "name": c.name, "type": c.kind, "format": c.format,
                "description": c.description, "priority": c.priority,
            })
        });
        let mut table = self.rows(version, objects, include, now);
        table["metadata"] = metadata.clone();
        table["columnDefinitions"] = columns.collect();
        table
    }

    /// A Table without column definitions: what later events of a watch carry.
    pub(super) fn rows(
        &self,
        version: TableVersion,
        objects: &[Value],
        include: Include,
        now: Timestamp,
    ) -> Value {
        let rows: Vec<Value> = objects.iter().map(|object| self.row(version, object, include, now)).collect();
        json!({
            "kind": "Table", "apiVersion": api_version(version), "metadata": {},
            "columnDefinitions": Value::Null, "rows": rows,
        })
    }

    fn row(&self, version: TableVersion, object: &Value, include: Include, now: Timestamp) -> Value {
        let newest = self.newest(object);
        let mut row = json!({ "cells": self.cells(newest.as_ref().unwrap_or(object), now) });
        match include {
            Include::Nothing => {}
            Include::Object => row["object"] = object.clone(),
            Include::Metadata => {
                row["object"] = metadata_only(newest.as_ref().unwrap_or(object), api_version(version));
            }
        }
        if let Some(conditions) =
            (self.resource.plural == "pods").then(|| pods::row_conditions(object)).flatten()
        {
            row["conditions"] = conditions;
        }
        row
    }

    /// Rows speak of the newest version of a kind, whichever is asked for.
    fn newest(&self, object: &Value) -> Option<Value> {
        let old = self.resource.group == "autoscaling"
            && self.resource.version == "v1"
            && self.resource.plural != SCALES;
        old.then(|| {
            let mut newest = object.clone();
            autoscaler_versions::to_v2(&mut newest);
            newest
        })
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let resource = &self.resource;
        if let Some(paths) = &self.paths {
            let columns = resource.columns.iter().zip(paths);
            return columns
                .map(|(column, path)| custom_cell(&column.kind, path.first(object), now))
                .collect();
        }
        let cells = match (resource.group.as_str(), resource.plural.as_str()) {
            ("", "pods") => Some(pods::cells(object, now)),
            ("" | "events.k8s.io", "events") => Some(core::event(object, now)),
            ("", plural) => core::cells(plural, object, now).or_else(|| network::cells(plural, object, now)),
            ("discovery.k8s.io" | "networking.k8s.io", plural) => network::cells(plural, object, now),
            ("apps", plural) => apps::cells(plural, object, now),
            ("batch", plural) => batch::cells(plural, object, now),
            ("autoscaling", SCALES) => Some(apps::scale(object, now)),
            _ => None,
        };
        cells.unwrap_or_else(|| {
            resource.columns.iter().map(|c| paths::cell(&resource.plural, &c.name, object, now)).collect()
        })
    }
}

fn api_version(version: TableVersion) -> &'static str {
    match version {
        TableVersion::V1 => "meta.k8s.io/v1",
        TableVersion::V1beta1 => "meta.k8s.io/v1beta1",
    }
}

/// An object as PartialObjectMetadata.
pub(super) fn metadata_only(object: &Value, api_version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": object["metadata"]})
}

/// A custom resource's cell: a value of another type than the column's is left out, as the real server does.
fn custom_cell(kind: &str, value: Option<&Value>, now: Timestamp) -> Value {
    let Some(value) = value else { return Value::Null };
    match kind {
        "integer" => {
            value.as_i64().or_else(|| value.as_f64().map(|n| n as i64)).map_or(Value::Null, |n| json!(n))
        }
        "number" => value.as_f64().map_or(Value::Null, |n| json!(n)),
        "boolean" => value.as_bool().map_or(Value::Null, |b| json!(b)),
        "date" => value.as_str().map_or(Value::Null, |text| json!(age::since(text, now))),
        "string" => match value {
            Value::String(text) => json!(text),
            Value::Null => Value::Null,
            other => json!(other.to_string()),
        },
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests;
