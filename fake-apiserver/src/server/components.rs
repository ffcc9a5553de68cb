//! ComponentStatuses: what a control plane makes of its parts. Nothing of it is stored; here all parts are well.

use std::sync::Arc;

use serde_json::{Value, json};

use super::ApiServer;
use super::call::Call;
use crate::request::Verb;
use crate::response::{List, Reply, Response};
use crate::status::Status;
use crate::storage::{GroupResource, Stored};

pub(super) const STATUSES: GroupResource = GroupResource::new("", "componentstatuses");

/// What a control plane consists of, in the order of their names.
const COMPONENTS: [&str; 3] = ["controller-manager", "etcd-0", "scheduler"];

impl ApiServer {
    pub(super) fn component_statuses(call: &Call<'_>) -> Result<Response, Status> {
        let warnings = call.resource.deprecation.iter().cloned().collect();
        let mut statuses = COMPONENTS.into_iter().map(|name| Arc::new(status(name)));
        if call.request.verb == Verb::Get {
            let name = call.key()?.name;
            let found = statuses.find(|status| status.key.name == name);
            let found = found.ok_or_else(|| Status::not_found("", "componentstatus", &name))?;
            return Ok(call.answer(found, warnings));
        }
        if call.request.verb == Verb::Watch {
            let plural = &call.resource.plural;
            let mut refusal =
                Status::method_not_allowed(format!("watch is not supported on resources of kind {plural:?}"));
            refusal.details.kind.clone_from(plural);
            return Err(refusal);
        }
        let selection = Self::selection(call)?;
        let list = List {
            kind: call.resource.list_kind.clone(),
            api_version: call.resource.api_version(),
            items: statuses.filter(|status| selection.matches(status)).collect(),
            resource_version: 0,
            continue_token: None,
            remaining: None,
            built_in: true,
        };
        Ok(Response { code: 200, reply: Reply::List(list), warnings })
    }
}

fn status(name: &str) -> Stored {
    let healthy = json!({"type": "Healthy", "status": "True", "message": "ok"});
    let value: Value = json!({"apiVersion": "v1", "kind": "ComponentStatus", "metadata": {"name": name}, "conditions": [healthy]});
    Stored::from_value(&value, &Arc::default(), 0)
}
