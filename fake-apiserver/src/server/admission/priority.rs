//! The priority of pods comes from their class.
//!
//! Follows `plugin/pkg/admission/priority`.

use serde_json::{Value, json};

use crate::server::ApiServer;
use crate::server::call::Call;
use crate::status::Status;
use crate::storage::{GroupResource, Key, Storage};

const PRIORITY_CLASSES: GroupResource = GroupResource::new("scheduling.k8s.io", "priorityclasses");

/// What pods of no class get, kept as classes are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct Classes {
    default: Option<Class>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    name: String,
    value: i64,
    policy: String,
}

impl Class {
    fn of(class: &Value) -> Self {
        Self {
            name: class["metadata"]["name"].as_str().unwrap_or_default().into(),
            value: class["value"].as_i64().unwrap_or_default(),
            policy: class["preemptionPolicy"].as_str().unwrap_or("PreemptLowerPriority").into(),
        }
    }
}

impl Classes {
    /// The classes as they are now. Of several defaults, which only a race can make, the lowest counts.
    pub(in crate::server) fn read(storage: &Storage) -> Self {
        let all =
            storage.collection(&PRIORITY_CLASSES).into_iter().flat_map(crate::storage::Collection::iter);
        let defaults = all.map(|class| class.value()).filter(|class| class["globalDefault"] == true);
        Self { default: defaults.map(|class| Class::of(&class)).min_by_key(|class| class.value) }
    }
}

impl ApiServer {
    /// The classes every cluster has.
    pub(in crate::server) fn system_priority_classes() -> [crate::request::Request; 2] {
        let class = |name: &str, value: i64, description: &str| {
            crate::request::Request::create(
                "scheduling.k8s.io/v1",
                "priorityclasses",
                json!({"metadata": {"name": name}, "value": value, "description": description}),
            )
        };
        [
            class(
                "system-node-critical",
                2_000_001_000,
                "Used for system critical pods that must not be moved from their current node.",
            ),
            class(
                "system-cluster-critical",
                2_000_000_000,
                "Used for system critical pods that must run in the cluster, but can be moved to another node if \
                 necessary.",
            ),
        ]
    }

    pub(super) fn admit_priority(&self, call: &Call<'_>, pod: &mut Value) -> Result<(), Status> {
        let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let spec = &mut pod["spec"];
        let name = spec["priorityClassName"].as_str().filter(|name| !name.is_empty()).map(str::to_owned);
        let class = match &name {
            Some(name) => {
                let found = self.storage.get(&PRIORITY_CLASSES, &Key::new("", name));
                let missing =
                    || call.forbidden(&pod_name, &format!("no PriorityClass with name {name} was found"));
                Some(Class::of(&found.ok_or_else(missing)?.value()))
            }
            None => self.classes.default.clone(),
        };
        let (value, policy) =
            class.as_ref().map_or((0, "PreemptLowerPriority"), |class| (class.value, class.policy.as_str()));
        if let Some(said) = spec["priority"].as_i64().filter(|said| *said != value) {
            let why = format!(
                "the integer value of priority ({said}) must not be provided in pod spec; priority admission \
                 controller computed {value} from the given PriorityClass name"
            );
            return Err(call.forbidden(&pod_name, &why));
        }
        if let Some(said) = spec["preemptionPolicy"].as_str().filter(|said| *said != policy) {
            let why = format!(
                "the string value of PreemptionPolicy ({said}) must not be provided in pod spec; priority admission \
                 controller computed {policy} from the given PriorityClass name"
            );
            return Err(call.forbidden(&pod_name, &why));
        }
        spec["priority"] = json!(value);
        spec["preemptionPolicy"] = json!(policy);
        if let Some(class) = class {
            spec["priorityClassName"] = json!(class.name);
        }
        Ok(())
    }

    /// There is one default class at most.
    pub(super) fn check_priority_class(
        &self,
        call: &Call<'_>,
        value: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let was = old.is_some_and(|old| old["globalDefault"] == true);
        if call.resource.storage != PRIORITY_CLASSES || value["globalDefault"] != true || was {
            return Ok(());
        }
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        match &self.classes.default {
            Some(known) if known.name != name => Err(call.forbidden(
                name,
                &format!(
                    "PriorityClass {} is already marked as default. Only one default can exist",
                    known.name
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Keeps the default class up to date.
    pub(in crate::server) fn priority_class_changed(&mut self) {
        self.classes = Classes::read(&self.storage);
    }
}
