//! Starting helper processes from one thread that lives as long as the kubelet.

use std::io;
use std::sync::mpsc;

use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// Starts processes.
///
/// The kernel kills a helper when the *thread* that started it ends (`PR_SET_PDEATHSIG`). The threads of a runtime come
/// and go, so one is kept for this: its end, by any cause, is the end of every pod.
#[derive(Clone, Debug)]
pub(super) struct Spawner(mpsc::Sender<Job>);

#[derive(Debug)]
struct Job {
    command: Command,
    reply: oneshot::Sender<io::Result<Child>>,
}

impl Spawner {
    /// Starts the thread. It ends when the last copy of the spawner is dropped.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new().name("pod-spawner".into()).spawn(move || {
            let _entered = runtime.enter();
            for mut job in jobs {
                // A caller that no longer waits drops the child, which kills it.
                let _ = job.reply.send(job.command.spawn());
            }
        })?;
        Ok(Self(sender))
    }

    /// Starts a process. The caller sets `kill_on_drop`.
    pub(super) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (reply, answer) = oneshot::channel();
        let ended = || io::Error::other("the kubelet is ending");
        self.0.send(Job { command, reply }).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}
