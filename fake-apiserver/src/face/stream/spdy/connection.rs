//! Moves the bytes of a connection, and gives each stream its two ends.

use std::collections::BTreeMap;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::super::conversation::{Finished, PING_EVERY, hold};
use super::super::pipe::{CHUNK, Feed, Inlet, Outgoing, Outlet, ToClient, from_client, to_client};
use super::{Event, Headers, ProtocolError, Session, frame};

/// Streams that may be open at once; more are refused.
const STREAMS_MAX: usize = 512;

/// A stream that the client has opened.
pub(in super::super) struct Stream {
    pub(in super::super) number: u32,
    pub(in super::super) headers: Headers,
    pub(in super::super) inlet: Inlet,
    pub(in super::super) outlet: Outlet,
}

/// The streams of a connection as the client opens them.
pub(in super::super) type Incoming = mpsc::Receiver<Stream>;

/// Speaks SPDY on `io` and lets `handle` serve the streams, until it is done or the client is gone.
pub(in super::super) async fn serve<F>(io: impl AsyncRead + AsyncWrite, handle: impl FnOnce(Incoming) -> F)
where
    F: Future<Output = ()>,
{
    let (reader, writer) = tokio::io::split(io);
    let (reader, writer) = (Box::pin(reader), Box::pin(writer));
    let (to_client, outgoing) = to_client();
    let (answers, ready) = mpsc::channel(8);
    let (opened, incoming) = mpsc::channel(8);
    let reading = read(reader, opened, answers, to_client);
    hold(reading, |finished| write(writer, ready, outgoing, finished), handle(incoming)).await;
}

/// Frames that the reader answers with, beside the streams' own.
type Answers = mpsc::Sender<Bytes>;

async fn read(
    mut reader: impl AsyncRead + Unpin,
    opened: mpsc::Sender<Stream>,
    answers: Answers,
    to_client: ToClient,
) -> Result<(), ProtocolError> {
    let mut session = Session::new();
    let mut feeds: BTreeMap<u32, Feed> = BTreeMap::new();
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        if !matches!(reader.read_buf(&mut buffer).await, Ok(1..)) {
            return Ok(());
        }
        for event in session.receive(&buffer.split())? {
            match event {
                Event::Opened { stream, headers } => {
                    feeds.retain(|_, feed| feed.is_open());
                    let (feed, inlet) = from_client();
                    let outlet = Outlet::new(stream, to_client.clone());
                    let place = if feeds.len() < STREAMS_MAX { opened.reserve().await.ok() } else { None };
                    match place {
                        // Nothing may be said on a stream before its answer.
                        Some(place) => {
                            say(&answers, session.accept(stream)).await;
                            feeds.insert(stream, feed);
                            place.send(Stream { number: stream, headers, inlet, outlet });
                        }
                        None => say(&answers, frame::refuse(stream)).await,
                    }
                }
                Event::Data { stream, bytes } => {
                    if let Some(feed) = feeds.get(&stream) {
                        feed.put(bytes).await;
                    }
                }
                Event::Finished { stream } => {
                    if let Some(feed) = feeds.get_mut(&stream) {
                        feed.finish();
                    }
                }
                Event::Reset { stream } => {
                    if let Some(mut feed) = feeds.remove(&stream) {
                        feed.reset();
                    }
                }
                Event::Pinged(pong) => say(&answers, pong).await,
                // Streams that are open go on to their end.
                Event::Leaving => {}
            }
        }
    }
}

async fn say(answers: &Answers, frame: Bytes) {
    // The writer ends only with the connection.
    let _ = answers.send(frame).await;
}

/// Writes what is to be said, and last that this end leaves.
async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut answers: mpsc::Receiver<Bytes>,
    mut outgoing: mpsc::Receiver<Outgoing>,
    mut finished: Finished,
) -> io::Result<()> {
    let mut ping = tokio::time::interval(PING_EVERY);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ping.tick().await;
    let mut number = 0_u32;
    loop {
        let frame = tokio::select! {
            biased;
            Some(answer) = answers.recv() => answer,
            Some(outgoing) = outgoing.recv() => encode(outgoing),
            _ = &mut finished => {
                writer.write_all(&frame::leave(0)).await?;
                return writer.shutdown().await;
            }
            _ = ping.tick() => {
                number = number.wrapping_add(2);
                frame::ping(number)
            }
        };
        writer.write_all(&frame).await?;
        if answers.is_empty() && outgoing.is_empty() {
            writer.flush().await?;
        }
    }
}

fn encode(outgoing: Outgoing) -> Bytes {
    match outgoing {
        Outgoing::Data { stream, bytes } => frame::data(stream, &bytes, false),
        Outgoing::Finish { stream } => frame::data(stream, &[], true),
        Outgoing::Reset { stream } => frame::reset(stream),
    }
}
