//! Services: addresses, node ports, headless services, and what depends on their type. What is wrong with them is in
//! `service_rules`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::schema::cause;
use crate::server::ApiServer;
use crate::server::call::Call;
use crate::status::{Cause, Status};

/// Defaults that depend on the type.
pub(super) fn fill(service: &mut Value) {
    fill_status(service);
    if service["spec"]["clusterIP"] == "" {
        super::set_or_remove(&mut service["spec"], "clusterIP", None);
    }
    let Some(spec) = service.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    for port in super::defaults::items(spec, "ports") {
        if port.get("targetPort").is_none_or(|target| *target == 0 || *target == "") {
            port["targetPort"] = json!(port["port"].as_i64().unwrap_or_default());
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
    if needs_policy(spec) {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    if spec["sessionAffinity"] == "None" {
        super::set_or_remove(spec, "sessionAffinityConfig", None);
    }
    if spec["sessionAffinity"] == "ClientIP"
        && spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].is_null()
    {
        spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 10800}});
    }
}

/// How addresses of a load balancer are reached, if nobody says.
pub(super) fn fill_status(service: &mut Value) {
    let Some(balancer) = service.pointer_mut("/status/loadBalancer") else { return };
    for ingress in super::defaults::items(balancer, "ingress") {
        if ingress["ip"].as_str().is_some_and(|ip| !ip.is_empty()) && ingress["ipMode"].is_null() {
            ingress["ipMode"] = json!("VIP");
        }
    }
}

/// What a client that leaves out allocated fields does not mean to change.
pub(super) fn carry(new: &mut Value, old: &Value) {
    let external = |service: &Value| service["spec"]["type"] == "ExternalName";
    if external(new) || external(old) {
        return;
    }
    for field in ["clusterIP", "clusterIPs"] {
        let missing = new["spec"].get(field).is_none_or(|value| *value == "" || *value == json!([]));
        if let Some(value) = old["spec"].get(field).filter(|_| missing) {
            new["spec"][field] = value.clone();
        }
    }
    // Who changes the one address means the first of the list too.
    let has = new["spec"]["clusterIP"].clone();
    if has != old["spec"]["clusterIP"] && new["spec"]["clusterIPs"] == old["spec"]["clusterIPs"] {
        new["spec"]["clusterIPs"] = json!([has]);
    }
    if needs_node_ports(new) && needs_node_ports(old) {
        carry_node_ports(new, old);
    }
    if needs_health_port(&new["spec"])
        && new["spec"]["healthCheckNodePort"].as_u64().unwrap_or_default() == 0
        && let Some(port) = old["spec"].get("healthCheckNodePort").cloned()
    {
        new["spec"]["healthCheckNodePort"] = port;
    }
}

/// Ports of the same name keep their numbers, unless another port has taken them.
fn carry_node_ports(new: &mut Value, old: &Value) {
    let number = |port: &Value| port["nodePort"].as_u64().filter(|number| *number != 0);
    let ports = |service: &Value| service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let (has, had) = (ports(new), ports(old));
    let taken: BTreeSet<u64> = has.iter().filter_map(number).collect();
    let kept: BTreeSet<u64> = had.iter().filter_map(number).filter(|number| taken.contains(number)).collect();
    let name = |port: &Value| port["name"].as_str().unwrap_or_default().to_owned();
    for port in super::defaults::items(&mut new["spec"], "ports") {
        // The last of a name counts.
        let before = had.iter().rev().find(|before| name(before) == name(port)).and_then(number);
        if let Some(before) = before.filter(|before| number(port).is_none() && !kept.contains(before)) {
            port["nodePort"] = json!(before);
        }
    }
}

fn needs_node_ports(service: &Value) -> bool {
    let spec = &service["spec"];
    spec["type"] == "NodePort"
        || (spec["type"] == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] != false)
}

/// Whether a service needs some of its fields.
type Needs<'a> = &'a dyn Fn(&Value) -> bool;

/// Fields of a type that a service has not any more are dropped, as far as the client has left them alone
/// (`dropTypeDependentFields`).
pub(super) fn drop_of_former_type(new: &mut Value, old: &Value) {
    let kind = |service: &Value| service["spec"]["type"].clone();
    let addressed = |spec: &Value| spec["type"] != "ExternalName";
    let balanced = |spec: &Value| spec["type"] == "LoadBalancer";
    let classed = |spec: &Value| spec["type"] == "LoadBalancer";
    let dependent: [(&[&str], Needs<'_>); 6] = [
        (&["clusterIP", "clusterIPs"], &addressed),
        (&["ipFamilies", "ipFamilyPolicy"], &addressed),
        (&["healthCheckNodePort"], &needs_health_port),
        (&["allocateLoadBalancerNodePorts"], &balanced),
        (&["loadBalancerClass"], &classed),
        (&["externalTrafficPolicy"], &needs_policy),
    ];
    for (fields, needs) in dependent {
        let same = fields.iter().all(|field| new["spec"][*field] == old["spec"][*field]);
        if same && needs(&old["spec"]) && !needs(&new["spec"]) {
            for field in fields {
                super::set_or_remove(&mut new["spec"], field, None);
            }
        }
    }
    if kind(new) == "ExternalName" && kind(old) != "ExternalName" {
        super::set_or_remove(&mut new["spec"], "internalTrafficPolicy", None);
    }
    if needs_node_ports(old) && !needs_node_ports(new) {
        for port in super::defaults::items(&mut new["spec"], "ports") {
            super::set_or_remove(port, "nodePort", None);
        }
    }
    if !balanced(&new["spec"]) && new["status"]["loadBalancer"].is_object() {
        new["status"]["loadBalancer"] = json!({});
    }
}

/// Services that are reached from outside.
pub(super) fn needs_policy(spec: &Value) -> bool {
    match spec["type"].as_str() {
        Some("NodePort" | "LoadBalancer") => true,
        Some("ClusterIP") => spec["externalIPs"].as_array().is_some_and(|ips| !ips.is_empty()),
        _ => false,
    }
}

/// Load balancers that ask nodes whether they have endpoints.
pub(super) fn needs_health_port(spec: &Value) -> bool {
    spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
}

/// Services without an address.
pub(super) fn is_headless(service: &Value) -> bool {
    service["spec"]["clusterIP"] == "None"
}

impl ApiServer {
    /// Allocates cluster IP and node ports; a dry run allocates nothing that lasts.
    pub(in crate::server) fn assign_service(
        &mut self,
        call: &Call<'_>,
        service: &mut Value,
    ) -> Result<(), Status> {
        let name = service["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let refuse = |causes: Vec<Cause>| call.invalid(&name, causes);
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

    fn allocate(&mut self, service: &mut Value, refuse: &dyn Fn(Vec<Cause>) -> Status) -> Result<(), Status> {
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
                    return Err(refuse(vec![cause::invalid("spec.clusterIPs", &json!([ip]), &fault)]));
                }
            }
        }
        let spec = &mut service["spec"];
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
        if !needs_node_ports(service) {
            return Ok(());
        }
        let mut own = BTreeSet::new();
        let (mut shared, mut seen) = (BTreeSet::new(), BTreeSet::new());
        if needs_health_port(&service["spec"]) && service["spec"]["healthCheckNodePort"].is_null() {
            let free = self.addresses.next_port();
            let free =
                free.ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))?;
            service["spec"]["healthCheckNodePort"] = json!(free);
            own.insert(u64::from(free));
        }
        for (index, port) in super::defaults::items(&mut service["spec"], "ports").enumerate() {
            let asked = port["nodePort"].as_u64().unwrap_or_default();
            if asked == 0 {
                let free = self.addresses.next_port();
                let free =
                    free.ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))?;
                port["nodePort"] = json!(free);
                own.insert(u64::from(free));
                continue;
            }
            let held = (self.addresses.port_fault(u16::try_from(asked).unwrap_or_default()))
                .or_else(|| own.contains(&asked).then(|| "provided port is already allocated".to_owned()));
            let protocols = (asked, port["protocol"].as_str().unwrap_or("TCP").to_owned());
            // Ports of several protocols may share a number.
            if let Some(fault) = held.filter(|_| !shared.contains(&asked) || seen.contains(&protocols)) {
                let at = format!("spec.ports[{index}].nodePort");
                return Err(refuse(vec![cause::invalid(at, &json!(asked), &fault)]));
            }
            own.insert(asked);
            shared.insert(asked);
            seen.insert(protocols);
        }
        Ok(())
    }
}
