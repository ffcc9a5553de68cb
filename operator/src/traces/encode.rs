//! Reports as spans in OTLP's JSON (opentelemetry-proto 1, `ExportTraceServiceRequest`). Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::report::Report;
use crate::seed::Seed;

/// Steps of one span that are told.
const STEPS_MAX: usize = 32;
/// `SPAN_KIND_INTERNAL`.
const INTERNAL: u32 = 1;
/// `STATUS_CODE_ERROR`.
const ERROR: u32 = 2;

/// The request that tells a collector of these reports, each a trace of its own.
pub fn request(reports: &[Report], ids: &mut Seed) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let spans: Vec<Value> = reports.iter().map(|report| span(report, ids)).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name", "dask-operator"), text("service.version", version)]},
        "scopeSpans": [{"scope": {"name": "dask-operator", "version": version}, "spans": spans}],
    }]})
}

fn span(report: &Report, ids: &mut Seed) -> Value {
    let key = &report.key;
    let kind = key.kind.name();
    let waited = report.begun.duration_since(report.due).as_millis().max(0);
    let mut attributes = vec![
        text("k8s.namespace.name", &key.namespace),
        text("dask.resource.kind", kind),
        text("dask.resource.name", &key.name),
        text("dask.reconcile.cause", &report.cause.to_string()),
        text("dask.reconcile.outcome", report.outcome.as_str()),
        json!({"key": "dask.reconcile.waited_ms", "value": {"intValue": waited.to_string()}}),
    ];
    if !report.steps.is_empty() {
        let steps: Vec<Value> =
            report.steps.iter().take(STEPS_MAX).map(|step| json!({"stringValue": step})).collect();
        attributes.push(json!({"key": "dask.reconcile.steps", "value": {"arrayValue": {"values": steps}}}));
    }
    let mut span = json!({
        "traceId": format!("{:016x}{:016x}", id(ids), ids.draw()),
        "spanId": format!("{:016x}", id(ids)),
        "name": format!("reconcile {kind}"),
        "kind": INTERNAL,
        "startTimeUnixNano": nanoseconds(report.begun),
        "endTimeUnixNano": nanoseconds(report.ended),
    });
    if let Some((reason, message)) = &report.failure {
        attributes.push(text("error.type", reason));
        span["status"] = json!({"code": ERROR, "message": message});
    }
    span["attributes"] = Value::Array(attributes);
    span
}

/// Identifiers of zeros only are not valid.
fn id(ids: &mut Seed) -> u64 {
    ids.draw().max(1)
}

/// 64 bits are text in protobuf's JSON.
fn nanoseconds(time: Timestamp) -> String {
    time.as_nanosecond().to_string()
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::What;
    use crate::metrics::tally::Ended;
    use crate::observe::{ChildKind, Key, Kind};
    use crate::traces::Cause;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn mk(outcome: Ended, failure: Option<(String, String)>) -> Report {
        Report {
            key: Key::new(Kind::WorkerGroup, "team", "ex-default"),
            cause: Cause::Seen(What::Child(ChildKind::Pod)),
            due: at(10),
            begun: at(11),
            ended: at(12),
            outcome,
            steps: vec!["create pod".into()],
            failure,
        }
    }

    #[test]
    fn a_report_becomes_a_span_with_its_cause() {
        let request = request(&[mk(Ended::Changed, None)], &mut Seed(1));
        let span = &request["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["name"], "reconcile DaskWorkerGroup");
        assert_eq!(
            (&span["startTimeUnixNano"], &span["endTimeUnixNano"]),
            (&json!("11000000000"), &json!("12000000000"))
        );
        assert_eq!(span["traceId"].as_str().map(str::len), Some(32));
        assert_eq!(span["spanId"].as_str().map(str::len), Some(16));
        assert_eq!(span["status"], Value::Null);
        let value = |key: &str| {
            let found =
                span["attributes"].as_array().unwrap().iter().find(|attribute| attribute["key"] == key);
            found.unwrap()["value"].clone()
        };
        assert_eq!(value("dask.reconcile.cause"), json!({"stringValue": "Pod seen"}));
        assert_eq!(value("dask.reconcile.waited_ms"), json!({"intValue": "1000"}));
        assert_eq!(
            value("dask.reconcile.steps"),
            json!({"arrayValue": {"values": [{"stringValue": "create pod"}]}})
        );
        assert_eq!(value("k8s.namespace.name"), json!({"stringValue": "team"}));
    }

    #[test]
    fn a_failure_is_an_error_with_its_reason() {
        let failure = Some(("QuotaExceeded".to_owned(), "no room".to_owned()));
        let request = request(&[mk(Ended::Failed, failure)], &mut Seed(1));
        let span = &request["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["status"], json!({"code": 2, "message": "no room"}));
        assert!(span["attributes"].to_string().contains("QuotaExceeded"));
    }
}
