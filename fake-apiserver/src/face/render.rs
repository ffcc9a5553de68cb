//! Answers of the state machine as HTTP responses.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::body::ResponseBody;
use super::negotiate::{Accept, Encoding, Shape};
use super::table::{Include, Printer, metadata_only};
use super::yaml;
use crate::response::List;
use crate::status::Status;

/// How one client wants its answer.
pub(super) struct Form {
    pub(super) accept: Accept,
    pub(super) include: Include,
    pub(super) printer: Option<Printer>,
    pub(super) now: Timestamp,
}

impl Form {
    /// The printer and version of a Table, if a Table is wanted.
    pub(super) fn table(&self) -> Option<(&Printer, super::negotiate::TableVersion)> {
        match (self.accept.shape, &self.printer) {
            (Shape::Table(version), Some(printer)) => Some((printer, version)),
            _ => None,
        }
    }

    pub(super) fn is_whole_json(&self) -> bool {
        self.accept.encoding == Encoding::Json && self.accept.shape == Shape::Whole
    }

    /// One object in the form asked for.
    pub(super) fn object(&self, object: &Value) -> Value {
        match (self.table(), self.accept.shape) {
            (Some((printer, version)), _) => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                printer.table(version, &metadata, std::slice::from_ref(object), self.include, self.now)
            }
            (None, Shape::Metadata) => metadata_only(object, "meta.k8s.io/v1"),
            _ => object.clone(),
        }
    }
}

pub(super) fn bytes(code: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(body));
    *response.status_mut() = code;
    if let Ok(content_type) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

fn status_code(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

pub(super) fn text(code: u16, text: impl Into<Bytes>) -> Response<ResponseBody> {
    bytes(status_code(code), "text/plain; charset=utf-8", text)
}

pub(super) fn json(code: u16, value: &Value) -> Response<ResponseBody> {
    self::value(code, value, Encoding::Json)
}

pub(super) fn value(code: u16, value: &Value, encoding: Encoding) -> Response<ResponseBody> {
    match encoding {
        // Go's encoder ends each document with a new line.
        Encoding::Json => bytes(status_code(code), "application/json", format!("{value}\n")),
        Encoding::Yaml => bytes(status_code(code), "application/yaml", yaml::text(value)),
    }
}

/// A refusal, with `Retry-After` where the status has one.
pub(super) fn status(status: &Status, encoding: Encoding) -> Response<ResponseBody> {
    let mut response = match encoding {
        Encoding::Json => bytes(status_code(status.code), "application/json", status.to_text()),
        Encoding::Yaml => value(status.code, &status.to_value(), encoding),
    };
    let retry = status.details.retry_after_seconds;
    if retry > 0 {
        response.headers_mut().insert(header::RETRY_AFTER, retry.into());
    }
    warn(response.headers_mut(), &status.warnings);
    response
}

/// `Warning: 299 - "…"` for each text, once.
pub(super) fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    for warning in warnings {
        let quoted: String = warning
            .chars()
            .filter(|c| !c.is_control())
            .flat_map(|c| (c == '"' || c == '\\').then_some('\\').into_iter().chain([c]))
            .collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\""))
            && !headers.get_all(header::WARNING).iter().any(|said| said == value)
        {
            headers.append(header::WARNING, value);
        }
    }
}

/// A page of a collection. Whole JSON is put together from the stored bytes, without parsing them.
pub(super) fn list(code: u16, list: &List, form: &Form) -> Response<ResponseBody> {
    let mut metadata = json!({});
    if list.resource_version != 0 {
        metadata["resourceVersion"] = json!(list.resource_version.to_string());
    }
    // A list of custom resources is no Go struct that would leave an empty field out.
    if !list.built_in && form.accept.shape == Shape::Whole {
        metadata["continue"] = json!("");
    }
    if let Some(token) = &list.continue_token {
        metadata["continue"] = json!(token);
    }
    if let Some(remaining) = list.remaining {
        metadata["remainingItemCount"] = json!(remaining);
    }
    if form.is_whole_json() {
        return bytes(status_code(code), "application/json", whole_list(list, &metadata));
    }
    let objects: Vec<Value> = list.items.iter().map(|item| item.value()).collect();
    let answer = match (form.table(), form.accept.shape) {
        (Some((printer, version)), _) => printer.table(version, &metadata, &objects, form.include, form.now),
        (None, Shape::MetadataList) => {
            let items: Vec<Value> =
                objects.iter().map(|object| metadata_only(object, "meta.k8s.io/v1")).collect();
            // A slice of Go that nothing was put into.
            let items = if items.is_empty() { Value::Null } else { Value::Array(items) };
            json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items})
        }
        _ => {
            let mut items = objects;
            if list.built_in {
                items.iter_mut().filter_map(Value::as_object_mut).for_each(|item| {
                    item.remove("kind");
                    item.remove("apiVersion");
                });
            }
            json!({"kind": list.kind, "apiVersion": list.api_version, "metadata": metadata, "items": items})
        }
    };
    value(code, &answer, form.accept.encoding)
}

fn whole_list(list: &List, metadata: &Value) -> Bytes {
    let head = format!(
        "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":[",
        json!(list.kind),
        json!(list.api_version)
    );
    let size: usize = list.items.iter().map(|item| item.bytes.len() + 1).sum();
    let mut text = Vec::with_capacity(head.len() + size + 3);
    text.extend_from_slice(head.as_bytes());
    for (at, item) in list.items.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        if list.built_in {
            untyped(&item.bytes, &mut text);
        } else {
            text.extend_from_slice(&item.bytes);
        }
    }
    text.extend_from_slice(b"]}\n");
    text.into()
}

/// Appends an object without its `apiVersion` and `kind`, which items of built-in lists do not have.
///
/// Members of stored objects are in the order of their names, so that only what stands before `kind` is looked at.
fn untyped(bytes: &[u8], text: &mut Vec<u8>) {
    let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
    // Where the member that is being looked at begins, and what is not taken over.
    let (mut begin, mut skipped) = (1, Vec::new());
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 1 => depth -= 1,
            b',' | b'}' if depth == 1 => {
                let member = &bytes[begin..at];
                let is_kind = member.starts_with(b"\"kind\":");
                if is_kind || member.starts_with(b"\"apiVersion\":") {
                    skipped.push((begin, if *byte == b',' { at + 1 } else { at }));
                }
                begin = at + 1;
                if is_kind {
                    break;
                }
            }
            _ => {}
        }
    }
    let mut from = 0;
    for (start, end) in skipped {
        text.extend_from_slice(&bytes[from..start]);
        from = end;
    }
    text.extend_from_slice(&bytes[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_type(object: &Value) -> Value {
        let mut text = Vec::new();
        untyped(object.to_string().as_bytes(), &mut text);
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn items_of_built_in_lists_have_no_type() {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "kind": "kept"},
            "data": {"a": "}\",\"kind\":\"x\"", "b": "\\"},
        });
        let expected = json!({"metadata": object["metadata"], "data": object["data"]});
        assert_eq!(without_type(&object), expected);
        assert_eq!(without_type(&json!({"apiVersion": "v1", "kind": "X", "spec": {}})), json!({"spec": {}}));
    }

    #[test]
    fn warnings_are_quoted() {
        let mut headers = HeaderMap::new();
        warn(&mut headers, &["unknown field \"spec.x\"".to_owned()]);
        assert_eq!(headers[header::WARNING], r#"299 - "unknown field \"spec.x\"""#);
    }

    #[test]
    fn an_overloaded_server_says_when_to_come_back() {
        let mut refused = Status::new(429, "TooManyRequests", "slow down");
        refused.details.retry_after_seconds = 3;
        assert_eq!(status(&refused, Encoding::Json).headers()[header::RETRY_AFTER], "3");
    }
}
