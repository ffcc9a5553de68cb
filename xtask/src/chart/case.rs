//! A set of values, and what Helm makes of it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::codegen::chart::CHART;
use crate::shell;

/// `snapshots/chart/NAME.case`; what is rendered of it is in `NAME.yaml` beside it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// Name of the release.
    #[serde(default = "usual_name")]
    release: String,
    /// Namespace of the release.
    #[serde(default = "usual_name")]
    namespace: String,
    /// Render the definitions too.
    #[serde(default)]
    include_crds: bool,
    /// API versions that the cluster serves besides Kubernetes' own.
    #[serde(default)]
    api_versions: Vec<String>,
    /// Values as on the command line.
    #[serde(default)]
    set: Vec<String>,
    /// Values as in a file.
    #[serde(default)]
    values: Value,
    /// Helm refuses the values, and says this.
    pub(super) refused: Option<String>,
}

fn usual_name() -> String {
    "dask".to_owned()
}

impl Case {
    /// What `helm template` writes, or why it refuses to.
    pub(super) fn render(&self, helm: &Path) -> Result<Result<String, String>> {
        let mut command = self.command(helm, "template");
        if self.include_crds {
            command.arg("--include-crds");
        }
        for version in &self.api_versions {
            command.args(["--api-versions", version]);
        }
        let output = self.output(command)?;
        Ok(if output.status.success() {
            Ok(String::from_utf8(output.stdout).context("what is rendered is not UTF-8")?)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        })
    }

    /// What is said after an install, as a comment.
    pub(super) fn notes(&self, helm: &Path, kubeconfig: &Path) -> Result<String> {
        let mut command = self.command(helm, "install");
        command.args(["--dry-run=server", "--output", "json"]).env("KUBECONFIG", kubeconfig);
        let output = self.output(command)?;
        ensure!(output.status.success(), "cannot be installed: {}", String::from_utf8_lossy(&output.stderr));
        let release: Value = serde_json::from_slice(&output.stdout).context("Helm does not answer JSON")?;
        let notes = release["info"]["notes"].as_str().context("there are no notes")?;
        let lines: Vec<String> =
            notes.trim_end().lines().map(|line| format!("# {line}").trim_end().to_owned()).collect();
        Ok(format!("---\n# NOTES\n#\n{}\n", lines.join("\n")))
    }

    fn command(&self, helm: &Path, verb: &str) -> Command {
        let mut command = Command::new(helm);
        command.args([verb, &self.release]).arg(shell::root().join(CHART));
        command.args(["--namespace", &self.namespace, "--values", "-"]);
        for set in &self.set {
            command.args(["--set", set]);
        }
        // A kubeconfig of the machine must not matter.
        command.env("KUBECONFIG", "/dev/null");
        command
    }

    fn output(&self, mut command: Command) -> Result<Output> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start helm")?;
        let values = if self.values.is_null() { "{}".to_owned() } else { self.values.to_string() };
        child.stdin.take().context("helm has no input")?.write_all(values.as_bytes())?;
        child.wait_with_output().context("cannot wait for helm")
    }
}
