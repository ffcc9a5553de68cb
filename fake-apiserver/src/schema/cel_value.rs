//! How values look to a CEL rule.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Program, Value as Cel};
use serde_json::Value;

use super::format::{Format, TextFormat};
use super::node::View;

/// A value as CEL sees it under its schema: times, durations and bytes have types of their own, and property names
/// that are no identifiers are escaped (keys of maps are not).
pub(super) fn convert(value: &Value, schema: Option<View<'_>>) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(on) => Cel::Bool(*on),
        Value::Number(n) => n.as_i64().map_or_else(
            || Cel::Float(n.as_f64().unwrap_or_default()),
            |int| {
                // An integer where the schema says number is a double.
                match schema {
                    Some(s) if s.node.types == super::node::Types::NUMBER => Cel::Float(int as f64),
                    _ => Cel::Int(int),
                }
            },
        ),
        Value::String(text) => text_value(text, schema),
        Value::Array(items) => {
            let schema = schema.and_then(View::items);
            Cel::List(Arc::new(items.iter().map(|item| convert(item, schema)).collect()))
        }
        Value::Object(map) => {
            let mut out = HashMap::with_capacity(map.len());
            for (key, child) in map {
                let property = schema.and_then(|s| s.property(key).or_else(|| own_metadata(s, key)));
                let child_schema = property.or_else(|| schema.and_then(View::additional));
                let named = property.is_some() || schema.is_none_or(|s| s.additional().is_none());
                let name = if named { escape(key) } else { key.clone() };
                out.insert(Key::String(Arc::new(name)), convert(child, child_schema));
            }
            Cel::Map(Map { map: Arc::new(out) })
        }
    }
}

/// `metadata` of a custom resource, which its schema does not name.
fn own_metadata<'a>(schema: View<'a>, key: &str) -> Option<View<'a>> {
    let meta = schema.graph.object_meta.filter(|_| schema.node.resource && key == "metadata")?;
    Some(schema.graph.view(meta))
}

/// A map of values that are CEL's already.
pub(super) fn map(members: impl Iterator<Item = (String, Cel)>) -> Cel {
    let members = members.map(|(name, value)| (Key::String(Arc::new(name)), value));
    Cel::Map(Map { map: Arc::new(members.collect()) })
}

fn text_value(text: &str, schema: Option<View<'_>>) -> Cel {
    let format = schema.and_then(|s| s.node.checks.as_ref()).and_then(|checks| checks.format.as_ref());
    let Some(Format::Text(format, _)) = format else { return Cel::String(Arc::new(text.into())) };
    let plain = || Cel::String(Arc::new(text.into()));
    match format {
        TextFormat::Byte => {
            STANDARD.decode(text).map_or_else(|_| plain(), |bytes| Cel::Bytes(Arc::new(bytes)))
        }
        TextFormat::DateTime => through(&TIMESTAMP, text).unwrap_or_else(plain),
        TextFormat::Date => through(&TIMESTAMP, &format!("{text}T00:00:00Z")).unwrap_or_else(plain),
        TextFormat::Duration => through(&DURATION, text).unwrap_or_else(plain),
        _ => plain(),
    }
}

// CEL's own conversions make its times, so that no clock library is needed here.
static TIMESTAMP: LazyLock<Option<Program>> = LazyLock::new(|| Program::compile("timestamp(text)").ok());
static DURATION: LazyLock<Option<Program>> = LazyLock::new(|| Program::compile("duration(text)").ok());

fn through(conversion: &LazyLock<Option<Program>>, text: &str) -> Option<Cel> {
    let mut context = Context::default();
    context.add_variable_from_value("text", Cel::String(Arc::new(text.into())));
    conversion.as_ref()?.execute(&context).ok()
}

const KEYWORDS: [&str; 19] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
];

/// A property name as rules write it (`k8s.io/apiserver/pkg/cel/escaping.go`).
fn escape(name: &str) -> String {
    if KEYWORDS.contains(&name) || matches!(name, "void" | "while") {
        return format!("__{name}__");
    }
    if !name.contains("__") && !name.contains(['.', '-', '/']) {
        return name.to_owned();
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}
