//! The children of a DaskJob as they should be: a DaskCluster of its own and the runner pod (compatibility contract §6).

use serde_json::{Value, json};

use super::validate::Valid;
use crate::metadata::{self, Map};
use crate::observe::Resource;
use crate::plugin::{Built, Role, Shape};
use crate::settings::Settings;
use crate::{api, hash, names, podspec};

/// The wanted children.
#[derive(Clone, Debug)]
pub struct Desired {
    /// DaskCluster.
    pub cluster: Value,
    /// v1 Pod.
    pub runner: Value,
}

impl Desired {
    /// The children as plugins are shown them.
    pub fn children(&self) -> Vec<Built> {
        vec![
            Built { role: Role::Cluster, object: self.cluster.clone() },
            Built { role: Role::Runner, object: self.runner.clone() },
        ]
    }

    /// The children as plugins want them.
    #[must_use]
    pub fn shaped(self, shape: &Shape) -> Self {
        Self {
            cluster: shape.child(Role::Cluster, self.cluster),
            runner: shape.child(Role::Runner, self.runner),
        }
    }
}

/// Builds the children for a run; cannot fail.
pub fn build(resource: &Resource, valid: &Valid, run: u32, settings: &Settings) -> Desired {
    Desired { cluster: cluster(resource, valid, run), runner: runner(resource, valid, run, settings) }
}

fn cluster(resource: &Resource, valid: &Valid, run: u32) -> Value {
    let own = &valid.spec.cluster.metadata;
    let fixed = metadata::map([(names::CLUSTER_NAME, resource.name())]);
    let labels = metadata::layers([&metadata::inherited_labels(&resource.labels), &own.labels, &fixed]);
    let given = &resource.spec["cluster"]["spec"];
    // Raw, so that fields this build does not know arrive too.
    let mut spec = json!({"worker": given["worker"], "scheduler": given["scheduler"]});
    if valid.spec.cluster.spec.idle_timeout > 0 {
        spec["idleTimeout"] = json!(valid.spec.cluster.spec.idle_timeout);
    }
    let mut object = json!({
        "apiVersion": names::API_VERSION,
        "kind": "DaskCluster",
        "metadata": child_metadata(resource, resource.name(), &labels, &own.annotations),
        "spec": api::shared::without_nulls(spec),
    });
    if run > 0 {
        object["metadata"]["annotations"][names::RUN] = json!(run.to_string());
    }
    object
}

fn runner(resource: &Resource, valid: &Valid, run: u32, settings: &Settings) -> Value {
    let own = &valid.spec.job.metadata;
    let mut fixed = metadata::map([(names::CLUSTER_NAME, resource.name()), (names::COMPONENT, "job-runner")]);
    if settings.istio_label {
        fixed.insert(names::ISTIO_INJECT.into(), "false".into());
    }
    let labels = metadata::layers([&metadata::inherited_labels(&resource.labels), &own.labels, &fixed]);
    let tls = settings.tls_secret(&valid.spec.cluster.metadata.annotations).is_some();
    let address = names::scheduler_address(resource.name(), resource.namespace(), &settings.domain, tls);
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": child_metadata(resource, &names::runner(resource.name(), run), &labels, &own.annotations),
        "spec": podspec::with_environment(&valid.runner, &[("DASK_SCHEDULER_ADDRESS", &address)]),
    });
    hash::seal(&mut object);
    object
}

fn child_metadata(resource: &Resource, name: &str, labels: &Map, own_annotations: &Map) -> Value {
    let annotations =
        metadata::layers([&metadata::inherited_annotations(&resource.annotations), own_annotations]);
    json!({
        "name": name,
        "namespace": resource.namespace(),
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": [resource.owner_reference()],
    })
}
