//! Process 1 of a container's process namespace.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::mount::{MsFlags, mount};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stdin};

use super::super::mounts;
use super::channel::Channel;
use super::program::{self, Opened};
use super::{ContainerOrder, LOST, ProgramOrder, Reply};

/// Prepares the container's view of the files and starts its program.
pub(super) fn run(mut channel: Channel) -> u8 {
    if set_pdeathsig(Signal::SIGKILL).is_err() || channel.send(&Reply::Ready).is_err() {
        return LOST;
    }
    let Ok(Some(order)) = channel.receive::<ContainerOrder>() else { return LOST };
    let Ok(opened) = Opened::receive(&mut channel, order.files) else { return LOST };
    let message = match prepare(&order) {
        Ok(program) => begin(&order, program, opened, channel),
        Err(message) => Err((message, channel)),
    };
    match message {
        Ok(code) => code,
        Err((message, mut channel)) => channel.send(&Reply::Failed { message }).map_or(LOST, |()| 128),
    }
}

fn prepare(order: &ContainerOrder) -> Result<PathBuf, String> {
    mount_proc()?;
    mounts::build(&order.mounts, &order.working_dir, &order.staging).map_err(|error| error.to_string())?;
    let path = order.env.iter().rev().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    let program = order.argv.first().ok_or("no command specified")?;
    find_program(program, path, &order.working_dir)
}

/// Own mounts, and a `/proc` that shows the processes of this namespace.
pub(super) fn mount_proc() -> Result<(), String> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|error| format!("cannot make mounts private: {error}"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none).map_err(|error| {
        format!("cannot mount a new /proc (an outer container may hide parts of it): {error}")
    })
}

type Lost = (String, Channel);

fn begin(order: &ContainerOrder, program: PathBuf, opened: Opened, channel: Channel) -> Result<u8, Lost> {
    if order.files.terminal {
        return begin_on_terminal(order, program, opened, channel);
    }
    let mut command = Command::new(program);
    if let Some(name) = order.argv.first() {
        command.arg0(name);
    }
    command.args(order.argv.iter().skip(1)).env_clear().envs(order.env.iter().cloned());
    command.current_dir(&order.working_dir).stdin(opened.into_stdin());
    if !order.init {
        // Returns only when it failed; success closes the channel.
        let error = unblock().err().unwrap_or_else(|| command.exec());
        return Err((said(order, &error.to_string()), channel));
    }
    let signals = SigSet::all();
    if let Err(error) = signals.thread_block() {
        return Err((error.to_string(), channel));
    }
    // What is started inherits the signal mask of the thread that starts it, and this one has to keep its signals blocked.
    let start = || unblock().and_then(|()| command.process_group(0).spawn());
    let lost = || Err(std::io::Error::other("the starting thread panicked"));
    match std::thread::scope(|scope| scope.spawn(start).join().unwrap_or_else(|_| lost())) {
        Err(error) => Err((said(order, &error.to_string()), channel)),
        Ok(child) => {
            // Held here, its input would stay open when it has closed it.
            drop(command);
            Ok(started(&child, signals, channel))
        }
    }
}

/// A program that is alone with its terminal needs a session of its own, which it begins itself.
fn begin_on_terminal(
    order: &ContainerOrder,
    program: PathBuf,
    opened: Opened,
    channel: Channel,
) -> Result<u8, Lost> {
    let ContainerOrder { argv, env, working_dir, files, init, .. } = order.clone();
    let order = ProgramOrder { program, argv, env, working_dir, files };
    if !init {
        return Err((program::turn_into(&order, opened), channel));
    }
    let signals = SigSet::all();
    if let Err(error) = signals.thread_block() {
        return Err((error.to_string(), channel));
    }
    match program::start(&order, &opened) {
        Err(message) => Err((message, channel)),
        Ok(child) => {
            drop(opened);
            Ok(started(&child, signals, channel))
        }
    }
}

fn started(child: &Child, signals: SigSet, mut channel: Channel) -> u8 {
    let _ = channel.send(&Reply::Started { process: 1 });
    drop(channel);
    if let Ok(null) = File::open("/dev/null") {
        let _ = dup2_stdin(null);
    }
    attend(child, signals)
}

/// Takes all signals in this thread.
fn unblock() -> std::io::Result<()> {
    Ok(SigSet::all().thread_unblock()?)
}

/// Reaps orphans and passes signals to the program's process group until the program ends.
/// The end of this process then ends everything else in the namespace.
fn attend(child: &Child, signals: SigSet) -> u8 {
    let program = Pid::from_raw(child.id() as i32);
    loop {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == program => return code as u8,
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => {
                    return 128_u8.saturating_add(signal as i32 as u8);
                }
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => {}
            }
        }
        match signals.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => {
                let _ = killpg(program, signal);
            }
        }
    }
}

/// In the words of runc.
fn said(order: &ContainerOrder, why: &str) -> String {
    let program = order.argv.first().map_or("", String::as_str);
    format!("failed to create containerd task: exec: {program:?}: {why}")
}

/// Finds a program as runc does: a name without a slash is looked up in the container's own `PATH`.
pub(super) fn find_program(program: &str, path: &str, working_dir: &Path) -> Result<PathBuf, String> {
    use std::os::unix::fs::PermissionsExt as _;
    let runnable = |path: &Path| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let fail = |why: &str| Err(format!("failed to create containerd task: exec: {program:?}: {why}"));
    if program.contains('/') {
        let candidate = working_dir.join(program);
        return match candidate.metadata() {
            Err(_) => fail(&format!("stat {program}: no such file or directory")),
            Ok(_) if runnable(&candidate) => Ok(candidate),
            Ok(_) => fail("permission denied"),
        };
    }
    let candidates =
        path.split(':').filter(|part| !part.is_empty()).map(|part| Path::new(part).join(program));
    match candidates.into_iter().find(|candidate| runnable(candidate)) {
        Some(found) => Ok(found),
        None => fail("executable file not found in $PATH"),
    }
}
