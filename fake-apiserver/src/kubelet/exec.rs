//! Commands that users run in containers: a helper that joins the container, and its streams.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncRead;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::container::code;
use super::helper::channel::AsyncChannel;
use super::helper::{EXEC, ExecOrder, Files, Reply};
use super::process::Spawner;
use super::streams::{Output, Terminal, TerminalReader};
use crate::face::{Session, Streams, TerminalSize};

/// How long a runtime may take to start a command (`--runtime-request-timeout`).
const START: Duration = Duration::from_mins(2);
/// How long after the end of a command those it has left behind may go on writing to its client.
const REST: Duration = Duration::from_secs(1);
/// How long a command may take to die.
const DEATH: Duration = Duration::from_secs(10);

/// Where commands run.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) spawner: Spawner,
    pub(super) helper: PathBuf,
    /// The container, and the environment of its commands; `argv` is empty.
    pub(super) order: ExecOrder,
}

impl Place {
    /// Starts a command. It dies when the session is dropped.
    pub(super) async fn run(self, argv: Vec<String>, streams: Streams) -> Result<Session, String> {
        let started = self.start(argv, streams).await;
        started.map_err(|why| format!("failed to exec in container: failed to start exec: {why}"))
    }

    async fn start(self, argv: Vec<String>, streams: Streams) -> Result<Session, String> {
        let said = |error: std::io::Error| error.to_string();
        let (mut channel, theirs) = AsyncChannel::pair().map_err(said)?;
        let mut command = Command::new(&self.helper);
        command.arg(EXEC).stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        command.kill_on_drop(true);
        let child = self.spawner.spawn(command).await.map_err(said)?;
        let (ends, files) = Ends::open(streams).map_err(said)?;
        let mut order = ExecOrder { argv, files: Some(ends.files), ..self.order };
        if streams.tty {
            // As runtimes do for every terminal.
            order.env.push(("TERM".into(), "xterm".into()));
        }
        let (drop_guard, dropped) = oneshot::channel::<()>();
        let (tell, exit) = watch::channel(None);
        tokio::spawn(attend(child, dropped, tell));
        let begun = async {
            channel.send(&order).await.map_err(said)?;
            for file in files {
                channel.send_file(file).await.map_err(said)?;
            }
            channel.receive::<Reply>().await.map_err(said)
        };
        match timeout(START, begun).await {
            Ok(Ok(Some(Reply::Started { .. }))) => Ok(ends.session(drop_guard, &exit)),
            Ok(Ok(Some(Reply::Failed { message }))) => Err(message),
            Ok(Ok(_)) => Err("the command's helper ended early".into()),
            Ok(Err(why)) => Err(why),
            Err(_) => Err("context deadline exceeded".into()),
        }
    }
}

/// Waits for the command's end, and brings it about when nobody waits for the command any more.
async fn attend(mut child: Child, dropped: oneshot::Receiver<()>, tell: watch::Sender<Option<i32>>) {
    let process = child.id().map(|id| Pid::from_raw(id as i32));
    let status = tokio::select! {
        biased;
        status = child.wait() => status,
        _ = dropped => {
            if let Some(process) = process {
                // Any signal makes the helper kill the command.
                let _ = kill(process, Signal::SIGTERM);
            }
            match timeout(DEATH, child.wait()).await {
                Ok(status) => status,
                Err(_) => return,
            }
        }
    };
    tell.send_replace(Some(status.map_or(255, code)));
}

/// The kubelet's ends of the streams.
#[derive(Default)]
struct Ends {
    files: Files,
    terminal: Option<OnTerminal>,
    stdin: Option<pipe::Sender>,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
}

impl Ends {
    /// The kubelet's ends, and the command's.
    fn open(streams: Streams) -> std::io::Result<(Self, Vec<OwnedFd>)> {
        let mut ends = Self::default();
        let mut theirs = Vec::new();
        if streams.tty {
            let (terminal, end) = Terminal::open()?;
            ends.files.terminal = true;
            ends.terminal = Some(OnTerminal {
                stdin: if streams.stdin { Some(terminal.writer()?) } else { None },
                stdout: terminal.reader()?,
                sizes: terminal.sizes()?,
            });
            theirs.push(end);
            return Ok((ends, theirs));
        }
        ends.files =
            Files { terminal: false, stdin: streams.stdin, stdout: streams.stdout, stderr: streams.stderr };
        if streams.stdin {
            let (reader, writer) = std::io::pipe()?;
            ends.stdin = Some(pipe::Sender::from_owned_fd(writer.into())?);
            theirs.push(reader.into());
        }
        for (wanted, end) in [(streams.stdout, &mut ends.stdout), (streams.stderr, &mut ends.stderr)] {
            if wanted {
                let (reader, writer) = std::io::pipe()?;
                *end = Some(pipe::Receiver::from_owned_fd(reader.into())?);
                theirs.push(writer.into());
            }
        }
        Ok((ends, theirs))
    }

    /// The client's session.
    fn session(self, guard: oneshot::Sender<()>, exit: &watch::Receiver<Option<i32>>) -> Session {
        let over = || -> BoxFuture<'static, ()> {
            let mut exit = exit.clone();
            async move {
                // An error means that the command cannot be waited for any more.
                let _ = exit.wait_for(Option::is_some).await;
                tokio::time::sleep(REST).await;
            }
            .boxed()
        };
        let mut waited = exit.clone();
        let ended = async move {
            let _guard = guard;
            let code = waited.wait_for(Option::is_some).await.map(|code| *code);
            code.ok().flatten().ok_or_else(|| "the command could not be waited for".to_owned())
        }
        .boxed();
        if let Some(terminal) = self.terminal {
            return terminal.session(over(), ended);
        }
        let output = |reader: Option<pipe::Receiver>| {
            reader.map(|reader| Box::new(Output::new(reader, over())) as Box<dyn AsyncRead + Send + Unpin>)
        };
        Session {
            stdin: self.stdin.map(|stdin| Box::new(stdin) as _),
            stdout: output(self.stdout),
            stderr: output(self.stderr),
            resize: None,
            ended,
        }
    }
}

/// The same on a terminal.
struct OnTerminal {
    stdin: Option<pipe::Sender>,
    stdout: TerminalReader,
    sizes: mpsc::Sender<TerminalSize>,
}

impl OnTerminal {
    fn session(
        self,
        over: BoxFuture<'static, ()>,
        ended: BoxFuture<'static, Result<i32, String>>,
    ) -> Session {
        Session {
            stdin: self.stdin.map(|stdin| Box::new(stdin) as _),
            stdout: Some(Box::new(Output::new(self.stdout, over))),
            stderr: None,
            resize: Some(self.sizes),
            ended,
        }
    }
}
