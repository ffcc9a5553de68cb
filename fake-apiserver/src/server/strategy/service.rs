//! Services: addresses, node ports, headless services.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::pod_spec::{duplicate, invalid, required};
use crate::server::call::Call;
use crate::server::{ApiServer, meta, names};
use crate::status::{Cause, Status};

/// Defaults that depend on the type.
pub(super) fn fill(service: &mut Value) {
    let Some(spec) = service.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    for port in super::defaults::items(spec, "ports") {
        if port.get("targetPort").is_none_or(|target| *target == 0 || *target == "") {
            port["targetPort"] = port["port"].clone();
        }
    }
    let set = |spec: &mut Value, field: &str, value: Value| {
        if spec.get(field).is_none() {
            spec[field] = value;
        }
    };
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    if kind != "ExternalName" {
        set(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    if spec["sessionAffinity"] == "ClientIP"
        && spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].is_null()
    {
        spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 10800}});
    }
}

/// What a client that leaves out allocated fields does not mean to change.
pub(super) fn carry(new: &mut Value, old: &Value) {
    let external = |service: &Value| service["spec"]["type"] == "ExternalName";
    if external(new) || external(old) {
        return;
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let missing = new["spec"].get(field).is_none_or(|value| *value == "" || *value == json!([]));
        if let Some(value) = old["spec"].get(field).filter(|_| missing) {
            new["spec"][field] = value.clone();
        }
    }
    let had = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    if needs_node_ports(new) {
        for port in super::defaults::items(&mut new["spec"], "ports") {
            let same = had.iter().find(|h| {
                h["port"] == port["port"] && h["protocol"] == *port.get("protocol").unwrap_or(&json!("TCP"))
            });
            if port["nodePort"].as_u64().unwrap_or_default() == 0
                && let Some(number) = same.and_then(|same| same.get("nodePort"))
            {
                port["nodePort"] = number.clone();
            }
        }
    } else if needs_node_ports(old) {
        for port in super::defaults::items(&mut new["spec"], "ports") {
            super::set_or_remove(port, "nodePort", None);
        }
    }
}

fn needs_node_ports(service: &Value) -> bool {
    let spec = &service["spec"];
    spec["type"] == "NodePort"
        || (spec["type"] == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] != false)
}

/// What is wrong with a service.
pub(super) fn faults(service: &Value) -> Vec<Cause> {
    let spec = &service["spec"];
    let mut causes = Vec::new();
    let kind = spec["type"].as_str().unwrap_or_default();
    if !["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"].contains(&kind) {
        let fault = format!(
            "Unsupported value: {kind:?}: supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\""
        );
        causes.push(Cause::new("FieldValueNotSupported", "spec.type", fault));
    }
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    if ports.is_empty() && spec["clusterIP"] != "None" && kind != "ExternalName" {
        causes.push(required("spec.ports"));
    }
    if kind == "ExternalName" && spec["externalName"].as_str().unwrap_or_default().is_empty() {
        causes.push(required("spec.externalName"));
    }
    let (mut seen, mut pairs) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let name = port["name"].as_str().unwrap_or_default();
        if name.is_empty() && ports.len() > 1 {
            causes.push(required(&format!("{path}.name")));
        } else if !name.is_empty() {
            causes.extend(
                names::dns_label(name).iter().map(|fault| invalid(&format!("{path}.name"), name, fault)),
            );
            if !seen.insert(name) {
                causes.push(duplicate(&format!("{path}.name"), name));
            }
        }
        let number = port["port"].as_i64().unwrap_or_default();
        if !(1..=65535).contains(&number) {
            let fault = format!("Invalid value: {number}: must be between 1 and 65535, inclusive");
            causes.push(Cause::new("FieldValueInvalid", format!("{path}.port"), fault));
        }
        if let Some(target) = port["targetPort"].as_i64().filter(|target| !(1..=65535).contains(target)) {
            let fault = format!("Invalid value: {target}: must be between 1 and 65535, inclusive");
            causes.push(Cause::new("FieldValueInvalid", format!("{path}.targetPort"), fault));
        }
        if let Some(target) = port["targetPort"].as_str() {
            let field = format!("{path}.targetPort");
            causes.extend(names::port_name(target).iter().map(|fault| invalid(&field, target, fault)));
        }
        if !pairs.insert((number, port["protocol"].as_str().unwrap_or("TCP"))) {
            let fault = format!("Duplicate value: {{\"protocol\":{},\"port\":{number}}}", port["protocol"]);
            causes.push(Cause::new("FieldValueDuplicate", path, fault));
        }
    }
    causes
}

/// The cluster IP of a service that keeps having one may not change.
pub(super) fn update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    let external = |service: &Value| service["spec"]["type"] == "ExternalName";
    let (has, had) = (&new["spec"]["clusterIP"], &old["spec"]["clusterIP"]);
    if external(new) || external(old) || had.is_null() || *had == "" || has == had {
        return Vec::new();
    }
    let fault = format!("Invalid value: [{has}]: may not change once set");
    vec![Cause::new("FieldValueInvalid", "spec.clusterIPs[0]", fault)]
}

impl ApiServer {
    /// Allocates cluster IP and node ports; a dry run allocates nothing that lasts.
    pub(in crate::server) fn assign_service(
        &mut self,
        call: &Call<'_>,
        service: &mut Value,
    ) -> Result<(), Status> {
        let name = service["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let refuse = |field: &str, value: &str, fault: String| {
            call.invalid(&name, vec![meta::invalid(field, value, &fault)])
        };
        if service["spec"]["type"] == "ExternalName" {
            return Ok(());
        }
        let key = crate::storage::Key::new(call.namespace(), &name);
        let before = self.storage.get(&call.resource.storage, &key).map(|old| old.value());
        if let Some(before) = &before {
            self.addresses.forget(before);
        }
        let done = self.allocate(service, &refuse);
        if let Some(before) = before.filter(|_| done.is_err() || call.request.params.dry_run) {
            self.addresses.note(&before);
        }
        done
    }

    fn allocate(
        &mut self,
        service: &mut Value,
        refuse: &dyn Fn(&str, &str, String) -> Status,
    ) -> Result<(), Status> {
        let asked = service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
        match asked.as_str() {
            "None" => {}
            "" => {
                let free = self.addresses.next_ip();
                let free =
                    free.ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))?;
                service["spec"]["clusterIP"] = json!(free.to_string());
            }
            ip => {
                if let Some(fault) = self.addresses.ip_fault(ip) {
                    return Err(refuse("spec.clusterIPs", ip, fault));
                }
            }
        }
        let spec = &mut service["spec"];
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
        // A headless service without a selector may have endpoints of any family.
        let any =
            spec["clusterIP"] == "None" && spec["selector"].as_object().is_none_or(serde_json::Map::is_empty);
        let any = any && spec.get("ipFamilies").is_none() && spec.get("ipFamilyPolicy").is_none();
        if spec.get("ipFamilies").is_none() {
            spec["ipFamilies"] = if any { json!(["IPv4", "IPv6"]) } else { json!(["IPv4"]) };
        }
        if spec.get("ipFamilyPolicy").is_none() {
            spec["ipFamilyPolicy"] = json!(if any { "RequireDualStack" } else { "SingleStack" });
        }
        if !needs_node_ports(service) {
            return Ok(());
        }
        let mut own = BTreeSet::new();
        for (index, port) in super::defaults::items(&mut service["spec"], "ports").enumerate() {
            let asked = port["nodePort"].as_u64().unwrap_or_default();
            if asked == 0 {
                let free = self.addresses.next_port();
                let free =
                    free.ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))?;
                port["nodePort"] = json!(free);
            } else if let Some(fault) = self.addresses.port_fault(u16::try_from(asked).unwrap_or_default())
                && own.insert(asked)
            {
                return Err(refuse(&format!("spec.ports[{index}].nodePort"), &asked.to_string(), fault));
            }
        }
        Ok(())
    }
}
