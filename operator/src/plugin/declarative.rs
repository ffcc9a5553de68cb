//! Plugins that are data: the edits stand in the configuration, with places that the parent fills.
//!
//! `${name}`, `${namespace}` and `${/json/pointer}` in any text stand for what the parent has there. A text that is nothing but such
//! a place takes the value with its type. A parent that lacks the value is vetoed, unless `when` leaves it out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::contract::{Change, Declaration, Edit, View};
use super::native::Plugin;

/// A parent is meant only if it has something at this place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct When {
    /// A JSON pointer (RFC 6901) into the parent, such as `/metadata/annotations/example.org~1host`.
    pub at: String,
    /// And this is there.
    #[serde(default)]
    pub is: Option<Value>,
}

/// A plugin that is data.
#[derive(Clone, Debug)]
pub struct Template {
    declaration: Declaration,
    when: Vec<When>,
    edits: Vec<Value>,
}

impl Template {
    /// A plugin of these edits.
    pub fn new(declaration: Declaration, when: Vec<When>, edits: &[Edit]) -> Self {
        let edits = edits.iter().map(|edit| serde_json::to_value(edit).unwrap_or_default()).collect();
        Self { declaration, when, edits }
    }

    fn edits(&self, parent: &Value) -> Result<Vec<Edit>, String> {
        let filled = self.edits.iter().map(|edit| fill(edit, parent));
        filled.map(|edit| serde_json::from_value(edit?).map_err(|error| error.to_string())).collect()
    }
}

impl Plugin for Template {
    fn declaration(&self) -> Declaration {
        self.declaration.clone()
    }

    fn sync(&self, view: &View) -> Change {
        let parent = &view.parent;
        let meant = |when: &When| {
            let found = parent.pointer(&when.at).filter(|value| !value.is_null());
            found.is_some_and(|found| when.is.as_ref().is_none_or(|wanted| wanted == found))
        };
        if !self.when.iter().all(meant) {
            return Change::default();
        }
        let edits = self
            .edits(parent)
            .unwrap_or_else(|message| vec![Edit::Veto { reason: "ValueMissing".into(), message }]);
        Change { edits, ..Change::default() }
    }
}

/// A value with its places filled.
fn fill(value: &Value, parent: &Value) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => fill_text(text, parent)?,
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill(item, parent)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| Ok((key.clone(), fill(value, parent)?)))
                .collect::<Result<_, String>>()?,
        ),
        other => other.clone(),
    })
}

fn fill_text(text: &str, parent: &Value) -> Result<Value, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (place, after) = after
            .split_once('}')
            .ok_or_else(|| format!("{text:?} has a place that does not end: write }}"))?;
        let found = at(place, parent)?;
        if before.is_empty() && after.is_empty() && filled.is_empty() {
            return Ok(found.clone());
        }
        filled.push_str(before);
        match found {
            Value::String(found) => filled.push_str(found),
            other => filled.push_str(&other.to_string()),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(Value::String(filled))
}

fn at<'a>(place: &str, parent: &'a Value) -> Result<&'a Value, String> {
    let pointer = match place {
        "name" => "/metadata/name",
        "namespace" => "/metadata/namespace",
        pointer => pointer,
    };
    let found = parent.pointer(pointer).filter(|value| !value.is_null());
    found.ok_or_else(|| {
        let kind = parent["kind"].as_str().unwrap_or("parent");
        format!("the {kind} has nothing at {pointer}; give it one, or leave such out by `when`")
    })
}

/// What of edits can be seen to be wrong before there is a parent.
pub fn check(edits: &[Edit]) -> Result<(), String> {
    fn places(value: &Value) -> Result<(), String> {
        match value {
            Value::String(text) => text.split("${").skip(1).try_for_each(|rest| {
                let (place, _) =
                    rest.split_once('}').ok_or_else(|| format!("{text:?} lacks a closing brace"))?;
                if matches!(place, "name" | "namespace") || place.starts_with('/') {
                    Ok(())
                } else {
                    Err(format!(
                        "${{{place}}} is no place: there are ${{name}}, ${{namespace}} and ${{/json/pointer}}"
                    ))
                }
            }),
            Value::Array(items) => items.iter().try_for_each(places),
            Value::Object(map) => map.values().try_for_each(places),
            _ => Ok(()),
        }
    }
    edits.iter().try_for_each(|edit| places(&serde_json::to_value(edit).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_take_the_parents_values() {
        let parent = json!({"kind": "DaskCluster", "metadata": {"name": "a", "labels": {"x/y": "q"}}, "spec": {"n": 3}});
        let given =
            json!({"one": "${name}-x-${/metadata/labels/x~1y}", "two": ["${/spec/n}", "at ${/spec/n}"]});
        assert_eq!(fill(&given, &parent).unwrap(), json!({"one": "a-x-q", "two": [3, "at 3"]}));
        let missing = fill(&json!("${/spec/none}"), &parent).unwrap_err();
        assert_eq!(
            missing,
            "the DaskCluster has nothing at /spec/none; give it one, or leave such out by `when`"
        );
    }

    #[test]
    fn an_unknown_place_is_told_before_there_is_a_parent() {
        let edit = |text: &str| Edit::Add { object: json!({"a": [text]}) };
        assert!(check(&[edit("${name} and ${/spec}")]).is_ok());
        assert!(check(&[edit("${cluster}")]).unwrap_err().contains("is no place"));
        assert!(check(&[edit("${name")]).unwrap_err().contains("closing brace"));
    }
}
