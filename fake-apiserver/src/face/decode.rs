//! The bytes of a request's body as JSON, refused in the words of Go's decoders.

use std::fmt::Write as _;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::protobuf;
use crate::request::PatchType;
use crate::schema::{Path, go_name};
use crate::server::go_text::syntax_error;
use crate::status::Status;

/// What a body should be.
pub(super) struct Wanted {
    /// The kind of the endpoint.
    pub(super) kind: String,
    /// As the endpoint says it, if it is one of a custom resource: such an object must say it, too.
    pub(super) api_version: Option<String>,
}

/// A body, and what a strict decoder has against its text.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Decoded {
    pub(super) value: Value,
    /// For instance `duplicate field "data.a"`.
    pub(super) faults: Vec<String>,
}

const OFFERED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Decodes the body of a create or update.
///
/// # Errors
/// 415 for media types that are not known, 400 for bytes that are no object.
pub(super) fn object(content_type: &str, bytes: &[u8], wanted: &Wanted) -> Result<Decoded, Status> {
    let decoded = any(content_type, bytes).map_err(|refused| refused.of(wanted, bytes))?;
    let refused = |why: String| Err(Refused::Unreadable(why).of(wanted, bytes));
    let Some(api_version) = &wanted.api_version else {
        return match decoded.value {
            // Go decodes null to an object without members.
            Value::Null => Ok(Decoded { value: Value::Object(Map::new()), ..decoded }),
            Value::Object(_) => Ok(decoded),
            other => refused(format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ \
                 APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
                go_name(&other)
            )),
        };
    };
    let said = |field: &str| decoded.value.get(field).and_then(Value::as_str).unwrap_or_default();
    if said("kind").is_empty() {
        return refused(format!("Object 'Kind' is missing in '{}'", String::from_utf8_lossy(bytes)));
    }
    if said("apiVersion").is_empty() {
        return Err(Status::bad_request(format!(
            "the API version in the data () does not match the expected API version ({api_version})"
        )));
    }
    Ok(decoded)
}

/// Decodes the body of a delete, or one whose kind does not matter; an empty one is `None`.
///
/// # Errors
/// 415 for media types that are not known, 400 for bytes that do not parse.
pub(super) fn optional(content_type: &str, bytes: &[u8]) -> Result<Option<Value>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    match any(content_type, bytes) {
        Ok(decoded) => Ok(Some(decoded.value)),
        Err(Refused::Unreadable(why)) => Err(Status::bad_request(why)),
        Err(Refused::Other(status)) => Err(status),
    }
}

/// Decodes the body of a PATCH.
///
/// # Errors
/// 415 for media types that are no patch, 400 for bytes that do not parse.
pub(super) fn patch(content_type: &str, bytes: &[u8]) -> Result<(PatchType, Decoded), Status> {
    /// What stands before the complaints about most patches.
    const DECODING: &str = "error decoding patch: ";
    match media_type(content_type).as_str() {
        "application/json-patch+json" => Ok((PatchType::Json, patch_json(bytes, DECODING)?)),
        "application/merge-patch+json" => Ok((PatchType::Merge, patch_map(bytes, DECODING)?)),
        "application/strategic-merge-patch+json" => Ok((PatchType::Strategic, patch_map(bytes, "")?)),
        "application/apply-patch+yaml" => match yaml(bytes) {
            Ok(decoded) => Ok((PatchType::Apply, decoded)),
            Err(why) => {
                Err(Status::bad_request(format!("error decoding YAML: error converting YAML to JSON: {why}")))
            }
        },
        _ => Err(Status::generic(415, "UnsupportedMediaType", "415: Unsupported Media Type")),
    }
}

/// Why bytes are no body.
enum Refused {
    Unreadable(String),
    Other(Status),
}

impl Refused {
    fn of(self, wanted: &Wanted, bytes: &[u8]) -> Status {
        match self {
            Self::Unreadable(why) => Status::bad_request(format!(
                "the object provided is unrecognized (must be of type {}): {why} ({})",
                wanted.kind,
                summary(bytes)
            )),
            Self::Other(status) => status,
        }
    }
}

fn any(content_type: &str, bytes: &[u8]) -> Result<Decoded, Refused> {
    match media_type(content_type).as_str() {
        "" | "application/json" => json(bytes).map_err(|error| {
            let said = syntax_error(bytes, &error);
            Refused::Unreadable(format!("couldn't get version/kind; json parse error: {said}"))
        }),
        "application/yaml" => yaml(bytes).map_err(Refused::Unreadable),
        "application/vnd.kubernetes.protobuf" if !protobuf::is_message(bytes) => {
            let said =
                "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
            Err(Refused::Unreadable(said.to_owned()))
        }
        "application/vnd.kubernetes.protobuf" => protobuf::decode(bytes)
            .map(|value| Decoded { value, ..Decoded::default() })
            .map_err(Refused::Other),
        _ => Err(Refused::Other(Status::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: {OFFERED}"
        )))),
    }
}

fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_lowercase()
}

/// The beginning of a body, as text if it looks like JSON (`summarizeData`).
fn summary(bytes: &[u8]) -> String {
    const MOST: usize = 30;
    let begin = &bytes[..bytes.len().min(MOST)];
    let more = if bytes.len() > MOST { " ..." } else { "" };
    match begin.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(begin).into_owned() + more,
        Some(_) => {
            let hex = begin.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            hex + more
        }
    }
}

/// A patch, refused in the words of Go's decoder.
fn patch_json(bytes: &[u8], before: &str) -> Result<Decoded, Status> {
    json(bytes).map_err(|error| Status::bad_request(format!("{before}{}", syntax_error(bytes, &error))))
}

/// A patch that is a map.
fn patch_map(bytes: &[u8], before: &str) -> Result<Decoded, Status> {
    let decoded = patch_json(bytes, before)?;
    match decoded.value {
        Value::Object(_) => Ok(decoded),
        // Go decodes null to a map without members.
        Value::Null => Ok(Decoded { value: Value::Object(Map::new()), ..decoded }),
        other => Err(Status::bad_request(format!(
            "{before}json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            go_name(&other)
        ))),
    }
}

fn json(bytes: &[u8]) -> Result<Decoded, serde_json::Error> {
    let mut faults = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let seed = Seed {
        path: &Path::Root,
        repeated: &mut |path, _| faults.push(format!("duplicate field \"{path}\"")),
    };
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Decoded { value, faults })
}

/// YAML, of which JSON is a part: JSON is tried first because it is faster and keeps big numbers.
fn yaml(bytes: &[u8]) -> Result<Decoded, String> {
    if let Ok(decoded) = json(bytes) {
        return Ok(decoded);
    }
    let mut repeated = Vec::new();
    let seed = Seed {
        path: &Path::Root,
        repeated: &mut |_, key| repeated.push(format!("key \"{key}\" already set in map")),
    };
    let value = seed.deserialize(serde_yaml::Deserializer::from_slice(bytes)).map_err(|error| {
        let said = error.to_string();
        let said = said.split(" at line ").next().unwrap_or_default();
        // Go's parser counts lines from 0 here.
        match error.location().map(|at| at.line().saturating_sub(1)) {
            Some(line) if line > 0 => format!("yaml: line {line}: {said}"),
            _ => format!("yaml: {said}"),
        }
    })?;
    let faults = if repeated.is_empty() {
        Vec::new()
    } else {
        vec![format!("yaml: unmarshal errors:\n  {}", repeated.join("\n  "))]
    };
    Ok(Decoded { value, faults })
}

/// Reads a value and tells of each member that is there twice; the last one counts.
struct Seed<'a> {
    path: &'a Path<'a>,
    repeated: &'a mut dyn FnMut(String, &str),
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = Path::Index(self.path, list.len());
            match items.next_element_seed(Seed { path: &path, repeated: &mut *self.repeated })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = members.next_key_seed(KeySeed)? {
            let path = Path::Field(self.path, &key);
            let value = members.next_value_seed(Seed { path: &path, repeated: &mut *self.repeated })?;
            if map.contains_key(&key) {
                (self.repeated)(path.dotted(), &key);
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// The name of a member; YAML has others than texts.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let mut ignored = |_: String, _: &str| {};
        let seed = Seed { path: &Path::Root, repeated: &mut ignored };
        match seed.deserialize(deserializer)? {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(on) => Ok(on.to_string()),
            other => Err(D::Error::custom(format!("a {} cannot be a name", go_name(&other)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted { kind: "ConfigMap".into(), api_version: None }
    }

    #[test]
    fn bodies_are_refused_by_media_type() {
        assert_eq!(object("text/plain", b"x", &wanted()).unwrap_err().code, 415);
        assert_eq!(object("application/json", b"{", &wanted()).unwrap_err().code, 400);
        let body = object("application/yaml; charset=utf-8", b"a: 1\n2: b", &wanted()).unwrap();
        assert_eq!(body.value, serde_json::json!({"a": 1, "2": "b"}));
        assert_eq!(patch("application/json", b"{}").unwrap_err().code, 415);
    }

    #[test]
    fn repeated_members_are_told_of_and_the_last_one_counts() {
        let body = br#"{"a": [{"b": 1, "b": 2}], "c": {}}"#;
        let decoded = object("", body, &wanted()).unwrap();
        assert_eq!(decoded.value, serde_json::json!({"a": [{"b": 2}], "c": {}}));
        assert_eq!(decoded.faults, ["duplicate field \"a[0].b\""]);
        let decoded = object("application/yaml", b"a: 1\na: 2\n", &wanted()).unwrap();
        assert_eq!(decoded.faults, ["yaml: unmarshal errors:\n  key \"a\" already set in map"]);
    }

    #[test]
    fn a_deep_body_is_refused_and_not_followed() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for kind in ["application/json", "application/yaml"] {
            assert_eq!(object(kind, deep.as_bytes(), &wanted()).unwrap_err().code, 400, "{kind}");
        }
    }

    #[test]
    fn long_bodies_are_quoted_in_part() {
        assert_eq!(summary(b""), "<empty>");
        assert_eq!(summary(b"{"), "{");
        assert_eq!(summary(b"[]"), "5b5d");
        assert_eq!(summary(&[b'{'; 40]), "{".repeat(30) + " ...");
    }
}
