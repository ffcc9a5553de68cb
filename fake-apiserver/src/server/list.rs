//! GET of a collection: selectors, pages, and the meaning of `resourceVersion`.
//!
//! The table of cases is that of "Semantics for get and list" in the Kubernetes API concepts.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::call::Call;
use super::{ApiServer, go_text};
use crate::response::{List, Reply, Response};
use crate::status::{Cause, Status};
use crate::storage::{FieldSelector, Key, LabelSelector, Selection, Stored};

/// Where a page begins: the revision of the first page and the last key of the page before.
struct Continue {
    revision: u64,
    after: Key,
}

impl ApiServer {
    pub(super) fn list(&self, call: &Call<'_>) -> Result<Response, Status> {
        let params = &call.request.params;
        let selection = Self::selection(call)?;
        let now = self.storage.revision();
        let token = params.continue_token.as_deref().filter(|token| !token.is_empty());
        let start = token.map(decode_token).transpose()?;
        if start.is_some() && params.resource_version.as_deref().is_some_and(|v| !v.is_empty() && v != "0") {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let revision = match &start {
            Some(Continue { revision: 0, .. }) => now,
            Some(start) => start.revision,
            None => Self::list_revision(now, call)?,
        };
        let after = start.as_ref().map(|start| &start.after);
        let (items, left) = self.page(call, &selection, revision, after)?;
        let more = left > 0;
        let continue_token =
            more.then(|| items.last().map(|last| encode_token(revision, &last.key))).flatten();
        let counted = selection.labels.is_empty() && selection.fields == FieldSelector::default();
        let resource = &call.resource;
        self.prepare(resource, &items)?;
        let list = List {
            kind: resource.list_kind.clone(),
            api_version: resource.api_version(),
            items: items.iter().map(|object| self.show(resource, object)).collect::<Result<_, _>>()?,
            resource_version: revision,
            continue_token,
            remaining: (more && counted).then_some(left),
            built_in: resource.custom.is_none(),
        };
        let warnings = resource.deprecation.iter().cloned().collect();
        Ok(Response { code: 200, reply: Reply::List(list), warnings })
    }

    /// One page and how many objects are left after it.
    fn page(
        &self,
        call: &Call<'_>,
        selection: &Selection,
        revision: u64,
        after: Option<&Key>,
    ) -> Result<(Vec<Arc<Stored>>, usize), Status> {
        let Some(collection) = self.storage.collection(&call.resource.storage) else {
            return Ok((Vec::new(), 0));
        };
        let params = &call.request.params;
        // What any version will do for comes from the watch cache, which knows no pages.
        let cached = params.resource_version.as_deref() == Some("0") && after.is_none();
        let limit = match params.limit {
            0 => usize::MAX,
            _ if cached => usize::MAX,
            limit => limit,
        };
        if collection.last_change() <= revision {
            let mut found = collection.select(selection, after);
            let items: Vec<Arc<Stored>> = found.by_ref().take(limit).cloned().collect();
            let left = if items.len() < limit { 0 } else { found.count() };
            return Ok((items, left));
        }
        let items = collection.select_at(revision, selection, after);
        let mut items = items.ok_or_else(|| Self::expired_list(after))?;
        let left = items.len().saturating_sub(limit);
        items.truncate(limit);
        Ok((items, left))
    }

    /// 410 for a page whose revision is forgotten, with a token that goes on without consistency.
    fn expired_list(after: Option<&Key>) -> Status {
        let Some(after) = after else {
            return Status::expired("The resourceVersion for the provided list is too old.");
        };
        let mut status = Status::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new \
             list without the continue parameter, or use the continue token in this response to retrieve the \
             remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
             that were created, modified, or deleted between the time the first chunk was returned and now may show \
             up in the list.",
        );
        status.continue_token = Some(encode_token(0, after));
        status
    }

    /// The revision a list without a continue token shows.
    fn list_revision(now: u64, call: &Call<'_>) -> Result<u64, Status> {
        let params = &call.request.params;
        let version = params.resource_version.as_deref().unwrap_or_default();
        let how = params.resource_version_match.as_deref().unwrap_or_default();
        let forbidden = |field: &str, fault: &str| {
            let cause = Cause::new("FieldValueForbidden", field, format!("Forbidden: {fault}"));
            Status::invalid("meta.k8s.io", "ListOptions", "", vec![cause])
        };
        if params.send_initial_events.is_some() {
            return Err(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        let asked = match check_not_future(now, Some(version)) {
            Err(malformed) if malformed.code == 500 => {
                return Err(Status::bad_request(format!("invalid resource version: {malformed}")));
            }
            other => other?,
        };
        match (how, asked) {
            ("", _) if params.limit > 0 && asked.is_some_and(|v| v > 0) => Ok(asked.unwrap_or(now)),
            ("" | "NotOlderThan", Some(_)) | ("", None) => Ok(now),
            ("Exact", Some(0)) => Err(forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            )),
            ("Exact", Some(revision)) => Ok(revision),
            (_, None) => Err(forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            )),
            (other, Some(_)) => {
                let fault = format!(
                    "Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""
                );
                let cause = Cause::new("FieldValueNotSupported", "resourceVersionMatch", fault);
                Err(Status::invalid("meta.k8s.io", "ListOptions", "", vec![cause]))
            }
        }
    }

    /// What the request selects.
    pub(super) fn selection(call: &Call<'_>) -> Result<Selection, Status> {
        let params = &call.request.params;
        let labels = LabelSelector::parse(params.label_selector.as_deref().unwrap_or_default())
            .map_err(Status::bad_request)?;
        let mut fields = FieldSelector::parse(params.field_selector.as_deref().unwrap_or_default())
            .map_err(Status::bad_request)?;
        let resource = &call.resource;
        fields.rename(|field| super::field_alias(resource, field));
        if let Some(unknown) = fields.fields().find(|field| !resource.selects_by(field)) {
            // Kinds with fields of their own have a conversion function, and each group words its refusal differently.
            let own = resource.custom.is_some() || !resource.selectable_fields.is_empty();
            return Err(Status::bad_request(match &*resource.group {
                "batch" if own => format!("field label {unknown:?} not supported for {}", resource.kind),
                "apps" => unknown_field(unknown),
                _ if own => format!("field label not supported: {unknown}"),
                _ => unknown_field(unknown),
            }));
        }
        let namespace = if resource.namespaced {
            let asked = call.request.namespace.as_deref();
            asked.or_else(|| fields.exact("metadata.namespace")).map(str::to_owned)
        } else {
            Some(String::new())
        };
        let name = fields.exact("metadata.name").or(call.request.name.as_deref());
        Ok(Selection { namespace, name: name.map(str::to_owned), labels, fields })
    }
}

fn unknown_field(field: &str) -> String {
    format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
}

/// Parses a resource version; 504 for one that is yet to come, as the watch cache answers.
pub(super) fn check_not_future(now: u64, version: Option<&str>) -> Result<Option<u64>, Status> {
    let Some(version) = version.filter(|version| !version.is_empty()) else { return Ok(None) };
    let asked: u64 = version.parse().map_err(|_| {
        // No error of the API: the real server passes on what its parser says.
        Status::new(
            500,
            "",
            format!(
                "resourceVersion: Invalid value: {version:?}: strconv.ParseUint: parsing {version:?}: invalid syntax"
            ),
        )
    })?;
    if asked > now {
        let mut status = Status::new(
            504,
            "Timeout",
            format!("Timeout: Too large resource version: {asked}, current: {now}"),
        );
        status.details.retry_after_seconds = 1;
        status.details.causes.push(Cause::new("ResourceVersionTooLarge", "", "Too large resource version"));
        return Err(status);
    }
    Ok(Some(asked))
}

fn encode_token(revision: u64, after: &Key) -> String {
    let token = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": [after.namespace, after.name]});
    URL_SAFE_NO_PAD.encode(token.to_string())
}

fn decode_token(token: &str) -> Result<Continue, Status> {
    let refused =
        |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| {
        let is_known = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let wrong = token.bytes().position(|byte| !is_known(&byte));
        let at = wrong.unwrap_or_else(|| token.len().saturating_sub(1));
        refused(&format!("illegal base64 data at input byte {at}"))
    })?;
    let token: Value =
        serde_json::from_slice(&bytes).map_err(|error| refused(&go_text::syntax_error(&bytes, &error)))?;
    let parse = || {
        let after = Key::new(token["start"][0].as_str()?, token["start"][1].as_str()?);
        Some(Continue { revision: token["rv"].as_u64()?, after })
    };
    parse().ok_or_else(|| refused("encoded continue token is malformed"))
}
