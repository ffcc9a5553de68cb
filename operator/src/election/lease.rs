//! The Lease object (`coordination.k8s.io/v1`), as far as leader election uses it.

use jiff::Timestamp;
use kube::core::{ApiResource, DynamicObject, TypeMeta};
use serde_json::{Value, json};

use crate::store::ObjectKey;

/// The kind.
pub fn resource() -> ApiResource {
    ApiResource {
        group: "coordination.k8s.io".into(),
        version: "v1".into(),
        api_version: "coordination.k8s.io/v1".into(),
        kind: "Lease".into(),
        plural: "leases".into(),
    }
}

/// `spec` of a Lease. Times are kept as they are written: nobody computes with another's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `holderIdentity`; empty if nobody holds it.
    pub holder: String,
    /// `leaseDurationSeconds`.
    pub seconds: i64,
    /// `acquireTime`.
    pub acquired: String,
    /// `renewTime`.
    pub renewed: String,
    /// `leaseTransitions`: how often the holder has changed.
    pub transitions: i64,
}

/// A record in the version that was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// What it says.
    pub record: Record,
    /// `metadata.resourceVersion`.
    pub version: String,
}

impl Held {
    /// Reads a Lease; what is missing or of another type counts as empty.
    pub fn read(object: &DynamicObject) -> Self {
        let spec = &object.data["spec"];
        let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
        let record = Record {
            holder: text("holderIdentity"),
            seconds: spec["leaseDurationSeconds"].as_i64().unwrap_or_default(),
            acquired: text("acquireTime"),
            renewed: text("renewTime"),
            transitions: spec["leaseTransitions"].as_i64().unwrap_or_default(),
        };
        Self { record, version: object.metadata.resource_version.clone().unwrap_or_default() }
    }
}

impl Record {
    /// A Lease that does not exist yet.
    pub fn object(&self, key: &ObjectKey) -> DynamicObject {
        let resource = resource();
        let mut object = DynamicObject::new(&key.name, &resource);
        object.types = Some(TypeMeta { api_version: resource.api_version, kind: resource.kind });
        object.metadata.namespace.clone_from(&key.namespace);
        object.data = json!({"spec": self.spec()});
        object
    }

    /// The change of the Lease to this, if it is still in the version.
    pub fn patch(&self, version: &str) -> Value {
        json!({"metadata": {"resourceVersion": version}, "spec": self.spec()})
    }

    fn spec(&self) -> Value {
        json!({
            "holderIdentity": self.holder,
            "leaseDurationSeconds": self.seconds,
            "acquireTime": self.acquired,
            "renewTime": self.renewed,
            "leaseTransitions": self.transitions,
        })
    }
}

/// A time as a Lease has it: a `metav1.MicroTime`, which always has six digits of a second.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
