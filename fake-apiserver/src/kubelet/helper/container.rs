//! The supervisor of one container: joins the pod's namespaces, starts process 1, passes signals and the exit code on.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, dup2_stdin, sethostname, setsid};

use super::channel::Channel;
use super::program::Opened;
use super::{ContainerOrder, INIT, LOST, Reply, exit_code};

/// The signal by which the kubelet asks for the container to be killed: the supervisor itself must live on
/// to see that it is gone.
pub(in super::super) const KILL: Signal = Signal::SIGUSR2;

/// Starts the container and ends with its exit code.
pub(super) fn run(mut channel: Channel) -> u8 {
    let signals = SigSet::all();
    if set_pdeathsig(Signal::SIGKILL).is_err() || setsid().is_err() || signals.thread_block().is_err() {
        return LOST;
    }
    let Ok(Some(order)) = channel.receive::<ContainerOrder>() else { return LOST };
    let Ok(opened) = Opened::receive(&mut channel, order.files) else { return LOST };
    let init = match start(&order, opened, &mut channel) {
        Ok(init) => init,
        Err(message) => {
            return channel.send(&Reply::Failed { message }).map_or(LOST, |()| 128);
        }
    };
    drop(channel);
    if let Ok(null) = File::open("/dev/null") {
        let _ = dup2_stdin(null);
    }
    supervise(init, signals)
}

fn start(order: &ContainerOrder, opened: Opened, channel: &mut Channel) -> Result<Child, String> {
    let said = |what: &'static str| move |error: nix::Error| format!("cannot {what}: {error}");
    if let Some(sandbox) = order.sandbox {
        let path = format!("/proc/{sandbox}/ns/net");
        let namespace = File::open(&path).map_err(|error| format!("the pod's sandbox is gone: {error}"))?;
        setns(namespace, CloneFlags::CLONE_NEWNET).map_err(said("join the pod's network"))?;
    }
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWPID)
        .map_err(said("make the container's namespaces"))?;
    sethostname(&order.hostname).map_err(said("set the host name"))?;
    let (mut to_init, theirs) = Channel::pair().map_err(|error| error.to_string())?;
    let init = Command::new("/proc/self/exe").arg(INIT).stdin(Stdio::from(theirs)).spawn();
    let init = init.map_err(|error| format!("cannot start the container's init: {error}"))?;
    match relay(order, opened, &mut to_init, channel, init.id()) {
        Ok(()) => Ok(init),
        Err(message) => {
            let _ = supervise_to_the_end(init);
            Err(message)
        }
    }
}

/// Gives the order to the init process and tells the kubelet what comes of it.
fn relay(
    order: &ContainerOrder,
    opened: Opened,
    to_init: &mut Channel,
    channel: &mut Channel,
    process: u32,
) -> Result<(), String> {
    let lost = |error: std::io::Error| format!("the container's init ended early: {error}");
    // Only after `Ready` will the init die with this process, so only then may it begin.
    if to_init.receive::<Reply>().map_err(lost)? != Some(Reply::Ready) {
        return Err("the container's init did not start".into());
    }
    to_init.send(order).and_then(|()| opened.send(to_init)).map_err(lost)?;
    // Held here, they would stay open when the program has closed them.
    drop(opened);
    // A program that replaced the init closes the channel by its exec, without a word.
    match to_init.receive::<Reply>().map_err(lost)? {
        Some(Reply::Failed { message }) => Err(message),
        _ => channel.send(&Reply::Started { process: process as i32 }).map_err(|error| error.to_string()),
    }
}

fn supervise_to_the_end(mut init: Child) -> u8 {
    init.wait().map_or(LOST, exit_code)
}

fn supervise(mut init: Child, signals: SigSet) -> u8 {
    let process = Pid::from_raw(init.id() as i32);
    loop {
        match init.try_wait() {
            Ok(Some(status)) => return exit_code(status),
            Ok(None) => {}
            Err(_) => return LOST,
        }
        let _ = match signals.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => Ok(()),
            Ok(KILL) => kill(process, Signal::SIGKILL),
            Ok(other) => kill(process, other),
        };
    }
}
