//! Content negotiation: which form of an answer a client accepts, and what its request body is.

use serde_json::Value;

use crate::request::PatchType;
use crate::status::Status;

use super::protobuf;

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shape {
    /// The object itself.
    #[default]
    Whole,
    /// `as=Table`, of meta.k8s.io version v1 or v1beta1.
    Table(TableVersion),
    /// `as=PartialObjectMetadata` and `as=PartialObjectMetadataList`.
    Metadata,
}

/// Version of a Table answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TableVersion {
    #[default]
    V1,
    V1beta1,
}

/// The encoding of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    #[default]
    Json,
    Yaml,
}

/// What the client accepts, resolved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accept {
    pub(super) shape: Shape,
    pub(super) encoding: Encoding,
}

/// Version of aggregated discovery a client accepts first, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discovery {
    Legacy,
    V2,
    V2beta1,
}

/// One entry of an `Accept` header.
struct Clause<'a> {
    media_type: &'a str,
    params: Vec<(&'a str, &'a str)>,
}

impl Clause<'_> {
    fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    fn encoding(&self) -> Option<Encoding> {
        match self.media_type {
            "*/*" | "application/*" | "application/json" => Some(Encoding::Json),
            "application/yaml" => Some(Encoding::Yaml),
            _ => None,
        }
    }
}

/// Entries in the client's order of preference: by `q`, then as written.
fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<(u32, Clause<'_>)> = header
        .split(',')
        .filter_map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let media_type = parts.next().filter(|name| !name.is_empty())?;
            let params: Vec<_> = parts.filter_map(|param| param.split_once('=')).collect();
            let weight = params
                .iter()
                .find(|(key, _)| *key == "q")
                .and_then(|(_, q)| q.parse::<f64>().ok())
                .unwrap_or(1.0);
            Some(((weight * 1000.0) as u32, Clause { media_type, params }))
        })
        .collect();
    clauses.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    clauses.into_iter().map(|(_, clause)| clause).collect()
}

/// Resolves an `Accept` header; none or an empty one means JSON.
///
/// # Errors
/// 406 where nothing on offer is accepted.
pub(super) fn accept(header: &str) -> Result<Accept, Status> {
    if header.trim().is_empty() {
        return Ok(Accept::default());
    }
    for clause in clauses(header) {
        let Some(encoding) = clause.encoding() else { continue };
        let shape = match (clause.param("as"), clause.param("g"), clause.param("v")) {
            ("", _, _) => Shape::Whole,
            ("Table", "meta.k8s.io", "v1") => Shape::Table(TableVersion::V1),
            ("Table", "meta.k8s.io", "v1beta1") => Shape::Table(TableVersion::V1beta1),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1" | "v1beta1") => {
                Shape::Metadata
            }
            _ => continue,
        };
        return Ok(Accept { shape, encoding });
    }
    Err(not_acceptable())
}

fn not_acceptable() -> Status {
    Status::new(406, "NotAcceptable", format!("only the following media types are accepted: {OFFERED}"))
}

/// The encoding for a Status, which is sent even where nothing acceptable is on offer.
pub(super) fn encoding(header: &str) -> Encoding {
    accept(header).map(|accept| accept.encoding).unwrap_or_default()
}

const OFFERED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Which discovery document a client wants from `/api` and `/apis`.
///
/// # Errors
/// 406 where nothing on offer is accepted; `v2beta1` is on offer only if `beta`.
pub(super) fn discovery(header: &str, beta: bool) -> Result<Discovery, Status> {
    for clause in clauses(header) {
        let aggregated =
            clause.param("g") == "apidiscovery.k8s.io" && clause.param("as") == "APIGroupDiscoveryList";
        match (clause.encoding(), aggregated, clause.param("v")) {
            (Some(_), true, "v2") => return Ok(Discovery::V2),
            (Some(_), true, "v2beta1") if beta => return Ok(Discovery::V2beta1),
            (Some(_), false, _) => return Ok(Discovery::Legacy),
            _ => {}
        }
    }
    if header.trim().is_empty() { Ok(Discovery::Legacy) } else { Err(not_acceptable()) }
}

/// Decodes the body of a create, update or delete; an empty one is `None`.
///
/// # Errors
/// 415 for media types that are not known, 400 for bytes that do not parse.
pub(super) fn body(content_type: &str, bytes: &[u8]) -> Result<Option<Value>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    match media_type(content_type).as_str() {
        "" | "application/json" => json(bytes).map(Some),
        "application/yaml" => yaml(bytes).map(Some),
        "application/vnd.kubernetes.protobuf" => protobuf::decode(bytes).map(Some),
        _ => Err(Status::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: {OFFERED}"
        ))),
    }
}

/// Decodes the body of a PATCH.
///
/// # Errors
/// 415 for media types that are no patch, 400 for bytes that do not parse.
pub(super) fn patch(content_type: &str, bytes: &[u8]) -> Result<(PatchType, Value), Status> {
    match media_type(content_type).as_str() {
        "application/json-patch+json" => Ok((PatchType::Json, patch_json(bytes, DECODING)?)),
        "application/merge-patch+json" => {
            Ok((PatchType::Merge, object(patch_json(bytes, DECODING)?, DECODING)?))
        }
        "application/strategic-merge-patch+json" => {
            Ok((PatchType::Strategic, object(patch_json(bytes, "")?, "")?))
        }
        "application/apply-patch+yaml" => Ok((PatchType::Apply, yaml(bytes)?)),
        _ => Err(Status::unsupported_media_type("415: Unsupported Media Type")),
    }
}

fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_lowercase()
}

/// What stands before the complaints about most patches.
const DECODING: &str = "error decoding patch: ";

/// A patch, refused in the words of Go's decoder.
fn patch_json(bytes: &[u8], before: &str) -> Result<Value, Status> {
    serde_json::from_slice(bytes)
        .map_err(|error| Status::bad_request(format!("{before}{}", go_syntax_error(bytes, &error))))
}

/// A patch that is a map.
fn object(value: Value, before: &str) -> Result<Value, Status> {
    let found = match value {
        Value::Object(_) => return Ok(value),
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        // Go decodes null to a map without members.
        Value::Null => return Ok(Value::Object(serde_json::Map::new())),
    };
    let said =
        format!("{before}json: cannot unmarshal {found} into Go value of type map[string]interface {{}}");
    Err(Status::bad_request(said))
}

/// What Go's JSON decoder says of text that is no JSON.
fn go_syntax_error(bytes: &[u8], error: &serde_json::Error) -> String {
    let line = bytes.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    match line.get(error.column().saturating_sub(1)) {
        Some(byte) if !error.is_eof() => {
            format!("invalid character {:?} looking for beginning of value", char::from(*byte))
        }
        _ => "unexpected end of JSON input".to_owned(),
    }
}

fn json(bytes: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(bytes)
        .map_err(|error| Status::bad_request(format!("the request body is not valid JSON: {error}")))
}

/// YAML, of which JSON is a part: JSON is tried first because it is faster and keeps big numbers.
fn yaml(bytes: &[u8]) -> Result<Value, Status> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    serde_yaml::from_slice(bytes)
        .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_gets_tables_and_falls_back_to_json() {
        let header = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(accept(header).unwrap().shape, Shape::Table(TableVersion::V1));
        assert_eq!(
            accept("application/json;as=Other;g=x;v=v1, application/json").unwrap(),
            Accept::default()
        );
        assert_eq!(accept("").unwrap(), Accept::default());
        assert_eq!(accept("*/*").unwrap(), Accept::default());
    }

    #[test]
    fn protobuf_clients_get_json_if_they_accept_it() {
        assert_eq!(
            accept("application/vnd.kubernetes.protobuf,application/json").unwrap(),
            Accept::default()
        );
        assert_eq!(accept("application/vnd.kubernetes.protobuf").unwrap_err().code, 406);
        assert_eq!(accept("application/yaml").unwrap().encoding, Encoding::Yaml);
    }

    #[test]
    fn discovery_is_answered_in_the_first_version_the_client_names() {
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let v2beta1 = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        assert_eq!(discovery(&format!("{v2},{v2beta1},application/json"), true).unwrap(), Discovery::V2);
        assert_eq!(discovery(&format!("{v2beta1},application/json"), true).unwrap(), Discovery::V2beta1);
        assert_eq!(discovery(&format!("{v2beta1},application/json"), false).unwrap(), Discovery::Legacy);
        assert_eq!(discovery(v2beta1, false).unwrap_err().code, 406);
        assert_eq!(discovery("", false).unwrap(), Discovery::Legacy);
    }

    #[test]
    fn bodies_are_refused_by_media_type() {
        assert_eq!(body("text/plain", b"x").unwrap_err().code, 415);
        assert_eq!(body("application/json", b"{").unwrap_err().code, 400);
        assert_eq!(body("application/yaml; charset=utf-8", b"a: 1").unwrap().unwrap()["a"], 1);
        assert_eq!(patch("application/json", b"{}").unwrap_err().code, 415);
    }
}
