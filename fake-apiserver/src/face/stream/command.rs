//! `pods/exec` and `pods/attach`: the streams of a process in a container.
//!
//! Protocols and texts are those of `k8s.io/cri-streaming` (kubelets and runtimes) and, for WebSocket version 5, of the
//! API server's translator.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::body::ResponseBody;
use super::super::node::{NodeProxy, PodContainer, Session, Streams, TerminalSize};
use super::super::path::Query;
use super::pipe::{Gone, Inlet, Outlet};
use super::spdy::{self, Incoming};
use super::upgrade::{Changeable, Connections, Wish, plain, spdy_headers, spdy_protocol, websocket_headers};
use super::websocket::{self, Channels, Framing};
use crate::status::{Cause, Status};

/// SPDY subprotocols; from version 4 on the end is told as a `Status`.
const SPDY: &[&str] = &["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
/// How long a SPDY client may take to open all streams (`streamCreationTimeout` of kubelets).
const STREAMS_WITHIN: Duration = Duration::from_secs(30);
/// A terminal size that is longer is none.
const SIZE_MAX: usize = 4 << 10;

/// A subprotocol of WebSocket.
struct Protocol {
    name: &'static str,
    framing: Framing,
    /// Whether the end is told as a `Status`, or as a text if it was bad.
    status: bool,
    closable: bool,
}

const WEBSOCKET: &[Protocol] = &[
    Protocol { name: "v5.channel.k8s.io", framing: Framing::Binary, status: true, closable: true },
    Protocol { name: "v4.channel.k8s.io", framing: Framing::Binary, status: true, closable: false },
    Protocol { name: "v4.base64.channel.k8s.io", framing: Framing::Base64, status: true, closable: false },
    Protocol { name: "channel.k8s.io", framing: Framing::Binary, status: false, closable: false },
    Protocol { name: "base64.channel.k8s.io", framing: Framing::Base64, status: false, closable: false },
    Protocol { name: "", framing: Framing::Binary, status: false, closable: false },
];

/// The process whose streams are asked for.
pub(super) struct Process {
    pub(super) node: Arc<dyn NodeProxy>,
    pub(super) target: PodContainer,
    /// Whether the container runs, as far as the API server knows.
    pub(super) running: bool,
    /// A new process, or else the container's own.
    pub(super) exec: bool,
}

impl Process {
    async fn open(&self, command: Vec<String>, streams: Streams) -> Result<Session, String> {
        let what = if self.exec { "error executing command in" } else { "error attaching to" };
        let opened = if self.exec {
            self.node.exec(self.target.clone(), command, streams)
        } else {
            self.node.attach(self.target.clone(), streams)
        };
        opened.await.map_err(|why| format!("{what} container: {why}"))
    }

    fn not_found(&self) -> String {
        format!("container not found ({:?})", self.target.container)
    }
}

/// How a request names the streams that it wants: standard input, output and error.
pub(super) type StreamNames = [&'static str; 3];

/// The streams that a request wants, by these names.
fn wanted(query: &Query, [stdin, stdout, stderr]: StreamNames) -> Streams {
    Streams {
        stdin: query.flag(stdin),
        stdout: query.flag(stdout),
        // A terminal has no standard error of its own.
        stderr: query.flag(stderr) && !query.flag("tty"),
        tty: query.flag("tty"),
    }
}

pub(super) fn answer(
    process: Process,
    names: StreamNames,
    mut parts: Parts,
    connections: &Connections,
) -> Result<Response<ResponseBody>, Status> {
    let query = Query::parse(parts.uri.query());
    let streams = wanted(&query, names);
    let command = query.all("command");
    let wish = Wish::of(&parts.headers).ok_or_else(|| Status::bad_request("Upgrade request required"))?;
    let change = Changeable::take(&mut parts, connections)?;
    if !(streams.stdin || streams.stdout || streams.stderr) {
        let text = "you must specify at least 1 of stdin, stdout, stderr";
        return Ok(plain(StatusCode::BAD_REQUEST, text));
    }
    let key = match wish {
        Wish::Spdy if !process.running => {
            return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, &process.not_found()));
        }
        Wish::Spdy => {
            return Ok(match spdy_protocol(&parts.headers, SPDY) {
                Ok(protocol) => change.change(spdy_headers(protocol), move |io| {
                    let told = if protocol == SPDY[0] { Told::Status } else { Told::Text };
                    spdy::serve(io, move |incoming| async move {
                        if let Some(ends) = gather(incoming, streams).await {
                            run(&process, command, streams, ends, told).await;
                        }
                    })
                }),
                Err(refusal) => *refusal,
            });
        }
        Wish::WebSocket(key) => key,
    };
    let mut offered = websocket::offered(&parts.headers);
    if offered.is_empty() {
        offered.push(String::new());
    }
    let known = offered.iter().find_map(|offer| WEBSOCKET.iter().find(|known| known.name == offer));
    let Some(protocol) = known else { return Ok(plain(StatusCode::FORBIDDEN, "")) };
    let named = Some(protocol.name).filter(|name| !name.is_empty());
    let channels = Channels { framing: protocol.framing, count: 5, closable: protocol.closable };
    let told = if protocol.status { Told::Status } else { Told::Text };
    Ok(change.change(websocket_headers(key, named), move |io| {
        websocket::serve(io, channels, move |channels| async move {
            let Some(ends) = Ends::of_channels(channels, streams) else { return };
            if ends.greet().await.is_ok() {
                run(&process, command, streams, ends, told).await;
            }
        })
    }))
}

/// The client's ends of a process's streams.
struct Ends {
    stdin: Option<Inlet>,
    stdout: Option<Outlet>,
    stderr: Option<Outlet>,
    error: Outlet,
    resize: Option<Inlet>,
}

impl Ends {
    /// Channels 0 to 4; what was not asked for is left alone.
    fn of_channels(channels: Vec<(Inlet, Outlet)>, streams: Streams) -> Option<Self> {
        let mut channels = channels.into_iter();
        let mut next = || channels.next();
        Some(Self {
            stdin: next().map(|(inlet, _)| inlet).filter(|_| streams.stdin),
            stdout: next().map(|(_, outlet)| outlet).filter(|_| streams.stdout),
            stderr: next().map(|(_, outlet)| outlet).filter(|_| streams.stderr),
            error: next().map(|(_, outlet)| outlet)?,
            resize: next().map(|(inlet, _)| inlet).filter(|_| streams.tty),
        })
    }

    /// An empty message on the first channel tells a WebSocket client that all is well.
    async fn greet(&self) -> Result<(), Gone> {
        self.stdout.as_ref().or(self.stderr.as_ref()).unwrap_or(&self.error).send(Bytes::new()).await
    }
}

/// Waits until a SPDY client has opened what it asked for; `None` when it does not.
async fn gather(mut incoming: Incoming, streams: Streams) -> Option<Ends> {
    let wanted = [
        ("error", true),
        ("stdin", streams.stdin),
        ("stdout", streams.stdout),
        ("stderr", streams.stderr),
        ("resize", streams.tty),
    ];
    let wanted: Vec<&str> = wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect();
    let mut found: BTreeMap<String, (Inlet, Outlet)> = BTreeMap::new();
    let all = async {
        while wanted.iter().any(|name| !found.contains_key(*name)) {
            let stream = incoming.recv().await?;
            let kind = stream.headers.get("streamtype").cloned().unwrap_or_default();
            found.insert(kind, (stream.inlet, stream.outlet));
        }
        Some(())
    };
    timeout(STREAMS_WITHIN, all).await.ok()??;
    Some(Ends {
        stdin: found.remove("stdin").map(|(inlet, _)| inlet).filter(|_| streams.stdin),
        stdout: found.remove("stdout").map(|(_, outlet)| outlet).filter(|_| streams.stdout),
        stderr: found.remove("stderr").map(|(_, outlet)| outlet).filter(|_| streams.stderr),
        error: found.remove("error").map(|(_, outlet)| outlet)?,
        resize: found.remove("resize").map(|(inlet, _)| inlet).filter(|_| streams.tty),
    })
}

/// How the end is told.
#[derive(Clone, Copy)]
enum Told {
    Status,
    Text,
}

async fn run(process: &Process, command: Vec<String>, streams: Streams, mut ends: Ends, told: Told) {
    let argv = command.clone();
    let ended = if process.running {
        match process.open(command, streams).await {
            Ok(session) => relay(session, &mut ends).await,
            Err(why) => Err(why),
        }
    } else {
        Err(format!("unable to upgrade connection: {}", process.not_found()))
    };
    for outlet in [ends.stdout.take(), ends.stderr.take()].into_iter().flatten() {
        outlet.finish().await;
    }
    let text = tell(&ended, &argv, told);
    if !text.is_empty() {
        // The client may have gone.
        let _ = ends.error.send(text).await;
    }
    ends.error.finish().await;
}

/// Moves bytes until the process has ended and everything it said is on its way to the client.
async fn relay(mut session: Session, ends: &mut Ends) -> Result<i32, String> {
    let (inlet, resizes) = (ends.stdin.take(), ends.resize.take());
    let (stdin, resize) = (session.stdin.take(), session.resize.take());
    let from_client = async {
        let input = async {
            if let (Some(inlet), Some(stdin)) = (inlet, stdin) {
                // The process may read no more and still run.
                let _ = inlet.copy_to(stdin).await;
            }
        };
        let sizes = async {
            if let (Some(inlet), Some(resize)) = (resizes, resize) {
                follow_sizes(inlet, resize).await;
            }
        };
        tokio::join!(input, sizes);
        std::future::pending::<()>().await;
    };
    let to_client = async {
        let output = async {
            if let (Some(reader), Some(outlet)) = (&mut session.stdout, &ends.stdout) {
                outlet.copy_from(reader).await?;
            }
            Ok::<_, Gone>(())
        };
        let errors = async {
            if let (Some(reader), Some(outlet)) = (&mut session.stderr, &ends.stderr) {
                outlet.copy_from(reader).await?;
            }
            Ok::<_, Gone>(())
        };
        let (output, errors) = tokio::join!(output, errors);
        if output.or(errors).is_err() {
            return Err("the client is gone".to_owned());
        }
        session.ended.await
    };
    tokio::select! {
        biased;
        ended = to_client => ended,
        () = from_client => Ok(0),
    }
}

/// Sizes come as JSON objects, one after the other.
async fn follow_sizes(mut inlet: Inlet, resize: mpsc::Sender<TerminalSize>) {
    let mut pending = BytesMut::new();
    while let Some(bytes) = inlet.next().await {
        pending.extend_from_slice(&bytes);
        let mut sizes = serde_json::Deserializer::from_slice(&pending).into_iter::<TerminalSize>();
        let last = sizes.by_ref().map_while(Result::ok).last();
        let read = sizes.byte_offset();
        pending.advance(read);
        if pending.len() > SIZE_MAX {
            pending.clear();
        }
        if let Some(size) = last
            && resize.send(size).await.is_err()
        {
            return;
        }
    }
}

/// What the error stream says at the end.
fn tell(ended: &Result<i32, String>, argv: &[String], told: Told) -> String {
    let command = || format!("error executing command [{}], exit code", argv.join(" "));
    match (told, ended) {
        (Told::Status, Ok(0)) => json!({"metadata": {}, "status": "Success"}).to_string(),
        (Told::Text, Ok(0)) => String::new(),
        (Told::Status, Ok(code)) => {
            let message = format!("command terminated with non-zero exit code: {} {code}", command());
            let mut status = Status::new(0, "NonZeroExitCode", message);
            status.details.causes.push(Cause::new("ExitCode", "", code.to_string()));
            without_code(&status).to_string()
        }
        (Told::Text, Ok(code)) => {
            format!("command terminated with non-zero exit code: {} {code}", command())
        }
        (Told::Status, Err(why)) => {
            let mut status = Status::internal(format!("Internal error occurred: {why}"));
            status.details.causes.push(Cause::new("", "", why.clone()));
            status.to_value().to_string()
        }
        (Told::Text, Err(why)) => why.clone(),
    }
}

fn without_code(status: &Status) -> Value {
    let mut value = status.to_value();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| {
            matches!(name.as_str(), "metadata" | "status" | "message" | "reason" | "details")
        });
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_as_a_status_with_the_exit_code() {
        let argv = ["sh".to_owned(), "-c".to_owned(), "exit 3".to_owned()];
        let value: Value = serde_json::from_str(&tell(&Ok(3), &argv, Told::Status)).unwrap();
        assert_eq!(
            value,
            json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
                "message": "command terminated with non-zero exit code: error executing command [sh -c exit 3], exit code 3",
                "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}})
        );
        let value: Value = serde_json::from_str(&tell(&Ok(0), &argv, Told::Status)).unwrap();
        assert_eq!(value, json!({"metadata": {}, "status": "Success"}));
        assert_eq!(tell(&Ok(0), &argv, Told::Text), "");
    }

    #[tokio::test]
    async fn terminal_sizes_are_read_however_they_are_cut() {
        let (mut feed, inlet) = super::super::pipe::from_client();
        let (sizes, mut received) = mpsc::channel(8);
        let follow = follow_sizes(inlet, sizes);
        let send = async {
            for piece in ["{\"Width\":80,", "\"Height\":24}\n{\"Width\":81", ",\"Height\":25}"] {
                feed.put(Bytes::from_static(piece.as_bytes())).await;
            }
            feed.finish();
        };
        tokio::join!(follow, send);
        assert_eq!(received.recv().await, Some(TerminalSize { width: 80, height: 24 }));
        assert_eq!(received.recv().await, Some(TerminalSize { width: 81, height: 25 }));
        assert_eq!(received.recv().await, None);
    }
}
