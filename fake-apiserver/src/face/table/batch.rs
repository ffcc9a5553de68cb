//! Jobs and CronJobs.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use super::fields::{array, condition, containers, created, deleting, name, number, or, selector, text};

pub(super) fn cells(plural: &str, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
    match plural {
        "jobs" => Some(job(object, now)),
        "cronjobs" => Some(cron_job(object, now)),
        _ => None,
    }
}

fn job(job: &Value, now: Timestamp) -> Vec<Value> {
    let (names, images) = containers(job, "/spec/template/spec");
    vec![
        json!(name(job)),
        json!(job_status(job)),
        json!(completions(job)),
        json!(duration(job, now)),
        json!(created(job, now)),
        json!(names),
        json!(images),
        json!(selector(job.pointer("/spec/selector"))),
    ]
}

fn job_status(job: &Value) -> &'static str {
    match () {
        () if condition(job, "Complete") => "Complete",
        () if condition(job, "Failed") => "Failed",
        () if deleting(job) => "Terminating",
        () if condition(job, "Suspended") => "Suspended",
        () if condition(job, "FailureTarget") => "FailureTarget",
        () if condition(job, "SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let succeeded = number(job, "/status/succeeded");
    let parallelism = number(job, "/spec/parallelism");
    match job.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(completions) => format!("{succeeded}/{completions}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let Ok(start) = text(job, "/status/startTime").parse() else { return String::new() };
    age::between(start, text(job, "/status/completionTime").parse().unwrap_or(now))
}

fn cron_job(job: &Value, now: Timestamp) -> Vec<Value> {
    let (names, images) = containers(job, "/spec/jobTemplate/spec/template/spec");
    let last = text(job, "/status/lastScheduleTime");
    let suspend = if job.pointer("/spec/suspend") == Some(&json!(true)) { "True" } else { "False" };
    vec![
        json!(name(job)),
        json!(text(job, "/spec/schedule")),
        json!(or(text(job, "/spec/timeZone"), "<none>")),
        json!(suspend),
        json!(array(job, "/status/active").len()),
        json!(if last.is_empty() { "<none>".into() } else { age::since(last, now) }),
        json!(created(job, now)),
        json!(names),
        json!(images),
        json!(selector(job.pointer("/spec/jobTemplate/spec/selector"))),
    ]
}
