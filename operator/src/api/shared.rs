//! What several kinds hold.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// A PodSpec as the user wrote it, without its nulls.
///
/// Nothing in it is interpreted here; the CRD carries the schema of Kubernetes' PodSpec and prunes nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RawPodSpec(pub Map<String, Value>);

/// A ServiceSpec as the user wrote it, without its nulls.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RawServiceSpec(pub Map<String, Value>);

/// Labels and annotations that go to a child.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChildMetadata {
    /// Labels of the child; they win over those of the resource itself.
    #[serde(default, deserialize_with = "strings", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the child; they win over those of the resource itself.
    #[serde(default, deserialize_with = "strings", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl ChildMetadata {
    /// Neither labels nor annotations.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }
}

/// One aspect of a resource's state, in the form of `metav1.Condition`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Name of the aspect, for instance `Ready`.
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub type_: String,
    /// Whether it holds.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(with = "ConditionStatus")]
    pub status: ConditionStatus,
    /// The `metadata.generation` it was computed from.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` last changed.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "date_time")]
    pub last_transition_time: Option<Timestamp>,
    /// One word for programs.
    #[serde(default, deserialize_with = "or_default")]
    pub reason: String,
    /// A sentence for people: what is waited for, what to do.
    #[serde(default, deserialize_with = "or_default")]
    pub message: String,
}

/// Whether a [`Condition`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be told.
    #[default]
    Unknown,
}

impl RawPodSpec {
    /// A spec from JSON; anything but an object gives an empty one.
    pub fn from_value(value: Value) -> Self {
        Self(object_without_nulls(value))
    }

    /// The spec as JSON.
    pub fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

impl RawServiceSpec {
    /// A spec from JSON; anything but an object gives an empty one.
    pub fn from_value(value: Value) -> Self {
        Self(object_without_nulls(value))
    }

    /// The spec as JSON.
    pub fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

impl<'de> Deserialize<'de> for RawPodSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(object_without_nulls(Value::Object(Map::deserialize(deserializer)?))))
    }
}

impl<'de> Deserialize<'de> for RawServiceSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(object_without_nulls(Value::Object(Map::deserialize(deserializer)?))))
    }
}

impl JsonSchema for RawPodSpec {
    fn schema_name() -> Cow<'static, str> {
        "PodSpec".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// A place holder: [`crate::api::crds`] puts Kubernetes' own schema here.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

impl JsonSchema for RawServiceSpec {
    fn schema_name() -> Cow<'static, str> {
        "ServiceSpec".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// A place holder: [`crate::api::crds`] puts Kubernetes' own schema here.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

/// The value without any null inside objects; null elements of lists stay, since their place may count.
pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

fn object_without_nulls(value: Value) -> Map<String, Value> {
    match without_nulls(value) {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Reads null as the type's default.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads anything that is not a `T` as its default: for status, which is recomputed and must never stop the operator.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).unwrap_or_default())
}

/// Reads a list and leaves out elements that are not a `T`; anything but a list is empty.
pub(super) fn lenient_list<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Array(items) => items.into_iter().filter_map(|v| serde_json::from_value(v).ok()).collect(),
        _ => Vec::new(),
    })
}

/// Reads a map of strings in which null values, or the map itself, are absent.
fn strings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let given: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    Ok(given.unwrap_or_default().into_iter().filter_map(|(k, v)| Some((k, v?))).collect())
}

/// The schema of a nullable time.
pub(super) fn date_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "nullable": true})
}

/// `YYYY-MM-DDTHH:MM:SSZ`: clients of upstream's DaskJob parse exactly this form, without a fraction.
pub fn format_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Optional times in whole seconds; what is not a time reads as absent.
pub(super) mod rfc3339 {
    use super::{Deserialize, Deserializer, Serializer, Timestamp, Value, format_time};

    #[allow(clippy::ref_option)] // serde's `with` passes the field as it is
    pub(in crate::api) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_str(&format_time(*time)),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::api) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(Value::deserialize(deserializer)?.as_str().and_then(|text| text.parse().ok()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::{ClusterPhase, DaskCluster, DaskClusterStatus, DaskJobStatus, JobState};

    #[test]
    fn nulls_are_absent_at_every_depth_of_a_raw_spec() {
        let given = json!({"a": null, "b": [{"c": null, "d": 1}, null], "e": {"f": null}});
        let spec: RawPodSpec = serde_json::from_value(given).expect("a spec");
        assert_eq!(spec.to_value(), json!({"b": [{"d": 1}, null], "e": {}}));
    }

    #[test]
    fn nulls_of_typed_fields_are_absent() {
        let worker = json!({"replicas": null, "metadata": null, "spec": {"containers": []}});
        let metadata = json!({"labels": {"a": null, "b": "c"}, "annotations": null});
        let scheduler = json!({"metadata": metadata, "spec": {}, "service": {}});
        let cluster: DaskCluster = serde_json::from_value(json!({
            "apiVersion": "kubernetes.dask.org/v1", "kind": "DaskCluster",
            "metadata": {"name": "x", "creationTimestamp": null},
            "spec": {"idleTimeout": null, "worker": worker, "scheduler": scheduler},
            "status": null,
        }))
        .expect("a cluster");
        assert_eq!((cluster.spec.idle_timeout, cluster.spec.worker.replicas), (0, 1));
        assert_eq!(cluster.spec.scheduler.metadata.labels, BTreeMap::from([("b".into(), "c".into())]));
        assert_eq!(cluster.status, None);
    }

    #[test]
    fn wrong_types_in_a_spec_do_not_parse() {
        let scheduler = json!({"spec": {}, "service": {}});
        for worker in [json!({"spec": "none"}), json!({"spec": {}, "replicas": "two"}), json!({})] {
            let spec = json!({"worker": worker, "scheduler": scheduler});
            assert!(serde_json::from_value::<crate::api::DaskClusterSpec>(spec).is_err());
        }
    }

    #[test]
    fn any_status_parses_and_what_is_strange_reads_as_absent() {
        let strange = [
            json!({}),
            json!({"phase": "Dreaming", "conditions": {"a": 1}, "replicas": "two"}),
            json!({"phase": null, "conditions": [1, {"type": "Ready"}], "observedGeneration": null}),
        ];
        for status in strange {
            let read: DaskClusterStatus = serde_json::from_value(status).expect("a status");
            assert_eq!(read.phase, None);
        }
        let read: DaskClusterStatus = serde_json::from_value(json!({"phase": "Running"})).expect("a status");
        assert_eq!(read.phase, Some(ClusterPhase::Running));
        let job = json!({"jobStatus": "", "startTime": "soon", "endTime": null, "clusterName": 1});
        let read: DaskJobStatus = serde_json::from_value(job).expect("a status");
        assert_eq!(read, DaskJobStatus::default());
    }

    #[test]
    fn times_are_written_without_a_fraction_and_read_with_one() {
        let given = json!({"jobStatus": "Running", "startTime": "2026-01-02T03:04:05.678901Z"});
        let read: DaskJobStatus = serde_json::from_value(given).expect("a status");
        assert_eq!(read.job_status, Some(JobState::Running));
        assert_eq!(json!(read), json!({"jobStatus": "Running", "startTime": "2026-01-02T03:04:05Z"}));
    }
}
