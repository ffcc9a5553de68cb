//! The state machine: one file for each verb, the rules of single kinds in [`strategy`].

mod config;
mod internal;
pub mod names;

use jiff::Timestamp;

pub use config::{Clock, Config};
pub use internal::{Api, Changes, Controller, Cursor};

use crate::registry::Registry;
use crate::request::Request;
use crate::response::Response;
use crate::status::Status;
use crate::storage::{GroupResource, Storage, Watch, WatchEvent};

/// A Kubernetes API server: a function of the requests it is given and their times.
pub struct ApiServer {
    config: Config,
    storage: Storage,
    registry: Registry,
    controllers: Vec<Box<dyn Controller>>,
    /// What the controllers have seen: without a later write they have nothing to do before `due`.
    stepped: u64,
    due: Option<Timestamp>,
}

impl ApiServer {
    /// A server with the built-in resources and the namespaces every cluster has.
    pub fn new(config: Config, now: Timestamp) -> Self {
        let controllers = if config.controllers { crate::controllers::built_in() } else { Vec::new() };
        let _ = now;
        Self {
            storage: Storage::new(config.history),
            registry: Registry::built_in(),
            controllers,
            config,
            stepped: 0,
            due: None,
        }
    }

    /// Answers one request. A watch answers at once with a cursor for [`ApiServer::poll_watch`].
    pub fn handle(&mut self, now: Timestamp, request: &Request) -> Result<Response, Status> {
        let _ = now;
        Err(Status::not_modelled(format!("{:?}", request.verb)))
    }

    /// The events since the watch's last, at most `max`; moves the watch.
    ///
    /// # Errors
    /// 410 when the watch has fallen out of history; it is to be sent as an `ERROR` event that ends the watch.
    pub fn poll_watch(&self, watch: &mut Watch, max: usize) -> Result<Vec<WatchEvent>, Status> {
        let _ = (watch, max);
        Ok(Vec::new())
    }

    /// An event that tells the watcher the revision it is up to date with.
    pub fn bookmark(&self, watch: &Watch) -> WatchEvent {
        let _ = watch;
        unimplemented!()
    }

    /// Runs the controllers until nothing is due at `now`; returns when something will be.
    pub fn step(&mut self, now: Timestamp) -> Option<Timestamp> {
        /// A controller that writes without end is stopped for this step; its work is due again a second later.
        const MAX_PASSES: usize = 100_000;
        if self.stepped == self.storage.revision() && self.due.is_none_or(|due| due > now) {
            return self.due;
        }
        let mut controllers = std::mem::take(&mut self.controllers);
        let mut due = None;
        for pass in 0.. {
            let before = self.storage.revision();
            due = None;
            for controller in &mut controllers {
                let next = controller.step(&mut Api::new(self, now, controller.name()));
                due = [due, next].into_iter().flatten().min();
            }
            if self.storage.revision() == before && due.is_none_or(|due| due > now) {
                break;
            }
            if pass >= MAX_PASSES {
                due = now.checked_add(jiff::SignedDuration::from_secs(1)).ok();
                break;
            }
        }
        self.controllers = controllers;
        self.stepped = self.storage.revision();
        self.due = due;
        due
    }

    /// Whether [`ApiServer::step`] would do anything at `now`.
    pub fn has_work(&self, now: Timestamp) -> bool {
        self.stepped != self.storage.revision() || self.due.is_some_and(|due| due <= now)
    }

    /// The revision of the last write.
    pub fn revision(&self) -> u64 {
        self.storage.revision()
    }

    /// The resources that are served.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All objects.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// How the server was set up.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The resources written since the last call: whose watchers are to be woken.
    pub fn take_touched(&mut self) -> Vec<GroupResource> {
        self.storage.take_touched()
    }

    /// Forgets history up to and including `revision`: older resource versions answer 410.
    pub fn compact(&mut self, revision: u64) {
        self.storage.compact(revision);
    }

    /// Adds a controller that runs after the built-in ones.
    pub fn add_controller(&mut self, controller: Box<dyn Controller>) {
        self.controllers.push(controller);
        self.stepped = 0;
    }
}

/// 404 for a path that is not served.
pub(crate) fn no_such_resource() -> Status {
    Status::new(404, "NotFound", "the server could not find the requested resource")
}
