//! Keeps the cluster of each lab as the lab wants it, and the status of each lab as that of its cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dask_operator::clock::Clock;
use dask_operator::health::Health;
use dask_operator::store::{
    ApplyOptions, Event, ObjectKey, Part, Patch, PatchOptions, Scope, Store, StoreError,
};
use futures::StreamExt;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::lab;

/// Its name as a client, in `managedFields`.
pub(crate) const MANAGER: &str = "research-labs";
/// Before what has failed is tried again.
const PAUSE: Duration = Duration::from_secs(5);
/// Longest time without a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The objects of one kind, as its watch shows them.
#[derive(Default)]
struct Seen(BTreeMap<ObjectKey, DynamicObject>);

impl Seen {
    /// Takes in an event; gives whom it is about.
    fn take(&mut self, event: Event) -> Option<ObjectKey> {
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                let key = ObjectKey::of(&object);
                self.0.insert(key.clone(), object);
                Some(key)
            }
            Event::Delete(object) => {
                self.0.remove(&ObjectKey::of(&object));
                Some(ObjectKey::of(&object))
            }
            // What a list does not name any more is gone.
            Event::Init => {
                self.0.clear();
                None
            }
            Event::InitDone => None,
        }
    }
}

/// Runs for ever. A lab and its cluster have the same name, so that an event of either is about the same key. It keeps nothing
/// that cannot be read again: it may be dropped at any time, and another one goes on.
pub(crate) async fn run(store: Arc<dyn Store>, health: Health, clock: Clock) {
    let (mut labs, mut clusters) = (Seen::default(), Seen::default());
    let mut lab_events = store.watch(&lab::labs(), &Scope::everywhere());
    let mut cluster_events = store.watch(&lab::clusters(), &Scope::everywhere());
    let (mut labs_known, mut clusters_known) = (false, false);
    let mut due: BTreeSet<ObjectKey> = BTreeSet::new();
    loop {
        health.alive(clock.now(), labs_known && clusters_known);
        let pause = tokio::time::sleep(if due.is_empty() { HEARTBEAT } else { PAUSE });
        tokio::select! {
            Some(event) = lab_events.next() => take(&mut labs, &mut labs_known, event, &mut due),
            Some(event) = cluster_events.next() => take(&mut clusters, &mut clusters_known, event, &mut due),
            () = pause => {}
        }
        // Before both have been listed nobody knows what is missing.
        if !(labs_known && clusters_known) {
            continue;
        }
        for key in std::mem::take(&mut due) {
            let Some(lab) = labs.0.get(&key) else { continue };
            if let Err(error) = reconcile(&*store, &key, lab, clusters.0.get(&key)).await {
                eprintln!("ResearchLab {key}: {error}; trying again");
                due.insert(key);
            }
        }
    }
}

fn take(seen: &mut Seen, known: &mut bool, event: Result<Event, StoreError>, due: &mut BTreeSet<ObjectKey>) {
    match event {
        Ok(event) => {
            *known |= event == Event::InitDone;
            due.extend(seen.take(event));
        }
        Err(error) => eprintln!("a watch had an error and goes on: {error}"),
    }
}

/// Makes or changes the cluster of a lab, and says in the lab's status how it is.
async fn reconcile(
    store: &dyn Store,
    key: &ObjectKey,
    lab: &DynamicObject,
    found: Option<&DynamicObject>,
) -> Result<(), StoreError> {
    if lab.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let wanted = lab::cluster(lab);
    match found {
        None => match store.create(&lab::clusters(), &object(wanted), MANAGER).await {
            // The next event shows whose it is.
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        },
        Some(cluster) if lab::owns(lab, cluster) && !lab::is_made_from(cluster, &wanted) => {
            let mut wanted = object(wanted);
            // Only this cluster, not one that has taken its place.
            wanted.metadata.uid.clone_from(&cluster.metadata.uid);
            store.apply(&lab::clusters(), &wanted, &ApplyOptions::forced(MANAGER, Part::Object)).await?;
        }
        Some(_) => {}
    }
    let status = lab::status(lab, found);
    if !says(&lab.data["status"], &status) {
        let options = PatchOptions { manager: MANAGER.into(), part: Part::Status };
        store.patch(&lab::labs(), key, &Patch::Merge(json!({"status": status})), &options).await?;
    }
    Ok(())
}

/// Whether a status says this already.
fn says(known: &Value, status: &Value) -> bool {
    status.as_object().into_iter().flatten().all(|(field, value)| known[field] == *value)
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap_or_else(|error| unreachable!("an object: {error}"))
}
