//! `CronJobs`, by `pkg/apis/batch/validation`.

use serde_json::Value;

use super::rules::{Rows, Rule, text};
use super::{job, pod_spec};
use crate::schema::cause;
use crate::server::cron;
use crate::status::Cause;

const TABLE: Rows = &[
    ("spec.schedule", Rule::Required("")),
    ("spec.schedule", Rule::Own(schedule)),
    ("spec.startingDeadlineSeconds", Rule::Natural),
    ("spec.timeZone?", Rule::Own(zone)),
    ("spec.concurrencyPolicy", Rule::OneOf(&["Allow", "Forbid", "Replace"])),
    ("spec.jobTemplate.spec", Rule::Own(job::spec_faults)),
    ("spec.jobTemplate.spec", Rule::Own(generated)),
    ("spec.successfulJobsHistoryLimit", Rule::Natural),
    ("spec.failedJobsHistoryLimit", Rule::Natural),
];

/// Defaults of the template.
pub(super) fn fill(job: &mut Value) {
    if let Some(template) = job.pointer_mut("/spec/jobTemplate/spec/template") {
        pod_spec::fill_template(template);
    }
}

/// What is wrong with a cron job.
pub(super) fn faults(job: &Value) -> Vec<Cause> {
    super::rules::faults(TABLE, job)
}

/// What is wrong with a new cron job: its jobs' names are longer than its own.
pub(super) fn create_faults(job: &Value) -> Vec<Cause> {
    const LONGEST: usize = 52;
    let mut causes = faults(job);
    let name = &job["metadata"]["name"];
    if text(name).len() > LONGEST {
        causes.push(cause::invalid("metadata.name", name, "must be no more than 52 characters"));
    }
    causes
}

fn schedule(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let schedule = text(value);
    if schedule.is_empty() {
        return;
    }
    causes.extend(cron::fault(schedule).map(|why| cause::invalid(path, value, &why)));
    if schedule.contains("TZ") {
        let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        causes.push(cause::invalid(path, value, why));
    }
}

fn zone(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let name = text(value);
    let mut fault = |why: &str| causes.push(cause::invalid(path, value, why));
    if name.is_empty() {
        fault("timeZone must be nil or non-empty string");
        return;
    }
    let unknown = format!("unknown time zone {name}");
    let odd = |part: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
        part.is_empty() || part == "." || part == ".." || part.starts_with('-') || !part.bytes().all(known)
    };
    if name.split('/').any(odd) {
        fault(&unknown);
        return;
    }
    if name.eq_ignore_ascii_case("local") {
        fault("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    }
    if !matches!(name, "Local" | "UTC") && !cron::is_zone(name) {
        fault(&unknown);
    }
}

/// Selectors of jobs are generated.
fn generated(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !spec["selector"].is_null() {
        let why = "`selector` will be auto-generated";
        causes.push(cause::invalid(format!("{path}.selector"), &spec["selector"], why));
    }
    if spec["manualSelector"] == true {
        let at = format!("{path}.manualSelector");
        causes.push(super::rules::not_supported(&at, &Value::Bool(true), &["nil", "false"]));
    }
}
