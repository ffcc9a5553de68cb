//! Values that the Go types of built-in kinds cannot hold, in the words of the two decoders that meet them:
//! `encoding/json` for bodies, `k8s.io/apimachinery/pkg/runtime.FromUnstructured` for strategic patches.

use serde_json::Value;

use super::cause::quote;
use super::format::{Format, TextFormat};
use super::node::{Types, View};
use crate::quantity;

/// What Go's JSON decoder calls a value.
pub(crate) fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A value in a field whose Go type is another.
#[derive(Debug)]
pub(crate) struct Misfit {
    decoder: String,
    converter: String,
}

impl Misfit {
    /// What `encoding/json` says.
    pub(crate) fn decoder(&self) -> &str {
        &self.decoder
    }

    /// What `FromUnstructured` says.
    pub(crate) fn converter(&self) -> &str {
        &self.converter
    }
}

/// The first value that does not fit.
pub(super) fn misfit(value: &Value, root: View<'_>) -> Option<Misfit> {
    Walk { path: Vec::new() }.value(value, root, "")
}

/// Decodes nulls as `encoding/json` does: into the zero value, which a struct leaves out and a map or list has.
pub(super) fn decode_nulls(value: &mut Value, schema: View<'_>) {
    match (value, Shape::of(schema)) {
        // Raw JSON stays as it is.
        (_, Shape::Any) => {}
        (Value::Object(map), Shape::Map) => {
            let Some(schema) = schema.additional() else { return };
            for child in map.values_mut() {
                decode_item(child, schema);
            }
        }
        (Value::Object(map), _) => {
            map.retain(|_, child| !child.is_null());
            for (key, child) in map.iter_mut() {
                if let Some(schema) = schema.property(key) {
                    decode_nulls(child, schema);
                }
            }
        }
        (Value::Array(items), Shape::List) => {
            let Some(schema) = schema.items() else { return };
            for item in items {
                decode_item(item, schema);
            }
        }
        _ => {}
    }
}

fn decode_item(item: &mut Value, schema: View<'_>) {
    if item.is_null() {
        *item = match Shape::of(schema) {
            Shape::Struct | Shape::Map => Value::Object(serde_json::Map::new()),
            Shape::Text | Shape::Bytes => "".into(),
            Shape::Quantity => "0".into(),
            Shape::Bool => false.into(),
            Shape::Whole(_) | Shape::Float | Shape::WholeOrText => 0.into(),
            Shape::Any | Shape::List | Shape::Time | Shape::MicroTime => Value::Null,
        };
    } else {
        decode_nulls(item, schema);
    }
}

struct Walk<'a> {
    /// The fields from the root on; keys of maps and places in lists are not among them.
    path: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    /// `within` is the struct that the value is a field of.
    fn value(&mut self, value: &'a Value, schema: View<'_>, within: &str) -> Option<Misfit> {
        match (value, Shape::of(schema)) {
            (Value::Null, _)
            | (_, Shape::Any)
            | (Value::String(_), Shape::Text)
            | (Value::Bool(_), Shape::Bool)
            | (Value::Number(_), Shape::Float | Shape::Quantity)
            | (Value::Number(_) | Value::String(_), Shape::WholeOrText) => None,
            (Value::Object(map), Shape::Struct) => {
                let own = schema.node.go.as_deref().unwrap_or_default();
                let own = own.rsplit('.').next().unwrap_or_default();
                map.iter().find_map(|(key, child)| {
                    let schema = schema.property(key)?;
                    self.path.push(key);
                    let found = self.value(child, schema, own);
                    self.path.pop();
                    found
                })
            }
            (Value::Object(map), Shape::Map) => {
                let schema = schema.additional()?;
                map.values().find_map(|child| self.value(child, schema, within))
            }
            (Value::Array(items), Shape::List) => {
                let schema = schema.items()?;
                items.iter().find_map(|item| self.value(item, schema, within))
            }
            (Value::String(text), Shape::Bytes) => bytes_fault(text),
            (Value::String(text), Shape::Time) => time_fault(text, false),
            (Value::String(text), Shape::MicroTime) => time_fault(text, true),
            (Value::String(text), Shape::Quantity) => quantity_fault(text),
            (Value::Number(number), Shape::Whole(bits)) => {
                let fits = number.as_i64().is_some_and(|n| bits == 64 || i32::try_from(n).is_ok());
                (!fits).then(|| self.wrong(value, &format!("number {number}"), schema, within))
            }
            (_, Shape::Time | Shape::MicroTime) => Some(own_decoder(value, "string")),
            (_, Shape::Quantity) => quantity_fault(""),
            (_, Shape::WholeOrText) => Some(own_decoder(value, "int32")),
            _ => Some(self.wrong(value, name(value), schema, within)),
        }
    }

    fn wrong(&self, value: &Value, found: &str, schema: View<'_>, within: &str) -> Misfit {
        let wanted = go_type(schema);
        let decoder = if self.path.is_empty() {
            format!("json: cannot unmarshal {found} into Go value of type {wanted}")
        } else {
            let path = self.path.join(".");
            format!("json: cannot unmarshal {found} into Go struct field {within}.{path} of type {wanted}")
        };
        let kind = reflect_kind(value);
        let converter = match Shape::of(schema) {
            Shape::List | Shape::Bytes => format!("cannot restore slice from {kind}"),
            Shape::Map => format!("cannot restore map from {kind}"),
            Shape::Struct => format!("cannot restore struct from: {kind}"),
            // Go would convert these, and must be kept from it.
            Shape::Text if kind == "int64" => format!("cannot convert {kind} to {wanted}"),
            Shape::Whole(_) if kind == "float64" => format!("cannot convert {kind} to {wanted}"),
            _ => format!("unrecognized type: {wanted}"),
        };
        Misfit { decoder, converter }
    }
}

/// What kind of Go type a field has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Nothing is known, or the type decodes itself.
    Any,
    Struct,
    Map,
    List,
    Text,
    Bytes,
    Time,
    MicroTime,
    Quantity,
    Bool,
    /// With so many bits.
    Whole(u8),
    Float,
    WholeOrText,
}

impl Shape {
    fn of(schema: View<'_>) -> Self {
        let node = schema.node;
        let format = node.checks.as_ref().and_then(|checks| checks.format.as_ref());
        match node.go.as_deref() {
            Some("intstr.IntOrString") => return Self::WholeOrText,
            Some("v1.Time") => return Self::Time,
            Some("v1.MicroTime") => return Self::MicroTime,
            Some("resource.Quantity") => return Self::Quantity,
            _ => {}
        }
        match node.types {
            Types::OBJECT if !node.properties.is_empty() => Self::Struct,
            Types::OBJECT if schema.additional().is_some() => Self::Map,
            Types::ARRAY if schema.items().is_some() => Self::List,
            Types::STRING => match format {
                Some(Format::Text(TextFormat::Byte, _)) => Self::Bytes,
                Some(Format::Text(TextFormat::DateTime, _)) => Self::Time,
                _ => Self::Text,
            },
            Types::BOOLEAN => Self::Bool,
            Types::INTEGER => Self::Whole(if format == Some(&Format::Int32) { 32 } else { 64 }),
            Types::NUMBER => Self::Float,
            _ => Self::Any,
        }
    }
}

/// How Go writes the type of a field.
fn go_type(schema: View<'_>) -> String {
    match Shape::of(schema) {
        Shape::Struct
        | Shape::Any
        | Shape::Time
        | Shape::MicroTime
        | Shape::Quantity
        | Shape::WholeOrText => schema.node.go.as_deref().unwrap_or("interface {}").to_owned(),
        Shape::Map => format!("map[string]{}", schema.additional().map(go_type).unwrap_or_default()),
        Shape::List => format!("[]{}", schema.items().map(go_type).unwrap_or_default()),
        Shape::Text => "string".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Whole(bits) => format!("int{bits}"),
        Shape::Float => "float64".to_owned(),
    }
}

/// `reflect.Kind` of a decoded value.
fn reflect_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "invalid",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

/// Types that decode themselves do not know which field they are.
fn own_decoder(value: &Value, wanted: &str) -> Misfit {
    let said = format!("json: cannot unmarshal {} into Go value of type {wanted}", name(value));
    Misfit { converter: said.clone(), decoder: said }
}

fn bytes_fault(text: &str) -> Option<Misfit> {
    if TextFormat::Byte.accepts(text) {
        return None;
    }
    let plain: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    let unpadded = plain.trim_end_matches('=');
    // Go names the first character that is none of the alphabet, or the begin of a last group that is not whole.
    let at = unpadded.find(|c: char| !is_digit(c)).unwrap_or(plain.len() / 4 * 4);
    let said = format!("illegal base64 data at input byte {at}");
    Some(Misfit { converter: said.clone(), decoder: said })
}

fn quantity_fault(text: &str) -> Option<Misfit> {
    if quantity::milli(text).is_some() {
        return None;
    }
    let said = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    Some(Misfit { converter: said.into(), decoder: said.into() })
}

/// Whole seconds, or seconds with exactly six digits after the point.
fn time_fault(text: &str, micro: bool) -> Option<Misfit> {
    const WHOLE: &str = "2006-01-02T15:04:05Z07:00";
    const MICRO: &str = "2006-01-02T15:04:05.000000Z07:00";
    let layout = if micro { MICRO } else { WHOLE };
    let fraction = text
        .get(19..)
        .and_then(|rest| rest.strip_prefix('.'))
        .map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    if text.is_empty() || TextFormat::DateTime.accepts(text) && (!micro || fraction == 6) {
        return None;
    }
    let digits = |from: usize, to: usize| {
        text.get(from..to).is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    // The parts of the layout, where they stand in the text, and whether they are there.
    let parts = [
        ("2006", 0, digits(0, 4)),
        ("-", 4, text.get(4..5) == Some("-")),
        ("01", 5, digits(5, 7)),
        ("-", 7, text.get(7..8) == Some("-")),
        ("02", 8, digits(8, 10)),
        ("T", 10, text.get(10..11) == Some("T")),
        ("15", 11, digits(11, 13)),
        (":", 13, text.get(13..14) == Some(":")),
        ("04", 14, digits(14, 16)),
        (":", 16, text.get(16..17) == Some(":")),
        ("05", 17, digits(17, 19)),
    ];
    let (part, at) = parts.iter().find(|(_, _, there)| !there).map_or_else(
        || match (micro, fraction) {
            (true, 0..=5) => (".000000", text.len().min(19)),
            (true, _) => ("Z07:00", text.len().min(26)),
            (false, _) => ("Z07:00", text.len().min(19)),
        },
        |(part, at, _)| (*part, *at),
    );
    let rest = text.get(at..).unwrap_or_default();
    let said = format!(
        "parsing time {} as {}: cannot parse {} as {}",
        quote(text),
        quote(layout),
        quote(rest),
        quote(part)
    );
    Some(Misfit { converter: said.clone(), decoder: said })
}
