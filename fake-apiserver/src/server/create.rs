//! POST of a new object.

use serde_json::{Value, json};

use super::admission::Operation;
use super::call::Call;
use super::{ApiServer, body, meta, strategy};
use crate::request::Verb;
use crate::response::{Reply, Response};
use crate::status::{Cause, Status};
use crate::storage::Key;

/// Who records the owners of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    /// The server compares what was with what is.
    Tracked,
    /// Server-side apply has recorded them already.
    Applied,
}

/// A new object has no version yet. It is the storage that says so, after everything else, and a dry run does not reach it.
fn check_version(call: &Call<'_>, version: Option<&Value>) -> Result<(), Status> {
    let applied = matches!(call.request.verb, Verb::Patch(_));
    let version = version.and_then(Value::as_str).and_then(|version| version.parse::<u64>().ok());
    if applied || call.request.params.dry_run || version.is_none_or(|version| version == 0) {
        return Ok(());
    }
    Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"))
}

impl ApiServer {
    pub(super) fn create(&mut self, call: &Call<'_>) -> Result<Response, Status> {
        let mut value = call.body()?.clone();
        let warnings = body::decode(&self.registry, call, &mut value)?;
        body::to_storage(call, &mut value);
        let said = warnings.clone();
        self.create_value(call, value, warnings, Fields::Tracked).map_err(|refused| refused.warned(said))
    }

    /// Creates from a decoded body in the storage version.
    pub(super) fn create_value(
        &mut self,
        call: &Call<'_>,
        mut value: Value,
        mut warnings: Vec<String>,
        fields: Fields,
    ) -> Result<Response, Status> {
        let resource = &call.resource;
        let decoded = warnings.clone();
        let version = meta::of(&mut value)?.remove("resourceVersion");
        let key = self.place(call, &mut value)?;
        self.check_namespace(call, &key)?;
        strategy::prepare_create(resource, &mut value);
        if let (Some(_), Some(schema)) = (&resource.custom, resource.schema()) {
            schema.default(&mut value);
        }
        // As on the real server: what strategies, admission and allocators add belongs to nobody.
        if fields == Fields::Tracked {
            self.track(call, None, &mut value);
        }
        self.admit(call, &mut value).map_err(|status| before_naming(status, &value))?;
        self.mutate(call, Operation::Create, &mut value, None)?;
        strategy::begin(call, &mut value);
        let metadata = meta::of(&mut value)?;
        metadata.insert("uid".into(), json!(meta::uid(self.uids + 1)));
        metadata.insert("creationTimestamp".into(), json!(meta::time(call.now)));
        if resource.counts_generation && strategy::begins_with_generation(resource) {
            metadata.insert("generation".into(), json!(1));
        }
        strategy::identify(resource, &mut value);
        warnings.extend(strategy::warnings(resource, &value));
        strategy::work_out(call, &mut value, None)?;
        self.check_escalation(call, &value, None)?;
        let causes = faults(call, &value, None)?;
        if !causes.is_empty() {
            let mut status = call.invalid(&key.name, causes);
            status.warnings = decoded;
            status.warnings.extend(strategy::early_warnings(resource, &value));
            return Err(status);
        }
        warnings.extend(self.validate_by_policies(call, Operation::Create, Some(&value), None)?);
        self.validate_by_webhooks(call, Operation::Create, Some(&value), None)?;
        self.validate_admission(call, &value)?;
        check_version(call, version.as_ref())?;
        if let Some(there) = self.storage.get(&resource.storage, &key) {
            let mut status = Status::already_exists(&resource.group, &resource.plural, &key.name);
            if there.meta.deleting {
                status.message = format!("object is being deleted: {}", status.message);
            }
            status.warnings = warnings;
            return Err(status);
        }
        drop_empty(call, &mut value);
        self.assign(call, &mut value)?;
        if call.request.params.dry_run {
            self.uids += 1;
            let mut value = self.as_if_stored(call, value)?;
            // Only what is stored gets a version of its own.
            if let Some(version) = version.filter(|version| *version != "") {
                meta::of(&mut value)?.insert("resourceVersion".into(), version);
            }
            return Ok(Response { code: 201, reply: Reply::Value(value), warnings });
        }
        let value = self.encoded(call, value)?;
        self.uids += 1;
        let object = self.put(call, value);
        let mut response = call.answer(self.show(resource, &object)?, warnings);
        response.code = 201;
        Ok(response)
    }

    /// Fills in namespace and name and clears what only the server sets; returns where the object will live.
    fn place(&mut self, call: &Call<'_>, value: &mut Value) -> Result<Key, Status> {
        let namespace = call.namespace();
        let metadata = meta::of(value)?;
        for field in
            ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"]
        {
            metadata.remove(field);
        }
        // Elsewhere nobody looks at it.
        if call.resource.counts_generation {
            metadata.remove("generation");
        }
        match metadata.get("namespace").and_then(Value::as_str) {
            Some(said) if call.resource.namespaced && said != namespace => {
                return Err(Status::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
            _ if call.resource.namespaced => drop(metadata.insert("namespace".into(), json!(namespace))),
            _ => drop(metadata.remove("namespace")),
        }
        let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
        if !name.is_empty() {
            return Ok(Key::new(namespace, name));
        }
        let prefix = metadata.get("generateName").and_then(Value::as_str).unwrap_or_default();
        if prefix.is_empty() {
            let cause = Cause::new(
                "FieldValueRequired",
                "metadata.name",
                "Required value: name or generateName is required",
            );
            return Err(call.invalid("", vec![cause]));
        }
        let prefix: String = prefix.chars().take(58).collect();
        let key = loop {
            self.names += 1;
            let key = Key::new(namespace, &format!("{prefix}{}", meta::suffix(self.names)));
            if self.storage.get(&call.resource.storage, &key).is_none() {
                break key;
            }
        };
        metadata.insert("name".into(), json!(key.name));
        Ok(key)
    }

    fn check_namespace(&self, call: &Call<'_>, key: &Key) -> Result<(), Status> {
        if !call.resource.namespaced {
            return Ok(());
        }
        let place = Key::new("", &key.namespace);
        let Some(namespace) = self.storage.get(&super::NAMESPACES, &place) else {
            return Err(Status::not_found("", "namespaces", &key.namespace));
        };
        if !namespace.meta.deleting {
            return Ok(());
        }
        let name = &key.namespace;
        let mut status = call.forbidden(
            &key.name,
            &format!("unable to create new content in namespace {name} because it is being terminated"),
        );
        status.details.causes.push(Cause::new(
            "NamespaceTerminating",
            "metadata.namespace",
            format!("namespace {name} is being terminated"),
        ));
        Err(status)
    }
}

/// Those who complete an object see it before it has the rest of its name.
fn before_naming(mut status: Status, value: &Value) -> Status {
    let metadata = &value["metadata"];
    if let (Some(prefix), Some(name)) = (metadata["generateName"].as_str(), metadata["name"].as_str())
        && name.len() > prefix.len()
        && name.starts_with(prefix)
    {
        status.message = status.message.replacen(
            &format!("{name:?} is forbidden"),
            &format!("{prefix:?} is forbidden"),
            1,
        );
        if status.details.name == name {
            prefix.clone_into(&mut status.details.name);
        }
    }
    status
}

/// What Go does not write is not kept.
pub(super) fn drop_empty(call: &Call<'_>, value: &mut Value) {
    if let Some(schema) = call.resource.schema().filter(|_| call.resource.custom.is_none()) {
        schema.drop_empty(value);
    }
}

/// Everything that is wrong with an object: metadata, schema, and the rules of its kind.
pub(super) fn faults(call: &Call<'_>, value: &Value, old: Option<&Value>) -> Result<Vec<Cause>, Status> {
    let resource = &call.resource;
    let mut causes = match old {
        Some(old) if old["metadata"] == value["metadata"] => Vec::new(),
        _ => meta::validate(resource, &value["metadata"]),
    };
    if let Some(schema) = resource.schema() {
        let found = strategy::schema_faults(resource, schema, value, old)?;
        let status = resource.custom.is_some() && call.request.subresource.as_deref() == Some("status");
        causes.extend(if status { strategy::in_status(found) } else { found });
    }
    let own = match old {
        None => strategy::validate_create(resource, value),
        Some(old) => strategy::validate_update(resource, call.request.subresource.as_deref(), value, old),
    };
    // The schema and the kind's own rules may both miss the same field: it is said once, in the kind's own words.
    let of_schema = causes.len();
    for own in own {
        let known = causes[..of_schema].iter_mut().find(|c| c.field == own.field && c.reason == own.reason);
        match known {
            Some(known) => *known = own,
            None => causes.push(own),
        }
    }
    Ok(causes)
}
