//! What of its pods' ends a job takes as failure or success, by `pkg/apis/batch/validation`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::job::container_names;
use super::rules::{grammar, items, join, not_supported, text};
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: &[&str] = &["In", "NotIn"];
const STATUSES: &[&str] = &["False", "True", "Unknown"];
/// The most rules of a policy, and patterns of a rule.
const MOST: u64 = 20;

/// `podFailurePolicy`.
pub(super) fn failure(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    if spec["podFailurePolicy"].is_null() {
        return;
    }
    let (path, rules) = (join(path, "podFailurePolicy.rules"), items(&spec["podFailurePolicy"]["rules"]));
    bounded(&path, rules, causes);
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("{path}[{index}]");
        action(spec, rule, &path, causes);
        let (codes, conditions) = (&rule["onExitCodes"], items(&rule["onPodConditions"]));
        if !codes.is_null() {
            exit_codes(spec, codes, &join(&path, "onExitCodes"), causes);
        }
        if !conditions.is_empty() {
            pod_conditions(conditions, &join(&path, "onPodConditions"), causes);
        }
        if !codes.is_null() && !conditions.is_empty() {
            let why = "specifying both OnExitCodes and OnPodConditions is not supported";
            causes.push(cause::invalid_omitted(&path, why));
        }
        if codes.is_null() && conditions.is_empty() {
            let why = "specifying one of OnExitCodes and OnPodConditions is required";
            causes.push(cause::invalid_omitted(&path, why));
        }
    }
}

fn bounded(path: &str, list: &[Value], causes: &mut Vec<Cause>) {
    if list.len() as u64 > MOST {
        causes.push(cause::too_many(path, list.len(), MOST));
    }
}

/// Values as Go's `%q` shows a list of them.
fn listed(known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|value| format!("{value:?}")).collect();
    format!("valid values: [{}]", quoted.join(" "))
}

/// A field that must be one of these values.
fn one_of(value: &Value, path: &str, known: &[&str], causes: &mut Vec<Cause>) {
    if text(value).is_empty() {
        causes.push(cause::required(path, &listed(known)));
    } else if !known.contains(&text(value)) {
        causes.push(not_supported(path, value, known));
    }
}

fn action(spec: &Value, rule: &Value, path: &str, causes: &mut Vec<Cause>) {
    let (path, action) = (join(path, "action"), &rule["action"]);
    if action == "FailIndex" {
        if spec["backoffLimitPerIndex"].is_null() {
            causes.push(cause::invalid(path, action, "requires the backoffLimitPerIndex to be set"));
        }
    } else {
        one_of(action, &path, ACTIONS, causes);
    }
}

fn exit_codes(spec: &Value, codes: &Value, path: &str, causes: &mut Vec<Cause>) {
    const MOST_CODES: u64 = 255;
    one_of(&codes["operator"], &join(path, "operator"), OPERATORS, causes);
    let container = &codes["containerName"];
    if !container.is_null() && !container_names(spec).contains(&text(container)) {
        let why = "must be one of the container or initContainer names in the pod template";
        causes.push(cause::invalid(join(path, "containerName"), container, why));
    }
    let (at, values) = (join(path, "values"), items(&codes["values"]));
    if values.is_empty() {
        causes.push(cause::invalid(&at, &json!([]), "at least one value is required"));
    } else if values.len() as u64 > MOST_CODES {
        causes.push(cause::too_many(&at, values.len(), MOST_CODES));
    }
    let numbers: Vec<i64> = values.iter().map(|value| value.as_i64().unwrap_or_default()).collect();
    let mut seen = BTreeSet::new();
    for (index, (number, value)) in numbers.iter().zip(values).enumerate() {
        let at = format!("{at}[{index}]");
        if codes["operator"] == "In" && *number == 0 {
            causes.push(cause::invalid(&at, value, "must not be 0 for the In operator"));
        }
        if !seen.insert(*number) {
            causes.push(cause::duplicate(at, value));
        }
    }
    if !numbers.is_sorted() {
        causes.push(cause::invalid(at, &codes["values"], "must be ordered"));
    }
}

fn pod_conditions(conditions: &[Value], path: &str, causes: &mut Vec<Cause>) {
    bounded(path, conditions, causes);
    for (index, pattern) in conditions.iter().enumerate() {
        let path = format!("{path}[{index}]");
        causes.extend(grammar(&join(&path, "type"), text(&pattern["type"]), names::qualified_name));
        one_of(&pattern["status"], &join(&path, "status"), STATUSES, causes);
    }
}

/// `successPolicy`.
pub(super) fn success(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let policy = &spec["successPolicy"];
    if policy.is_null() {
        return;
    }
    let path = join(path, "successPolicy");
    if spec["completionMode"] != "Indexed" {
        let shown = json!({"Rules": policy["rules"]});
        causes.push(cause::invalid(path, &shown, "requires indexed completion mode"));
        return;
    }
    let (path, rules) = (join(&path, "rules"), items(&policy["rules"]));
    if rules.is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        causes.push(cause::required(&path, why));
    }
    bounded(&path, rules, causes);
    let completions = spec["completions"].as_i64().unwrap_or_default();
    for (index, rule) in rules.iter().enumerate() {
        success_rule(rule, completions, &format!("{path}[{index}]"), causes);
    }
}

fn success_rule(rule: &Value, completions: i64, path: &str, causes: &mut Vec<Cause>) {
    const LONGEST: u64 = 64 * 1024;
    let (count, indexes) = (&rule["succeededCount"], &rule["succeededIndexes"]);
    if count.is_null() && indexes.is_null() {
        let why = "at least one of succeededCount or succeededIndexes must be specified";
        causes.push(cause::required(path, why));
    }
    let mut total = 0;
    if !indexes.is_null() {
        let at = join(path, "succeededIndexes");
        if text(indexes).len() as u64 > LONGEST {
            causes.push(cause::too_long(&at, LONGEST));
        }
        match count_of_indexes(text(indexes), completions) {
            Ok(count) => total = count,
            Err(why) => {
                let why = format!("error parsing succeededIndexes: {why}");
                causes.push(cause::invalid(at, indexes, &why));
            }
        }
    }
    let Some(number) = count.as_i64() else { return };
    let at = join(path, "succeededCount");
    let mut fault = |why: &str| causes.push(cause::invalid(&at, count, why));
    if number < 0 {
        fault("must be greater than or equal to 0");
    }
    if number > completions {
        fault(&format!("must be less than or equal to {completions} (the number of specified completions)"));
    }
    if !indexes.is_null() && number > total {
        fault(&format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        ));
    }
}

/// How many indexes `0,3-5` names.
fn count_of_indexes(text: &str, completions: i64) -> Result<i64, String> {
    let number = |text: &str| {
        let number: i64 =
            text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        if number >= completions { Err(format!("too large index: {text:?}")) } else { Ok(number) }
    };
    let increasing = |before: i64, after: i64| {
        if before < after {
            return Ok(());
        }
        Err(format!("non-increasing order, previous: {before}, current: {after}"))
    };
    let (mut last, mut total) = (None, 0);
    for interval in text.split(',').filter(|_| !text.is_empty()) {
        let limits: Vec<&str> = interval.split('-').collect();
        let (first, end) = match limits[..] {
            [only] => (number(only)?, number(only)?),
            [first, end] => {
                let (first, end) = (number(first)?, number(end)?);
                increasing(first, end)?;
                (first, end)
            }
            _ => {
                return Err(format!(
                    "the fragment {interval:?} violates the requirement that an index interval can have at most two \
                     parts separated by '-'"
                ));
            }
        };
        last.map_or(Ok(()), |last| increasing(last, first))?;
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}
