//! The health check for Argo CD, run by the interpreter that Argo CD has, on what resources say of themselves.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::codegen::chart::CHART;
use crate::shell;

/// Resources as JSON, and which health Argo CD is to show for them.
const CASES: [(&str, &str); 13] = [
    (r#"{"kind": "DaskCluster", "metadata": {"generation": 1}}"#, "Progressing"),
    (r#"{"kind": "DaskCluster", "metadata": {"generation": 1}, "status": {"phase": "Running"}}"#, "Healthy"),
    (r#"{"kind": "DaskCluster", "metadata": {"generation": 1}, "status": {"phase": "Error"}}"#, "Degraded"),
    (
        r#"{"kind": "DaskCluster", "metadata": {"generation": 1}, "status": {"phase": "Running", "conditions": [
            {"type": "WorkersReady", "status": "False", "reason": "Starting", "message": "0 of 2", "observedGeneration": 1},
            {"type": "Ready", "status": "True", "reason": "Running", "message": "well", "observedGeneration": 1}]}}"#,
        "Healthy",
    ),
    (
        r#"{"kind": "DaskCluster", "metadata": {"generation": 2}, "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "reason": "Running", "message": "well", "observedGeneration": 1}]}}"#,
        "Progressing",
    ),
    (
        r#"{"kind": "DaskCluster", "metadata": {"generation": 1}, "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "False", "reason": "PodNotReady", "message": "soon", "observedGeneration": 1}]}}"#,
        "Progressing",
    ),
    (
        r#"{"kind": "DaskCluster", "metadata": {"generation": 1}, "status": {"phase": "Created", "conditions": [
            {"type": "Ready", "status": "False", "reason": "QuotaExceeded", "message": "no", "observedGeneration": 1}]}}"#,
        "Degraded",
    ),
    (
        r#"{"kind": "DaskWorkerGroup", "metadata": {"generation": 1}, "status": {"conditions": [
            {"type": "Ready", "status": "False", "reason": "Blocked", "message": "ImagePullBackOff", "observedGeneration": 1}]}}"#,
        "Degraded",
    ),
    (r#"{"kind": "DaskWorkerGroup", "metadata": {"generation": 1}}"#, "Healthy"),
    (r#"{"kind": "DaskJob", "metadata": {"generation": 1}, "status": {"jobStatus": "Running"}}"#, "Healthy"),
    (
        r#"{"kind": "DaskJob", "metadata": {"generation": 1}, "spec": {"suspend": true}, "status": {"jobStatus": "JobCreated"}}"#,
        "Suspended",
    ),
    (
        r#"{"kind": "DaskJob", "metadata": {"generation": 1}, "spec": {"suspend": true}, "status": {"jobStatus": "Successful"}}"#,
        "Healthy",
    ),
    (r#"{"kind": "DaskJob", "metadata": {"generation": 1}, "status": {"jobStatus": "Failed"}}"#, "Degraded"),
];

/// The shipped script says of each case what it should, and why.
pub(super) fn check(lua: &Path) -> Result<()> {
    let script = fs::read_to_string(shell::root().join(CHART).join("files/argocd-health.lua"))?;
    for (resource, expected) in CASES {
        let object: Value = serde_json::from_str(resource).context("a case is not JSON")?;
        let mut program = String::from("obj = ");
        literal(&object, &mut program);
        let _ = write!(program, "\nlocal function health()\n{script}\nend\nlocal said = health()\n");
        program.push_str("print(said.status .. '\\n' .. (said.message ~= '' and 'why' or 'no reason'))");
        let output = Command::new(lua).args(["-e", &program]).output().context("cannot start glua")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            said.trim() == format!("{expected}\nwhy"),
            "{resource}: {} {}, expected {expected}",
            said.trim(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Writes JSON as Lua does.
fn literal(value: &Value, into: &mut String) {
    match value {
        Value::Null => into.push_str("nil"),
        // What is ASCII has the same escapes in both.
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = write!(into, "{value}");
        }
        Value::Array(items) => {
            into.push('{');
            for item in items {
                literal(item, into);
                into.push(',');
            }
            into.push('}');
        }
        Value::Object(fields) => {
            into.push('{');
            for (name, field) in fields {
                let _ = write!(into, "[{}] = ", Value::from(name.as_str()));
                literal(field, into);
                into.push(',');
            }
            into.push('}');
        }
    }
}
