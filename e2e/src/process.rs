//! Programs that run beside the stories.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

/// How long a program may take to end after SIGTERM.
const END_MAX: Duration = Duration::from_mins(1);
/// How often a program that starts or ends is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A program that ends with this value.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts it with its output in a file.
    ///
    /// # Errors
    /// When the program or the file cannot be had.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
        Ok(Self { child })
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a file is there that the program writes when it is ready.
    ///
    /// # Errors
    /// When the program ends before, or takes longer than `limit`.
    pub fn wait_for(&mut self, file: &Path, limit: Duration, log: &Path) -> Result<()> {
        let begun = Instant::now();
        while !file.exists() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status} before it was ready; see {}", log.display());
            }
            if begun.elapsed() > limit {
                bail!("it was not ready after {} s; see {}", limit.as_secs(), log.display());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits until it ends by itself; `None` if it takes longer than `limit`.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn finish(mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let begun = Instant::now();
        loop {
            let ended = self.child.try_wait().context("cannot wait for the program")?;
            if ended.is_some() || begun.elapsed() > limit {
                return Ok(ended);
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // The standard library can only kill; a program that is asked can clean up.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let begun = Instant::now();
        while begun.elapsed() < END_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end with its output on the terminal.
///
/// # Errors
/// When it cannot be started or fails; names the program.
pub fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot start {name}: is it installed?"))?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(())
}

/// Does this work, unless this program is told to end: then what it has started is dropped, and so taken down, and not left behind.
///
/// # Errors
/// Those of the work, or that there was no time for it.
pub async fn unless_told_to_end<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut terminated = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
    tokio::select! {
        biased;
        done = work => done,
        _ = terminated.recv() => bail!("told to end before everything was done"),
        _ = interrupted.recv() => bail!("interrupted before everything was done"),
    }
}

/// Does this work, which starts programs and waits for them, unless this program is told to end: then it tells them to end, and the
/// work ends with what it makes of that.
///
/// # Errors
/// Those of the work.
pub fn passing_on<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (begin, begun) = std::sync::mpsc::channel();
    let (done, over) = tokio::sync::oneshot::channel();
    std::thread::scope(|scope| {
        let working = scope.spawn(move || {
            begun.recv().context("nobody listens to signals")?;
            let result = work();
            // Whoever waits may have been told to end.
            let _ = done.send(());
            result
        });
        // Polled once signals are listened to: none is missed.
        let told = runtime.block_on(unless_told_to_end(async move {
            let _ = begin.send(());
            over.await.context("the work broke off")
        }));
        if let Err(why) = &told {
            eprintln!("{why:#}: what was started is told to end, too");
            for child in children() {
                let _ = Command::new("kill").args(["-TERM", &child]).status();
            }
        }
        working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The numbers of the processes that this one has started, where the system tells.
fn children() -> Vec<String> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_started_ends_with_this_program() {
        use std::os::unix::process::ExitStatusExt as _;
        let status = passing_on(|| {
            // Stands for whoever ends this program while the other one runs.
            let script = "kill -TERM $PPID; exec sleep 600";
            Ok(Command::new("sh").args(["-c", script]).status()?)
        });
        assert_eq!(status.unwrap().signal(), Some(15));
    }
}
