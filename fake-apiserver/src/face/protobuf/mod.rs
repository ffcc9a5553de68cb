//! Protobuf request bodies, as kubectl ≥ 1.32 and client-go send them, decoded to the JSON the state machine takes.
//!
//! The envelope is `k8s\0` and a `runtime.Unknown`; field numbers come from `data/protobuf.json`.
//! Answers stay JSON: every client that sends protobuf also accepts JSON.

mod special;
mod wire;

use serde_json::{Map, Value, json};

use crate::schema::messages::{Field, MESSAGES};
use crate::status::Status;
use wire::{Payload, Reader};

const MAGIC: &[u8] = b"k8s\0";
/// Deeper than any built-in kind; bounds the recursion.
const MAX_DEPTH: usize = 40;

/// Whether the bytes begin as the Kubernetes protobuf envelope does.
pub(super) fn is_message(body: &[u8]) -> bool {
    body.starts_with(MAGIC)
}

/// Decodes a body in the Kubernetes protobuf envelope.
///
/// # Errors
/// 400 for bytes that are no such message, 415 for a kind that has no protobuf form (custom resources).
pub(super) fn decode(body: &[u8]) -> Result<Value, Status> {
    let inner = body
        .strip_prefix(MAGIC)
        .ok_or_else(|| malformed("provided data does not appear to be a protobuf message"))?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut envelope = Reader::new(inner);
    while let Some((number, payload)) = envelope.next_field()? {
        match (number, payload) {
            (1, Payload::Bytes(type_meta)) => (api_version, kind) = read_type_meta(type_meta)?,
            (2, Payload::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let message = message_of(&api_version, &kind)?;
    let mut value = decode_message(message, raw, 0)?;
    value["apiVersion"] = json!(api_version);
    value["kind"] = json!(kind);
    Ok(value)
}

fn read_type_meta(bytes: &[u8]) -> Result<(String, String), Status> {
    let (mut api_version, mut kind) = (String::new(), String::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next_field()? {
        match (number, payload) {
            (1, Payload::Bytes(text)) => api_version = utf8(text)?,
            (2, Payload::Bytes(text)) => kind = utf8(text)?,
            _ => {}
        }
    }
    Ok((api_version, kind))
}

fn message_of(api_version: &str, kind: &str) -> Result<&'static str, Status> {
    let key = if api_version.contains('/') {
        format!("{api_version}/{kind}")
    } else {
        format!("/{api_version}/{kind}")
    };
    let found = MESSAGES.kinds.get(&key).map(String::as_str);
    // DeleteOptions and its like are registered in every group version.
    let found = found.or_else(|| {
        MESSAGES.kinds.get(&format!("/v1/{kind}")).map(String::as_str).filter(|m| m.contains(".meta.v1."))
    });
    found.ok_or_else(|| {
        Status::unsupported_media_type(format!(
            "{api_version}, Kind={kind} has no protobuf form here; send JSON"
        ))
    })
}

fn decode_message(name: &str, bytes: &[u8], depth: usize) -> Result<Value, Status> {
    if depth > MAX_DEPTH {
        return Err(malformed("message is nested too deeply"));
    }
    if let Some(value) = special::decode(name, bytes)? {
        return Ok(value);
    }
    let fields = MESSAGES.fields.get(name).ok_or_else(|| malformed(&format!("unknown message {name}")))?;
    let mut object = Map::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next_field()? {
        // A field of a newer release: dropped, as a typed server drops it.
        let Some(field) = fields.iter().find(|field| field.0 == number) else { continue };
        add_field(&mut object, field, &payload, depth)?;
    }
    Ok(Value::Object(object))
}

fn add_field(
    object: &mut Map<String, Value>,
    field: &Field,
    payload: &Payload<'_>,
    depth: usize,
) -> Result<(), Status> {
    let Field(_, name, declared, _) = field;
    if field.is('m') {
        let (key, value) = map_entry(declared, payload, depth)?;
        if let Value::Object(map) = object.entry(name.clone()).or_insert_with(|| json!({})) {
            map.insert(key, value);
        }
    } else if field.is('r') {
        let values = repeated(declared, payload, depth)?;
        if let Value::Array(items) = object.entry(name.clone()).or_insert_with(|| json!([])) {
            items.extend(values);
        }
    } else {
        let value = single(declared, payload, depth)?;
        if field.is('i') {
            if let Value::Object(embedded) = value {
                object.extend(embedded);
            }
        } else if field.is('k') && !value.is_null() || !is_zero(&value) {
            object.insert(name.clone(), value);
        }
    }
    Ok(())
}

/// Go's encoder writes every field that is no pointer, also empty ones, which JSON would have omitted.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        // An empty struct is written in JSON too.
        Value::Object(_) => false,
    }
}

fn map_entry(declared: &str, payload: &Payload<'_>, depth: usize) -> Result<(String, Value), Status> {
    let Payload::Bytes(entry) = payload else { return Err(malformed("a map entry is not a message")) };
    let (mut key, mut value) = (String::new(), None);
    let mut reader = Reader::new(entry);
    while let Some((number, payload)) = reader.next_field()? {
        match (number, &payload) {
            (1, Payload::Bytes(text)) => key = utf8(text)?,
            (2, payload) => value = Some(single(declared, payload, depth)?),
            _ => {}
        }
    }
    let value = match value {
        Some(value) => value,
        None => single(declared, &Payload::Bytes(&[]), depth)?,
    };
    Ok((key, value))
}

fn repeated(declared: &str, payload: &Payload<'_>, depth: usize) -> Result<Vec<Value>, Status> {
    match (declared, payload) {
        // Packed numbers.
        ("int32" | "int64" | "uint32" | "uint64" | "bool", Payload::Bytes(packed)) => {
            let mut reader = Reader::new(packed);
            let mut values = Vec::new();
            while !reader.is_empty() {
                values.push(single(declared, &Payload::Varint(reader.varint()?), depth)?);
            }
            Ok(values)
        }
        _ => Ok(vec![single(declared, payload, depth)?]),
    }
}

fn single(declared: &str, payload: &Payload<'_>, depth: usize) -> Result<Value, Status> {
    Ok(match (declared, payload) {
        ("string", Payload::Bytes(bytes)) => Value::String(utf8(bytes)?),
        ("bytes", Payload::Bytes(bytes)) => {
            use base64::Engine as _;
            Value::String(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        ("bool", Payload::Varint(n)) => json!(*n != 0),
        ("int32", Payload::Varint(n)) => json!(*n as i32),
        ("int64", Payload::Varint(n)) => json!(*n as i64),
        ("uint32" | "uint64", Payload::Varint(n)) => json!(n),
        ("double", Payload::Fixed64(n)) => json!(f64::from_bits(*n)),
        ("float", Payload::Fixed32(n)) => json!(f32::from_bits(*n)),
        (message, Payload::Bytes(bytes)) if message.contains('.') => {
            decode_message(message, bytes, depth + 1)?
        }
        _ => return Err(malformed(&format!("wrong wire type for a field of type {declared}"))),
    })
}

fn utf8(bytes: &[u8]) -> Result<String, Status> {
    String::from_utf8(bytes.to_vec()).map_err(|_| malformed("a string is not UTF-8"))
}

fn malformed(why: &str) -> Status {
    Status::bad_request(format!("unable to decode the protobuf body: {why}"))
}

#[cfg(test)]
mod tests;
