//! ObjectMeta as custom resources have it.

use serde_json::{Value, json};

/// The schema of `metadata`, with the list and map types that field ownership needs
/// (`io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta` of the OpenAPI document).
pub(super) fn schema() -> Value {
    let text = || json!({"type": "string"});
    let time = || json!({"type": "string", "format": "date-time"});
    let texts = || json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({"type": "object", "properties": {
        "annotations": texts(),
        "creationTimestamp": time(),
        "deletionGracePeriodSeconds": {"type": "integer", "format": "int64"},
        "deletionTimestamp": time(),
        "finalizers": {"type": "array", "items": text(), "x-kubernetes-list-type": "set",
                       "x-kubernetes-patch-strategy": "merge"},
        "generateName": text(),
        "generation": {"type": "integer", "format": "int64"},
        "labels": texts(),
        "managedFields": {"type": "array", "x-kubernetes-list-type": "atomic", "items": {"type": "object",
            "x-kubernetes-preserve-unknown-fields": true}},
        "name": text(),
        "namespace": text(),
        "ownerReferences": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"],
            "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "uid",
            "items": {"type": "object", "x-kubernetes-map-type": "atomic",
                "required": ["apiVersion", "kind", "name", "uid"],
                "properties": {
                    "apiVersion": text(), "kind": text(), "name": text(), "uid": text(),
                    "blockOwnerDeletion": {"type": "boolean"}, "controller": {"type": "boolean"},
                }}},
        "resourceVersion": text(),
        "selfLink": text(),
        "uid": text(),
    }})
}
