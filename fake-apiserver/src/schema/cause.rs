//! Causes in the words of `k8s.io/apimachinery/pkg/util/validation/field`.

use std::fmt::Write;

use serde_json::Value;

use crate::status::Cause;

/// `Required value`, with a reason if there is one.
pub(crate) fn required(field: impl Into<String>, detail: &str) -> Cause {
    plain("FieldValueRequired", field, "Required value", detail)
}

/// `Forbidden: …`.
pub(crate) fn forbidden(field: impl Into<String>, detail: &str) -> Cause {
    plain("FieldValueForbidden", field, "Forbidden", detail)
}

/// `Invalid value: …: …`.
pub(crate) fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Cause {
    valued("FieldValueInvalid", field, "Invalid value", value, detail)
}

/// `Invalid value: …: …` for a value of the wrong type.
pub(crate) fn type_invalid(field: impl Into<String>, value: &str, detail: &str) -> Cause {
    valued("FieldValueTypeInvalid", field, "Invalid value", &Value::from(value), detail)
}

/// `Invalid value: …` without saying the value.
pub(crate) fn invalid_omitted(field: impl Into<String>, detail: &str) -> Cause {
    plain("FieldValueInvalid", field, "Invalid value", detail)
}

/// `Duplicate value: …`.
pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Cause {
    valued("FieldValueDuplicate", field, "Duplicate value", value, "")
}

/// `Unsupported value: …: supported values: "a", "b"`.
pub(crate) fn not_supported<'a>(
    field: impl Into<String>,
    value: &Value,
    supported: impl IntoIterator<Item = &'a Value>,
) -> Cause {
    let quoted: Vec<String> =
        supported.into_iter().map(|v| v.as_str().map_or_else(|| quote(&v.to_string()), quote)).collect();
    let detail =
        if quoted.is_empty() { String::new() } else { format!("supported values: {}", quoted.join(", ")) };
    valued("FieldValueNotSupported", field, "Unsupported value", value, &detail)
}

/// `Too long: may not be more than 3 bytes`.
pub(crate) fn too_long(field: impl Into<String>, max: u64) -> Cause {
    let unit = if max == 1 { "byte" } else { "bytes" };
    plain("FieldValueTooLong", field, "Too long", &format!("may not be more than {max} {unit}"))
}

/// `Too many: 3: must have at most 2 items`.
pub(crate) fn too_many(field: impl Into<String>, actual: usize, max: u64) -> Cause {
    let unit = if max == 1 { "item" } else { "items" };
    let detail = format!("must have at most {max} {unit}");
    valued("FieldValueTooMany", field, "Too many", &Value::from(actual), &detail)
}

fn plain(reason: &str, field: impl Into<String>, said: &str, detail: &str) -> Cause {
    let message = if detail.is_empty() { said.into() } else { format!("{said}: {detail}") };
    Cause::new(reason, field, message)
}

fn valued(reason: &str, field: impl Into<String>, said: &str, value: &Value, detail: &str) -> Cause {
    let shown = match value {
        Value::String(text) => quote(text),
        Value::Number(number) => go_number(number),
        other => other.to_string(),
    };
    plain(reason, field, &format!("{said}: {shown}"), detail)
}

/// A string as Go's `%q` shows it (of the escapes only those that occur in Kubernetes values).
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn go_number(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => go_float(float),
        _ => number.to_string(),
    }
}

/// A float as Go's `%v` shows it: shortest form, exponents from 1e+21 on and below 1e-04.
pub(crate) fn go_float(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-4..1e21).contains(&size) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}
