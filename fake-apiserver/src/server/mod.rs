//! The state machine: one file for each verb, the rules of single kinds in [`strategy`].

mod address;
mod addresses;
mod admission;
mod authorization;
pub(crate) mod autoscaler_versions;
mod body;
mod call;
mod components;
mod config;
mod conversion;
mod convert;
mod create;
mod cron;
mod definitions;
mod delete;
mod eviction;
mod get;
mod go_diff;
pub(crate) mod go_text;
mod internal;
mod list;
mod meta;
pub mod names;
mod patch;
mod pods;
mod reviews;
mod scale;
mod strategy;
mod tokens;
mod update;
mod watch;
mod write;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use admission::{Conversation, Destination, Progress, WebhookCall};
pub use authorization::{Attributes, Decision, Impersonation, Target};
pub use config::{Clock, Config};
pub use internal::{Api, Changes, Controller, Cursor};
pub use pods::LOG_ANNOTATION;
pub(crate) use reviews::user_info;
pub use tokens::{ISSUER, TokenKey, TokenUser};

use addresses::Addresses;
use call::Call;

use crate::controllers::{Controllers, Unit};
use crate::registry::{Registry, Resource};
use crate::request::{Request, Verb};
use crate::response::Response;
use crate::status::Status;
use crate::storage::{GroupResource, Storage, Watch, WatchEvent};

const PODS: GroupResource = GroupResource::new("", "pods");
const NAMESPACES: GroupResource = GroupResource::new("", "namespaces");
const SERVICE_ACCOUNTS: GroupResource = GroupResource::new("", "serviceaccounts");
const SECRETS: GroupResource = GroupResource::new("", "secrets");
const NODES: GroupResource = GroupResource::new("", "nodes");
const QUOTAS: GroupResource = GroupResource::new("", "resourcequotas");
const BUDGETS: GroupResource = GroupResource::new("policy", "poddisruptionbudgets");
const DEFINITIONS: GroupResource = GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions");

/// The namespaces every cluster has.
const FIRST_NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Uids of default classes and roles are counted from here.
const FIRST_UID_OF_DEFAULTS: u64 = 1 << 47;

/// A Kubernetes API server: a function of the requests it is given and their times.
pub struct ApiServer {
    config: Config,
    storage: Storage,
    registry: Registry,
    built_in: Option<Controllers>,
    controllers: Vec<Box<dyn Controller>>,
    /// What the controllers have seen: without a later write they have nothing to do before `due`.
    stepped: u64,
    due: Option<Timestamp>,
    addresses: Addresses,
    /// Numbers given away so far: uids, generated names, editions of definitions, tokens.
    uids: u64,
    names: u64,
    editions: u64,
    tokens: u64,
    policy: authorization::Policy,
    classes: admission::Classes,
    webhooks: std::sync::Arc<admission::Webhooks>,
    policies: std::sync::Arc<admission::Policies>,
    calls: admission::Calls,
    conversions: conversion::Conversions,
    /// `spec` of each served definition: a write that does not change it changes nothing that is served.
    served_specs: BTreeMap<String, Value>,
}

impl ApiServer {
    /// A server with the built-in resources and the namespaces every cluster has.
    pub fn new(config: Config, now: Timestamp) -> Self {
        let mut controllers: Vec<Box<dyn Controller>> = Vec::new();
        if config.controllers {
            controllers.push(Box::<admission::QuotaStatus>::default());
        }
        let built_in = config.controllers.then(|| Controllers::new(config.options.clone()));
        let mut server = Self {
            storage: Storage::new(config.history),
            registry: Registry::built_in(),
            built_in,
            controllers,
            config,
            stepped: 0,
            due: None,
            addresses: Addresses::default(),
            uids: 0,
            names: 0,
            editions: 0,
            tokens: 0,
            policy: authorization::Policy::default(),
            classes: admission::Classes::default(),
            webhooks: std::sync::Arc::default(),
            policies: std::sync::Arc::default(),
            calls: admission::Calls::default(),
            conversions: conversion::Conversions::default(),
            served_specs: BTreeMap::new(),
        };
        server.bootstrap(now);
        server
    }

    /// What kube-apiserver itself makes when it starts: namespaces, the service `kubernetes`, priority classes,
    /// and the roles.
    fn bootstrap(&mut self, now: Timestamp) {
        let namespaces = FIRST_NAMESPACES
            .iter()
            .map(|name| Request::create("v1", "namespaces", json!({"metadata": {"name": name}})));
        let service = Request::create(
            "v1",
            "services",
            json!({"metadata": {"name": "kubernetes", "namespace": "default",
                    "labels": {"component": "apiserver", "provider": "kubernetes"}},
                "spec": {"clusterIP": "10.96.0.1",
                    "ports": [{"name": "https", "port": 443, "targetPort": 6443}]}}),
        );
        let roles = self.config.rbac.then(authorization::default_objects).into_iter().flatten();
        let classes = Self::system_priority_classes().into_iter();
        self.make_first(now, namespaces.chain([service]));
        // What else there is in the beginning does not change the uids of what clients make.
        let uids = std::mem::replace(&mut self.uids, FIRST_UID_OF_DEFAULTS);
        self.make_first(now, classes.chain(roles));
        self.uids = uids;
    }

    fn make_first(&mut self, now: Timestamp, requests: impl Iterator<Item = Request>) {
        for mut request in requests {
            request.user.agent = "kube-apiserver".into();
            let made = self.handle(now, &request);
            debug_assert!(made.is_ok(), "{made:?}");
        }
    }

    /// Answers one request. A watch answers at once with a cursor for [`ApiServer::poll_watch`].
    ///
    /// Admission webhooks that would have to be called count as failed; see [`ApiServer::converse`].
    pub fn handle(&mut self, now: Timestamp, request: &Request) -> Result<Response, Status> {
        self.authorize(request)?;
        let resource = self.registry.get(&request.group, &request.version, &request.resource);
        let call = Call { now, request, resource: resource.cloned().ok_or_else(no_such_resource)? };
        check_place(&call)?;
        if let Some(subresource) = request.subresource.as_deref() {
            return self.handle_subresource(&call, subresource);
        }
        if call.resource.storage == components::STATUSES
            && matches!(request.verb, Verb::Get | Verb::List | Verb::Watch)
        {
            return Self::component_statuses(&call);
        }
        // Nothing can be read back from where bindings are sent.
        if call.resource.plural == "bindings" && request.name.is_some() && call.resource.custom.is_none() {
            return Err(no_such_resource());
        }
        if !call.resource.allows(verb_name(request.verb)) {
            return Err(no_such_method());
        }
        if matches!(&*call.resource.group, "authorization.k8s.io" | "authentication.k8s.io") {
            return self.review(&call);
        }
        match request.verb {
            Verb::Get => self.get(&call),
            Verb::List => self.list(&call),
            Verb::Watch => self.watch(&call),
            Verb::Create if call.resource.plural == "bindings" => self.bind(&call),
            Verb::Create => self.create(&call),
            Verb::Update => self.update(&call),
            Verb::Patch(patch_type) => self.patch(&call, patch_type),
            Verb::Delete => self.delete(&call),
            Verb::DeleteCollection => self.delete_collection(&call),
        }
    }

    fn handle_subresource(&mut self, call: &Call<'_>, subresource: &str) -> Result<Response, Status> {
        if !call.resource.has_subresource(subresource) {
            if call.resource.custom.is_some() {
                return Err(call.not_found(call.request.name.as_deref().unwrap_or_default()));
            }
            return Err(no_such_resource());
        }
        match (subresource, call.request.verb) {
            ("scale", _) => self.scale(call),
            ("finalize", Verb::Update) => self.finalize(call),
            ("binding", Verb::Create) => self.bind(call),
            ("eviction", Verb::Create) => self.evict(call),
            ("token", Verb::Create) => self.token(call),
            ("log", Verb::Get) => self.log(call),
            ("status" | "approval" | "ephemeralcontainers" | "resize", Verb::Get)
            // The face connects to the object; here it is only found.
            | ("exec" | "attach" | "portforward", Verb::Get | Verb::Create)
            | ("proxy", _) => self.get(call),
            ("status" | "approval" | "ephemeralcontainers" | "resize", Verb::Update) => self.update(call),
            ("status" | "approval" | "ephemeralcontainers" | "resize", Verb::Patch(patch_type)) => {
                self.patch(call, patch_type)
            }
            (
                "status" | "approval" | "ephemeralcontainers" | "resize" | "finalize" | "binding" | "eviction" | "token" | "log" | "exec" | "attach" | "portforward",
                _,
            ) => Err(no_such_method()),
            (other, _) => Err(Status::not_modelled(format!(
                "subresource {other} of {} is not modelled by this server",
                call.resource.storage
            ))),
        }
    }

    /// The events since the watch's last, at most `max`; moves the watch.
    ///
    /// # Errors
    /// 410 when the watch has fallen out of history; it is to be sent as an `ERROR` event that ends the watch.
    pub fn poll_watch(&self, watch: &mut Watch, max: usize) -> Result<Vec<WatchEvent>, Status> {
        self.poll(watch, max)
    }

    /// An event that tells the watcher the revision it is up to date with.
    pub fn bookmark(&self, watch: &Watch) -> WatchEvent {
        self.bookmark_for(watch)
    }

    /// Runs the controllers until nothing is due at `now`; returns when something will be.
    pub fn step(&mut self, now: Timestamp) -> Option<Timestamp> {
        /// A controller that writes without end is stopped for this step; its work is due again a second later.
        const MAX_PASSES: usize = 100_000;
        if self.stepped == self.storage.revision() && self.due.is_none_or(|due| due > now) {
            return self.due;
        }
        let mut controllers = std::mem::take(&mut self.controllers);
        let mut built_in = self.built_in.take();
        let mut due = None;
        for pass in 0.. {
            let before = self.storage.revision();
            due = built_in.as_mut().and_then(|built_in| built_in.step(self, now));
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
        self.built_in = built_in;
        self.stepped = self.storage.revision();
        self.due = due;
        due
    }

    /// Whether [`ApiServer::step`] would do anything at `now`.
    pub fn has_work(&self, now: Timestamp) -> bool {
        self.stepped != self.storage.revision() || self.due.is_some_and(|due| due <= now)
    }

    /// What the built-in controllers could do at `now`, for a scheduler that chooses the order itself.
    pub fn pending_work(&mut self, now: Timestamp) -> Vec<Unit> {
        let mut built_in = self.built_in.take();
        let units = built_in.as_mut().map(|built_in| built_in.pending_work(self, now));
        self.built_in = built_in;
        units.unwrap_or_default()
    }

    /// Does one thing of [`ApiServer::pending_work`], by its index there.
    pub fn step_one(&mut self, index: usize, now: Timestamp) {
        let mut built_in = self.built_in.take();
        if let Some(built_in) = &mut built_in {
            built_in.step_one(self, index, now);
        }
        self.built_in = built_in;
    }

    /// The built-in controllers, if they run.
    pub fn built_in_controllers(&self) -> Option<&Controllers> {
        self.built_in.as_ref()
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
    Status::generic(404, "NotFound", "the server could not find the requested resource")
}

/// 405.
pub(crate) fn no_such_method() -> Status {
    Status::method_not_allowed("the server does not allow this method on the requested resource")
}

/// A path with a namespace belongs to resources that have one; an object of such a resource needs it.
fn check_place(call: &Call<'_>) -> Result<(), Status> {
    let inside = call.request.namespace.is_some();
    let collection = matches!(call.request.verb, Verb::List | Verb::Watch | Verb::DeleteCollection);
    let own = call.resource.storage == NAMESPACES;
    // Only within a namespace can a collection be deleted.
    if call.request.verb == Verb::DeleteCollection && call.resource.namespaced && !inside {
        return Err(no_such_method());
    }
    if (inside && !call.resource.namespaced && !own) || (!inside && call.resource.namespaced && !collection) {
        return Err(no_such_resource());
    }
    Ok(())
}

fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "get",
        Verb::List => "list",
        Verb::Watch => "watch",
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::Patch(_) => "patch",
        Verb::Delete => "delete",
        Verb::DeleteCollection => "deletecollection",
    }
}

/// The name a selectable field is kept under, where the served version calls it otherwise.
fn field_alias(resource: &Resource, field: &str) -> Option<&'static str> {
    if resource.group != "events.k8s.io" {
        return None;
    }
    Some(match field {
        "regarding.kind" => "involvedObject.kind",
        "regarding.namespace" => "involvedObject.namespace",
        "regarding.name" => "involvedObject.name",
        "regarding.uid" => "involvedObject.uid",
        "reportingController" => "reportingComponent",
        _ => return None,
    })
}
