//! [`Store`] over a real API server. The only file that names `kube::Api` and `kube_runtime::watcher`.

use std::{future::Future, time::Duration};

use ::kube::{
    Api, Client, Error,
    api::{
        DeleteParams, ListParams, Patch as KubePatch, PatchParams, PostParams, Preconditions,
        PropagationPolicy,
    },
    core::{ApiResource, DynamicObject, Status, TypeMeta, response::StatusCause},
    runtime::{WatchStreamExt, watcher},
};
use futures::{FutureExt, StreamExt, future, future::BoxFuture};
use serde_json::Value;

use super::{
    ApplyOptions, Cause, DeleteOptions, Endpoints, Event, ObjectKey, Part, Patch, PatchOptions, Propagation,
    Result, Scope, Store, StoreError, WatchStream, error::ObjectName, refusal::Refusal,
};

/// Objects asked for in one page of a list, as by client-go.
const PAGE: u32 = 500;

/// The longest a single request may take. The API server itself gives up after 60 s; a request that hangs longer has lost
/// its connection, and a worker of the pipeline must not hang with it.
const PATIENCE: Duration = Duration::from_secs(65);

/// [`Store`] over `kube::Client`. Needs a tokio runtime.
#[derive(Clone)]
pub struct KubeStore {
    client: Client,
}

impl KubeStore {
    /// A store that speaks through this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    fn api(&self, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }

    /// All pages. Where the server's history ends between two pages the list is begun anew, in one piece.
    async fn pages(api: &Api<DynamicObject>, scope: &Scope) -> Result<Vec<DynamicObject>, Error> {
        let whole = ListParams {
            label_selector: scope.labels.clone(),
            field_selector: scope.fields.clone(),
            ..ListParams::default()
        };
        let mut page = whole.clone().limit(PAGE);
        let mut objects = Vec::new();
        loop {
            match api.list(&page).await {
                Ok(list) => {
                    objects.extend(list.items);
                    match list.metadata.continue_.filter(|token| !token.is_empty()) {
                        Some(token) => page = page.continue_token(&token),
                        None => return Ok(objects),
                    }
                }
                Err(Error::Api(status)) if status.code == 410 && page.continue_token.is_some() => {
                    return Ok(api.list(&whole).await?.items);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn send_patch(
        &self,
        resource: &ApiResource,
        key: &ObjectKey,
        part: Part,
        params: &PatchParams,
        patch: &KubePatch<&Value>,
    ) -> Result<DynamicObject> {
        let name = ObjectName::one(resource, key);
        let api = self.api(resource, key.namespace.as_deref());
        match part {
            Part::Object => patiently(name, api.patch(&key.name, params, patch)).await,
            Part::Status => patiently(name, api.patch_status(&key.name, params, patch)).await,
        }
    }
}

impl Store for KubeStore {
    fn get<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<DynamicObject>>> {
        async move {
            let api = self.api(resource, key.namespace.as_deref());
            match patiently(ObjectName::one(resource, key), api.get(&key.name)).await {
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
            let namespace = scope.namespace.as_deref();
            let api = self.api(resource, namespace);
            let mut objects =
                patiently(ObjectName::all(resource, namespace), Self::pages(&api, scope)).await?;
            // The server orders by its storage key, in which `a-b/x` comes before `a/x`.
            objects.sort_by_cached_key(ObjectKey::of);
            Ok(objects.into_iter().map(|object| typed(resource, object)).collect())
        }
        .boxed()
    }

    fn watch(&self, resource: &ApiResource, scope: &Scope) -> WatchStream {
        let name = ObjectName::all(resource, scope.namespace.as_deref());
        let kind = resource.clone();
        let config = watcher::Config {
            label_selector: scope.labels.clone(),
            field_selector: scope.fields.clone(),
            ..watcher::Config::default()
        };
        watcher(self.api(resource, scope.namespace.as_deref()), config)
            .default_backoff()
            .map(move |event| match event {
                Ok(event) => Ok(translated(&kind, event)),
                Err(error) => Err(watch_failed(name.clone(), error)),
            })
            // The watcher lists again by itself; the `Init` that follows says all there is to say.
            .filter(|event| future::ready(!matches!(event, Err(StoreError::Gone { .. }))))
            .boxed()
    }

    fn create<'a>(
        &'a self,
        resource: &'a ApiResource,
        object: &'a DynamicObject,
        manager: &'a str,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        async move {
            let api = self.api(resource, object.metadata.namespace.as_deref());
            let params = PostParams { field_manager: Some(manager.into()), ..PostParams::default() };
            patiently(ObjectName::of(resource, object), api.create(&params, object)).await
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
            let key = ObjectKey::of(object);
            let wanted = serde_json::to_value(object).map_err(|error| StoreError::Malformed {
                object: ObjectName::of(resource, object),
                message: error.to_string(),
            })?;
            let params = PatchParams {
                force: options.force,
                field_manager: Some(options.manager.clone()),
                ..PatchParams::default()
            };
            self.send_patch(resource, &key, options.part, &params, &KubePatch::Apply(&wanted)).await
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
            let params =
                PatchParams { field_manager: Some(options.manager.clone()), ..PatchParams::default() };
            let patch = match patch {
                Patch::Merge(value) => KubePatch::Merge(value),
                Patch::Json(operations) => {
                    KubePatch::Json(serde_json::from_value(operations.clone()).map_err(|error| {
                        let causes = vec![Cause { field: String::new(), message: error.to_string() }];
                        StoreError::Invalid { object: ObjectName::one(resource, key), causes }
                    })?)
                }
            };
            self.send_patch(resource, key, options.part, &params, &patch).await
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
            let preconditions = (options.uid.is_some() || options.resource_version.is_some()).then(|| {
                Preconditions { uid: options.uid.clone(), resource_version: options.resource_version.clone() }
            });
            let params = DeleteParams {
                grace_period_seconds: options.grace_seconds,
                propagation_policy: Some(match options.propagation {
                    Propagation::Background => PropagationPolicy::Background,
                    Propagation::Foreground => PropagationPolicy::Foreground,
                    Propagation::Orphan => PropagationPolicy::Orphan,
                }),
                preconditions,
                ..DeleteParams::default()
            };
            let api = self.api(resource, key.namespace.as_deref());
            match patiently(ObjectName::one(resource, key), api.delete(&key.name, &params)).await {
                Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn endpoints<'a>(&'a self, resource: &'a ApiResource) -> BoxFuture<'a, Result<Option<Endpoints>>> {
        async move {
            let name = ObjectName::all(resource, None);
            let listed = match resource.group.as_str() {
                "" => patiently(name, self.client.list_core_api_resources(&resource.version)).await,
                _ => patiently(name, self.client.list_api_group_resources(&resource.api_version)).await,
            };
            let listed = match listed {
                Ok(listed) => listed.resources,
                Err(StoreError::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
            if !listed.iter().any(|found| found.name == resource.plural) {
                return Ok(None);
            }
            // A subresource is listed as `plural/name`.
            let own = listed
                .iter()
                .filter_map(|found| found.name.strip_prefix(resource.plural.as_str())?.strip_prefix('/'));
            Ok(Some(own.map(str::to_owned).collect()))
        }
        .boxed()
    }
}

/// Waits for an answer, but not for ever.
async fn patiently<T>(object: ObjectName, answer: impl Future<Output = Result<T, Error>>) -> Result<T> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| failed(object, error)),
        Err(_) => Err(StoreError::Transient {
            object,
            message: format!("no answer for {} s", PATIENCE.as_secs()),
            retry_after: None,
        }),
    }
}

fn translated(resource: &ApiResource, event: watcher::Event<DynamicObject>) -> Event {
    match event {
        watcher::Event::Init => Event::Init,
        watcher::Event::InitApply(object) => Event::InitApply(typed(resource, object)),
        watcher::Event::InitDone => Event::InitDone,
        watcher::Event::Apply(object) => Event::Apply(object),
        watcher::Event::Delete(object) => Event::Delete(object),
    }
}

/// Gives an item of a list its kind, which the server says only once for the whole list.
fn typed(resource: &ApiResource, mut object: DynamicObject) -> DynamicObject {
    object.types = Some(TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() });
    object
}

fn watch_failed(object: ObjectName, error: watcher::Error) -> StoreError {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => failed(object, error),
        watcher::Error::WatchError(status) => refused(object, *status),
        watcher::Error::NoResourceVersion => {
            StoreError::Unsupported { object, code: 0, message: "the kind cannot be watched".into() }
        }
    }
}

/// A call that was not answered, or answered with a refusal.
fn failed(object: ObjectName, error: Error) -> StoreError {
    match error {
        Error::Api(status) => refused(object, *status),
        Error::SerdeError(error) => StoreError::Malformed { object, message: error.to_string() },
        Error::BuildRequest(error) => StoreError::Invalid {
            object,
            causes: vec![Cause { field: String::new(), message: error.to_string() }],
        },
        error => StoreError::Transient { object, message: chain(&error), retry_after: None },
    }
}

fn refused(object: ObjectName, status: Status) -> StoreError {
    let mut refusal =
        Refusal { code: status.code, reason: status.reason, message: status.message, ..Refusal::default() };
    if let Some(details) = status.details {
        let cause = |cause: StatusCause| (cause.reason, Cause { field: cause.field, message: cause.message });
        refusal.kind = details.kind;
        refusal.name = details.name;
        refusal.causes = details.causes.into_iter().map(cause).collect();
        refusal.retry_after_seconds = details.retry_after_seconds;
    }
    refusal.into_error(object)
}

/// The error and what caused it, since transports say only "service error" at the top.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        next = cause.source();
    }
    said
}

#[cfg(test)]
mod tests;
