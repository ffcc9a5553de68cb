//! [`Store`] over the API server in memory, in the same process.
//!
//! Every future is ready when it is first polled and no timer is needed, so that a simulation can drive it without a runtime.
//! Nothing happens before that first poll, as with a real connection: a call that is dropped was never sent.

use std::{sync::Arc, time::Duration};

use fake_apiserver::{
    Server,
    request::{Params, PatchType, Request, User, Verb},
    response::{List, Reply, Response},
    status::Status,
    storage::{Stored, Watch, WatchEvent, WatchEventType},
};
use futures::{FutureExt, StreamExt, future, future::BoxFuture, stream};
use kube::core::{ApiResource, DynamicObject, TypeMeta};
use serde_json::{Value, json};

use super::{
    ApplyOptions, Cause, DeleteOptions, Endpoints, Event, Missing, ObjectKey, Part, Patch, PatchOptions,
    Result, Scope, Store, StoreError, WatchStream, error::ObjectName, refusal::Refusal,
};

/// [`Store`] over a [`Server`]; clones see the same server.
#[derive(Clone)]
pub struct FakeStore {
    server: Server,
    user: User,
}

impl FakeStore {
    /// A store that asks this server as its administrator.
    pub fn new(server: Server) -> Self {
        Self { server, user: User { agent: "dask-operator".into(), ..User::default() } }
    }

    /// The same store for somebody else, on a server that asks roles for what they may do.
    #[must_use]
    pub fn of(self, user: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Self { user: User { name: user.into(), groups, ..self.user }, ..self }
    }

    /// The server beneath.
    pub fn server(&self) -> &Server {
        &self.server
    }

    fn request(&self, verb: Verb, resource: &ApiResource, namespace: Option<&str>) -> Request {
        Request {
            verb,
            group: resource.group.clone(),
            version: resource.version.clone(),
            resource: resource.plural.clone(),
            namespace: namespace.map(str::to_owned),
            user: self.user.clone(),
            ..Request::default()
        }
    }

    fn one(&self, verb: Verb, resource: &ApiResource, key: &ObjectKey) -> Request {
        Request { name: Some(key.name.clone()), ..self.request(verb, resource, key.namespace.as_deref()) }
    }

    fn collection(&self, verb: Verb, resource: &ApiResource, scope: &Scope) -> Request {
        let params = Params {
            label_selector: scope.labels.clone(),
            field_selector: scope.fields.clone(),
            ..Params::default()
        };
        Request { params, ..self.request(verb, resource, scope.namespace.as_deref()) }
    }

    fn answer(&self, name: ObjectName, request: &Request) -> Result<Response> {
        self.server.request(request).map_err(|status| refused(name, status))
    }

    fn object(&self, resource: &ApiResource, name: ObjectName, request: &Request) -> Result<DynamicObject> {
        match self.answer(name.clone(), request)?.reply {
            Reply::Object(stored) => parse(resource, &stored),
            Reply::Value(value) => from_value(resource, name, value),
            _ => Err(unexpected(name)),
        }
    }

    fn page(&self, name: &ObjectName, request: &Request) -> Result<List> {
        match self.answer(name.clone(), request)?.reply {
            Reply::List(list) => Ok(list),
            _ => Err(unexpected(name.clone())),
        }
    }
}

impl Store for FakeStore {
    fn get<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<DynamicObject>>> {
        async move {
            let request = self.one(Verb::Get, resource, key);
            match self.object(resource, ObjectName::one(resource, key), &request) {
                Ok(object) => Ok(Some(object)),
                Err(StoreError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        resource: &'a ApiResource,
        scope: &'a Scope,
    ) -> BoxFuture<'a, Result<Vec<DynamicObject>>> {
        async move {
            let name = ObjectName::all(resource, scope.namespace.as_deref());
            let page = self.page(&name, &self.collection(Verb::List, resource, scope));
            page.and_then(|list| list.items.iter().map(|stored| parse(resource, stored)).collect())
        }
        .boxed()
    }

    fn watch(&self, resource: &ApiResource, scope: &Scope) -> WatchStream {
        let follow = Follow {
            store: self.clone(),
            resource: resource.clone(),
            scope: scope.clone(),
            stage: Stage::Unlisted,
        };
        stream::unfold(follow, |mut follow| async { Some((follow.next().await, follow)) }).boxed()
    }

    fn create<'a>(
        &'a self,
        resource: &'a ApiResource,
        object: &'a DynamicObject,
        manager: &'a str,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        async move {
            let mut request = self.request(Verb::Create, resource, object.metadata.namespace.as_deref());
            request.params.field_manager = Some(manager.into());
            request.body = Some(json!(object));
            self.object(resource, ObjectName::of(resource, object), &request)
        }
        .boxed()
    }

    fn apply<'a>(
        &'a self,
        resource: &'a ApiResource,
        object: &'a DynamicObject,
        options: &'a ApplyOptions,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        async move {
            let mut request = self.one(Verb::Patch(PatchType::Apply), resource, &ObjectKey::of(object));
            request.subresource = subresource(options.part);
            request.params.field_manager = Some(options.manager.clone());
            request.params.force = options.force;
            request.body = Some(json!(object));
            self.object(resource, ObjectName::of(resource, object), &request)
        }
        .boxed()
    }

    fn patch<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
        patch: &'a Patch,
        options: &'a PatchOptions,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        async move {
            let (kind, body) = match patch {
                Patch::Merge(body) => (PatchType::Merge, body),
                Patch::Json(body) => (PatchType::Json, body),
            };
            let mut request = self.one(Verb::Patch(kind), resource, key);
            request.subresource = subresource(options.part);
            request.params.field_manager = Some(options.manager.clone());
            request.body = Some(body.clone());
            self.object(resource, ObjectName::one(resource, key), &request)
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
        options: &'a DeleteOptions,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            let mut body = json!({"propagationPolicy": options.propagation.as_str()});
            if let Some(grace) = options.grace_seconds {
                body["gracePeriodSeconds"] = json!(grace);
            }
            if let Some(uid) = &options.uid {
                body["preconditions"]["uid"] = json!(uid);
            }
            if let Some(version) = &options.resource_version {
                body["preconditions"]["resourceVersion"] = json!(version);
            }
            let mut request = self.one(Verb::Delete, resource, key);
            request.body = Some(body);
            match self.answer(ObjectName::one(resource, key), &request) {
                Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn endpoints<'a>(&'a self, resource: &'a ApiResource) -> BoxFuture<'a, Result<Option<Endpoints>>> {
        let served = self.server.with(|api| {
            let found = api.registry().get(&resource.group, &resource.version, &resource.plural);
            found.map(|found| found.subresources.iter().map(|subresource| subresource.name.clone()).collect())
        });
        future::ready(Ok(served)).boxed()
    }
}

/// A watch: lists, then follows the change log from there, and lists again when the log no longer reaches back.
struct Follow {
    store: FakeStore,
    resource: ApiResource,
    scope: Scope,
    stage: Stage,
}

enum Stage {
    /// To be listed.
    Unlisted,
    /// Listing failed: what is waited for before it is tried again.
    Waiting(Missing),
    /// The initial state is being told.
    Telling { rest: std::vec::IntoIter<Arc<Stored>>, revision: u64 },
    /// Changes are being followed.
    Following(fake_apiserver::WatchStream),
}

impl Follow {
    async fn next(&mut self) -> Result<Event> {
        loop {
            match &mut self.stage {
                Stage::Unlisted => return self.begin(),
                Stage::Waiting(missing) => {
                    let missing = *missing;
                    self.wait(missing).await;
                    self.stage = Stage::Unlisted;
                }
                Stage::Telling { rest, revision } => {
                    if let Some(stored) = rest.next() {
                        return parse(&self.resource, &stored).map(Event::InitApply);
                    }
                    let revision = *revision;
                    self.stage = match self.open(&self.resource, &self.scope, revision) {
                        Ok(watch) => Stage::Following(self.store.server.watch(watch)),
                        Err(StoreError::Gone { .. }) => Stage::Unlisted,
                        Err(error) => return self.failed(error),
                    };
                    if matches!(self.stage, Stage::Following(_)) {
                        return Ok(Event::InitDone);
                    }
                }
                Stage::Following(events) => match events.next().await {
                    Some(Ok(event)) => {
                        if let Some(event) = translated(&self.resource, &event) {
                            return event;
                        }
                    }
                    Some(Err(_)) | None => self.stage = Stage::Unlisted,
                },
            }
        }
    }

    fn begin(&mut self) -> Result<Event> {
        let request = self.store.collection(Verb::List, &self.resource, &self.scope);
        match self.store.page(&self.name(), &request) {
            Ok(list) => {
                self.stage = Stage::Telling { rest: list.items.into_iter(), revision: list.resource_version };
                Ok(Event::Init)
            }
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: StoreError) -> Result<Event> {
        let missing = match &error {
            StoreError::NotFound { missing, .. } => *missing,
            _ => Missing::Object,
        };
        self.stage = Stage::Waiting(missing);
        Err(error)
    }

    /// Waits until trying again may help: a kind appears when a definition changes; for the rest a moment must do, which
    /// only a runtime has.
    async fn wait(&mut self, missing: Missing) {
        if missing == Missing::Endpoint {
            let definitions = super::served::definitions();
            let everything = Scope::everywhere();
            let request = self.store.collection(Verb::List, &definitions, &everything);
            if let Ok(list) = self.store.page(&self.name(), &request)
                && let Ok(watch) = self.open(&definitions, &everything, list.resource_version)
            {
                let mut changes = self.store.server.watch(watch);
                let kind = self.store.collection(Verb::List, &self.resource, &self.scope);
                // It may have appeared before this watch began.
                if self.store.page(&self.name(), &kind).is_err() {
                    changes.next().await;
                }
                return;
            }
        }
        if tokio::runtime::Handle::try_current().is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        } else {
            future::pending::<()>().await;
        }
    }

    fn open(&self, resource: &ApiResource, scope: &Scope, revision: u64) -> Result<Watch> {
        let mut request = self.store.collection(Verb::Watch, resource, scope);
        request.params.resource_version = Some(revision.to_string());
        match self.store.answer(self.name(), &request)?.reply {
            Reply::Watch(watch) => Ok(watch),
            _ => Err(unexpected(self.name())),
        }
    }

    fn name(&self) -> ObjectName {
        ObjectName::all(&self.resource, self.scope.namespace.as_deref())
    }
}

fn translated(resource: &ApiResource, event: &WatchEvent) -> Option<Result<Event>> {
    let wrap = match event.kind {
        WatchEventType::Added | WatchEventType::Modified => Event::Apply,
        WatchEventType::Deleted => Event::Delete,
        WatchEventType::Bookmark => return None,
    };
    Some(parse(resource, &event.object).map(wrap))
}

fn subresource(part: Part) -> Option<String> {
    match part {
        Part::Object => None,
        Part::Status => Some("status".into()),
    }
}

fn parse(resource: &ApiResource, stored: &Stored) -> Result<DynamicObject> {
    let name = || ObjectName {
        kind: resource.kind.clone(),
        namespace: stored.key.namespace.clone(),
        name: stored.key.name.clone(),
    };
    let object: DynamicObject = serde_json::from_slice(&stored.bytes)
        .map_err(|error| StoreError::Malformed { object: name(), message: error.to_string() })?;
    Ok(typed(resource, object))
}

fn from_value(resource: &ApiResource, name: ObjectName, value: Value) -> Result<DynamicObject> {
    let object: DynamicObject = serde_json::from_value(value)
        .map_err(|error| StoreError::Malformed { object: name, message: error.to_string() })?;
    Ok(typed(resource, object))
}

/// The object as a client of this version would see it.
fn typed(resource: &ApiResource, mut object: DynamicObject) -> DynamicObject {
    object.types = Some(TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() });
    object
}

fn unexpected(object: ObjectName) -> StoreError {
    StoreError::Unsupported { object, code: 0, message: "the answer is of another form".into() }
}

fn refused(object: ObjectName, status: Status) -> StoreError {
    let details = *status.details;
    let cause = |cause: fake_apiserver::status::Cause| {
        (cause.reason, Cause { field: cause.field, message: cause.message })
    };
    Refusal {
        code: status.code,
        reason: status.reason.into(),
        message: status.message,
        kind: details.kind,
        name: details.name,
        causes: details.causes.into_iter().map(cause).collect(),
        retry_after_seconds: details.retry_after_seconds,
    }
    .into_error(object)
}

#[cfg(test)]
mod tests;
