//! What the decorators share: a store around a store, whose decorator is told of each call as a value.

use std::ops::Deref;

use futures::{FutureExt, future::BoxFuture};
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::{
    ApplyOptions, DeleteOptions, Endpoints, ObjectKey, Part, Patch, PatchOptions, Result, Scope, Store,
    WatchStream,
    call::{Call, Verb},
};

/// What happens to the calls of a store.
pub trait Decorator: Send + Sync {
    /// Lets a call happen, or not, or half, and gives the answer. `run` is the call; nothing happens before it is awaited.
    fn call<T: Send>(
        &self,
        call: Call,
        sent: Sent<'_>,
        run: impl Future<Output = Result<T>> + Send,
    ) -> impl Future<Output = Result<T>> + Send;

    /// Lets a watch begin.
    fn watch(&self, call: Call, events: WatchStream) -> WatchStream;
}

/// A store with a decorator around it.
pub struct Decorated<D, S> {
    decorator: D,
    inner: S,
}

impl<D: Default, S: Store> Decorated<D, S> {
    /// Puts a fresh decorator around a store.
    pub fn new(inner: S) -> Self {
        Self { decorator: D::default(), inner }
    }

    /// The store beneath.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<D, S> Deref for Decorated<D, S> {
    type Target = D;

    fn deref(&self) -> &D {
        &self.decorator
    }
}

/// What a call sends.
#[derive(Clone, Copy, Debug)]
pub enum Sent<'a> {
    /// Nothing: it reads.
    Nothing,
    /// An object to be created or applied.
    Object(&'a DynamicObject),
    /// A change.
    Patch(&'a Patch),
    /// How to delete.
    Delete(&'a DeleteOptions),
}

impl Sent<'_> {
    /// As it would be written down; null for reads.
    pub fn to_value(self) -> Value {
        match self {
            Self::Nothing => Value::Null,
            Self::Object(object) => json!(object),
            Self::Patch(Patch::Merge(body) | Patch::Json(body)) => body.clone(),
            Self::Delete(options) => {
                let mut body = json!({"propagationPolicy": options.propagation.as_str()});
                if let Some(uid) = &options.uid {
                    body["uid"] = json!(uid);
                }
                if let Some(grace) = options.grace_seconds {
                    body["gracePeriodSeconds"] = json!(grace);
                }
                body
            }
        }
    }
}

impl<D: Decorator, S: Store> Store for Decorated<D, S> {
    fn get<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<DynamicObject>>> {
        let call = Call::one(Verb::Get, resource, key, Part::Object);
        self.decorator.call(call, Sent::Nothing, self.inner.get(resource, key)).boxed()
    }

    fn list<'a>(
        &'a self,
        resource: &'a ApiResource,
        scope: &'a Scope,
    ) -> BoxFuture<'a, Result<Vec<DynamicObject>>> {
        let call = Call::scope(Verb::List, resource, scope);
        self.decorator.call(call, Sent::Nothing, self.inner.list(resource, scope)).boxed()
    }

    fn watch(&self, resource: &ApiResource, scope: &Scope) -> WatchStream {
        self.decorator.watch(Call::scope(Verb::Watch, resource, scope), self.inner.watch(resource, scope))
    }

    fn create<'a>(
        &'a self,
        resource: &'a ApiResource,
        object: &'a DynamicObject,
        manager: &'a str,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        let call = Call::with(Verb::Create, resource, object, Part::Object);
        self.decorator.call(call, Sent::Object(object), self.inner.create(resource, object, manager)).boxed()
    }

    fn apply<'a>(
        &'a self,
        resource: &'a ApiResource,
        object: &'a DynamicObject,
        options: &'a ApplyOptions,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        let call = Call::with(Verb::Apply, resource, object, options.part);
        self.decorator.call(call, Sent::Object(object), self.inner.apply(resource, object, options)).boxed()
    }

    fn patch<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
        patch: &'a Patch,
        options: &'a PatchOptions,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        let call = Call::one(Verb::Patch, resource, key, options.part);
        self.decorator.call(call, Sent::Patch(patch), self.inner.patch(resource, key, patch, options)).boxed()
    }

    fn delete<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
        options: &'a DeleteOptions,
    ) -> BoxFuture<'a, Result<()>> {
        let call = Call::one(Verb::Delete, resource, key, Part::Object);
        self.decorator.call(call, Sent::Delete(options), self.inner.delete(resource, key, options)).boxed()
    }

    fn endpoints<'a>(&'a self, resource: &'a ApiResource) -> BoxFuture<'a, Result<Option<Endpoints>>> {
        let call = Call::kind(Verb::Discover, resource);
        self.decorator.call(call, Sent::Nothing, self.inner.endpoints(resource)).boxed()
    }
}
