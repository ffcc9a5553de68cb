//! `/openapi/v2`: the definitions alone, in the protobuf form `kubectl explain` of 1.27 and 1.28 asks for.
//!
//! Field numbers are those of gnostic's `OpenAPIv2.proto`. Paths are left out: what they say is in v3.

use bytes::Bytes;
use serde_json::{Map, Value};

/// The definitions as an `openapi.v2.Document`.
pub(super) fn document(schemas: &Map<String, Value>) -> Bytes {
    let mut info = Message::default();
    info.text(1, "Kubernetes");
    info.text(2, "unversioned");
    let mut document = Message::default();
    document.text(1, "2.0");
    document.message(2, &info);
    document.message(8, &Message::default());
    document.message(9, &named(schemas));
    document.0.into()
}

/// `Definitions` and `Properties` have one shape: NamedSchema in field 1.
fn named(schemas: &Map<String, Value>) -> Message {
    let mut out = Message::default();
    for (name, value) in schemas {
        let mut entry = Message::default();
        entry.text(1, name);
        entry.message(2, &schema(value));
        out.message(1, &entry);
    }
    out
}

fn schema(value: &Value) -> Message {
    let mut out = Message::default();
    // v3 wraps a reference in allOf to give it siblings; v2 has the reference alone.
    let reference = value["$ref"].as_str().or_else(|| value["allOf"][0]["$ref"].as_str());
    if let Some(reference) = reference {
        out.text(1, &reference.replace("#/components/schemas/", "#/definitions/"));
        return out;
    }
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    let int_or_string = text("format") == "int-or-string" || value["x-kubernetes-int-or-string"] == true;
    out.text(2, if int_or_string { "int-or-string" } else { text("format") });
    out.text(4, text("description"));
    for name in value["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        out.text(19, name);
    }
    if value["additionalProperties"].is_object() {
        let mut item = Message::default();
        item.message(1, &schema(&value["additionalProperties"]));
        out.message(21, &item);
    }
    let kind = if int_or_string { "string" } else { text("type") };
    if !kind.is_empty() {
        let mut types = Message::default();
        types.text(1, kind);
        out.message(22, &types);
    }
    if value["items"].is_object() {
        let mut items = Message::default();
        items.message(1, &schema(&value["items"]));
        out.message(23, &items);
    }
    if let Some(properties) = value["properties"].as_object() {
        out.message(25, &named(properties));
    }
    for (name, extension) in
        value.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-kubernetes-"))
    {
        let mut yaml = Message::default();
        // JSON is YAML.
        yaml.text(2, &extension.to_string());
        let mut entry = Message::default();
        entry.text(1, name);
        entry.message(2, &yaml);
        out.message(31, &entry);
    }
    out
}

/// A protobuf message being written; all fields here have a length.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn message(&mut self, field: u32, message: &Self) {
        self.bytes(field, &message.0);
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field << 3 | 2));
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lengths_and_numbers_are_written_as_varints() {
        let mut message = Message::default();
        message.text(31, &"x".repeat(300));
        assert_eq!(message.0[..4], [0xfa, 0x01, 0xac, 0x02]);
    }

    #[test]
    fn a_wrapped_reference_becomes_a_plain_one() {
        let wrapped = schema(&json!({"allOf": [{"$ref": "#/components/schemas/a.B"}], "default": {}}));
        assert_eq!(wrapped.0, [&[0x0a, 17][..], b"#/definitions/a.B"].concat());
    }
}
