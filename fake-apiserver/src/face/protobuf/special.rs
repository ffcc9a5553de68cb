//! Messages whose JSON form is not an object of their fields.

use serde_json::{Value, json};

use super::wire::{Payload, Reader};
use super::{malformed, utf8};
use crate::status::Status;

/// The JSON form of `bytes`, if `message` is one of the special types.
pub(super) fn decode(message: &str, bytes: &[u8]) -> Result<Option<Value>, Status> {
    let Some(short) =
        message.strip_prefix("k8s.io.apimachinery.pkg.").or_else(|| message.strip_prefix("k8s.io.api."))
    else {
        return Ok(None);
    };
    Ok(Some(match short {
        "apis.meta.v1.Time" => time(bytes, 0)?,
        "apis.meta.v1.MicroTime" => time(bytes, 6)?,
        "apis.meta.v1.Duration" => duration(bytes)?,
        "apis.meta.v1.FieldsV1" | "runtime.RawExtension" => raw_json(bytes)?,
        "apis.meta.v1.Verbs"
        | "authentication.v1.ExtraValue"
        | "authorization.v1.ExtraValue"
        | "certificates.v1.ExtraValue" => items(bytes)?,
        "api.resource.Quantity" => quantity(bytes)?,
        "util.intstr.IntOrString" => int_or_string(bytes)?,
        _ => return Ok(None),
    }))
}

/// Seconds and nanoseconds since 1970; the zero time is null.
fn time(bytes: &[u8], digits: usize) -> Result<Value, Status> {
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next_field()? {
        match (number, payload) {
            (1, Payload::Varint(n)) => seconds = n as i64,
            (2, Payload::Varint(n)) => nanos = n as i32,
            _ => {}
        }
    }
    if seconds == 0 && nanos == 0 {
        return Ok(Value::Null);
    }
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| malformed("a time is out of range"))?;
    Ok(json!(if digits == 0 { format!("{time:.0}") } else { format!("{time:.digits$}") }))
}

/// Nanoseconds, written as Go writes them: `1h2m3.5s`.
fn duration(bytes: &[u8]) -> Result<Value, Status> {
    let mut nanos = 0_i64;
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next_field()? {
        if let (1, Payload::Varint(n)) = (number, payload) {
            nanos = n as i64;
        }
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let fraction = format!("{fraction:09}");
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let hours_text = if hours > 0 { format!("{hours}h") } else { String::new() };
    let minutes_text = if hours > 0 || minutes > 0 { format!("{minutes}m") } else { String::new() };
    Ok(json!(format!("{sign}{hours_text}{minutes_text}{seconds}{dot}{fraction}s")))
}

fn raw_json(bytes: &[u8]) -> Result<Value, Status> {
    let mut reader = Reader::new(bytes);
    let mut raw = &[][..];
    while let Some((number, payload)) = reader.next_field()? {
        if let (1, Payload::Bytes(bytes)) = (number, payload) {
            raw = bytes;
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    if raw.starts_with(super::MAGIC) {
        return Err(malformed("protobuf within protobuf is not supported"));
    }
    serde_json::from_slice(raw).map_err(|error| malformed(&format!("embedded JSON: {error}")))
}

fn items(bytes: &[u8]) -> Result<Value, Status> {
    let mut reader = Reader::new(bytes);
    let mut items = Vec::new();
    while let Some((number, payload)) = reader.next_field()? {
        if let (1, Payload::Bytes(text)) = (number, payload) {
            items.push(Value::String(utf8(text)?));
        }
    }
    Ok(Value::Array(items))
}

fn quantity(bytes: &[u8]) -> Result<Value, Status> {
    let mut reader = Reader::new(bytes);
    let mut text = "0".to_owned();
    while let Some((number, payload)) = reader.next_field()? {
        if let (1, Payload::Bytes(bytes)) = (number, payload) {
            text = utf8(bytes)?;
        }
    }
    Ok(json!(text))
}

/// `type` 0 is the integer, 1 the string.
fn int_or_string(bytes: &[u8]) -> Result<Value, Status> {
    let (mut is_text, mut number_value, mut text) = (false, 0_i32, String::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next_field()? {
        match (number, payload) {
            (1, Payload::Varint(n)) => is_text = n == 1,
            (2, Payload::Varint(n)) => number_value = n as i32,
            (3, Payload::Bytes(bytes)) => text = utf8(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { json!(text) } else { json!(number_value) })
}
