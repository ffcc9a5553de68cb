//! Typed sugar over [`Store`].

use std::fmt::Debug;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use kube::{
    Resource, ResourceExt,
    core::{ApiResource, DynamicObject},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{ApplyOptions, Event, ObjectKey, Result, Scope, Store, StoreError, error::ObjectName};

/// A kind known at compile time.
pub trait Known:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + 'static
{
}

impl<K> Known for K where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + 'static
{
}

/// [`Event`] with the object parsed.
#[derive(Clone, Debug, PartialEq)]
pub enum TypedEvent<K> {
    /// See [`Event::Init`].
    Init,
    /// See [`Event::InitApply`].
    InitApply(K),
    /// See [`Event::InitDone`].
    InitDone,
    /// See [`Event::Apply`].
    Apply(K),
    /// See [`Event::Delete`]; only what is certain, since the last state need not parse.
    Delete(ObjectKey),
}

/// The verbs of [`Store`] with Rust types. Implemented for every store; not to be implemented again.
pub trait StoreExt: Store {
    /// Reads one object.
    fn get_as<'a, K: Known>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<Option<K>>> {
        async move {
            let resource = resource::<K>();
            self.get(&resource, key).await?.map(|object| parse(&resource, object)).transpose()
        }
        .boxed()
    }

    /// Reads all objects in scope; one that does not parse is an error in its place.
    fn list_as<'a, K: Known>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<Vec<Result<K>>>> {
        async move {
            let resource = resource::<K>();
            let objects = self.list(&resource, scope).await?;
            Ok(objects.into_iter().map(|object| parse(&resource, object)).collect())
        }
        .boxed()
    }

    /// Follows all objects in scope; one that does not parse is an error in its place.
    fn watch_as<K: Known>(&self, scope: &Scope) -> BoxStream<'static, Result<TypedEvent<K>>> {
        let resource = resource::<K>();
        self.watch(&resource, scope)
            .map(move |event| {
                Ok(match event? {
                    Event::Init => TypedEvent::Init,
                    Event::InitApply(object) => TypedEvent::InitApply(parse(&resource, object)?),
                    Event::InitDone => TypedEvent::InitDone,
                    Event::Apply(object) => TypedEvent::Apply(parse(&resource, object)?),
                    Event::Delete(object) => TypedEvent::Delete(ObjectKey::of(&object)),
                })
            })
            .boxed()
    }

    /// Creates an object.
    fn create_as<'a, K: Known + Sync>(&'a self, object: &'a K, manager: &'a str) -> BoxFuture<'a, Result<K>> {
        async move {
            let resource = resource::<K>();
            let stored = self.create(&resource, &erase(&resource, object)?, manager).await?;
            parse(&resource, stored)
        }
        .boxed()
    }

    /// Server-side apply of the fields that are set.
    fn apply_as<'a, K: Known + Sync>(
        &'a self,
        object: &'a K,
        options: &'a ApplyOptions,
    ) -> BoxFuture<'a, Result<K>> {
        async move {
            let resource = resource::<K>();
            let stored = self.apply(&resource, &erase(&resource, object)?, options).await?;
            parse(&resource, stored)
        }
        .boxed()
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

/// The resource of a kind.
pub fn resource<K: Known>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

/// Reads an erased object as a `K`.
pub fn parse<K: Known>(resource: &ApiResource, object: DynamicObject) -> Result<K> {
    let name = ObjectName::of(resource, &object);
    object.try_parse().map_err(|error| StoreError::Malformed { object: name, message: error.to_string() })
}

/// Erases a `K`.
pub fn erase<K: Known>(resource: &ApiResource, object: &K) -> Result<DynamicObject> {
    let malformed = |error: serde_json::Error| StoreError::Malformed {
        object: ObjectName {
            kind: resource.kind.clone(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        },
        message: error.to_string(),
    };
    let mut erased: DynamicObject =
        serde_json::to_value(object).and_then(serde_json::from_value).map_err(malformed)?;
    erased.types =
        Some(kube::core::TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() });
    Ok(erased)
}
