//! Status conditions in the form of metav1.Condition.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

/// A condition before it gets its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `Ready` …
    pub kind: Cow<'static, str>,
    /// `True`, `False` or, for `None`, `Unknown`.
    pub status: Option<bool>,
    /// CamelCase.
    pub reason: String,
    /// For people: what happened, to which object, what comes next.
    pub message: String,
}

impl Condition {
    /// A condition that holds.
    pub fn yes(kind: impl Into<Cow<'static, str>>, reason: &str, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), status: Some(true), reason: reason.into(), message: message.into() }
    }

    /// A condition that does not hold.
    pub fn no(kind: impl Into<Cow<'static, str>>, reason: &str, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), status: Some(false), reason: reason.into(), message: message.into() }
    }

    fn status(&self) -> &'static str {
        match self.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

/// The list for `status.conditions`: times of transition are kept where the status did not change.
///
/// `now` therefore only shows where something did change, and an unchanged state gives an equal list.
pub fn list(old: &Value, new: &[Condition], generation: i64, now: Timestamp) -> Value {
    new.iter()
        .map(|condition| {
            let since = find(old, &condition.kind)
                .filter(|old| old["status"] == condition.status())
                .and_then(|old| old["lastTransitionTime"].as_str());
            json!({
                "type": condition.kind,
                "status": condition.status(),
                "reason": reason(&condition.reason),
                "message": condition.message,
                "observedGeneration": generation,
                "lastTransitionTime": since.map_or_else(|| seconds(now), str::to_owned),
            })
        })
        .collect()
}

/// The condition of a kind in a stored list.
pub fn find<'a>(list: &'a Value, kind: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// A condition as it was written, to be said again.
pub fn known(list: &Value, kind: impl Into<Cow<'static, str>>) -> Option<Condition> {
    let kind = kind.into();
    let found = find(list, &kind)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    let status = match found["status"].as_str() {
        Some("True") => Some(true),
        Some("False") => Some(false),
        _ => None,
    };
    Some(Condition { kind, status, reason: text("reason"), message: text("message") })
}

/// Whether any condition changed its status, or one came or went: such changes are written at once, others (a reason, a
/// count in a message) when convenient.
pub fn transition(old: &Value, new: &Value) -> bool {
    fn statuses(list: &Value) -> impl Iterator<Item = (&str, &str)> {
        let text = |value| Value::as_str(value).unwrap_or_default();
        list.as_array().into_iter().flatten().map(move |c| (text(&c["type"]), text(&c["status"])))
    }
    !statuses(old).eq(statuses(new))
}

/// RFC 3339 in UTC without a fraction: upstream's tests and Go's metav1.Time parse only this form.
pub fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// A reason that fits metav1.Condition's pattern.
fn reason(text: &str) -> String {
    let kept: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    if kept.starts_with(|c: char| c.is_ascii_alphabetic()) { kept } else { "Unknown".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_move_only_with_the_status() {
        let first = list(
            &Value::Null,
            &[Condition::no("Ready", "Waiting", "a")],
            1,
            Timestamp::from_second(10).unwrap(),
        );
        let same =
            list(&first, &[Condition::no("Ready", "Waiting", "a")], 1, Timestamp::from_second(20).unwrap());
        assert_eq!(first, same);
        assert!(!transition(&first, &same));
        let turned =
            list(&same, &[Condition::yes("Ready", "Running", "")], 1, Timestamp::from_second(30).unwrap());
        assert_eq!(turned[0]["lastTransitionTime"], "1970-01-01T00:00:30Z");
        assert!(transition(&same, &turned));
    }
}
