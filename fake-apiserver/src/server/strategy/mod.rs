//! The rules of single kinds: what a create and an update do besides storing, as the strategies of Kubernetes'
//! registries do. What a schema can say is not here.

mod admission_policy;
mod autoscaler;
mod certificate;
mod complete;
mod configuration;
mod container;
mod controller_revision;
mod cron_job;
mod custom;
mod defaults;
mod definition;
mod endpoint_slice;
mod environment;
mod event;
mod faults;
mod immutable;
mod ingress;
mod ip_address;
mod job;
mod job_policy;
mod lease;
mod limit_range;
mod namespace;
mod network_policy;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
mod placement;
mod pod;
mod pod_resize;
mod pod_spec;
mod pod_warnings;
mod policy;
mod probe;
mod rbac;
mod replication_controller;
mod resources;
pub(super) mod rules;
mod runtime_class;
mod security;
mod service;
mod service_families;
mod service_rules;
mod storage_class;
mod storage_kinds;
mod volume;
mod webhook_configuration;
mod workload;
mod workload_rules;

use serde_json::{Map, Value, json};

pub(super) use faults::{in_status, schema_faults, validate_create, validate_update};

use super::call::Call;
use super::{ApiServer, definitions};
use crate::registry::Resource;
use crate::status::Status;
use crate::storage::Key;

fn kind(resource: &Resource) -> (&str, &str) {
    (&resource.storage.group, &resource.storage.resource)
}

/// Makes a new object complete: status as it begins, defaults.
pub(super) fn prepare_create(resource: &Resource, value: &mut Value) {
    if resource.has_status()
        && let Some(object) = value.as_object_mut()
    {
        object.remove("status");
    }
    if resource.custom.is_some() {
        return;
    }
    fill(resource, value);
}

/// What the strategies of a kind set on creation: status and finalizers as they begin.
pub(super) fn begin(call: &Call<'_>, value: &mut Value) {
    let resource = &call.resource;
    if resource.custom.is_some() {
        return;
    }
    drop_disabled(resource, value);
    match kind(resource) {
        ("", "pods") => pod::begin(value, &super::meta::time(call.now)),
        ("", "namespaces") => namespace::begin(value),
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("", "replicationcontrollers") => {
            workload::begin(resource, value);
        }
        ("batch", "jobs" | "cronjobs")
        | ("", "nodes" | "resourcequotas")
        | ("networking.k8s.io", "ingresses")
        | ("admissionregistration.k8s.io", "validatingadmissionpolicies") => {
            let begins = if resource.plural == "ingresses" { json!({"loadBalancer": {}}) } else { json!({}) };
            set_status(value, begins);
        }
        ("storage.k8s.io", "volumeattachments") => set_status(value, json!({"attached": false})),
        ("storage.k8s.io", "volumeattributesclasses") => protect(value, "vac"),
        ("networking.k8s.io", "servicecidrs")
        | ("resource.k8s.io", "resourceclaims")
        | ("flowcontrol.apiserver.k8s.io", _) => {
            set_status(value, json!({}));
        }
        ("", "persistentvolumeclaims" | "persistentvolumes") => {
            if resource.plural == "persistentvolumes" {
                persistent_volume::begin(value, &super::meta::time(call.now));
            } else {
                set_status(value, json!({"phase": "Pending"}));
                persistent_volume_claim::join_sources(value);
            }
            let protection = if resource.plural == "persistentvolumes" { "pv" } else { "pvc" };
            protect(value, protection);
        }
        ("policy", "poddisruptionbudgets") => set_status(
            value,
            json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}),
        ),
        ("autoscaling", _) => set_status(value, json!({"currentMetrics": null, "desiredReplicas": 0})),
        ("apiextensions.k8s.io", "customresourcedefinitions") => definitions::begin(value),
        ("certificates.k8s.io", "certificatesigningrequests") => {
            certificate::begin(value, &call.request.user);
        }
        ("coordination.k8s.io", "leases") => lease::drop_disabled(value),
        _ => {}
    }
    complete(resource, value);
}

/// What a kind works out before its rules are asked; what is wrong with it if it cannot.
pub(super) fn work_out(call: &Call<'_>, value: &mut Value, old: Option<&Value>) -> Result<(), Status> {
    if kind(&call.resource) != ("", "services") {
        return Ok(());
    }
    let causes = match (&call.request.subresource, old) {
        (None, _) => service_families::infer(value, old),
        (Some(_), None) => service_rules::unprepared_faults(&value["spec"]),
        (Some(_), Some(_)) => return Ok(()),
    };
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    if causes.is_empty() { Ok(()) } else { Err(call.invalid(name, causes)) }
}

/// What an endpoint does not let through although it counts as said.
pub(super) fn settle(call: &Call<'_>, new: &mut Value, old: &Value) {
    if call.request.subresource.as_deref() == Some(pod_resize::RESIZE) {
        pod_resize::keep_rest(new, old);
    }
    match kind(&call.resource) {
        ("", "services") if call.request.subresource.is_none() => {
            service::carry(new, old);
            service::drop_of_former_type(new, old);
        }
        ("", "namespaces") => namespace::carry(call.request.subresource.as_deref(), new, old),
        _ => {}
    }
    drop_disabled(&call.resource, new);
}

/// Fields of features that are not on: whoever has said them owns them, and they are not kept.
fn drop_disabled(resource: &Resource, value: &mut Value) {
    if resource.custom.is_some() {
        return;
    }
    for path in ["/spec", "/template/spec", "/spec/template/spec", "/spec/jobTemplate/spec/template/spec"] {
        value.pointer_mut(path).into_iter().for_each(pod_spec::drop_disabled);
    }
    if kind(resource) == ("apps", "statefulsets") {
        workload::drop_disabled(resource, value);
    }
}

/// Defaults again, after a webhook has changed an object.
pub(super) fn refill(resource: &Resource, value: &mut Value) {
    match (&resource.custom, resource.schema()) {
        (Some(_), Some(schema)) => schema.default(value),
        (Some(_), None) => {}
        (None, _) => fill(resource, value),
    }
}

/// What a kind takes from its own uid.
pub(super) fn identify(resource: &Resource, value: &mut Value) {
    if kind(resource) == ("batch", "jobs") {
        job::identify(value);
    }
}

/// What a client should know about an object that has a new generation.
pub(super) fn update_warnings(resource: &Resource, value: &Value) -> Vec<String> {
    match kind(resource) {
        ("apps", "deployments" | "replicasets" | "daemonsets") => pod_warnings::of_templates(value),
        _ => Vec::new(),
    }
}

/// What a client should know about an object whenever it is written.
pub(super) fn lasting_warnings(resource: &Resource, value: &Value) -> Vec<String> {
    if kind(resource) == ("", "services") { service_rules::warnings(value) } else { Vec::new() }
}

/// What a client should know about a new object although nothing is wrong with it.
pub(super) fn warnings(resource: &Resource, value: &Value) -> Vec<String> {
    let enforce = "kubernetes.io/enforce-mountable-secrets";
    if kind(resource) == ("", "serviceaccounts") && value["metadata"]["annotations"][enforce].is_string() {
        return vec![format!(
            "metadata.annotations[{enforce}]: deprecated in v1.32+; prefer separate namespaces to isolate access to \
             mounted secrets"
        )];
    }
    match kind(resource) {
        ("", "services") => service_rules::warnings(value),
        ("", "pods") => {
            pod_warnings::named(value, true).into_iter().chain(pod_warnings::of_pod(value)).collect()
        }
        ("", "replicationcontrollers" | "podtemplates") | ("apps" | "batch", _) => {
            let named =
                if resource.plural == "daemonsets" { None } else { pod_warnings::named(value, false) };
            named.into_iter().chain(pod_warnings::of_templates(value)).collect()
        }
        ("discovery.k8s.io", "endpointslices") => endpoint_slice::warnings(value),
        ("", "persistentvolumeclaims") => persistent_volume_claim::warnings(value),
        _ => Vec::new(),
    }
}

/// What of it is said even when something is wrong with the object.
pub(super) fn early_warnings(resource: &Resource, value: &Value) -> Vec<String> {
    let mut said = if kind(resource) == ("", "pods") { pod_warnings::of_pod(value) } else { Vec::new() };
    said.retain(|warning| warning.contains("use the \"appArmorProfile\" field"));
    said
}

/// What Go's encoder writes although nobody said it.
pub(super) fn complete(resource: &Resource, value: &mut Value) {
    if resource.custom.is_none() {
        complete::object(kind(resource), value);
    }
}

/// Carries over what this endpoint may not change, and fills in defaults.
pub(super) fn prepare_update(call: &Call<'_>, new: &mut Value, old: &Value) {
    let resource = &call.resource;
    let subresource = call.request.subresource.as_deref();
    if kind(resource) == ("certificates.k8s.io", "certificatesigningrequests") {
        certificate::carry(subresource, new, old);
        certificate::date_conditions(new, old, &super::meta::time(call.now));
        return;
    }
    match subresource {
        Some(pod::EPHEMERAL) => {
            pod::keep_all_but_ephemeral(new, old);
            return;
        }
        Some("status") => {
            let status = new.get("status").cloned();
            let sent = new["metadata"].clone();
            *new = old.clone();
            set_or_remove(new, "status", status);
            for field in ["managedFields", "resourceVersion"] {
                set_or_remove(&mut new["metadata"], field, sent.get(field).cloned());
            }
            match kind(resource) {
                ("", "persistentvolumes") => {
                    persistent_volume::date_phase(new, old, &super::meta::time(call.now));
                }
                ("", "pods") => pod::fill_status(new, old),
                ("", "services") => service::fill_status(new),
                _ => {}
            }
            keep_metadata(resource, new, sent);
            return;
        }
        None if resource.has_status() => set_or_remove(new, "status", old.get("status").cloned()),
        _ => {}
    }
    if resource.custom.is_some() {
        return;
    }
    match kind(resource) {
        ("", "pods") => pod::carry(new, old),
        ("batch", "jobs") => job::carry(new, old),
        ("", "persistentvolumeclaims") => persistent_volume_claim::join_sources(new),
        ("coordination.k8s.io", "leases") => lease::drop_disabled(new),
        ("apiextensions.k8s.io", "customresourcedefinitions") => definitions::remember_stored(new),
        _ => {}
    }
    fill(resource, new);
    if kind(resource) == ("apps", "daemonsets") {
        workload::count_templates(new, old);
    }
}

/// What the strategy of a kind's status lets through of the metadata that was sent with it: all, for most kinds.
fn keep_metadata(resource: &Resource, new: &mut Value, mut sent: Value) {
    let kept = match kind(resource) {
        (
            "apiextensions.k8s.io"
            | "admissionregistration.k8s.io"
            | "apiregistration.k8s.io"
            | "resource.k8s.io"
            | "storage.k8s.io",
            _,
        )
        | ("networking.k8s.io", "servicecidrs") => return,
        _ if resource.custom.is_some() => return,
        ("apps", "deployments") => "labels",
        // Old kubelets would spoil who owns their pods.
        ("", "pods") => "ownerReferences",
        _ => "",
    };
    set_or_remove(&mut sent, kept, new["metadata"].get(kept).cloned());
    new["metadata"] = sent;
}

/// Defaults of a built-in kind; harmless to repeat.
fn fill(resource: &Resource, value: &mut Value) {
    defaults::object(&resource.storage, value);
    match kind(resource) {
        ("", "pods") => pod::fill(value),
        ("", "services") => service::fill(value),
        ("apps", _) => workload::fill(resource, value),
        ("", "replicationcontrollers") => {
            workload::fill(resource, value);
            replication_controller::fill(value);
        }
        ("batch", "jobs") => job::fill(value),
        ("batch", "cronjobs") => cron_job::fill(value),
        ("", "nodes") => node::fill(value),
        ("autoscaling", _) => autoscaler::fill(value),
        ("networking.k8s.io", "networkpolicies") => network_policy::fill(value),
        ("storage.k8s.io", plural) => storage_kinds::fill(plural, value),
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations") => {
            for webhook in defaults::items(value, "webhooks") {
                if webhook["reinvocationPolicy"].is_null() {
                    webhook["reinvocationPolicy"] = json!("Never");
                }
            }
        }
        ("", "podtemplates") => pod_spec::fill_template(&mut value["template"]),
        ("", "namespaces") => namespace::fill(value),
        ("", "secrets") => configuration::fill_secret(value),
        ("rbac.authorization.k8s.io", _) => rbac::fill(value),
        ("apiextensions.k8s.io", "customresourcedefinitions") => configuration::fill_definition(value),
        ("", "limitranges") => limit_range::fill(value),
        ("scheduling.k8s.io", "priorityclasses") => policy::fill_class(value),
        ("", "resourcequotas") => {
            if let Some(hard) = value.pointer_mut("/spec/hard") {
                pod_spec::canonical_amounts(hard);
            }
        }
        _ => {}
    }
}

/// PUT of an object that does not exist creates it (`AllowCreateOnUpdate`); a status alone makes nothing, but for services.
pub(super) fn creates_on_update(call: &Call<'_>) -> bool {
    if call.request.subresource.is_some() {
        return kind(&call.resource) == ("", "services");
    }
    matches!(
        kind(&call.resource),
        ("", "events" | "endpoints" | "limitranges" | "resourcequotas" | "services")
            | ("coordination.k8s.io", "leases")
            | ("rbac.authorization.k8s.io", _)
    )
}

/// PUT without a resource version is accepted (`AllowUnconditionalUpdate`).
pub(super) fn updates_unconditionally(resource: &Resource) -> bool {
    resource.custom.is_none()
        && !matches!(
            kind(resource),
            ("coordination.k8s.io", "leases")
                | ("policy", "poddisruptionbudgets")
                | ("apiextensions.k8s.io", "customresourcedefinitions")
                | (
                    "admissionregistration.k8s.io"
                        | "apiregistration.k8s.io"
                        | "resource.k8s.io"
                        | "node.k8s.io",
                    _
                )
        )
}

/// Drivers have a generation only from their first change on.
pub(super) fn begins_with_generation(resource: &Resource) -> bool {
    kind(resource) != ("storage.k8s.io", "csidrivers")
}

/// Whether an update changes the desired state, which `metadata.generation` counts.
pub(super) fn desired_state_differs(resource: &Resource, new: &Value, old: &Value) -> bool {
    let differs = |field: &str| new.get(field) != old.get(field);
    if resource.custom.is_some() {
        let status = resource.has_status();
        let counted = |field: &&String| *field != "metadata" && !(status && *field == "status");
        let fields =
            |value: &Value| value.as_object().into_iter().flat_map(Map::keys).cloned().collect::<Vec<_>>();
        return fields(new).iter().chain(&fields(old)).filter(counted).any(|field| differs(field));
    }
    match kind(resource) {
        ("apps", "deployments") => {
            differs("spec") || new["metadata"]["annotations"] != old["metadata"]["annotations"]
        }
        ("discovery.k8s.io", _) => {
            differs("endpoints") || differs("ports") || new["metadata"]["labels"] != old["metadata"]["labels"]
        }
        ("admissionregistration.k8s.io", _) => differs("webhooks") || differs("spec"),
        ("", "podtemplates") => differs("template"),
        _ => differs("spec"),
    }
}

/// Whether an object that is being deleted waits for finalizers of its spec, as namespaces do.
pub(super) fn holds_own_finalizers(resource: &Resource, value: &Value) -> bool {
    kind(resource) == ("", "namespaces")
        && value["spec"]["finalizers"].as_array().is_some_and(|f| !f.is_empty())
}

/// DELETE answers with the object rather than with a Status (`ReturnDeletedObject`).
pub(super) fn returns_deleted(resource: &Resource) -> bool {
    matches!(
        kind(resource),
        (
            "",
            "pods"
                | "services"
                | "persistentvolumeclaims"
                | "persistentvolumes"
                | "podtemplates"
                | "replicationcontrollers"
                | "resourcequotas"
                | "serviceaccounts"
        ) | ("storage.k8s.io" | "policy" | "resource.k8s.io", _)
    )
}

/// Objects that may not be deleted at all.
pub(super) fn check_delete(call: &Call<'_>, key: &Key) -> Result<(), Status> {
    let protected = ["default", "kube-system", "kube-public"].contains(&key.name.as_str());
    if kind(&call.resource) == ("", "namespaces") && protected {
        return Err(call.forbidden(&key.name, "this namespace may not be deleted"));
    }
    // Deleted with all others, they are not looked at.
    let alone = call.request.verb == crate::request::Verb::Delete;
    let system = ["system-node-critical", "system-cluster-critical"].contains(&key.name.as_str());
    if kind(&call.resource) == ("scheduling.k8s.io", "priorityclasses") && system && alone {
        return Err(call.forbidden(&key.name, "this is a system priority class and cannot be deleted"));
    }
    Ok(())
}

/// What the first sign of a deletion changes in the object.
pub(super) fn begin_delete(call: &Call<'_>, value: &mut Value) {
    match kind(&call.resource) {
        ("", "namespaces") => value["status"]["phase"] = json!("Terminating"),
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            definitions::begin_delete(value, &super::meta::time(call.now));
        }
        _ => {}
    }
}

/// Whether objects of this kind are given time to end.
pub(super) fn is_graceful(resource: &Resource) -> bool {
    kind(resource) == ("", "pods")
}

/// Seconds between a deletion and its end: only pods that run on a node have any.
pub(super) fn grace(resource: &Resource, value: &Value, asked: Option<i64>) -> i64 {
    if is_graceful(resource) { pod::grace(value, asked) } else { 0 }
}

impl ApiServer {
    /// Gives a service the address and ports it needs.
    pub(super) fn assign(&mut self, call: &Call<'_>, value: &mut Value) -> Result<(), Status> {
        if kind(&call.resource) == ("", "services") { self.assign_service(call, value) } else { Ok(()) }
    }
}

/// What is in use is kept until it is not (`StorageObjectInUseProtection`).
fn protect(value: &mut Value, kind: &str) {
    let finalizer = json!(format!("kubernetes.io/{kind}-protection"));
    let mut finalizers = value["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    if !finalizers.contains(&finalizer) {
        finalizers.push(finalizer);
    }
    value["metadata"]["finalizers"] = json!(finalizers);
}

fn set_status(value: &mut Value, status: Value) {
    value["status"] = status;
}

fn set_or_remove(value: &mut Value, field: &str, to: Option<Value>) {
    let Some(object) = value.as_object_mut() else { return };
    match to {
        Some(to) => drop(object.insert(field.into(), to)),
        None => drop(object.remove(field)),
    }
}
