//! What controllers see of the server: reads by index, writes under the rules of requests, the change log by cursor.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::ApiServer;
use crate::request::{PatchType, Request, User, Verb};
use crate::response::{Reply, Response};
use crate::status::Status;
use crate::storage::{Change, Collection, GroupResource, Key, LabelSelector, Stored};

/// A controller: a state machine that follows the change log and writes objects.
pub trait Controller: Send {
    /// Its name: user agent and field manager of its writes.
    fn name(&self) -> &'static str;

    /// One pass: reads the changes since the last pass, does what is due at `api.now()`.
    ///
    /// Returns when something will be due that no change announces; `None` if only a change can make work.
    /// A pass that is called again without changes must do nothing.
    fn step(&mut self, api: &mut Api<'_>) -> Option<Timestamp>;
}

/// How far a controller has read the changes of one resource.
#[derive(Clone, Debug)]
pub struct Cursor {
    resource: GroupResource,
    /// `None` before the first read: begin with a list.
    revision: Option<u64>,
}

impl Cursor {
    /// A cursor before all objects of `resource`.
    pub fn new(resource: GroupResource) -> Self {
        Self { resource, revision: None }
    }

    /// The resource that is followed.
    pub fn resource(&self) -> &GroupResource {
        &self.resource
    }
}

/// What a cursor has read.
#[derive(Debug)]
pub enum Changes {
    /// First read, or history was lost: all objects as they are now. What is not among them is gone.
    Relist(Vec<Arc<Stored>>),
    /// The changes since the last read, oldest first; often none.
    Since(Vec<Change>),
}

impl Changes {
    /// The objects that are new or have changed or gone, each in its last state; for controllers that only mark keys.
    pub fn objects(&self) -> Box<dyn Iterator<Item = &Arc<Stored>> + '_> {
        match self {
            Self::Relist(objects) => Box::new(objects.iter()),
            Self::Since(changes) => Box::new(changes.iter().map(Change::object)),
        }
    }
}

/// The server as a controller sees it.
pub struct Api<'a> {
    server: &'a mut ApiServer,
    now: Timestamp,
    name: &'static str,
}

impl<'a> Api<'a> {
    pub(crate) fn new(server: &'a mut ApiServer, now: Timestamp, name: &'static str) -> Self {
        Self { server, now, name }
    }

    /// The time of this step.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The server, for reads that have no short form.
    pub fn server(&self) -> &ApiServer {
        self.server
    }

    /// One object; the namespace is empty for cluster scope.
    pub fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Stored>> {
        self.server.storage().get(resource, &Key::new(namespace, name)).cloned()
    }

    /// All objects of a resource; `None` while none was ever written.
    pub fn collection(&self, resource: &GroupResource) -> Option<&Collection> {
        self.server.storage().collection(resource)
    }

    /// The objects of a resource, in one namespace or in all, that `selector` means; by the narrowest index.
    pub fn select(
        &self,
        resource: &GroupResource,
        namespace: Option<&str>,
        selector: &LabelSelector,
    ) -> Vec<Arc<Stored>> {
        let selection = crate::storage::Selection {
            namespace: namespace.map(str::to_owned),
            labels: selector.clone(),
            ..Default::default()
        };
        self.collection(resource).map(|c| c.select(&selection, None).cloned().collect()).unwrap_or_default()
    }

    /// The objects that name `uid` among their owners.
    pub fn owned_by(&self, uid: &str) -> Vec<(GroupResource, Arc<Stored>)> {
        self.server.storage().owned_by(uid).map(|(r, o)| (r.clone(), Arc::clone(o))).collect()
    }

    /// The object with this uid, if it exists.
    pub fn by_uid(&self, uid: &str) -> Option<(GroupResource, Arc<Stored>)> {
        self.server.storage().by_uid(uid).map(|(r, o)| (r.clone(), Arc::clone(o)))
    }

    /// What has happened since the cursor's last read; moves the cursor.
    pub fn changes(&self, cursor: &mut Cursor) -> Changes {
        let storage = self.server.storage();
        let collection = storage.collection(&cursor.resource);
        let before = cursor.revision.replace(storage.revision());
        let Some(collection) = collection else {
            return if before.is_none() { Changes::Relist(Vec::new()) } else { Changes::Since(Vec::new()) };
        };
        match before.and_then(|revision| collection.changes(revision)) {
            Some(changes) => Changes::Since(changes.cloned().collect()),
            None => Changes::Relist(collection.iter().cloned().collect()),
        }
    }

    /// Creates an object; `metadata.namespace` says where.
    pub fn create(&mut self, resource: &GroupResource, body: Value) -> Result<Arc<Stored>, Status> {
        let namespace = body["metadata"]["namespace"].as_str().map(str::to_owned);
        let mut request = self.request_for(resource, Verb::Create)?;
        request.namespace = namespace;
        self.stored(request.body(body))
    }

    /// Replaces an object. With `metadata.resourceVersion` in the body the write is conditional on it.
    pub fn update(&mut self, resource: &GroupResource, body: Value) -> Result<Arc<Stored>, Status> {
        let key = key_of(&body);
        let request = self.request_at(resource, Verb::Update, &key)?;
        self.stored(request.body(body))
    }

    /// Replaces the status of an object.
    pub fn update_status(&mut self, resource: &GroupResource, body: Value) -> Result<Arc<Stored>, Status> {
        let key = key_of(&body);
        let request = self.request_at(resource, Verb::Update, &key)?.subresource("status");
        self.stored(request.body(body))
    }

    /// Changes an object by a merge patch.
    pub fn patch(
        &mut self,
        resource: &GroupResource,
        key: &Key,
        patch: Value,
    ) -> Result<Arc<Stored>, Status> {
        let request = self.request_at(resource, Verb::Patch(PatchType::Merge), key)?;
        self.stored(request.body(patch))
    }

    /// Changes the status of an object by a merge patch (`{"status": …}`).
    pub fn patch_status(
        &mut self,
        resource: &GroupResource,
        key: &Key,
        patch: Value,
    ) -> Result<Arc<Stored>, Status> {
        let request = self.request_at(resource, Verb::Patch(PatchType::Merge), key)?.subresource("status");
        self.stored(request.body(patch))
    }

    /// Deletes an object; `options` is a DeleteOptions body, for instance
    /// `{"propagationPolicy": "Background", "preconditions": {"uid": …}}`.
    pub fn delete(&mut self, resource: &GroupResource, key: &Key, options: Value) -> Result<(), Status> {
        let request = self.request_at(resource, Verb::Delete, key)?;
        self.request(request.body(options)).map(drop)
    }

    /// Any request, under the rules of every client.
    #[allow(clippy::needless_pass_by_value)] // a controller builds it for this one call
    pub fn request(&mut self, request: Request) -> Result<Response, Status> {
        self.server.handle_without_webhooks(self.now, &request)
    }

    /// An empty request for a resource in its preferred version, by this controller.
    ///
    /// # Errors
    /// 404 when the resource is not served.
    pub fn request_for(&self, resource: &GroupResource, verb: Verb) -> Result<Request, Status> {
        let served = self.server.registry().preferred(&resource.group, &resource.resource);
        let served = served.ok_or_else(super::no_such_resource)?;
        let user = User {
            name: format!("system:{}", self.name),
            groups: vec!["system:masters".into()],
            agent: self.name.into(),
            ..User::default()
        };
        Ok(Request {
            verb,
            group: served.group.clone(),
            version: served.version.clone(),
            resource: served.plural.clone(),
            user,
            ..Request::default()
        })
    }

    fn request_at(&self, resource: &GroupResource, verb: Verb, key: &Key) -> Result<Request, Status> {
        let mut request = self.request_for(resource, verb)?.name(key.name.clone());
        request.namespace = (!key.namespace.is_empty()).then(|| key.namespace.clone());
        Ok(request)
    }

    fn stored(&mut self, request: Request) -> Result<Arc<Stored>, Status> {
        match self.request(request)?.reply {
            Reply::Object(object) => Ok(object),
            _ => Err(Status::internal("the answer of a write is an object")),
        }
    }
}

fn key_of(body: &Value) -> Key {
    let text = |field: &str| body["metadata"][field].as_str().unwrap_or_default();
    Key::new(text("namespace"), text("name"))
}
