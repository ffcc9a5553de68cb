//! Rules of values as tables of place → rule, as the `Validate…` functions of Kubernetes check them.
//!
//! A place names fields by dots; `[]` after a field means each item of the list, `?` that what follows is looked at
//! only where the field is there (a pointer in the Go type). The order of rows is the order of causes.

use serde_json::Value;

use super::immutable;
use crate::quantity;
use crate::schema::cause;
use crate::server::{go_text, names};
use crate::status::Cause;

/// Place and rule.
pub(super) type Rows = &'static [(&'static str, Rule)];
/// What is wrong with the value at a place.
pub(super) type Faults = fn(&Value, &str, &mut Vec<Cause>);

/// What a value must be.
pub(super) enum Rule {
    /// There and not empty; with a reason if there is one.
    Required(&'static str),
    /// One of these texts, if it is there.
    OneOf(&'static [&'static str]),
    /// One of these texts, also if it is not there.
    Chosen(&'static [&'static str]),
    /// At least so much, if it is there, or else what is said.
    AtLeast(i64, &'static str),
    /// At most so much, if it is there, or else what is said.
    AtMost(i64, &'static str),
    /// At least zero, if it is there.
    Natural,
    /// A text of this grammar, if it is there and not empty.
    Text(fn(&str) -> Vec<String>),
    /// A quantity above zero, if it is there; or else what is said.
    Positive(&'static str),
    /// A label selector, if it is there.
    Selector,
    /// These rules, where they stand.
    Rows(Rows),
    /// A rule of its own.
    Own(Faults),
}

/// What is wrong with an object by its table.
pub(super) fn faults(rows: Rows, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    check(rows, object, "", &mut causes);
    causes
}

/// Checks a value that stands at `path`.
pub(super) fn check(rows: Rows, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (place, rule) in rows {
        visit(place, value, path, &mut |value, path| rule.check(value, path, causes));
    }
}

fn visit(place: &str, value: &Value, path: &str, found: &mut dyn FnMut(&Value, &str)) {
    if place.is_empty() {
        return found(value, path);
    }
    let (first, rest) = place.split_once('.').unwrap_or((place, ""));
    if let Some(field) = first.strip_suffix("[]") {
        for (index, item) in items(&value[field]).iter().enumerate() {
            visit(rest, item, &format!("{}[{index}]", join(path, field)), found);
        }
    } else if let Some(field) = first.strip_suffix('?') {
        if !value[field].is_null() {
            visit(rest, &value[field], &join(path, field), found);
        }
    } else {
        visit(rest, &value[first], &join(path, first), found);
    }
}

/// The path of a field.
pub(super) fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// The items of a list; none where there is no list.
pub(in crate::server) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text; empty where there is none.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

impl Rule {
    fn check(&self, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        let number = || value.as_i64();
        match self {
            Self::Required(why) => {
                if is_empty(value) {
                    causes.push(cause::required(path, why));
                }
            }
            Self::OneOf(known) => {
                if !value.is_null() && !known.contains(&text(value)) {
                    causes.push(not_supported(path, value, known));
                }
            }
            Self::Chosen(known) => {
                if !known.contains(&text(value)) {
                    causes.push(not_supported(path, &Value::from(text(value)), known));
                }
            }
            Self::AtLeast(least, why) => {
                if number().is_some_and(|number| number < *least) {
                    causes.push(cause::invalid(path, value, why));
                }
            }
            Self::AtMost(most, why) => {
                if number().is_some_and(|number| number > *most) {
                    causes.push(cause::invalid(path, value, why));
                }
            }
            Self::Natural => {
                if number().is_some_and(|number| number < 0) {
                    causes.push(cause::invalid(path, value, "must be greater than or equal to 0"));
                }
            }
            Self::Text(grammar) => {
                let text = text(value);
                if !text.is_empty() {
                    causes.extend(grammar(text).iter().map(|fault| cause::invalid(path, value, fault)));
                }
            }
            Self::Positive(why) => {
                if value.as_str().and_then(quantity::milli).is_some_and(|amount| amount <= 0) {
                    causes.push(cause::invalid(path, value, why));
                }
            }
            Self::Selector => selector(value, path, causes),
            Self::Rows(rows) => check(rows, value, path, causes),
            Self::Own(own) => own(value, path, causes),
        }
    }
}

/// `Unsupported value`, with the texts that are.
pub(super) fn not_supported(path: &str, value: &Value, known: &[&str]) -> Cause {
    let known: Vec<Value> = known.iter().copied().map(Value::from).collect();
    cause::not_supported(path, value, &known)
}

/// What is wrong with a text of a grammar, one cause for each fault.
pub(super) fn grammar(
    path: &str,
    text: &str,
    grammar: fn(&str) -> Vec<String>,
) -> impl Iterator<Item = Cause> {
    grammar(text).into_iter().map(move |fault| cause::invalid(path, &Value::from(text), &fault))
}

/// `ValidateLabelSelector`.
fn selector(selector: &Value, path: &str, causes: &mut Vec<Cause>) {
    let labels = join(path, "matchLabels");
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        causes.extend(grammar(&labels, key, names::qualified_name));
        causes.extend(grammar(&labels, text(value), names::label_value));
    }
    for (index, requirement) in items(&selector["matchExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        requirement_faults(requirement, &path, &[], causes);
        for (index, value) in items(&requirement["values"]).iter().enumerate() {
            causes.extend(grammar(&format!("{path}.values[{index}]"), text(value), names::label_value));
        }
    }
}

/// A requirement of a selector: of labels, or of nodes with further operators that take one value.
pub(super) fn requirement_faults(
    requirement: &Value,
    path: &str,
    comparing: &[&str],
    causes: &mut Vec<Cause>,
) {
    let count = items(&requirement["values"]).len();
    let values = join(path, "values");
    match text(&requirement["operator"]) {
        "In" | "NotIn" if count == 0 => {
            causes.push(cause::required(values, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if count > 0 => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            causes.push(cause::forbidden(values, why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        operator if comparing.contains(&operator) => {
            if count != 1 {
                let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                causes.push(cause::required(values, why));
            }
        }
        operator => {
            let why = "not a valid selector operator";
            causes.push(cause::invalid(join(path, "operator"), &Value::from(operator), why));
        }
    }
    causes.extend(grammar(&join(path, "key"), text(&requirement["key"]), names::qualified_name));
}

/// What an update has changed of what may not change.
pub(super) fn immutable_faults(group: &str, resource: &str, new: &Value, old: &Value) -> Vec<Cause> {
    immutable::fields(group, resource)
        .iter()
        .filter_map(|(field, shown)| {
            let at = |object: &'_ Value| field.split('.').fold(object.clone(), |at, name| at[name].clone());
            let (new, old) = (at(new), at(old));
            // A struct is shown with the names of its Go type.
            let said = if new.is_object() && *field != "data" && *field != "parameters" {
                go_text::untagged(&new)
            } else {
                new.clone()
            };
            (new != old).then(|| cause::invalid(*shown, &said, "field is immutable"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ROWS: Rows = &[
        ("name", Rule::Required("say who")),
        ("list[].kind", Rule::Chosen(&["A", "B"])),
        ("maybe?.count", Rule::AtLeast(1, "must be greater than zero")),
        ("maybe?.kind", Rule::Required("")),
    ];

    #[test]
    fn places_are_visited_in_the_order_of_the_table() {
        let found = faults(ROWS, &json!({"list": [{"kind": "A"}, {}], "maybe": {"count": 0}}));
        let said: Vec<String> = found.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        assert_eq!(
            said,
            [
                "name: Required value: say who",
                "list[1].kind: Unsupported value: \"\": supported values: \"A\", \"B\"",
                "maybe.count: Invalid value: 0: must be greater than zero",
                "maybe.kind: Required value",
            ]
        );
        assert!(faults(ROWS, &json!({"name": "x"})).is_empty(), "what is not there has no fields");
    }
}
