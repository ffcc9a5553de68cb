//! Services of type LoadBalancer: they get the address that was set, or stay pending as on a cluster without a cloud.

use jiff::Timestamp;
use serde_json::json;

use super::control_loop::{Context, ControlLoop, Seen};
use super::object::SERVICES;
use super::queue::{Queue, Work};
use crate::status::Status;

/// Gives addresses.
pub(crate) struct LoadBalancers;

impl ControlLoop for LoadBalancers {
    fn name(&self) -> &'static str {
        "service-controller"
    }

    fn manager(&self) -> &'static str {
        "cloud-controller-manager"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        if seen.resource() == ("", "services")
            && seen.options.load_balancer.is_some()
            && seen.change.after.is_some()
        {
            seen.mark(queue, "services");
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let Some(address) = &context.options.load_balancer else { return Ok(None) };
        let Some(service) = context.api.get(&SERVICES, &work.key.namespace, &work.key.name) else {
            return Ok(None);
        };
        let mut value = service.value();
        let wanted = if value["spec"]["type"] == "LoadBalancer" {
            json!({"ingress": [{"ip": address, "ipMode": "VIP"}]})
        } else {
            json!({})
        };
        if value["status"]["loadBalancer"] != wanted {
            value["status"]["loadBalancer"] = wanted;
            context.api.update_status(&SERVICES, value)?;
        }
        Ok(None)
    }
}
