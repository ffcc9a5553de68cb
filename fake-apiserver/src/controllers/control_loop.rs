//! What every controller is: it marks work when it sees a change, and does it when it is its turn.

use jiff::Timestamp;
use serde_json::Value;

use super::events::{Note, Recorder};
use super::names::Suffixes;
use super::observed::{Observed, Pods, Seen as SeenChange};
use super::options::Options;
use super::queue::{Queue, Work};
use crate::server::{Api, ApiServer};
use crate::status::Status;
use crate::storage::Stored;

/// A controller.
pub(crate) trait ControlLoop: Send {
    /// Its name: the source of its events.
    fn name(&self) -> &'static str;

    /// Field manager of its writes.
    fn manager(&self) -> &'static str {
        "kube-controller-manager"
    }

    /// Marks the work that a change makes. Called once for each change, in order; must be cheap.
    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue);

    /// Does one piece of work from the newest state; returns when it wants to look again though nothing changes.
    /// An error is tried again with back-off.
    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status>;

    /// History was lost: everything will be seen again as new. What is known only from changes is to be forgotten.
    fn reset(&mut self) {}
}

/// A change with what surrounds it.
pub(crate) struct Seen<'a> {
    /// The time of the step.
    pub now: Timestamp,
    /// The change.
    pub change: &'a SeenChange,
    /// When it is about a pod, what was and is known of the pod.
    pub pods: &'a Pods,
    /// Everything that is known, this change included.
    pub observed: &'a Observed,
    /// The server, for reads.
    pub server: &'a ApiServer,
    /// The settings.
    pub options: &'a Options,
}

impl Seen<'_> {
    /// Group and plural, to be matched on.
    pub(crate) fn resource(&self) -> (&str, &str) {
        (&self.change.resource.group, &self.change.resource.resource)
    }

    /// The object, in its last state when it is gone.
    pub(crate) fn object(&self) -> &Stored {
        self.change.object()
    }

    /// Marks work on the object of the change.
    pub(crate) fn mark(&self, queue: &mut Queue, about: &'static str) {
        queue.add(Work::new(about, &self.object().key), self.now);
    }

    /// Marks work on the controllers of this kind that the object has and had.
    pub(crate) fn mark_controller(&self, queue: &mut Queue, kind: &str, about: &'static str) {
        let states = [self.change.before.as_deref(), self.change.after.as_deref()];
        for state in states.into_iter().flatten() {
            if let Some(owner) = state.controller().filter(|owner| owner.kind == kind) {
                let key = crate::storage::Key::new(&state.key.namespace, &owner.name);
                queue.add(Work { about, key }, self.now);
            }
        }
    }
}

/// What a controller works with.
pub(crate) struct Context<'a, 's> {
    /// The server.
    pub api: &'a mut Api<'s>,
    /// The time of the step.
    pub now: Timestamp,
    /// What is known of pods and nodes; equal to the server's state until the first write of this work.
    pub observed: &'a Observed,
    /// The settings.
    pub options: &'a Options,
    /// Writer of Events.
    pub recorder: &'a mut Recorder,
    /// Endings of names.
    pub suffixes: &'a mut Suffixes,
    /// Name of the controller.
    pub source: &'static str,
}

impl Context<'_, '_> {
    /// Records an Event of type Normal about an object.
    pub(crate) fn normal(&mut self, about: &Value, reason: &str, message: &str) {
        self.note(about, "Normal", reason, message, "");
    }

    /// Records an Event of type Warning about an object.
    pub(crate) fn warning(&mut self, about: &Value, reason: &str, message: &str) {
        self.note(about, "Warning", reason, message, "");
    }

    /// Records an Event about a part of an object.
    pub(crate) fn note(&mut self, about: &Value, kind: &str, reason: &str, message: &str, field_path: &str) {
        if self.options.record_events {
            let note = Note { about, kind, reason, message, field_path, source: self.source };
            self.recorder.record(self.api, &note, self.now);
        }
    }
}
