//! The rules of single kinds: what a create and an update do besides storing, as the strategies of Kubernetes'
//! registries do. What a schema can say is not here.

mod admission_policy;
mod autoscaler;
mod certificate;
mod complete;
mod configuration;
mod controller_revision;
mod cron_job;
mod custom;
mod defaults;
mod definition;
mod endpoint_slice;
mod event;
mod immutable;
mod ingress;
mod job;
mod job_policy;
mod lease;
mod limit_range;
mod namespace;
mod network_policy;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
mod pod;
mod pod_spec;
mod policy;
mod rbac;
mod replication_controller;
mod rules;
mod runtime_class;
mod service;
mod storage_class;
mod workload;

use serde_json::{Map, Value, json};

use super::call::Call;
use super::{ApiServer, definitions};
use crate::registry::Resource;
use crate::schema::Schema;
use crate::status::{Cause, Status};
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
    match kind(resource) {
        ("", "pods") => pod::begin(value),
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
        ("", "persistentvolumeclaims" | "persistentvolumes") => {
            if resource.plural == "persistentvolumes" {
                persistent_volume::begin(value, &super::meta::time(call.now));
            } else {
                set_status(value, json!({"phase": "Pending"}));
                persistent_volume_claim::join_sources(value);
            }
            let protection = if resource.plural == "persistentvolumes" { "pv" } else { "pvc" };
            let finalizer = json!(format!("kubernetes.io/{protection}-protection"));
            let mut finalizers = value["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
            if !finalizers.contains(&finalizer) {
                finalizers.push(finalizer);
            }
            value["metadata"]["finalizers"] = json!(finalizers);
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
        ("discovery.k8s.io", "endpointslices") => endpoint_slice::warnings(value),
        ("", "persistentvolumeclaims") => persistent_volume_claim::warnings(value),
        _ => Vec::new(),
    }
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
            // The strategies of pods and nodes let a kubelet write labels and annotations with the status.
            if kind(resource) == ("", "persistentvolumes") {
                persistent_volume::date_phase(new, old, &super::meta::time(call.now));
            }
            if matches!(kind(resource), ("", "pods" | "nodes" | "services")) {
                for field in ["labels", "annotations", "finalizers"] {
                    set_or_remove(&mut new["metadata"], field, sent.get(field).cloned());
                }
            }
            return;
        }
        None if resource.has_status() => set_or_remove(new, "status", old.get("status").cloned()),
        _ => {}
    }
    if resource.custom.is_some() {
        return;
    }
    match kind(resource) {
        ("", "services") => service::carry(new, old),
        ("", "pods") => pod::carry(new, old),
        ("batch", "jobs") => job::carry(new, old),
        ("", "namespaces") => namespace::carry(subresource, new, old),
        ("", "persistentvolumeclaims") => persistent_volume_claim::join_sources(new),
        ("coordination.k8s.io", "leases") => lease::drop_disabled(new),
        ("apiextensions.k8s.io", "customresourcedefinitions") => definitions::remember_stored(new),
        _ => {}
    }
    fill(resource, new);
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

/// What the schema has against an object.
///
/// # Errors
/// 400 where a built-in kind's Go type could not have been decoded.
pub(super) fn schema_faults(
    resource: &Resource,
    schema: &Schema,
    value: &Value,
    old: Option<&Value>,
) -> Result<Vec<Cause>, Status> {
    if resource.custom.is_some() {
        return Ok(schema.validate_with(value, old, custom::scale_faults(resource, value)));
    }
    let mut causes = schema.validate(value, old);
    if causes.is_empty() {
        return Ok(causes);
    }
    // Nulls of the client were dropped; those that are left are Go's zero values.
    let null = |cause: &Cause| cause.message.starts_with("Invalid value: \"null\"");
    if let Some(wrong) = causes.iter().find(|cause| cause.reason == "FieldValueTypeInvalid" && !null(cause)) {
        let (kind, version) = (&resource.kind, &resource.version);
        return Err(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: json: cannot unmarshal: {}: {}",
            wrong.field, wrong.message
        )));
    }
    if kind(resource) == ("apiextensions.k8s.io", "customresourcedefinitions") {
        return Ok(Vec::new());
    }
    if has_all_rules(resource) {
        return Ok(Vec::new());
    }
    // Go fills in the zero value of a required field; only what the real validators check is refused.
    causes.retain(|cause| {
        cause.reason == "FieldValueRequired"
            && !(cause.field.starts_with("status")
                || cause.field.starts_with("metadata")
                || cause.field == "endpoints")
    });
    Ok(causes)
}

/// The status of a custom resource is validated by itself: messages do not say that it is one.
pub(super) fn in_status(causes: Vec<Cause>) -> Vec<Cause> {
    let within = |mut cause: Cause| {
        cause.message = cause.message.replace(&format!("{} in body", cause.field), &{
            let own = cause.field.strip_prefix("status.").unwrap_or(&cause.field);
            format!("{own} in body")
        });
        cause
    };
    causes.into_iter().map(within).collect()
}

/// Kinds whose own rules say all that is required, in their own order.
fn has_all_rules(resource: &Resource) -> bool {
    matches!(
        kind(resource),
        ("autoscaling" | "coordination.k8s.io" | "discovery.k8s.io" | "networking.k8s.io" | "batch", _)
            | ("storage.k8s.io", "storageclasses")
            | ("node.k8s.io", "runtimeclasses")
            | ("apps", "controllerrevisions")
            | (
                "",
                "events"
                    | "endpoints"
                    | "nodes"
                    | "persistentvolumes"
                    | "persistentvolumeclaims"
                    | "replicationcontrollers"
            )
    )
}

/// The rules of kinds for which a table says all.
fn table(resource: &Resource) -> rules::Rows {
    match kind(resource) {
        ("coordination.k8s.io", "leases") => lease::TABLE,
        ("storage.k8s.io", "storageclasses") => storage_class::TABLE,
        ("node.k8s.io", "runtimeclasses") => runtime_class::TABLE,
        ("apps", "controllerrevisions") => controller_revision::TABLE,
        _ => &[],
    }
}

/// What is wrong with a new object of this kind.
pub(super) fn validate_create(resource: &Resource, value: &Value) -> Vec<Cause> {
    match kind(resource) {
        ("", "pods") => pod::faults(value),
        ("", "services") => service::faults(value),
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => {
            workload::faults(resource, value)
        }
        ("batch", "jobs") => job::faults(value),
        ("", "secrets" | "configmaps") => configuration::faults(value),
        ("rbac.authorization.k8s.io", plural) => rbac::faults(plural, value),
        ("scheduling.k8s.io", "priorityclasses") => policy::class_faults(value),
        ("", "resourcequotas") => policy::quota_faults(value),
        ("policy", "poddisruptionbudgets") => policy::budget_faults(value),
        ("admissionregistration.k8s.io", plural) => admission_policy::faults(plural, value),
        ("", "limitranges") => limit_range::faults(value),
        ("apiextensions.k8s.io", "customresourcedefinitions") => definition::faults(value, None),
        ("certificates.k8s.io", "certificatesigningrequests") => certificate::faults(value),
        ("autoscaling", _) => autoscaler::faults(value, None),
        ("discovery.k8s.io", "endpointslices") => endpoint_slice::faults(value, None),
        ("", "endpoints") => endpoint_slice::endpoints_faults(value, None),
        ("", "events") => event::faults(&resource.group, value),
        ("", "nodes") => node::faults(value),
        ("", "persistentvolumes") => persistent_volume::faults(value),
        ("", "persistentvolumeclaims") => persistent_volume_claim::faults(value),
        ("", "replicationcontrollers") => replication_controller::faults(value),
        ("networking.k8s.io", "networkpolicies") => network_policy::faults(value),
        ("networking.k8s.io", "ingresses") => ingress::create_faults(value),
        ("networking.k8s.io", "ingressclasses") => ingress::class_faults(value),
        ("batch", "cronjobs") => cron_job::create_faults(value),
        ("apps", "controllerrevisions") => rules::faults(controller_revision::CREATE, value),
        _ => rules::faults(table(resource), value),
    }
}

/// What is wrong with an update of this kind, through a subresource or the object itself.
pub(super) fn validate_update(
    resource: &Resource,
    subresource: Option<&str>,
    new: &Value,
    old: &Value,
) -> Vec<Cause> {
    if subresource == Some("status") {
        match kind(resource) {
            ("autoscaling", _) => return autoscaler::status_faults(new),
            ("policy", "poddisruptionbudgets") => return policy::budget_status_faults(new),
            ("networking.k8s.io", "ingresses") => return ingress::status_faults(new),
            ("", "persistentvolumeclaims") => return persistent_volume_claim::status_faults(new),
            // What the kubelet, the scheduler and controllers say of their objects is not looked at.
            ("", "persistentvolumes" | "replicationcontrollers") | ("batch", _) => return Vec::new(),
            _ => {}
        }
    }
    let immutable = |mut causes: Vec<Cause>| {
        let (group, resource) = kind(resource);
        causes.extend(rules::immutable_faults(group, resource, new, old));
        causes
    };
    match kind(resource) {
        ("", "pods") if subresource == Some(pod::EPHEMERAL) => pod::ephemeral_faults(new, old),
        ("", "pods") => pod::update_faults(new, old),
        ("", "services") => {
            service::faults(new).into_iter().chain(service::update_faults(new, old)).collect()
        }
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => {
            let mut causes = workload::faults(resource, new);
            causes.extend(workload::update_faults(resource, new, old));
            causes
        }
        ("batch", "jobs") => job::update_faults(new, old),
        ("", "secrets" | "configmaps") => {
            configuration::faults(new).into_iter().chain(configuration::update_faults(new, old)).collect()
        }
        ("scheduling.k8s.io", "priorityclasses") => policy::class_update_faults(new, old),
        ("", "resourcequotas") => policy::quota_faults(new),
        ("policy", "poddisruptionbudgets") => policy::budget_faults(new),
        ("admissionregistration.k8s.io", plural) => admission_policy::faults(plural, new),
        ("", "limitranges") => limit_range::faults(new),
        ("rbac.authorization.k8s.io", plural) => {
            rbac::faults(plural, new).into_iter().chain(rbac::update_faults(new, old)).collect()
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => definition::faults(new, Some(old)),
        ("certificates.k8s.io", "certificatesigningrequests") => {
            certificate::update_faults(subresource, new, old)
        }
        ("autoscaling", _) => autoscaler::faults(new, Some(old)),
        ("discovery.k8s.io", "endpointslices") => immutable(endpoint_slice::faults(new, Some(old))),
        ("", "endpoints") => endpoint_slice::endpoints_faults(new, Some(old)),
        ("", "events") => event::update_faults(&resource.group, new, old),
        ("", "nodes") => node::update_faults(new, old),
        ("", "persistentvolumes") => persistent_volume::faults(new)
            .into_iter()
            .chain(persistent_volume::update_faults(new, old))
            .collect(),
        ("", "persistentvolumeclaims") => {
            let mut causes = persistent_volume_claim::faults(new);
            causes.extend(persistent_volume_claim::update_faults(new, old));
            immutable(causes)
        }
        ("", "replicationcontrollers") => replication_controller::faults(new),
        ("networking.k8s.io", "networkpolicies") => network_policy::faults(new),
        ("networking.k8s.io", "ingresses") => ingress::faults(new),
        ("networking.k8s.io", "ingressclasses") => immutable(ingress::class_faults(new)),
        ("batch", "cronjobs") => cron_job::faults(new),
        _ => immutable(rules::faults(table(resource), new)),
    }
}

/// PUT of an object that does not exist creates it (`AllowCreateOnUpdate`).
pub(super) fn creates_on_update(resource: &Resource) -> bool {
    matches!(
        kind(resource),
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
        ) | ("storage.k8s.io" | "policy", _)
    )
}

/// Objects that may not be deleted at all.
pub(super) fn check_delete(call: &Call<'_>, key: &Key) -> Result<(), Status> {
    let protected = ["default", "kube-system", "kube-public"].contains(&key.name.as_str());
    if kind(&call.resource) == ("", "namespaces") && protected {
        return Err(call.forbidden(&key.name, "this namespace may not be deleted"));
    }
    Ok(())
}

/// What the first sign of a deletion changes in the object.
pub(super) fn begin_delete(resource: &Resource, value: &mut Value) {
    match kind(resource) {
        ("", "namespaces") => value["status"]["phase"] = json!("Terminating"),
        ("apiextensions.k8s.io", "customresourcedefinitions") => definitions::begin_delete(value),
        _ => {}
    }
}

/// Seconds an object has to end: only pods that run on a node have any.
/// Whether objects of this kind are given time to end.
pub(super) fn is_graceful(resource: &Resource) -> bool {
    kind(resource) == ("", "pods")
}

/// Seconds between a deletion and its end.
pub(super) fn grace(resource: &Resource, value: &Value, asked: Option<i64>) -> i64 {
    if is_graceful(resource) { pod::grace(value, asked) } else { 0 }
}

impl ApiServer {
    /// Gives a service the address and ports it needs.
    pub(super) fn assign(&mut self, call: &Call<'_>, value: &mut Value) -> Result<(), Status> {
        if kind(&call.resource) == ("", "services") { self.assign_service(call, value) } else { Ok(()) }
    }
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
