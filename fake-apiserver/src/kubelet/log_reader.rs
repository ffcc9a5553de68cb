//! Reading container logs, as `kubectl logs` asks for it.

use bytes::Bytes;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::logs::{LogBook, Progress, Run};
use crate::face::{LogOptions, LogStream, PodContainer};
use crate::status::Status;

/// Opens the log of a container's present or previous run.
pub(super) fn open(logs: &LogBook, target: &PodContainer, options: &LogOptions) -> Result<LogStream, Status> {
    let PodContainer { pod, container, .. } = target;
    let run = logs.find(&target.uid, container, options.previous).ok_or_else(|| {
        Status::bad_request(if options.previous {
            format!("previous terminated container {container:?} in pod {pod:?} not found")
        } else {
            format!("container {container:?} in pod {pod:?} is waiting to start: ContainerCreating")
        })
    })?;
    let filter = Filter::new(options, Timestamp::now())?;
    let follow = options.follow;
    let (sender, receiver) = mpsc::channel(16);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _ = read(&run, follow, &mut Sink { filter, sender, kept: VecDeque::new(), runtime });
    });
    let lines = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|line| (Ok(line), receiver))
    });
    Ok(lines.boxed())
}

#[derive(Debug)]
struct Filter {
    since: Option<Timestamp>,
    tail: Option<usize>,
    limit: usize,
    timestamps: bool,
}

impl Filter {
    fn new(options: &LogOptions, now: Timestamp) -> Result<Self, Status> {
        let since =
            match (&options.since_time, options.since_seconds) {
                (Some(text), _) => {
                    let time = text.parse();
                    Some(time.map_err(|error| {
                        Status::bad_request(format!("invalid sinceTime {text:?}: {error}"))
                    })?)
                }
                (None, Some(seconds)) => now.checked_sub(SignedDuration::from_secs(seconds)).ok(),
                (None, None) => None,
            };
        let limit = options.limit_bytes.unwrap_or(usize::MAX);
        Ok(Self { since, tail: options.tail_lines, limit, timestamps: options.timestamps })
    }

    /// What the reader gets of a stored line.
    fn render(&self, stored: &str) -> Option<Bytes> {
        let mut parts = stored.trim_end_matches('\n').splitn(4, ' ');
        let (time, _stream, tag) = (parts.next()?, parts.next()?, parts.next()?);
        let content = parts.next().unwrap_or_default();
        if let Some(since) = self.since
            && time.parse::<Timestamp>().is_ok_and(|time| time < since)
        {
            return None;
        }
        let end = if tag.starts_with('P') { "" } else { "\n" };
        let line = if self.timestamps { format!("{time} {content}{end}") } else { format!("{content}{end}") };
        Some(line.into())
    }
}

/// The reader is gone, or has had as much as it wanted.
struct Enough;

struct Sink {
    filter: Filter,
    sender: mpsc::Sender<Bytes>,
    /// The last lines so far, while the end of the log has not been reached.
    kept: VecDeque<Bytes>,
    runtime: Handle,
}

impl Sink {
    fn take(&mut self, stored: &str) -> Result<(), Enough> {
        let Some(line) = self.filter.render(stored) else { return Ok(()) };
        let Some(tail) = self.filter.tail else { return self.send(line) };
        self.kept.push_back(line);
        while self.kept.len() > tail {
            self.kept.pop_front();
        }
        Ok(())
    }

    /// The end of what is there: from now on lines are sent as they come.
    fn caught_up(&mut self) -> Result<(), Enough> {
        self.filter.tail = None;
        while let Some(line) = self.kept.pop_front() {
            self.send(line)?;
        }
        Ok(())
    }

    fn send(&mut self, mut line: Bytes) -> Result<(), Enough> {
        line.truncate(self.filter.limit);
        self.filter.limit -= line.len();
        if !line.is_empty() {
            self.sender.blocking_send(line).map_err(|_| Enough)?;
        }
        if self.filter.limit == 0 { Err(Enough) } else { Ok(()) }
    }

    fn wait(&self, progress: &mut watch::Receiver<Progress>) -> Result<(), Enough> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.sender.closed() => Err(Enough),
                changed = progress.changed() => changed.map_err(|_| Enough),
            }
        })
    }
}

fn read(run: &Run, follow: bool, sink: &mut Sink) -> Result<(), Enough> {
    let mut progress = run.progress();
    let mut seen = *progress.borrow_and_update();
    let oldest = (1..10).take_while(|&age| run.file_name(age).exists()).last().unwrap_or(0);
    for age in (1..=oldest).rev() {
        if let Ok(file) = File::open(run.file_name(age)) {
            drain(&mut BufReader::new(file), &mut String::new(), sink)?;
        }
    }
    let mut part = String::new();
    let Ok(file) = File::open(&run.path) else { return Ok(()) };
    let mut file = BufReader::new(file);
    loop {
        drain(&mut file, &mut part, sink)?;
        let now = *progress.borrow_and_update();
        if now.rotations != seen.rotations {
            // What was being read has been put aside; finish it, then go on with the new file.
            drain(&mut file, &mut part, sink)?;
            seen = now;
            let Ok(next) = File::open(&run.path) else { return Ok(()) };
            file = BufReader::new(next);
            continue;
        }
        if now.bytes != seen.bytes {
            seen = now;
            continue;
        }
        sink.caught_up()?;
        if !follow || now.closed {
            return Ok(());
        }
        sink.wait(&mut progress)?;
    }
}

/// Passes on every whole line up to the end of the file; the rest stays in `part`.
fn drain(file: &mut BufReader<File>, part: &mut String, sink: &mut Sink) -> Result<(), Enough> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match file.read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => part.push_str(&String::from_utf8_lossy(&bytes)),
        }
        if part.ends_with('\n') {
            sink.take(part)?;
            part.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::logs::Source;
    use super::*;

    const TEXT: &[u8] = b"one\ntwo\nthree\n";

    async fn lines(options: LogOptions) -> String {
        let directory = tempfile::tempdir().unwrap();
        let book = LogBook::new(directory.path().to_owned(), 0);
        let run = book.begin(("ns", "p", "u"), "c", 0).unwrap();
        run.clone().pump(TEXT, Source::Stdout).await;
        run.close();
        let target = PodContainer { uid: "u".into(), container: "c".into(), ..PodContainer::default() };
        let stream = open(&book, &target, &options).unwrap();
        let chunks: Vec<_> = stream.collect().await;
        chunks.into_iter().map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap()).collect()
    }

    #[tokio::test]
    async fn a_log_is_read_whole_or_by_its_last_lines() {
        assert_eq!(lines(LogOptions::default()).await, "one\ntwo\nthree\n");
        let tail = LogOptions { tail_lines: Some(2), follow: true, ..LogOptions::default() };
        assert_eq!(lines(tail).await, "two\nthree\n");
        let limit = LogOptions { limit_bytes: Some(5), ..LogOptions::default() };
        assert_eq!(lines(limit).await, "one\nt");
    }

    #[tokio::test]
    async fn timestamps_are_those_of_the_writing() {
        let stamped = LogOptions { timestamps: true, tail_lines: Some(1), ..LogOptions::default() };
        let line = lines(stamped).await;
        let (time, content) = line.split_once(' ').unwrap();
        assert!(time.parse::<Timestamp>().is_ok() && content == "three\n", "{line}");
        let future = LogOptions { since_time: Some("2100-01-01T00:00:00Z".into()), ..LogOptions::default() };
        assert_eq!(lines(future).await, "");
    }

    #[tokio::test]
    async fn a_follower_receives_what_is_written_later_and_ends_with_the_container() {
        let directory = tempfile::tempdir().unwrap();
        let book = LogBook::new(directory.path().to_owned(), 0);
        let run = book.begin(("ns", "p", "u"), "c", 0).unwrap();
        let target = PodContainer { uid: "u".into(), container: "c".into(), ..PodContainer::default() };
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let mut stream = open(&book, &target, &options).unwrap();
        run.clone().pump(&b"first\n"[..], Source::Stdout).await;
        assert_eq!(stream.next().await.unwrap().unwrap(), "first\n");
        run.clone().pump(&b"second\n"[..], Source::Stdout).await;
        assert_eq!(stream.next().await.unwrap().unwrap(), "second\n");
        run.close();
        assert!(stream.next().await.is_none());
    }
}
