//! One run of a container: its supervising helper, its log, and how it is stopped.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::attach::Input;
use super::helper::channel::AsyncChannel;
use super::helper::{CONTAINER, ContainerOrder, EXEC, ExecOrder, Files, KILL, Reply};
use super::logs::{Run, Source};
use super::process::Spawner;
use super::streams::Terminal;

/// How long a container runtime may take to start a container (`--runtime-request-timeout`).
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// How long after a container's end its last output may take.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);
/// Output of a probe that is kept for messages.
const OUTPUT_MAX: u64 = 10 << 10;

/// A running container. Killed when dropped.
#[derive(Debug)]
pub(super) struct Container {
    commands: mpsc::UnboundedSender<Stop>,
    /// Process 1 of the container, as the node sees it.
    pub(super) process: i32,
    /// Environment, for commands that are run inside later.
    pub(super) env: Vec<(String, String)>,
    /// Where those commands start.
    pub(super) working_dir: std::path::PathBuf,
    /// What it reads from.
    pub(super) input: Input,
}

/// TERM now, KILL after the grace period.
#[derive(Clone, Copy, Debug)]
struct Stop {
    grace: Duration,
}

impl Container {
    /// Starts a container; an error is the runtime's message. `ended` receives the exit code, after the last output.
    pub(super) async fn start(
        spawner: &Spawner,
        helper: &Path,
        order: ContainerOrder,
        log: Arc<Run>,
        ended: impl FnOnce(i32) + Send + 'static,
    ) -> Result<Self, String> {
        let (mut channel, theirs) = AsyncChannel::pair().map_err(|error| error.to_string())?;
        let mut command = Command::new(helper);
        command.arg(CONTAINER).stdin(Stdio::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.current_dir("/").kill_on_drop(true);
        let (input, file) = open_input(order.files).map_err(|error| error.to_string())?;
        let mut child = spawner.spawn(command).await.map_err(|error| error.to_string())?;
        let terminal = match &input {
            Input::Terminal(terminal, _) => Some(terminal.reader().map_err(|error| error.to_string())?),
            _ => None,
        };
        let outputs = [
            terminal.map(|terminal| tokio::spawn(log.clone().pump(terminal, Source::Stdout))),
            child.stdout.take().map(|stdout| tokio::spawn(log.clone().pump(stdout, Source::Stdout))),
            child.stderr.take().map(|stderr| tokio::spawn(log.clone().pump(stderr, Source::Stderr))),
        ];
        let process = match begin(&mut channel, &order, file).await {
            Ok(process) => process,
            Err(message) => {
                let _ = child.kill().await;
                log.close();
                return Err(message);
            }
        };
        let (commands, orders) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let code = supervise(child, orders).await;
            for output in outputs.into_iter().flatten() {
                let _ = timeout(LOG_TIMEOUT, output).await;
            }
            log.close();
            ended(code);
        });
        Ok(Self { commands, process, env: order.env, working_dir: order.working_dir, input })
    }

    /// Asks the container to end, and kills it after the grace period.
    pub(super) fn stop(&self, grace: Duration) {
        // It may have ended already.
        let _ = self.commands.send(Stop { grace });
    }

    /// How to run a command inside.
    pub(super) fn exec_order(&self, argv: Vec<String>) -> ExecOrder {
        ExecOrder {
            process: self.process,
            argv,
            env: self.env.clone(),
            working_dir: self.working_dir.clone(),
            files: None,
        }
    }

    /// A way to stop the container later, from another task.
    pub(super) fn stopper(&self) -> impl FnOnce(Duration) + Send + use<> {
        let commands = self.commands.clone();
        move |grace| {
            let _ = commands.send(Stop { grace });
        }
    }
}

/// The kubelet's end of what a container reads from, and the container's.
fn open_input(files: Files) -> std::io::Result<(Input, Option<OwnedFd>)> {
    if files.terminal {
        let (terminal, file) = Terminal::open()?;
        return Ok((Input::Terminal(Arc::new(terminal), files.stdin), Some(file)));
    }
    if !files.stdin {
        return Ok((Input::None, None));
    }
    let (reader, writer) = std::io::pipe()?;
    Ok((Input::Pipe(Arc::new(Mutex::new(Some(writer.into())))), Some(reader.into())))
}

async fn begin(
    channel: &mut AsyncChannel,
    order: &ContainerOrder,
    file: Option<OwnedFd>,
) -> Result<i32, String> {
    channel.send(order).await.map_err(|error| error.to_string())?;
    if let Some(file) = file {
        channel.send_file(file).await.map_err(|error| error.to_string())?;
    }
    match timeout(START_TIMEOUT, channel.receive::<Reply>()).await {
        Ok(Ok(Some(Reply::Started { process }))) => Ok(process),
        Ok(Ok(Some(Reply::Failed { message }))) => Err(message),
        Ok(Ok(_)) => Err("the container's supervisor ended early".into()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("context deadline exceeded".into()),
    }
}

async fn supervise(mut child: Child, mut orders: mpsc::UnboundedReceiver<Stop>) -> i32 {
    let process = child.id().map(|id| Pid::from_raw(id as i32));
    let signal = |signal: Signal| {
        if let Some(process) = process {
            // Not reaped before `wait` returns, so the number is still this process's.
            let _ = kill(process, signal);
        }
    };
    let mut deadline: Option<Instant> = None;
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return status.map_or(255, code),
            order = orders.recv(), if open => {
                if let Some(Stop { grace }) = order {
                    let until = Instant::now() + grace;
                    deadline = Some(deadline.map_or(until, |deadline| deadline.min(until)));
                    signal(if grace.is_zero() { KILL } else { Signal::SIGTERM });
                } else {
                    open = false;
                    signal(KILL);
                }
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                deadline = None;
                signal(KILL);
            }
        }
    }
}

pub(super) fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// Runs a command inside a container: exit code and the beginning of its output. An error is a message.
pub(super) async fn exec(
    spawner: &Spawner,
    helper: &Path,
    order: &ExecOrder,
    limit: Duration,
) -> Result<(i32, String), String> {
    let (mut channel, theirs) = AsyncChannel::pair().map_err(|error| error.to_string())?;
    let mut command = Command::new(helper);
    command.arg(EXEC).stdin(Stdio::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    let mut child = spawner.spawn(command).await.map_err(|error| error.to_string())?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let process = child.id().map(|id| Pid::from_raw(id as i32));
    let work = async {
        channel.send(order).await.map_err(|error| error.to_string())?;
        let reply = channel.receive::<Reply>().await.map_err(|error| error.to_string())?;
        if let Some(Reply::Failed { message }) = reply {
            return Err(message);
        }
        let (out, err, status) = tokio::join!(capture(stdout), capture(stderr), child.wait());
        Ok((status.map_or(255, code), [out, err].concat()))
    };
    if let Ok(done) = timeout(limit, work).await {
        return done;
    }
    if let Some(process) = process {
        // Any signal makes the helper kill the command.
        let _ = kill(process, Signal::SIGTERM);
    }
    let _ = timeout(LOG_TIMEOUT, child.wait()).await;
    Err(format!("command {:?} timed out", order.argv.join(" ")))
}

async fn capture(reader: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(mut reader) = reader {
        let _ = (&mut reader).take(OUTPUT_MAX).read_to_end(&mut kept).await;
        // The command must not block on a full pipe.
        let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&kept).into_owned()
}
