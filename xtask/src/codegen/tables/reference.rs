//! A running Kubernetes control plane to read facts from.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::control_plane::ControlPlane;

/// A control plane reached through `kubectl proxy`, which speaks plain HTTP.
pub(super) struct Reference {
    proxy: Child,
    address: String,
    /// Stays up as long as it is asked.
    _control_plane: ControlPlane,
}

impl Reference {
    /// Uses the reference control plane, see [`ControlPlane::start`].
    pub(super) fn start() -> Result<Self> {
        let control_plane = ControlPlane::start()?;
        let kubectl = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".into());
        let mut proxy = Command::new(&kubectl)
            .args(["proxy", "--port=0", "--kubeconfig"])
            .arg(&control_plane.kubeconfig)
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
        Ok(Self { address: address.to_owned(), proxy, _control_plane: control_plane })
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
    }
}
