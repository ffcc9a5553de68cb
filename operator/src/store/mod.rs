//! The seam to Kubernetes: everything the operator reads and writes goes through [`Store`].
//!
//! | module | what it is |
//! |---|---|
//! | [`error`] | why a call failed, by what the caller can do about it |
//! | [`ext`] | [`StoreExt`]: the same calls with Rust types |
//! | [`call`] | one call as a value |
//! | [`kube`](mod@kube) | a real API server, through `kube::Client` |
//! | `fake` | the API server in memory, in process (feature `fake`) |
//! | [`decorated`] | what the decorators share |
//! | [`faults`] | decorator: calls that fail, get lost, or kill the operator |
//! | [`recording`] | decorator: the ordered transcript of calls |
//! | [`metering`] | decorator: counts and latencies for each verb and kind |
//! | [`served`] | which kinds, endpoints and fields the API server offers us |
//!
//! # Contract
//!
//! Every implementation keeps these promises; `operator/tests/conformance` checks each of them on all of them.
//!
//! 1. `get` of an object that is not there is `Ok(None)`. A namespace that is not there is no error for `get` and `list`.
//! 2. `list` answers all objects in scope at one revision, ordered by namespace and name; paging is not seen.
//! 3. `create` fails with [`StoreError::AlreadyExists`] if the name is taken, and never changes the object that has it.
//! 4. `apply` is server-side apply: creates what is missing, changes only the fields given, removes fields that this manager
//!    gave before and no longer gives, and leaves fields of other managers alone. A field of another manager with another
//!    value is a [`StoreError::Conflict`] unless forced. Applying the same again does not move `resourceVersion`.
//!    A `metadata.uid` or `metadata.resourceVersion` is a precondition: [`StoreError::Conflict`], and nothing is created.
//! 5. `patch` changes an existing object; nothing there is [`StoreError::NotFound`]. A `resourceVersion` inside a merge patch
//!    is a precondition: [`StoreError::Conflict`] if it is stale.
//! 6. [`Part::Status`] changes `status` alone, [`Part::Object`] all but `status` where the kind has a status endpoint.
//!    A status endpoint that the kind does not have is [`StoreError::NotFound`]. A custom resource's names the object then,
//!    just as if the object were not there; `endpoints` tells the two apart.
//! 7. `delete` of an object that is not there succeeds. A precondition that does not hold is a [`StoreError::Conflict`] and
//!    deletes nothing. Success means that deletion was accepted: finalizers and grace may keep the object for a while.
//! 8. `watch` delivers `Init`, one `InitApply` for each object in scope, `InitDone`, then `Apply` and `Delete` in the order of
//!    the changes of each object. An object that leaves the scope's selection is a `Delete`. When history was lost the stream
//!    starts over by a further `Init`; what the new series does not name is gone. A series that an error interrupts counts
//!    for nothing and begins anew. Changes may be merged, never reordered.
//! 9. A watch never ends and never gives up: an error is an item of the stream, after which it goes on by itself.
//! 10. An object that does not parse is [`StoreError::Malformed`], naming the object; a watch goes on after it.
//! 11. A failed call is [`StoreError`]; whether it took effect is unknown only after [`StoreError::Transient`].
//! 12. A kind that is not served is [`StoreError::NotFound`] for every call but `get` and `delete`, which cannot tell, and
//!     `endpoints`, which says `None`.

use std::{collections::BTreeSet, fmt, sync::Arc};

use ::kube::core::{ApiResource, DynamicObject};
use futures::{future::BoxFuture, stream::BoxStream};
use serde_json::Value;

pub mod call;
pub mod decorated;
#[cfg(test)]
mod decorators_test;
pub mod error;
pub mod ext;
#[cfg(feature = "fake")]
pub mod fake;
pub mod faults;
pub mod kube;
pub mod metering;
pub mod recording;
mod refusal;
pub mod served;

pub use error::{Cause, Missing, ObjectName, StoreError};
pub use ext::StoreExt;
#[cfg(feature = "fake")]
pub use fake::FakeStore;
pub use faults::FaultStore;
pub use kube::KubeStore;
pub use metering::MeteringStore;
pub use recording::RecordingStore;

/// What a call gives.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A followed collection; see point 8 of the [contract](self#contract).
pub type WatchStream = BoxStream<'static, Result<Event>>;

/// The names of a kind's subresources, such as `status` and `scale`.
pub type Endpoints = BTreeSet<String>;

/// Kubernetes as the operator sees it: erased objects, eight verbs. The [contract](self#contract) binds every implementation.
pub trait Store: Send + Sync {
    /// Reads one object.
    fn get<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<DynamicObject>>>;

    /// Reads all objects in scope.
    fn list<'a>(
        &'a self,
        resource: &'a ApiResource,
        scope: &'a Scope,
    ) -> BoxFuture<'a, Result<Vec<DynamicObject>>>;

    /// Follows all objects in scope.
    fn watch(&self, resource: &ApiResource, scope: &Scope) -> WatchStream;

    /// Creates an object under its `metadata.name` or `metadata.generateName`; gives what was stored.
    fn create<'a>(
        &'a self,
        resource: &'a ApiResource,
        object: &'a DynamicObject,
        manager: &'a str,
    ) -> BoxFuture<'a, Result<DynamicObject>>;

    /// Server-side apply of the fields in `object`; gives what was stored.
    fn apply<'a>(
        &'a self,
        resource: &'a ApiResource,
        object: &'a DynamicObject,
        options: &'a ApplyOptions,
    ) -> BoxFuture<'a, Result<DynamicObject>>;

    /// Patches an existing object; gives what was stored.
    fn patch<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
        patch: &'a Patch,
        options: &'a PatchOptions,
    ) -> BoxFuture<'a, Result<DynamicObject>>;

    /// Begins to delete an object.
    fn delete<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
        options: &'a DeleteOptions,
    ) -> BoxFuture<'a, Result<()>>;

    /// The subresources served of a kind, as discovery lists them: whoever may log in may read that. `None` if the kind is not
    /// served.
    fn endpoints<'a>(&'a self, resource: &'a ApiResource) -> BoxFuture<'a, Result<Option<Endpoints>>>;
}

/// Where an object lives within its resource; ordered as lists are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Namespace; `None` for cluster scope.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// An object in a namespace.
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), name: name.into() }
    }

    /// An object of cluster scope.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self { namespace: None, name: name.into() }
    }

    /// The key of an object; the name is empty if it has none yet.
    pub fn of(object: &DynamicObject) -> Self {
        Self {
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Which objects of a resource are meant; the default is all of them, everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Label selector in Kubernetes' string form.
    pub labels: Option<String>,
    /// Field selector in Kubernetes' string form.
    pub fields: Option<String>,
}

impl Scope {
    /// All objects, in all namespaces.
    pub fn everywhere() -> Self {
        Self::default()
    }

    /// The objects of one namespace.
    pub fn namespace(namespace: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), ..Self::default() }
    }

    /// Of these, the ones with the labels.
    #[must_use]
    pub fn with_labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Of these, the ones with the fields.
    #[must_use]
    pub fn with_fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A series of `InitApply` begins.
    Init,
    /// An object that is there.
    InitApply(DynamicObject),
    /// The series is complete; what it did not name is not there.
    InitDone,
    /// An object appeared or changed.
    Apply(DynamicObject),
    /// An object went, or ceased to be selected; its last known state.
    Delete(DynamicObject),
}

/// Which endpoint of an object a write goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The object itself.
    #[default]
    Object,
    /// Its status subresource.
    Status,
}

/// How to apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Field manager that will own the fields.
    pub manager: String,
    /// Take fields over from other managers.
    pub force: bool,
    /// Where to.
    pub part: Part,
}

impl ApplyOptions {
    /// Applies the object, taking over fields of others.
    pub fn forced(manager: impl Into<String>, part: Part) -> Self {
        Self { manager: manager.into(), force: true, part }
    }
}

/// A change of an existing object.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// RFC 7386: null removes, lists are replaced whole.
    Merge(Value),
    /// RFC 6902: the list of operations.
    Json(Value),
}

/// How to patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchOptions {
    /// Field manager that will own the fields.
    pub manager: String,
    /// Where to.
    pub part: Part,
}

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Only the object with this uid.
    pub uid: Option<String>,
    /// Only this version of it.
    pub resource_version: Option<String>,
    /// What happens to the objects it owns.
    pub propagation: Propagation,
    /// Seconds that a pod is given to end; `None` is the pod's own wish.
    pub grace_seconds: Option<u32>,
}

impl DeleteOptions {
    /// Deletes exactly the object with this uid, its dependents in the background.
    pub fn of_uid(uid: impl Into<String>) -> Self {
        Self { uid: Some(uid.into()), ..Self::default() }
    }
}

/// What happens to the objects that a deleted object owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Propagation {
    /// They go after it.
    #[default]
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

impl Propagation {
    /// The string on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

/// A store behind a pointer is the same store.
macro_rules! same_store_behind {
    ($pointer:ty) => {
        impl<S: Store + ?Sized> Store for $pointer {
            fn get<'a>(
                &'a self,
                resource: &'a ApiResource,
                key: &'a ObjectKey,
            ) -> BoxFuture<'a, Result<Option<DynamicObject>>> {
                (**self).get(resource, key)
            }

            fn list<'a>(
                &'a self,
                resource: &'a ApiResource,
                scope: &'a Scope,
            ) -> BoxFuture<'a, Result<Vec<DynamicObject>>> {
                (**self).list(resource, scope)
            }

            fn watch(&self, resource: &ApiResource, scope: &Scope) -> WatchStream {
                (**self).watch(resource, scope)
            }

            fn create<'a>(
                &'a self,
                resource: &'a ApiResource,
                object: &'a DynamicObject,
                manager: &'a str,
            ) -> BoxFuture<'a, Result<DynamicObject>> {
                (**self).create(resource, object, manager)
            }

            fn apply<'a>(
                &'a self,
                resource: &'a ApiResource,
                object: &'a DynamicObject,
                options: &'a ApplyOptions,
            ) -> BoxFuture<'a, Result<DynamicObject>> {
                (**self).apply(resource, object, options)
            }

            fn patch<'a>(
                &'a self,
                resource: &'a ApiResource,
                key: &'a ObjectKey,
                patch: &'a Patch,
                options: &'a PatchOptions,
            ) -> BoxFuture<'a, Result<DynamicObject>> {
                (**self).patch(resource, key, patch, options)
            }

            fn delete<'a>(
                &'a self,
                resource: &'a ApiResource,
                key: &'a ObjectKey,
                options: &'a DeleteOptions,
            ) -> BoxFuture<'a, Result<()>> {
                (**self).delete(resource, key, options)
            }

            fn endpoints<'a>(
                &'a self,
                resource: &'a ApiResource,
            ) -> BoxFuture<'a, Result<Option<Endpoints>>> {
                (**self).endpoints(resource)
            }
        }
    };
}

same_store_behind!(Arc<S>);
same_store_behind!(&S);
