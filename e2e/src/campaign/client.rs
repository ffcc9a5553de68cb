//! The Dask client: a pod that reads from one pipe and writes to another.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;

use crate::program::PYTHON_IMAGE;
use crate::stage::Stage;

/// Its program.
const PROGRAM: &str = include_str!("client.py");
/// How long one answer may take; the first waits for the scheduler.
const ANSWER_MAX: Duration = Duration::from_mins(3);

/// A pod that does what it is told.
pub(super) struct Client {
    ask: pipe::Sender,
    answers: BufReader<pipe::Receiver>,
}

impl Client {
    /// Starts the pod, which shares this folder with us.
    pub(super) async fn start(stage: &Stage, folder: &Path, cluster: &str) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        // Open for both ends, so that neither side waits for the other here.
        let open = |name: &str| -> Result<(PathBuf, pipe::OpenOptions)> {
            let path = folder.join(name);
            crate::process::run(Command::new("mkfifo").arg(&path))?;
            let mut options = pipe::OpenOptions::new();
            options.read_write(true);
            Ok((path, options))
        };
        let (path, options) = open("ask")?;
        let ask = options.open_sender(path).context("cannot open a pipe")?;
        let (path, options) = open("answer")?;
        let answers = BufReader::new(options.open_receiver(path).context("cannot open a pipe")?);
        let scheduler = format!("tcp://{cluster}-scheduler.{}.svc.cluster.local:8786", stage.namespace);
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "client", "namespace": stage.namespace},
            "spec": {
                "restartPolicy": "Never",
                "containers": [{
                    "name": "client",
                    "image": PYTHON_IMAGE,
                    "args": ["python", "-c", PROGRAM, folder, scheduler],
                }],
            },
        });
        stage.create::<Pod>(&pod).await?;
        Ok(Self { ask, answers })
    }

    /// Has something done; what comes back.
    pub(super) async fn ask(&mut self, what: &str, mut request: Value) -> Result<Value> {
        request["do"] = what.into();
        self.ask.write_all(format!("{request}\n").as_bytes()).await?;
        let mut line = String::new();
        match tokio::time::timeout(ANSWER_MAX, self.answers.read_line(&mut line)).await {
            Ok(read) => read.context("the client's answer cannot be read")?,
            Err(_) => bail!("the client did not answer {what:?} within {} s", ANSWER_MAX.as_secs()),
        };
        serde_json::from_str(&line).with_context(|| format!("the client answered {line:?}"))
    }
}
