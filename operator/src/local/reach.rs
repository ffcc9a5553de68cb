//! The ways from the operator to plugins: it is in its node's network, where neither this machine's `127.0.0.1` nor Services' names are.
//!
//! Before the network is entered a second process is started, which stays outside and connects for it. It gets a line `HOST PORT` on
//! each connection to its socket, answers an empty line or what was wrong, and passes bytes on from then.

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use k8s_openapi::api::core::v1::Service;
use kube::core::ApiResource;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};

use crate::plugin::dial::{Connection, Dial};
use crate::store::{ObjectKey, Store};

/// Bytes of a line between the two.
const LINE_MAX: usize = 1_024;

/// The process outside; it ends with this one.
#[derive(Debug)]
pub(super) struct Outside {
    child: Child,
    socket: PathBuf,
    /// It ends when this is closed, however that comes about.
    _open: Option<ChildStdin>,
}

impl Outside {
    /// Starts it; to be called before the node's network is entered.
    pub(super) fn start(folder: &Path) -> io::Result<Self> {
        let socket = folder.join("outside.sock");
        // Of a run before in the same folder.
        let _ = std::fs::remove_file(&socket);
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["local", "--outside"]).arg(&socket);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut ready = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut ready)?;
        }
        if ready.is_empty() {
            return Err(io::Error::other("the process for connections to plugins has ended"));
        }
        let open = child.stdin.take();
        Ok(Self { child, socket, _open: open })
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process outside, until its input ends: then whoever it connects for is gone.
pub(super) fn serve(socket: &Path) -> ExitCode {
    std::thread::spawn(|| {
        // Nothing comes; an input that cannot be read has ended too.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let served = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        runtime.block_on(async {
            let listener = UnixListener::bind(socket)?;
            let mut out = io::stdout();
            out.write_all(b"ready\n").and_then(|()| out.flush())?;
            loop {
                let (stream, _) = listener.accept().await?;
                // Whoever asked notices that a connection has ended.
                tokio::spawn(async move { pass_on(stream).await.ok() });
            }
        })
    });
    let Err(error): io::Result<std::convert::Infallible> = served;
    eprintln!("dask-operator: no connections to plugins: {error}");
    ExitCode::FAILURE
}

async fn pass_on(mut inside: UnixStream) -> io::Result<()> {
    let line = line(&mut inside).await?;
    let (host, port) = line.split_once(' ').unwrap_or((&line, ""));
    let connected = match port.parse::<u16>() {
        Ok(port) => TcpStream::connect((host, port)).await,
        Err(_) => Err(io::Error::other("no port")),
    };
    match connected {
        Ok(mut outside) => {
            inside.write_all(b"\n").await?;
            tokio::io::copy_bidirectional(&mut inside, &mut outside).await?;
        }
        Err(error) => inside.write_all(format!("{error}\n").as_bytes()).await?,
    }
    Ok(())
}

/// A line without its end, byte by byte: what follows is not ours.
async fn line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return String::from_utf8(line).map_err(io::Error::other),
            _ if line.len() == LINE_MAX => return Err(io::Error::other("a line is too long")),
            byte => line.push(byte),
        }
    }
}

/// The ways out of the node's network: to Services by their addresses, to all else through the process outside.
pub(super) struct Ways {
    pub(super) outside: Outside,
    pub(super) store: Arc<dyn Store>,
}

impl Dial for Ways {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        async move {
            if let Some(service) = service(host) {
                let address = self.address(&service).await?;
                return Ok(
                    Box::new(TcpStream::connect((address.as_str(), port)).await?) as Box<dyn Connection>
                );
            }
            let mut stream = UnixStream::connect(&self.outside.socket).await?;
            stream.write_all(format!("{host} {port}\n").as_bytes()).await?;
            let refusal = line(&mut stream).await?;
            if refusal.is_empty() {
                Ok(Box::new(stream) as Box<dyn Connection>)
            } else {
                Err(io::Error::other(refusal))
            }
        }
        .boxed()
    }
}

impl Ways {
    async fn address(&self, service: &ObjectKey) -> io::Result<String> {
        let found =
            self.store.get(&ApiResource::erase::<Service>(&()), service).await.map_err(io::Error::other)?;
        let found = found.ok_or_else(|| io::Error::other(format!("there is no Service {service}")))?;
        let address = found.data["spec"]["clusterIP"].as_str().filter(|address| *address != "None");
        address
            .map(str::to_owned)
            .ok_or_else(|| io::Error::other(format!("the Service {service} has no address")))
    }
}

/// The Service that a name in the cluster stands for: `NAME.NAMESPACE.svc`, with or without the cluster's domain.
fn service(host: &str) -> Option<ObjectKey> {
    let host = host.strip_suffix(".cluster.local").unwrap_or(host);
    let (name, namespace) = host.strip_suffix(".svc")?.split_once('.')?;
    (!namespace.contains('.')).then(|| ObjectKey::namespaced(namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_services_are_known() {
        let told = |host: &str| service(host).map(|key| key.to_string());
        assert_eq!(told("payer.tools.svc").as_deref(), Some("tools/payer"));
        assert_eq!(told("payer.tools.svc.cluster.local").as_deref(), Some("tools/payer"));
        for other in ["127.0.0.1", "localhost", "svc", "a.svc", "plugin.example", "a.b.c.svc"] {
            assert_eq!(told(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn connections_go_through_the_process_outside() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move { pass_on(stream).await.ok() });
            }
        });
        let plugin = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = plugin.local_addr().unwrap().port();
        let ask = async |line: String| {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            stream.write_all(line.as_bytes()).await.unwrap();
            (super::line(&mut stream).await, stream)
        };
        let (answer, mut stream) = ask(format!("127.0.0.1 {port}\n")).await;
        assert_eq!(answer.unwrap(), "");
        let (mut accepted, _) = plugin.accept().await.unwrap();
        accepted.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        drop((plugin, accepted));
        assert!(ask(format!("127.0.0.1 {port}\n")).await.0.unwrap().contains("refused"));
        assert_eq!(ask("127.0.0.1\n".into()).await.0.unwrap(), "no port");
        assert!(ask("x".repeat(2_000)).await.0.is_err());
    }
}
