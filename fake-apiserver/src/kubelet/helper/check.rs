//! Tries once what a node needs, in a process that can be thrown away.

use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::super::network;
use super::channel::Channel;
use super::{CHECK, Reply};

/// First as the node: enters its namespaces and makes its links. Then, called by itself, as a pod.
pub(super) fn run(mut channel: Channel) -> u8 {
    let inside = std::env::args_os().nth(2).is_some_and(|argument| argument == "pod");
    let checked = if inside { as_pod() } else { as_node() };
    let (reply, code) = match checked {
        Ok(()) => (Reply::Ready, 0),
        Err(message) => (Reply::Failed { message }, 1),
    };
    channel.send(&reply).map_or(1, |()| code)
}

fn as_node() -> Result<(), String> {
    super::super::sandbox::unshare_node()?;
    network::check_links()?;
    let none = None::<&str>;
    mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), none)
        .map_err(|error| format!("cannot mount a tmpfs: {error}"))?;
    umount2("/tmp", MntFlags::MNT_DETACH).map_err(|error| error.to_string())?;
    let spaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET;
    unshare(spaces).map_err(|error| format!("cannot make a pod's namespaces: {error}"))?;
    let (mut ours, theirs) = Channel::pair().map_err(|error| error.to_string())?;
    let child = Command::new("/proc/self/exe").args([CHECK, "pod"]).stdin(Stdio::from(theirs)).spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    let reply = ours.receive::<Reply>().map_err(|error| error.to_string())?;
    child.wait().map_err(|error| error.to_string())?;
    match reply {
        Some(Reply::Ready) => Ok(()),
        Some(Reply::Failed { message }) => Err(message),
        _ => Err("the check of the pod's namespaces ended without an answer".into()),
    }
}

fn as_pod() -> Result<(), String> {
    super::init::mount_proc()
}
