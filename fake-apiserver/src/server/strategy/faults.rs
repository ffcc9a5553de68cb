//! What is wrong with objects: which kind has which rules.

use serde_json::Value;

use super::{
    admission_policy, autoscaler, certificate, configuration, controller_revision, cron_job, custom,
    definition, endpoint_slice, event, ingress, ip_address, job, kind, lease, limit_range, namespace,
    network_policy, node, persistent_volume, persistent_volume_claim, pod, pod_resize, policy, rbac,
    replication_controller, rules, runtime_class, service_rules, storage_class, storage_kinds,
    webhook_configuration, workload, workload_rules,
};
use crate::registry::Resource;
use crate::schema::Schema;
use crate::status::{Cause, Status};

/// What the schema has against an object.
///
/// # Errors
/// 400 where a built-in kind's Go type could not have been decoded.
pub(in crate::server) fn schema_faults(
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
pub(in crate::server) fn in_status(causes: Vec<Cause>) -> Vec<Cause> {
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
    !matches!(kind(resource).0, "apiregistration.k8s.io" | "flowcontrol.apiserver.k8s.io" | "resource.k8s.io")
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
pub(in crate::server) fn validate_create(resource: &Resource, value: &Value) -> Vec<Cause> {
    match kind(resource) {
        ("", "pods") => pod::faults(value),
        ("", "services") => service_rules::faults(value),
        ("", "namespaces") => namespace::faults(value),
        ("", "podtemplates") => {
            let mut causes = Vec::new();
            workload_rules::template_faults(&value["template"], "template", &mut causes);
            causes
        }
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => {
            workload_rules::faults(resource, value)
        }
        ("batch", "jobs") => job::faults(value),
        ("", "secrets") => configuration::secret_faults(value),
        ("", "configmaps") => configuration::map_faults(value),
        ("rbac.authorization.k8s.io", plural) => rbac::faults(plural, value),
        ("scheduling.k8s.io", "priorityclasses") => policy::class_faults(value),
        ("", "resourcequotas") => policy::quota_faults(value),
        ("policy", "poddisruptionbudgets") => policy::budget_faults(value),
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => webhook_configuration::faults(value),
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
        ("networking.k8s.io", "ipaddresses") => ip_address::faults(value),
        ("networking.k8s.io", "servicecidrs") => ip_address::range_faults(value),
        ("batch", "cronjobs") => cron_job::create_faults(value),
        ("apps", "controllerrevisions") => rules::faults(controller_revision::CREATE, value),
        ("storage.k8s.io", plural) if plural != "storageclasses" => storage_kinds::faults(plural, value),
        _ => rules::faults(table(resource), value),
    }
}

/// What is wrong with an update of this kind, through a subresource or the object itself.
pub(in crate::server) fn validate_update(
    resource: &Resource,
    subresource: Option<&str>,
    new: &Value,
    old: &Value,
) -> Vec<Cause> {
    if subresource == Some("status") {
        match kind(resource) {
            ("", "pods") => return pod::status_faults(new),
            ("storage.k8s.io", _) => return storage_kinds::status_faults(new),
            ("", "services") => return service_rules::status_faults(new),
            ("", "namespaces") => return namespace::status_faults(new),
            ("apps", _) => return workload_rules::status_faults(resource, new, old),
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
        ("", "pods") if subresource == Some(pod_resize::RESIZE) => pod_resize::faults(new, old),
        ("", "pods") => pod::update_faults(new, old),
        ("", "namespaces") if subresource == Some("finalize") => namespace::finalizer_faults(new),
        ("", "podtemplates") => {
            let mut causes = Vec::new();
            workload_rules::template_faults(&new["template"], "template", &mut causes);
            causes
        }
        ("", "services") => {
            service_rules::update_faults(new, old).into_iter().chain(service_rules::faults(new)).collect()
        }
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => {
            let causes = workload_rules::faults(resource, new);
            let changed = workload::update_faults(resource, new, old);
            let first = resource.plural == "daemonsets";
            let (one, other) = if first { (changed, causes) } else { (causes, changed) };
            one.into_iter().chain(other).collect()
        }
        ("batch", "jobs") => job::update_faults(new, old),
        ("", "secrets") => {
            let causes = configuration::update_faults(new, old);
            causes.into_iter().chain(configuration::secret_faults(new)).collect()
        }
        ("", "configmaps") => {
            configuration::update_faults(new, old).into_iter().chain(configuration::map_faults(new)).collect()
        }
        ("scheduling.k8s.io", "priorityclasses") => policy::class_update_faults(new, old),
        ("", "resourcequotas") => policy::quota_faults(new),
        ("policy", "poddisruptionbudgets") => policy::budget_faults(new),
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => webhook_configuration::faults(new),
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
        ("networking.k8s.io", "ipaddresses") => {
            ip_address::faults(new).into_iter().chain(ip_address::update_faults(new, old)).collect()
        }
        ("networking.k8s.io", "servicecidrs") => {
            let causes = ip_address::range_faults(new);
            causes.into_iter().chain(ip_address::range_update_faults(new, old)).collect()
        }
        ("batch", "cronjobs") => cron_job::faults(new),
        ("storage.k8s.io", plural) if plural != "storageclasses" => {
            let causes = storage_kinds::faults(plural, new);
            causes.into_iter().chain(storage_kinds::update_faults(plural, new, old)).collect()
        }
        _ => immutable(rules::faults(table(resource), new)),
    }
}
