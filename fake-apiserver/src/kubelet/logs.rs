//! Container logs on disk, in the CRI format, rotated: 5 files of at most 10 MiB for each run, two runs for each container.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{broadcast, watch};

/// Files larger than this are put aside.
const FILE_MAX: u64 = 10 << 20;
/// Files kept for each run.
const FILES_KEPT: u32 = 5;
/// A longer line is stored in parts.
const LINE_MAX: usize = 16 << 10;
/// Pieces of output that listeners may be behind.
const TAP_MAX: usize = 64;

/// How far the writer of a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) bytes: u64,
    pub(super) rotations: u64,
    pub(super) closed: bool,
}

/// A stream of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Stdout,
    Stderr,
}

impl Source {
    /// Its name in the log.
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// What a container has written at once.
pub(super) type Written = (Source, Bytes);

/// The log of one run of a container.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) path: PathBuf,
    /// What is written goes here too, as it comes, while somebody listens.
    tap: broadcast::Sender<Written>,
    progress: watch::Sender<Progress>,
    file: Mutex<Option<(File, u64)>>,
}

impl Run {
    fn create(path: PathBuf) -> io::Result<Arc<Self>> {
        let file = open(&path)?;
        let (tap, progress) = (broadcast::Sender::new(TAP_MAX), watch::Sender::default());
        Ok(Arc::new(Self { path, tap, progress, file: Mutex::new(Some((file, 0))) }))
    }

    /// The writer's progress.
    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Everything that is written from now on. Who falls behind loses something, and is told.
    pub(super) fn tap(&self) -> broadcast::Receiver<Written> {
        self.tap.subscribe()
    }

    /// The file that was put aside so many rotations ago; 0 for the present one.
    pub(super) fn file_name(&self, age: u32) -> PathBuf {
        if age == 0 { self.path.clone() } else { self.path.with_extension(format!("log.{age}")) }
    }

    /// Nothing more will be written.
    pub(super) fn close(&self) {
        *self.lock() = None;
        self.progress.send_modify(|progress| progress.closed = true);
    }

    /// Stores what a container writes to one of its streams, until it ends.
    pub(super) async fn pump(self: Arc<Self>, mut reader: impl AsyncRead + Unpin, source: Source) {
        let stream = source.name();
        let (mut chunk, mut pending) = (vec![0; LINE_MAX], Vec::new());
        while let Ok(count) = reader.read(&mut chunk).await {
            if count == 0 {
                break;
            }
            if self.tap.receiver_count() > 0 {
                // The last listener may just have gone.
                let _ = self.tap.send((source, Bytes::copy_from_slice(&chunk[..count])));
            }
            pending.extend_from_slice(&chunk[..count]);
            let lines = take_lines(&mut pending, stream, Timestamp::now());
            self.append(&lines);
        }
        if !pending.is_empty() {
            self.append(&line(&pending, stream, 'P', Timestamp::now()));
        }
    }

    fn append(&self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let mut slot = self.lock();
        let Some((file, size)) = slot.as_mut() else { return };
        if let Err(error) = file.write_all(lines) {
            tracing::warn!(path = %self.path.display(), %error, "a container's log cannot be written");
            return;
        }
        *size += lines.len() as u64;
        let full = *size > FILE_MAX;
        if full {
            *slot = self.rotate().map(|file| (file, 0));
        }
        drop(slot);
        self.progress.send_modify(|progress| {
            progress.bytes += lines.len() as u64;
            progress.rotations += u64::from(full);
        });
    }

    fn rotate(&self) -> Option<File> {
        for age in (0..FILES_KEPT - 1).rev() {
            // The older ones need not exist yet.
            let _ = fs::rename(self.file_name(age), self.file_name(age + 1));
        }
        open(&self.path).ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(File, u64)>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last so many bytes of content, for `terminationMessagePolicy: FallbackToLogsOnError`.
    pub(super) fn tail(&self, lines: usize, bytes: usize) -> String {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let contents: Vec<&str> = text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
        let tail = contents[contents.len().saturating_sub(lines)..].join("\n");
        let from = (tail.len().saturating_sub(bytes)..=tail.len()).find(|&at| tail.is_char_boundary(at));
        tail[from.unwrap_or(0)..].to_owned()
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

fn line(content: &[u8], stream: &str, tag: char, now: Timestamp) -> Vec<u8> {
    let mut line = format!("{now:.9} {stream} {tag} ").into_bytes();
    line.extend_from_slice(content);
    line.push(b'\n');
    line
}

/// Takes the whole lines, and what is too long to wait for the rest of its line, out of `pending`.
fn take_lines(pending: &mut Vec<u8>, stream: &str, now: Timestamp) -> Vec<u8> {
    let (mut out, mut done) = (Vec::new(), 0);
    while let Some(length) = pending[done..].iter().position(|&byte| byte == b'\n') {
        out.extend(line(&pending[done..done + length], stream, 'F', now));
        done += length + 1;
    }
    if pending.len() - done >= LINE_MAX {
        out.extend(line(&pending[done..], stream, 'P', now));
        done = pending.len();
    }
    pending.drain(..done);
    out
}

/// Which logs there are. Logs of so many deleted pods are kept on disk.
#[derive(Debug)]
pub(super) struct LogBook {
    root: PathBuf,
    retained: usize,
    pods: Mutex<Pods>,
}

#[derive(Debug, Default)]
struct Pods {
    runs: BTreeMap<(String, String), Vec<Arc<Run>>>,
    deleted: VecDeque<PathBuf>,
}

impl LogBook {
    /// Logs are kept under `root`.
    pub(super) fn new(root: PathBuf, retained: usize) -> Self {
        Self { root, retained, pods: Mutex::default() }
    }

    /// The directory of a pod's logs: `namespace_name_uid`, as on a node.
    fn directory(&self, namespace: &str, pod: &str, uid: &str) -> PathBuf {
        self.root.join(format!("{namespace}_{pod}_{uid}"))
    }

    /// Begins the log of a new run; the run before the last is forgotten.
    pub(super) fn begin(
        &self,
        (namespace, pod, uid): (&str, &str, &str),
        container: &str,
        restarts: i32,
    ) -> io::Result<Arc<Run>> {
        let directory = self.directory(namespace, pod, uid).join(container);
        let run = Run::create(directory.join(format!("{restarts}.log")))?;
        let mut pods = self.lock();
        let runs = pods.runs.entry((uid.to_owned(), container.to_owned())).or_default();
        runs.push(run.clone());
        if runs.len() > 2 {
            let old = runs.remove(0);
            for age in 0..FILES_KEPT {
                let _ = fs::remove_file(old.file_name(age));
            }
        }
        Ok(run)
    }

    /// The log of the present run, or of the one before.
    pub(super) fn find(&self, uid: &str, container: &str, previous: bool) -> Option<Arc<Run>> {
        let pods = self.lock();
        let runs = pods.runs.get(&(uid.to_owned(), container.to_owned()))?;
        let index = if previous { runs.len().checked_sub(2)? } else { runs.len().checked_sub(1)? };
        runs.get(index).cloned()
    }

    /// The pod is gone: its logs can no longer be asked for, but stay on disk for a while.
    pub(super) fn retire(&self, namespace: &str, pod: &str, uid: &str) {
        let mut pods = self.lock();
        pods.runs.retain(|(owner, _), _| owner != uid);
        pods.deleted.push_back(self.directory(namespace, pod, uid));
        while pods.deleted.len() > self.retained {
            if let Some(oldest) = pods.deleted.pop_front() {
                let _ = fs::remove_dir_all(oldest);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_stored_in_parts() {
        let now = Timestamp::UNIX_EPOCH;
        let mut pending = b"one\ntw".to_vec();
        let stored = take_lines(&mut pending, "stdout", now);
        assert_eq!(String::from_utf8(stored).unwrap(), "1970-01-01T00:00:00.000000000Z stdout F one\n");
        assert_eq!(pending, b"tw");
        pending = vec![b'x'; LINE_MAX];
        let stored = String::from_utf8(take_lines(&mut pending, "stderr", now)).unwrap();
        assert!(stored.starts_with("1970-01-01T00:00:00.000000000Z stderr P xxx"));
        assert!(pending.is_empty());
    }

    #[test]
    fn only_the_last_two_runs_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let book = LogBook::new(directory.path().to_owned(), 0);
        let pod = ("ns", "p", "u");
        let first = book.begin(pod, "c", 0).unwrap();
        assert!(book.find("u", "c", true).is_none());
        book.begin(pod, "c", 1).unwrap();
        assert_eq!(book.find("u", "c", true).unwrap().path, first.path);
        book.begin(pod, "c", 2).unwrap();
        assert!(!first.path.exists());
        book.retire("ns", "p", "u");
        assert!(book.find("u", "c", false).is_none());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_full_file_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let run = Run::create(directory.path().join("0.log")).unwrap();
        run.append(&vec![b'x'; FILE_MAX as usize + 1]);
        run.append(b"next\n");
        assert!(run.file_name(1).exists());
        assert_eq!(fs::read(&run.path).unwrap(), b"next\n");
        assert_eq!(run.progress().borrow().rotations, 1);
    }
}
