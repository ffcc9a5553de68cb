//! What every namespace has: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`.

use jiff::Timestamp;
use serde_json::json;

use super::control_loop::{Context, ControlLoop, Seen};
use super::object::NAMESPACES;
use super::queue::{Queue, Work};
use crate::status::Status;
use crate::storage::{GroupResource, Key};

const SERVICE_ACCOUNTS: GroupResource = GroupResource::new("", "serviceaccounts");
const CONFIG_MAPS: GroupResource = GroupResource::new("", "configmaps");
const ROOT_CA: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

/// Keeps both in every namespace that is not being deleted.
#[derive(Default)]
pub(crate) struct ServiceAccounts;

impl ControlLoop for ServiceAccounts {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        let key = &seen.object().key;
        match seen.resource() {
            ("", "namespaces") if seen.change.after.is_some() => seen.mark(queue, "namespaces"),
            ("", "serviceaccounts") if seen.change.after.is_none() && key.name == "default" => {
                queue.add(Work { about: "namespaces", key: Key::new("", &key.namespace) }, seen.now);
            }
            ("", "configmaps") if key.name == ROOT_CA => {
                queue.add(Work { about: "namespaces", key: Key::new("", &key.namespace) }, seen.now);
            }
            _ => {}
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let Some(namespace) = context.api.get(&NAMESPACES, "", &work.key.name) else { return Ok(None) };
        if namespace.meta.deleting {
            return Ok(None);
        }
        let name = &work.key.name;
        if context.api.get(&SERVICE_ACCOUNTS, name, "default").is_none() {
            let metadata = json!({"name": "default", "namespace": name});
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
            context.api.create(&SERVICE_ACCOUNTS, account)?;
        }
        let data = json!({"ca.crt": context.options.root_ca});
        match context.api.get(&CONFIG_MAPS, name, ROOT_CA) {
            None => {
                let annotations = json!({"kubernetes.io/description": DESCRIPTION});
                let metadata = json!({"name": ROOT_CA, "namespace": name, "annotations": annotations});
                let map =
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
                context.api.create(&CONFIG_MAPS, map)?;
            }
            Some(known) => {
                let mut map = known.value();
                if map["data"] != data && !known.meta.deleting {
                    map["data"] = data;
                    context.api.update(&CONFIG_MAPS, map)?;
                }
            }
        }
        Ok(None)
    }
}
