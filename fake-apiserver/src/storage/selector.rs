//! Label and field selectors: their grammar is that of `k8s.io/apimachinery/pkg/labels` and `pkg/fields`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Fields, Key, label_parser};

/// Requirements on labels, all of which hold for a match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<(String, LabelTest)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LabelTest {
    Is(String),
    IsNot(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Above(i64),
    Below(i64),
}

impl LabelTest {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match self {
            Self::Is(wanted) => value == Some(wanted),
            Self::IsNot(refused) => value != Some(refused),
            Self::In(wanted) => value.is_some_and(|v| wanted.iter().any(|w| w == v)),
            Self::NotIn(refused) => value.is_none_or(|v| !refused.iter().any(|r| r == v)),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Above(bound) => number().is_some_and(|n| n > *bound),
            Self::Below(bound) => number().is_some_and(|n| n < *bound),
        }
    }
}

impl LabelSelector {
    /// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        label_parser::parse(text).map(|requirements| Self { requirements })
    }

    /// The selector of an object: `matchLabels` and `matchExpressions`, or the plain map of older kinds.
    ///
    /// `None` for a selector that is absent: it selects nothing.
    pub fn from_object(selector: &Value) -> Option<Self> {
        let object = selector.as_object()?;
        let mut requirements = Vec::new();
        let structured = object.contains_key("matchLabels") || object.contains_key("matchExpressions");
        let labels = if structured { selector["matchLabels"].as_object() } else { Some(object) };
        for (key, value) in labels.into_iter().flatten() {
            requirements.push((key.clone(), LabelTest::Is(value.as_str().unwrap_or_default().into())));
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let values = || {
                let values = expression["values"].as_array().into_iter().flatten();
                values.filter_map(Value::as_str).map(str::to_owned).collect()
            };
            let test = match expression["operator"].as_str()? {
                "In" => LabelTest::In(values()),
                "NotIn" => LabelTest::NotIn(values()),
                "Exists" => LabelTest::Exists,
                "DoesNotExist" => LabelTest::Absent,
                _ => return None,
            };
            requirements.push((expression["key"].as_str()?.to_owned(), test));
        }
        Some(Self { requirements })
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether these labels are meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|(key, test)| test.holds(labels.get(key).map(String::as_str)))
    }

    /// A label and value that every match carries, if there is one.
    pub fn exact(&self) -> Option<(&str, &str)> {
        self.requirements.iter().find_map(|(key, test)| match test {
            LabelTest::Is(value) => Some((key.as_str(), value.as_str())),
            LabelTest::In(values) if values.len() == 1 => Some((key.as_str(), values[0].as_str())),
            _ => None,
        })
    }
}

/// Requirements on fields, all of which hold for a match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

/// One requirement of a field selector: a path, the value it is compared with, `!=` rather than `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldRequirement {
    field: String,
    value: String,
    negated: bool,
}

impl FieldSelector {
    /// Parses `a.b=c,d!=e`; `\` escapes `,`, `=` and itself.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for part in split_unescaped(text) {
            if part.trim().is_empty() {
                continue;
            }
            let invalid = || format!("invalid selector: '{text}'; can't understand '{part}'");
            let at = part.find('=').ok_or_else(invalid)?;
            let (field, negated) = match part[..at].strip_suffix('!') {
                Some(field) => (field, true),
                None => (&part[..at], false),
            };
            let value = part[at + 1..].strip_prefix('=').unwrap_or(&part[at + 1..]);
            requirements.push(FieldRequirement {
                field: field.trim().into(),
                value: unescape(value.trim()),
                negated,
            });
        }
        Ok(Self { requirements })
    }

    /// The fields that are asked for.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.requirements.iter().map(|r| r.field.as_str())
    }

    /// Gives fields the names they are kept under; `None` leaves a name as it is.
    pub fn rename(&mut self, name: impl Fn(&str) -> Option<&'static str>) {
        for requirement in &mut self.requirements {
            if let Some(kept) = name(&requirement.field) {
                requirement.field = kept.into();
            }
        }
    }

    /// The value `field` must have, if the selector says so.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|r| r.field == field && !r.negated).map(|r| r.value.as_str())
    }

    /// Whether an object with this key and these selectable fields is meant.
    pub fn matches(&self, key: &Key, fields: &Fields) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = match requirement.field.as_str() {
                "metadata.name" => key.name.as_str(),
                "metadata.namespace" => key.namespace.as_str(),
                field => fields.get(field),
            };
            (value == requirement.value) != requirement.negated
        })
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut parts, mut escaped, mut start) = (Vec::new(), false, 0);
    for (at, letter) in text.char_indices() {
        if letter == ',' && !escaped {
            parts.push(&text[start..at]);
            start = at + 1;
        }
        escaped = letter == '\\' && !escaped;
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        out.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::SelectableField;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    #[test]
    fn every_operator_selects_as_documented() {
        let object = labels(&[("app", "web"), ("tier", "front"), ("rank", "3")]);
        for yes in [
            "",
            "app=web",
            "app==web",
            "app!=db",
            "app in (db, web)",
            "app notin (db)",
            "app",
            "!zone",
            "zone!=x",
            "rank>2",
            "rank<4",
            "app=web,tier in (front,back),!zone",
            "x notin (y)",
        ] {
            assert!(LabelSelector::parse(yes).unwrap().matches(&object), "{yes}");
        }
        for no in ["app=db", "app!=web", "app in (db)", "app notin (web,db)", "zone", "!app", "rank>3"] {
            assert!(!LabelSelector::parse(no).unwrap().matches(&object), "{no}");
        }
    }

    #[test]
    fn broken_selectors_are_refused() {
        for broken in ["a in (b", "a b", "=x", "a=b,,c", "a=b c", "-a=b", "a in", "a!b"] {
            assert!(LabelSelector::parse(broken).is_err(), "{broken}");
        }
        assert!(FieldSelector::parse("metadata.name").is_err());
    }

    #[test]
    fn an_object_selector_with_expressions_is_understood() {
        let selector = serde_json::json!({"matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["front"]},
                {"key": "zone", "operator": "DoesNotExist"}]});
        let selector = LabelSelector::from_object(&selector).unwrap();
        assert!(selector.matches(&labels(&[("app", "web"), ("tier", "front")])));
        assert!(!selector.matches(&labels(&[("app", "web")])));
        assert_eq!(selector.exact(), Some(("app", "web")));
    }

    #[test]
    fn field_selectors_repeat_negate_and_escape() {
        let key = Key::new("ns", "x");
        let selectable = [
            SelectableField::text("status.phase"),
            SelectableField::text("reason"),
            SelectableField::text("spec.nodeName"),
            SelectableField::new("spec.unschedulable", "spec.unschedulable", "false"),
        ];
        let value = serde_json::json!({"status": {"phase": "Running"}, "reason": "a,b=c"});
        let fields = Fields::read(&value, &selectable.into());
        for yes in [
            "metadata.name=x,metadata.name=x",
            "status.phase!=Pending",
            "spec.nodeName=",
            "spec.unschedulable=false",
            "reason=a\\,b\\=c",
            "metadata.namespace==ns",
        ] {
            assert!(FieldSelector::parse(yes).unwrap().matches(&key, &fields), "{yes}");
        }
        assert!(!FieldSelector::parse("metadata.name=x,metadata.name=y").unwrap().matches(&key, &fields));
    }
}
