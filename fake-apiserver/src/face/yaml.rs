//! Answers as YAML, in the form of `sigs.k8s.io/yaml`: block style, members by name, lists not indented.
//!
//! Go writes and reads YAML 1.1: texts that such a reader would take for something else are quoted.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The document.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => members(map, 0, &mut out),
        Value::Array(items) if !items.is_empty() => list(items, 0, &mut out),
        other => {
            out.push_str(&scalar(other, 0));
            out.push('\n');
        }
    }
    out
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', depth * 2));
}

fn members(map: &Map<String, Value>, depth: usize, out: &mut String) {
    for (at, (key, value)) in map.iter().enumerate() {
        // The first member of a list's item stands behind the dash.
        if at > 0 || !out.ends_with("- ") {
            indent(depth, out);
        }
        out.push_str(&plain_or_quoted(key));
        out.push(':');
        after_key(value, depth, out);
    }
}

fn after_key(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            members(map, depth + 1, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            list(items, depth, out);
        }
        other => {
            let _ = writeln!(out, " {}", scalar(other, depth + 1));
        }
    }
}

fn list(items: &[Value], depth: usize, out: &mut String) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 || !out.ends_with("- ") {
            indent(depth, out);
        }
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => members(map, depth + 1, out),
            Value::Array(items) if !items.is_empty() => list(items, depth + 1, out),
            other => {
                let _ = writeln!(out, "{}", scalar(other, depth + 1));
            }
        }
    }
}

fn scalar(value: &Value, depth: usize) -> String {
    match value {
        Value::String(text) if text.contains('\n') && is_printable(text) => block(text, depth),
        Value::String(text) => plain_or_quoted(text),
        other => other.to_string(),
    }
}

fn is_printable(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
}

/// A text of several lines as it is; how its last lines end is said behind the bar.
fn block(text: &str, depth: usize) -> String {
    let chomp = match (text.ends_with('\n'), text.ends_with("\n\n") || text == "\n") {
        (false, _) => "-",
        (true, false) => "",
        (true, true) => "+",
    };
    let hint = if text.starts_with([' ', '\n']) { "2" } else { "" };
    let mut out = format!("|{hint}{chomp}");
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(depth, &mut out);
            out.push_str(line);
        }
    }
    out
}

fn plain_or_quoted(text: &str) -> String {
    if means_something_else(text) || !is_printable(text) || text.contains('\n') {
        return Value::from(text).to_string();
    }
    if is_plain(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

/// Whether a reader of YAML 1.1 takes the bare text for a null, a boolean, a number or a time.
fn means_something_else(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let word = ["", "~", "null", "y", "n", "yes", "no", "on", "off", "true", "false", "<<", "="];
    let begins = text.trim_start_matches(['+', '-', '.']);
    word.contains(&lower.as_str())
        || matches!(lower.trim_start_matches(['+', '-']), ".inf" | ".nan")
        || begins.starts_with(|c: char| c.is_ascii_digit()) && is_number(text)
        || is_time(text)
}

fn is_number(text: &str) -> bool {
    let digits = text.replace('_', "");
    let unsigned = digits.trim_start_matches(['+', '-']);
    let based = |prefix: &str, base: u32| {
        unsigned.strip_prefix(prefix).is_some_and(|rest| u64::from_str_radix(rest, base).is_ok())
    };
    digits.parse::<f64>().is_ok() || based("0x", 16) || based("0b", 2) || based("0o", 8) || based("0", 8)
}

/// `2001-01-01` and what begins so.
fn is_time(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let number = |part: Option<&str>, most: usize| {
        part.is_some_and(|p| (1..=most).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
    };
    text.len() >= 8
        && text.bytes().take(4).all(|byte| byte.is_ascii_digit())
        && number(parts.next(), 4)
        && number(parts.next(), 2)
        && parts.next().is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether a text needs no quotes: no sign that begins something, none that ends a text.
fn is_plain(text: &str) -> bool {
    let begins = text.starts_with(|c: char| "#,[]{}&*!|>'\"%@`".contains(c))
        || (text.starts_with(['-', '?', ':']) && text[1..].chars().next().is_none_or(char::is_whitespace));
    !begins
        && !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace)
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with(':')
        && !text.contains('\t')
        && !text.starts_with("---")
        && !text.starts_with("...")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_written_as_go_writes_them() {
        let value = json!({"b": [{"x": 1, "y": [2, {}]}, []], "a": {"n": "1", "t": "2020-01-01T00:00:00Z"},
            "text": "one\ntwo\n", "odd": ": #", "empty": "", "none": null});
        let wanted = "a:\n  \"n\": \"1\"\n  t: \"2020-01-01T00:00:00Z\"\nb:\n- x: 1\n  \"y\":\n  - 2\n  - {}\n- []\nempty: \
                      \"\"\nnone: null\nodd: ': #'\ntext: |\n  one\n  two\n";
        assert_eq!(text(&value), wanted);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for odd in [
            "yes",
            "0644",
            "1e3",
            "- a",
            "a: b",
            "a #b",
            "#",
            "it's",
            "'",
            "\u{7}",
            " a",
            "a ",
            "x\n\ny\n\n",
            "\n",
            "&a",
            "a:",
            "2001-01-01",
            "a\tb",
            "-",
            "?",
        ] {
            let value = json!({"k": odd, "l": [odd]});
            assert_eq!(serde_yaml::from_str::<Value>(&text(&value)).unwrap(), value, "{}", text(&value));
        }
    }
}
