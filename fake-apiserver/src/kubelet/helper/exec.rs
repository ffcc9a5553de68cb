//! One more command inside a running container.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, setns};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::{Pid, setsid};

use super::channel::Channel;
use super::init::find_program;
use super::program::{self, Opened};
use super::{ExecOrder, LOST, ProgramOrder, Reply, exit_code};

/// Joins the container, runs the command and ends with its exit code. Any signal kills the command.
pub(super) fn run(mut channel: Channel) -> u8 {
    let signals = SigSet::all();
    if set_pdeathsig(Signal::SIGKILL).is_err() || setsid().is_err() || signals.thread_block().is_err() {
        return LOST;
    }
    let Ok(Some(order)) = channel.receive::<ExecOrder>() else { return LOST };
    let opened = order.files.map(|files| Opened::receive(&mut channel, files)).transpose();
    let Ok(opened) = opened else { return LOST };
    match start(&order, opened) {
        Ok(child) => {
            let _ = channel.send(&Reply::Started { process: child.id() as i32 });
            attend(child, signals)
        }
        Err(message) => channel.send(&Reply::Failed { message }).map_or(LOST, |()| 126),
    }
}

fn start(order: &ExecOrder, opened: Option<Opened>) -> Result<Child, String> {
    let gone = |error: std::io::Error| format!("the container is gone: {error}");
    let kinds = [
        ("net", CloneFlags::CLONE_NEWNET),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("pid", CloneFlags::CLONE_NEWPID),
        ("mnt", CloneFlags::CLONE_NEWNS),
    ];
    // All are opened before the first is joined: afterwards /proc is the container's.
    let mut namespaces = Vec::new();
    for (name, kind) in kinds {
        namespaces.push((File::open(format!("/proc/{}/ns/{name}", order.process)).map_err(gone)?, kind));
    }
    for (namespace, kind) in namespaces {
        setns(namespace, kind).map_err(|error| format!("cannot join the container: {error}"))?;
    }
    let path = order.env.iter().rev().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    let name = order.argv.first().ok_or("no command specified")?;
    let program = find_program(name, path, &order.working_dir)?;
    if let (Some(files), Some(opened)) = (order.files, opened) {
        let ExecOrder { argv, env, working_dir, .. } = order.clone();
        return program::start(&ProgramOrder { program, argv, env, working_dir, files }, &opened);
    }
    let mut command = Command::new(program);
    command.arg0(name).args(order.argv.iter().skip(1)).env_clear().envs(order.env.iter().cloned());
    command.current_dir(&order.working_dir).stdin(Stdio::null()).process_group(0);
    command.spawn().map_err(|error| format!("exec: {name:?}: {error}"))
}

fn attend(mut child: Child, signals: SigSet) -> u8 {
    let group = Pid::from_raw(child.id() as i32);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return exit_code(status),
            Ok(None) => {}
            Err(_) => return LOST,
        }
        if !matches!(signals.wait(), Ok(Signal::SIGCHLD) | Err(_)) {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
