//! A Python program in a pod of the Dask image, and what it says.

use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use serde_json::json;

use crate::stage::{Stage, phase};

/// The image that every cluster of the stories has, with Python and Dask in it.
pub(crate) const PYTHON_IMAGE: &str = "ghcr.io/dask/dask:latest";
/// How long a program may take to say what is waited for, or to end.
const SAYS_MAX: Duration = Duration::from_mins(4);
/// How often its log is looked at: following one ends with the API server that serves it.
const LOOK: Duration = Duration::from_millis(200);

/// A pod that runs a program.
pub struct Program<'a> {
    stage: &'a Stage,
    name: String,
}

impl<'a> Program<'a> {
    /// Starts the program with these arguments.
    ///
    /// # Errors
    /// When the cluster refuses the pod.
    pub async fn start(stage: &'a Stage, name: &str, program: &str, arguments: &[&str]) -> Result<Self> {
        let mut words = vec!["python", "-u", "-c", program];
        words.extend(arguments);
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "program",
                    "image": PYTHON_IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "args": words,
                }],
            },
        });
        stage.create::<Pod>(&pod).await?;
        Ok(Self { stage, name: name.to_owned() })
    }

    /// Waits until it has said this.
    ///
    /// # Errors
    /// When it ends or falls silent before; quotes it.
    pub async fn says(&self, wanted: &str) -> Result<()> {
        self.until(&format!("to say {wanted:?}"), |_, log| log.contains(wanted)).await?;
        Ok(())
    }

    /// Waits for its end, which must be a success; everything that it said.
    ///
    /// # Errors
    /// When it fails or does not end; quotes it.
    pub async fn succeeds(self) -> Result<String> {
        self.until("to succeed", |phase, _| phase == "Succeeded").await
    }

    async fn until(&self, what: &str, reached: impl Fn(&str, &str) -> bool) -> Result<String> {
        let pods = self.stage.api::<Pod>();
        let mut last = String::new();
        let waiting = async {
            loop {
                // The phase first: what was said before an end is then in the log. An API server that is away, or a container
                // that has not begun, gives no answer, and is asked again.
                if let Ok(pod) = pods.get(&self.name).await
                    && let Ok(log) = pods.logs(&self.name, &LogParams::default()).await
                {
                    last = log;
                    if reached(phase(&pod), &last) {
                        return Ok(());
                    }
                    if matches!(phase(&pod), "Succeeded" | "Failed") {
                        bail!("it ended as {}", phase(&pod));
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let waited = tokio::time::timeout(SAYS_MAX, waiting).await;
        match waited {
            Ok(Ok(())) => Ok(last),
            Ok(Err(error)) => bail!("waited for {} {what}, but {error}; it said:\n{last}", self.name),
            Err(_) => {
                bail!("waited {} s for {} {what}; it said:\n{last}", SAYS_MAX.as_secs(), self.name)
            }
        }
    }
}
