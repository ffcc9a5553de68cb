//! `pods/resize`: cpu and memory of containers change in place (`podResizeStrategy`, `ValidatePodResize`).

use serde_json::Value;

use super::rules::{items, text};
use super::{pod, pod_spec};
use crate::schema::cause;
use crate::status::Cause;

/// The subresource.
pub(super) const RESIZE: &str = "resize";
const LISTS: [&str; 2] = ["containers", "initContainers"];

/// Through that endpoint nothing changes but what containers ask for and may use. Who has said more owns it all the same.
pub(super) fn keep_rest(new: &mut Value, old: &Value) {
    let sent = std::mem::replace(new, old.clone());
    for list in LISTS {
        let had = items(&old["spec"][list]);
        let mut wanted = items(&sent["spec"][list]).to_vec();
        // Where some are missing or new, they stay as they were sent, and are refused.
        let same = had.len() == wanted.len();
        for container in wanted.iter_mut().filter(|_| same) {
            let Some(known) = had.iter().find(|known| known["name"] == container["name"]) else { continue };
            let said = std::mem::replace(container, known.clone());
            for field in ["resources", "resizePolicy"] {
                super::set_or_remove(container, field, said.get(field).cloned());
            }
        }
        let wanted = (!wanted.is_empty() || list == "containers").then_some(Value::Array(wanted));
        super::set_or_remove(&mut new["spec"], list, wanted);
    }
    for field in ["managedFields", "resourceVersion"] {
        super::set_or_remove(&mut new["metadata"], field, sent["metadata"].get(field).cloned());
    }
}

/// What may not change about a pod that is resized.
pub(super) fn faults(new: &Value, old: &Value) -> Vec<Cause> {
    let (is, was) = (&new["spec"], &old["spec"]);
    let mut causes = pod_spec::faults(is, "spec");
    let class = &old["status"]["qosClass"];
    if text(class) != pod::quality(is) {
        causes.push(cause::invalid("spec", class, "Pod QOS Class may not change as a result of resizing"));
    }
    let mut same = true;
    for list in LISTS {
        if items(&is[list]).len() != items(&was[list]).len() {
            let why = format!("{list} may not be added or removed on resize");
            causes.push(cause::forbidden(format!("spec.{list}"), &why));
            same = false;
        }
    }
    if !same {
        return causes;
    }
    let mut allowed = is.clone();
    for list in LISTS {
        for (index, before) in items(&was[list]).iter().enumerate() {
            let now = &is[list][index]["resources"];
            for kind in ["requests", "limits"] {
                let mut had = before["resources"][kind].as_object().into_iter().flatten();
                if had.any(|(what, _)| now[kind][what].is_null()) {
                    let at = format!("spec.{list}[{index}].resources.{kind}");
                    let why = format!("resource {kind} cannot be removed");
                    causes.push(cause::forbidden(at, &why));
                }
                for what in ["cpu", "memory"] {
                    let amounts = &mut allowed[list][index]["resources"];
                    let known = before["resources"][kind].get(what).cloned();
                    match known {
                        Some(amount) => amounts[kind][what] = amount,
                        None => {
                            if let Some(amounts) = amounts.get_mut(kind) {
                                super::set_or_remove(amounts, what, None);
                            }
                        }
                    }
                }
                let amounts = &mut allowed[list][index]["resources"];
                if amounts[kind].as_object().is_some_and(serde_json::Map::is_empty) {
                    super::set_or_remove(amounts, kind, None);
                }
            }
        }
    }
    if causes.is_empty() && allowed != *was {
        causes.push(cause::forbidden("spec", "only cpu and memory resources are mutable"));
    }
    causes
}
