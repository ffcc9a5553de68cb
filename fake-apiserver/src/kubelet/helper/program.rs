//! The last step before a program: a session of its own, and its terminal.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::setsid;
use rustix::process::ioctl_tiocsctty;

use super::channel::Channel;
use super::{Files, LOST, PROGRAM, ProgramOrder, Reply};

/// The streams of a program.
#[derive(Debug, Default)]
pub(super) struct Opened(Vec<OwnedFd>);

impl Opened {
    /// Takes the files that follow an order.
    pub(super) fn receive(channel: &mut Channel, files: Files) -> std::io::Result<Self> {
        let Files { terminal, stdin, stdout, stderr } = files;
        let wanted = if terminal { [true, false, false] } else { [stdin, stdout, stderr] };
        let count = wanted.into_iter().filter(|wanted| *wanted).count();
        (0..count).map(|_| channel.receive_file()).collect::<Result<_, _>>().map(Self)
    }

    /// The only file there is, as standard input; nothing is the end of input.
    pub(super) fn into_stdin(self) -> Stdio {
        self.0.into_iter().next().map_or_else(Stdio::null, Stdio::from)
    }

    /// Passes them on.
    pub(super) fn send(&self, channel: &mut Channel) -> std::io::Result<()> {
        self.0.iter().try_for_each(|file| channel.send_file(file))
    }
}

/// Starts a process that becomes the program; it dies with this one. In the words of a runtime if it fails.
pub(super) fn start(order: &ProgramOrder, opened: &Opened) -> Result<Child, String> {
    let lost = |error: std::io::Error| format!("the program's helper ended early: {error}");
    let (mut channel, theirs) = Channel::pair().map_err(|error| error.to_string())?;
    let mut command = Command::new("/proc/self/exe");
    command.arg(PROGRAM).stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let spawned = command.spawn();
    // It holds the far end of the channel, whose closing is waited for below.
    drop(command);
    let mut child = spawned.map_err(|error| format!("cannot start a program's helper: {error}"))?;
    let mut begin = || {
        // Only after `Ready` will it die with this process, so only then may it begin.
        if channel.receive::<Reply>().map_err(lost)? != Some(Reply::Ready) {
            return Err("the program's helper did not start".to_owned());
        }
        channel.send(order).and_then(|()| opened.send(&mut channel)).map_err(lost)?;
        // The program closes the channel by its exec, without a word.
        match channel.receive::<Reply>().map_err(lost)? {
            Some(Reply::Failed { message }) => Err(message),
            _ => Ok(()),
        }
    };
    match begin() {
        Ok(()) => Ok(child),
        Err(message) => {
            let _ = (child.kill(), child.wait());
            Err(message)
        }
    }
}

/// Becomes the program.
pub(super) fn run(mut channel: Channel) -> u8 {
    if set_pdeathsig(Signal::SIGKILL).is_err() || channel.send(&Reply::Ready).is_err() {
        return LOST;
    }
    let Ok(Some(order)) = channel.receive::<ProgramOrder>() else { return LOST };
    let Ok(opened) = Opened::receive(&mut channel, order.files) else { return LOST };
    // Returns only when it failed; success closes the channel.
    let message = turn_into(&order, opened);
    channel.send(&Reply::Failed { message }).map_or(LOST, |()| 126)
}

/// Replaces this process; the answer says why that was not possible.
pub(super) fn turn_into(order: &ProgramOrder, opened: Opened) -> String {
    let name = order.argv.first().map_or("", String::as_str);
    let mut command = Command::new(&order.program);
    command.arg0(name).args(order.argv.iter().skip(1)).env_clear().envs(order.env.iter().cloned());
    command.current_dir(&order.working_dir);
    let mut files = opened.0.into_iter();
    let prepared = setsid().map_err(std::io::Error::from).and_then(|_| {
        if order.files.terminal {
            let terminal = files.next().ok_or_else(|| std::io::Error::other("there is no terminal"))?;
            ioctl_tiocsctty(&terminal)?;
            command.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal);
        } else {
            let mut next =
                |wanted: bool| wanted.then(|| files.next()).flatten().map_or_else(Stdio::null, Stdio::from);
            command.stdin(next(order.files.stdin));
            command.stdout(next(order.files.stdout)).stderr(next(order.files.stderr));
        }
        Ok(SigSet::all().thread_unblock()?)
    });
    let error = prepared.err().unwrap_or_else(|| command.exec());
    format!("exec: {name:?}: {error}")
}
