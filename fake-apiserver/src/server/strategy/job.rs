//! Jobs and CronJobs.

use serde_json::{Value, json};

use super::pod_spec;
use crate::server::meta;
use crate::status::Cause;

/// Defaults that depend on other fields, and those of the pod template.
pub(super) fn fill(job: &mut Value) {
    let Some(spec) = job.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    if spec.get("completions").is_none() && spec["parallelism"] == 1 && spec["completionMode"] == "NonIndexed"
    {
        spec["completions"] = json!(1);
    }
    if !spec["podFailurePolicy"].is_null() && spec["podReplacementPolicy"] == "TerminatingOrFailed" {
        spec["podReplacementPolicy"] = json!("Failed");
    }
    pod_spec::fill_template(&mut spec["template"]);
}

/// Defaults of the template of a CronJob.
pub(super) fn fill_cron(job: &mut Value) {
    if let Some(template) = job.pointer_mut("/spec/jobTemplate/spec/template") {
        pod_spec::fill_template(template);
    }
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
    let spec = &job["spec"];
    let mut causes = pod_spec::faults(&spec["template"]["spec"], "spec.template.spec");
    if spec["template"]["spec"]["restartPolicy"] == "Always" {
        let fault = "Required value: valid values: \"OnFailure\", \"Never\"";
        causes.push(Cause::new("FieldValueRequired", "spec.template.spec.restartPolicy", fault));
    }
    for field in
        ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"]
    {
        if let Some(number) = spec[field].as_i64().filter(|number| *number < 0) {
            let fault = format!("Invalid value: {number}: must be greater than or equal to 0");
            causes.push(Cause::new("FieldValueInvalid", format!("spec.{field}"), fault));
        }
    }
    causes
}

/// Selector, template and completions of a job may not change.
pub(super) fn update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in ["completions", "selector", "template", "completionMode"] {
        let (has, had) = (&new["spec"][field], &old["spec"][field]);
        // Scheduling directives of a suspended job may change, and so may the completions of an indexed one.
        let free = match field {
            "template" => old["spec"]["suspend"] == true,
            "completions" => old["spec"]["completionMode"] == "Indexed",
            _ => false,
        };
        if has != had && !free {
            causes.push(meta::immutable(&format!("spec.{field}"), has));
        }
    }
    causes
}
