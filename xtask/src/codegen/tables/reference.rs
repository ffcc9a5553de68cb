//! A running Kubernetes control plane to read facts from.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A control plane reached through `kubectl proxy`, which speaks plain HTTP.
pub(super) struct Reference {
    proxy: Child,
    address: String,
    stop: Option<(PathBuf, PathBuf)>,
}

impl Reference {
    /// Uses the cluster of `REFERENCE_KUBECONFIG`, or starts one from the folder `CONTROL_PLANE`
    /// (default `../shared/control-plane`; its `up` honours `KUBEBUILDER_ASSETS`).
    pub(super) fn start() -> Result<Self> {
        let (kubeconfig, stop) = match std::env::var_os("REFERENCE_KUBECONFIG") {
            Some(path) => (PathBuf::from(path), None),
            None => start_control_plane()?,
        };
        let kubectl = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".into());
        let mut proxy = Command::new(&kubectl)
            .args(["proxy", "--port=0", "--kubeconfig"])
            .arg(&kubeconfig)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {kubectl}; install kubectl or name one in KUBECTL"))?;
        let mut line = String::new();
        if let Some(stdout) = proxy.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let Some(address) = line.trim().rsplit(' ').next().filter(|a| a.contains(':')) else {
            bail!("kubectl proxy said {line:?} instead of its address");
        };
        Ok(Self { address: address.to_owned(), proxy, stop })
    }

    /// The JSON answer to a GET. HTTP/1.0, so that the body is neither chunked nor compressed.
    pub(super) fn get(&self, path: &str, accept: &str) -> Result<Value> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else {
            bail!("GET {path}: no complete answer");
        };
        let head = String::from_utf8_lossy(&answer[..end]);
        let first = head.lines().next().unwrap_or_default();
        if !first.contains(" 200 ") {
            bail!("GET {path}: {first}");
        }
        serde_json::from_slice(&answer[end + 4..]).with_context(|| format!("GET {path}: not JSON"))
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
        if let Some((down, folder)) = &self.stop {
            let _ = Command::new(down).arg(folder).arg("--wipe").stdout(Stdio::null()).status();
        }
    }
}

type Started = (PathBuf, Option<(PathBuf, PathBuf)>);

fn start_control_plane() -> Result<Started> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder =
        std::env::var_os("CONTROL_PLANE").map_or_else(|| root.join("../shared/control-plane"), PathBuf::from);
    let up = folder.join("up");
    if !up.exists() {
        bail!(
            "no reference control plane: {} does not exist. Name a running cluster in REFERENCE_KUBECONFIG, \
             or a folder with the scripts `up` and `down` in CONTROL_PLANE",
            up.display()
        );
    }
    let state = root.join("target/reference-control-plane");
    let output = Command::new(&up)
        .arg(&state)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", up.display()))?;
    if !output.status.success() {
        bail!("{} failed ({}); its logs are in {}", up.display(), output.status, state.display());
    }
    Ok((state.join("kubeconfig"), Some((folder.join("down"), state))))
}
