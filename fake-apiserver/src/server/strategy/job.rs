//! Jobs, by `pkg/apis/batch/validation`.

use serde_json::{Value, json};

use super::pod_spec;
use super::rules::{Rows, Rule, check, items, join, text};
use super::{job_policy, rules};
use crate::schema::cause;
use crate::server::{meta, names};
use crate::status::Cause;
use crate::storage::{self, LabelSelector};

const NUMBERS: Rows = &[
    ("parallelism", Rule::Natural),
    ("completions", Rule::Natural),
    ("activeDeadlineSeconds", Rule::Natural),
    ("backoffLimit", Rule::Natural),
    ("ttlSecondsAfterFinished", Rule::Natural),
    ("backoffLimitPerIndex", Rule::Natural),
    ("maxFailedIndexes", Rule::Natural),
    ("", Rule::Own(failed_indexes)),
    ("managedBy?", Rule::Own(managed_by)),
    ("completionMode", Rule::OneOf(&["NonIndexed", "Indexed"])),
    ("", Rule::Own(mode)),
];
const AFTER: Rows = &[
    ("", Rule::Own(job_policy::failure)),
    ("", Rule::Own(job_policy::success)),
    ("", Rule::Own(replacement)),
    ("", Rule::Own(template)),
];

/// Defaults that depend on other fields, and those of the pod template.
pub(super) fn fill(job: &mut Value) {
    let Some(spec) = job.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    if spec["parallelism"].is_null() {
        if spec["completions"].is_null() {
            spec["completions"] = json!(1);
        }
        spec["parallelism"] = json!(1);
    }
    let set = |spec: &mut Value, field: &str, value: Value| {
        if spec[field].is_null() {
            spec[field] = value;
        }
    };
    let by_index = !spec["backoffLimitPerIndex"].is_null();
    set(spec, "backoffLimit", if by_index { json!(i32::MAX) } else { json!(6) });
    let policy = if spec["podFailurePolicy"].is_null() { "TerminatingOrFailed" } else { "Failed" };
    set(spec, "podReplacementPolicy", json!(policy));
    for rule in
        spec.pointer_mut("/podFailurePolicy/rules").and_then(Value::as_array_mut).into_iter().flatten()
    {
        for pattern in super::defaults::items(rule, "onPodConditions") {
            set(pattern, "status", json!("True"));
        }
    }
    pod_spec::fill_template(&mut spec["template"]);
}

/// Selector and labels that tie pods to this job and no other.
pub(super) fn identify(job: &mut Value) {
    if job["spec"]["manualSelector"] == true || !job["spec"].is_object() {
        return;
    }
    let (uid, name) = (job["metadata"]["uid"].clone(), job["metadata"]["name"].clone());
    let labels = &mut job["spec"]["template"]["metadata"]["labels"];
    for (key, value) in [
        ("controller-uid", &uid),
        ("job-name", &name),
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
    ] {
        labels[key] = value.clone();
    }
    if job["metadata"]["labels"].as_object().is_none_or(serde_json::Map::is_empty) {
        job["metadata"]["labels"] = job["spec"]["template"]["metadata"]["labels"].clone();
    }
    job["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
}

/// What a client that leaves out generated fields does not mean to change.
pub(super) fn carry(new: &mut Value, old: &Value) {
    if new["spec"].is_object() && new["spec"]["selector"].is_null() {
        new["spec"]["selector"] = old["spec"]["selector"].clone();
    }
    if new["spec"].is_object() && new["spec"]["template"]["metadata"]["labels"].is_null() {
        new["spec"]["template"]["metadata"] = old["spec"]["template"]["metadata"].clone();
    }
}

/// What is wrong with a job.
pub(super) fn faults(job: &Value) -> Vec<Cause> {
    let mut causes = whole_spec_faults(job);
    let spec = &job["spec"];
    let (name, count) = (&job["metadata"]["name"], spec["completions"].as_i64().unwrap_or_default());
    if spec["completionMode"] == "Indexed" && count > 0 {
        let longest = format!("{}-{}", text(name), count - 1);
        if !names::dns_label(&longest).is_empty() {
            let why = format!("will not able to create pod with invalid DNS label: {longest}");
            causes.push(cause::invalid("metadata.name", name, &why));
        }
    }
    causes
}

fn whole_spec_faults(job: &Value) -> Vec<Cause> {
    let spec = &job["spec"];
    let mut causes = Vec::new();
    spec_faults(spec, "spec", &mut causes);
    let labels = storage::labels(&spec["template"]);
    check(&[("selector?", Rule::Selector)], spec, "spec", &mut causes);
    if spec["selector"].is_null() {
        causes.push(cause::required("spec.selector", ""));
    }
    // A selector that is missing matches nothing.
    let matches = LabelSelector::from_object(&spec["selector"]).is_some_and(|s| s.matches(&labels));
    if !matches {
        let why = "`selector` does not match template `labels`";
        causes.push(cause::invalid("spec.template.metadata.labels", &json!(labels), why));
    }
    causes
}

/// What is wrong with the spec of a job, or of the jobs of a cron job.
pub(super) fn spec_faults(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    check(NUMBERS, spec, path, causes);
    check(AFTER, spec, path, causes);
}

fn failed_indexes(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !spec["maxFailedIndexes"].is_null() && spec["backoffLimitPerIndex"].is_null() {
        causes
            .push(cause::required(join(path, "backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
    }
}

fn managed_by(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    const LONGEST: u64 = 63;
    causes.extend(names::domain_prefixed_path(path, text(value)));
    if text(value).len() as u64 > LONGEST {
        causes.push(cause::too_long(path, LONGEST));
    }
}

/// What goes with indexes and what does not.
fn mode(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    const MOST: i64 = 100_000;
    const MOST_BY_INDEX: i64 = 10_000;
    let number = |field: &str| spec[field].as_i64();
    let mut fault = |field: &str, why: &str| {
        causes.push(cause::invalid(join(path, field), &spec[field], why));
    };
    if spec["completionMode"] == "NonIndexed" {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"].into_iter().filter(|f| !spec[*f].is_null())
        {
            fault(field, "requires indexed completion mode");
        }
    }
    if spec["completionMode"] != "Indexed" {
        return;
    }
    let (completions, failed, width) =
        (number("completions"), number("maxFailedIndexes"), number("parallelism"));
    if completions.is_none() {
        causes.push(cause::required(join(path, "completions"), "when completion mode is Indexed"));
    }
    let mut fault = |field: &str, why: &str| {
        causes.push(cause::invalid(join(path, field), &spec[field], why));
    };
    if width.is_some_and(|width| width > MOST) {
        fault("parallelism", "must be less than or equal to 100000 when completion mode is Indexed");
    }
    if completions.is_some() && failed > completions {
        fault("maxFailedIndexes", "must be less than or equal to completions");
    }
    if failed.is_some_and(|failed| failed > MOST) {
        fault("maxFailedIndexes", "must be less than or equal to 100000");
    }
    if completions.is_some_and(|completions| completions > MOST) && number("backoffLimitPerIndex").is_some() {
        let why = "must be less than or equal to 10000 when completions are above 100000 and used with backoff limit \
                   per index";
        if width.is_some_and(|width| width > MOST_BY_INDEX) {
            fault("parallelism", why);
        }
        match failed {
            None => causes.push(cause::required(
                join(path, "maxFailedIndexes"),
                "must be specified when completions is above 100000",
            )),
            Some(failed) if failed > MOST_BY_INDEX => fault("maxFailedIndexes", why),
            Some(_) => {}
        }
    }
}

fn replacement(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let known: &[&str] =
        if spec["podFailurePolicy"].is_null() { &["Failed", "TerminatingOrFailed"] } else { &["Failed"] };
    let policy = &spec["podReplacementPolicy"];
    if !policy.is_null() && !known.contains(&text(policy)) {
        causes.push(rules::not_supported(&join(path, "podReplacementPolicy"), policy, known));
    }
}

fn template(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let pod = &spec["template"]["spec"];
    let path = join(path, "template.spec");
    causes.extend(pod_spec::faults(pod, &path));
    let at = join(&path, "restartPolicy");
    match text(&pod["restartPolicy"]) {
        "Always" | "" => {
            causes.push(cause::required(at, "valid values: \"OnFailure\", \"Never\""));
        }
        "OnFailure" if !spec["podFailurePolicy"].is_null() => causes.push(cause::invalid(
            at,
            &pod["restartPolicy"],
            "only \"Never\" is supported when podFailurePolicy is specified",
        )),
        "OnFailure" | "Never" => {}
        _ => causes.push(rules::not_supported(&at, &pod["restartPolicy"], &["OnFailure", "Never"])),
    }
}

/// Selector, template and completions of a job may not change.
pub(super) fn update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    // The real server looks at the spec once as a spec and once as a changed one.
    let mut causes = faults(new);
    causes.extend(whole_spec_faults(new));
    let (has, had) = (&new["spec"], &old["spec"]);
    if has["completions"] != had["completions"] {
        if has["completionMode"] != "Indexed" {
            causes.push(meta::immutable("spec.completions", &has["completions"]));
        } else if !has["completions"].is_null() && has["completions"] != has["parallelism"] {
            let why = "can only be modified in tandem with spec.parallelism";
            causes.push(cause::invalid("spec.completions", &has["completions"], why));
        }
    }
    if has["selector"] != had["selector"] {
        causes.push(meta::immutable("spec.selector", &has["selector"]));
    }
    let suspended = had["suspend"] == true;
    if has["template"] != had["template"] && !(suspended && only_placement_differs(has, had)) {
        causes.push(meta::immutable("spec.template", &has["template"]));
    }
    causes.extend(rules::immutable_faults("batch", "jobs", new, old));
    causes
}

/// Of the pods of a suspended job may change where they go and what they ask for.
fn only_placement_differs(has: &Value, had: &Value) -> bool {
    let rest = |spec: &Value| {
        let mut template = spec["template"].clone();
        for field in ["annotations", "labels"] {
            super::set_or_remove(&mut template["metadata"], field, None);
        }
        for field in ["nodeSelector", "tolerations", "schedulingGates", "affinity"] {
            super::set_or_remove(&mut template["spec"], field, None);
        }
        for list in ["containers", "initContainers"] {
            for container in super::defaults::items(&mut template["spec"], list) {
                super::set_or_remove(container, "resources", None);
            }
        }
        template
    };
    // Of affinities only that to nodes.
    let affinity = |spec: &Value| {
        let mut affinity = spec["template"]["spec"]["affinity"].clone();
        super::set_or_remove(&mut affinity, "nodeAffinity", None);
        if affinity.as_object().is_some_and(|rest| !rest.is_empty()) { affinity } else { Value::Null }
    };
    rest(has) == rest(had) && affinity(has) == affinity(had)
}

/// The names of all containers of a template.
pub(super) fn container_names(spec: &Value) -> Vec<&str> {
    let lists = ["containers", "initContainers"].into_iter();
    lists
        .flat_map(|list| items(&spec["template"]["spec"][list]))
        .map(|container| text(&container["name"]))
        .collect()
}
