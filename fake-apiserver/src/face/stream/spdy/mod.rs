//! SPDY/3.1 (draft-mbelshe-httpbis-spdy-00), as far as Kubernetes' clients use it.
//!
//! [`Session`] is the protocol without input and output: bytes in, events out, and frames for what is to be said.
//! `connection` moves the bytes. There is no flow control: Kubernetes' own implementation neither sends nor obeys
//! windows, so the bound is the transport's, and a stream that nobody reads holds the others up.

mod connection;
mod dictionary;
mod frame;
mod headers;

use bytes::Bytes;

pub(super) use connection::{Incoming, Stream, serve};
pub(super) use headers::Headers;

use frame::{Decoder, Frame};
use headers::{Compressor, Decompressor};

/// The peer does not speak SPDY; the connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SPDY: {0}")]
pub(super) struct ProtocolError(&'static str);

/// What the peer did.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Opened {
        stream: u32,
        headers: Headers,
    },
    Data {
        stream: u32,
        bytes: Bytes,
    },
    /// It will send no more on this stream.
    Finished {
        stream: u32,
    },
    /// Neither side sends any more on this stream.
    Reset {
        stream: u32,
    },
    /// To be sent back as it is.
    Pinged(Bytes),
    /// It opens no more streams.
    Leaving,
}

/// One end of a connection.
struct Session {
    decoder: Decoder,
    decompressor: Decompressor,
    compressor: Compressor,
    highest: u32,
}

impl Session {
    fn new() -> Self {
        Self {
            decoder: Decoder::default(),
            decompressor: Decompressor::new(),
            compressor: Compressor::new(),
            highest: 0,
        }
    }

    /// What these bytes, after all earlier ones, say.
    fn receive(&mut self, bytes: &[u8]) -> Result<Vec<Event>, ProtocolError> {
        self.decoder.push(bytes);
        let mut events = Vec::new();
        while let Some(frame) = self.decoder.next()? {
            self.understand(frame, &mut events)?;
        }
        Ok(events)
    }

    fn understand(&mut self, frame: Frame, events: &mut Vec<Event>) -> Result<(), ProtocolError> {
        match frame {
            Frame::Open { stream, headers, finished } => {
                let headers = self.decompressor.read(&headers)?;
                // Even numbers are this side's, and numbers only grow.
                if stream % 2 == 0 || stream <= self.highest {
                    return Err(ProtocolError("a stream's number is not new"));
                }
                self.highest = stream;
                events.push(Event::Opened { stream, headers });
                events.extend(finished.then_some(Event::Finished { stream }));
            }
            Frame::Headers { stream, headers, finished } => {
                // What they say is of no use here, but the decompressor must have seen it.
                self.decompressor.read(&headers)?;
                events.extend(finished.then_some(Event::Finished { stream }));
            }
            Frame::Data { stream, bytes, finished } => {
                if !bytes.is_empty() {
                    events.push(Event::Data { stream, bytes });
                }
                events.extend(finished.then_some(Event::Finished { stream }));
            }
            Frame::Reset { stream } => events.push(Event::Reset { stream }),
            // Odd numbers are the peer's; an even one is the answer to ours.
            Frame::Ping(number) => {
                events.extend((number % 2 == 1).then(|| Event::Pinged(frame::ping(number))));
            }
            Frame::Leave => events.push(Event::Leaving),
            Frame::Other => {}
        }
        Ok(())
    }

    /// The answer to an opened stream, which its opener waits for.
    fn accept(&mut self, stream: u32) -> Bytes {
        frame::reply(stream, &self.compressor.write(&Headers::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(compressor: &mut Compressor, stream: u32, kind: &str) -> Bytes {
        let headers = Headers::from([("streamtype".to_owned(), kind.to_owned())]);
        frame::open(stream, &compressor.write(&headers))
    }

    #[test]
    fn streams_are_opened_filled_and_finished_however_the_bytes_are_cut() {
        let mut compressor = Compressor::new();
        let bytes: Vec<u8> = [
            opened(&mut compressor, 1, "error"),
            opened(&mut compressor, 3, "data"),
            frame::data(3, b"hello", false),
            frame::ping(7),
            frame::data(1, b"", true),
            frame::reset(3),
            frame::leave(0),
        ]
        .concat();
        let headers = |kind: &str| Headers::from([("streamtype".to_owned(), kind.to_owned())]);
        let whole = Session::new().receive(&bytes).unwrap();
        let expected = [
            Event::Opened { stream: 1, headers: headers("error") },
            Event::Opened { stream: 3, headers: headers("data") },
            Event::Data { stream: 3, bytes: Bytes::from_static(b"hello") },
            Event::Pinged(frame::ping(7)),
            Event::Finished { stream: 1 },
            Event::Reset { stream: 3 },
            Event::Leaving,
        ];
        assert_eq!(whole, expected);
        for size in [1, 2, 3, 7, 11] {
            let mut session = Session::new();
            let mut text = Vec::new();
            let mut others = Vec::new();
            for piece in bytes.chunks(size) {
                for event in session.receive(piece).unwrap() {
                    match event {
                        Event::Data { bytes, .. } => text.extend_from_slice(&bytes),
                        other => others.push(other),
                    }
                }
            }
            assert_eq!(text, b"hello");
            assert_eq!(others.len(), expected.len() - 1);
        }
    }

    #[test]
    fn a_stream_number_cannot_be_used_twice() {
        let mut compressor = Compressor::new();
        let mut session = Session::new();
        session.receive(&opened(&mut compressor, 3, "data")).unwrap();
        assert!(session.receive(&opened(&mut compressor, 1, "data")).is_err());
    }

    #[test]
    fn what_is_not_spdy_is_an_error() {
        assert!(Session::new().receive(b"\x80\x02\x00\x01\x00\x00\x00\x00").is_err());
        assert!(Session::new().receive(b"\x80\x03\x00\x01\x00\xff\xff\xff").is_err());
        assert!(Session::new().receive(b"\x80\x03\x00\x01\x00\x00\x00\x02ab").is_err());
    }
}
