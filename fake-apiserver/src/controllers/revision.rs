//! ControllerRevisions: the templates a StatefulSet or DaemonSet has had.

use serde_json::{Value, json};

use super::control_loop::Context;
use super::names::template_hash;
use super::object::{REVISIONS, controller_ref};
use crate::status::Status;
use crate::storage::Stored;

/// The revisions of one object, oldest first; the last is that of the present template.
pub(crate) struct History {
    revisions: Vec<(i64, String, Value)>,
}

impl History {
    /// Reads the history and adds the present template; `hash_label` is where the kind keeps the hash.
    pub(crate) fn keep(
        owner: &Stored,
        value: &Value,
        kind: &str,
        hash_label: &str,
        context: &mut Context<'_, '_>,
    ) -> Result<Self, Status> {
        let template = &value["spec"]["template"];
        let name = format!("{}-{}", owner.key.name, template_hash(template, 0));
        let mut revisions: Vec<(i64, String, Value)> = context
            .api
            .owned_by(&owner.meta.uid)
            .into_iter()
            .filter(|(resource, _)| *resource == REVISIONS)
            .map(|(_, stored)| {
                let value = stored.value();
                (value["revision"].as_i64().unwrap_or_default(), stored.key.name.clone(), value)
            })
            .collect();
        revisions.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let next = revisions.last().map_or(1, |(number, ..)| number + 1);
        match revisions.iter().position(|(_, known, _)| *known == name) {
            Some(index) if index + 1 == revisions.len() => {}
            Some(index) => {
                // An old template again: it becomes the newest revision.
                let (_, name, mut value) = revisions.remove(index);
                value["revision"] = next.into();
                context.api.update(&REVISIONS, value.clone())?;
                revisions.push((next, name, value));
            }
            None => {
                let value = revision(owner, value, kind, hash_label, &name, next);
                context.api.create(&REVISIONS, value.clone())?;
                revisions.push((next, name, value));
            }
        }
        let mut history = Self { revisions };
        let limit = value["spec"]["revisionHistoryLimit"].as_i64().unwrap_or(10).max(0) as usize;
        history.truncate(owner, limit, context)?;
        Ok(history)
    }

    /// Removes the oldest beyond the limit that no pod is of.
    fn truncate(
        &mut self,
        owner: &Stored,
        limit: usize,
        context: &mut Context<'_, '_>,
    ) -> Result<(), Status> {
        while self.revisions.len() > limit + 1 {
            let (_, name, _) = &self.revisions[0];
            let hash = name.rsplit('-').next().unwrap_or_default();
            let used = context.observed.controlled_by(&owner.meta.uid).any(|pod| {
                let label = pod.stored.meta.labels.get("controller-revision-hash");
                label.is_some_and(|label| label == name || label == hash)
            });
            if used {
                break;
            }
            let key = crate::storage::Key::new(&owner.key.namespace, name);
            context.api.delete(&REVISIONS, &key, json!({}))?;
            self.revisions.remove(0);
        }
        Ok(())
    }

    /// Name of the revision of the present template.
    pub(crate) fn newest(&self) -> &str {
        self.revisions.last().map_or("", |(_, name, _)| name)
    }

    /// The template of a revision; the newest when it is not known.
    pub(crate) fn template(&self, name: &str) -> Value {
        let found = self.revisions.iter().find(|(_, known, _)| known == name).or(self.revisions.last());
        let mut template =
            found.map(|(.., value)| value["data"]["spec"]["template"].clone()).unwrap_or_default();
        if let Value::Object(map) = &mut template {
            map.remove("$patch");
        }
        template
    }
}

fn revision(owner: &Stored, value: &Value, kind: &str, hash_label: &str, name: &str, number: i64) -> Value {
    let mut template = value["spec"]["template"].clone();
    template["$patch"] = "replace".into();
    let mut labels = value["spec"]["template"]["metadata"]["labels"].clone();
    let hash = name.rsplit('-').next().unwrap_or_default();
    labels[hash_label] = hash.into();
    json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": name, "namespace": owner.key.namespace, "labels": labels,
            "annotations": value["metadata"]["annotations"].as_object().cloned().unwrap_or_default(),
            "ownerReferences": [controller_ref(owner, "apps/v1", kind)],
        },
        "data": {"spec": {"template": template}},
        "revision": number,
    })
}
