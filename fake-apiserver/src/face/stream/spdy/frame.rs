//! Frames: their layout on the wire.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::ProtocolError;

const VERSION: u16 = 3;
const HEAD: usize = 8;
/// A control frame that is longer is refused.
const CONTROL_MAX: usize = 64 << 10;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

const FIN: u8 = 1;
/// RST_STREAM: the stream is not accepted.
const REFUSED: u32 = 3;
const CANCEL: u32 = 5;

/// A frame, with its headers still compressed. The content of a long data frame comes in several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Open {
        stream: u32,
        headers: Bytes,
        finished: bool,
    },
    Headers {
        stream: u32,
        headers: Bytes,
        finished: bool,
    },
    Data {
        stream: u32,
        bytes: Bytes,
        finished: bool,
    },
    Reset {
        stream: u32,
    },
    Ping(u32),
    Leave,
    /// Settings, windows, and what later versions may have added: skipped.
    Other,
}

/// Cuts bytes into frames.
#[derive(Default)]
pub(super) struct Decoder {
    bytes: BytesMut,
    /// What is still to come of a data frame.
    rest: Option<Rest>,
}

#[derive(Clone, Copy)]
struct Rest {
    stream: u32,
    length: usize,
    finished: bool,
}

impl Decoder {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, if it is there.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, ProtocolError> {
        if let Some(rest) = self.rest.take() {
            return Ok(self.content(rest));
        }
        if self.bytes.len() < HEAD {
            return Ok(None);
        }
        let (word, flags) = (u32_at(&self.bytes, 0), self.bytes[4]);
        let length = (u32_at(&self.bytes, 4) & 0x00ff_ffff) as usize;
        if word >> 31 == 0 {
            self.bytes.advance(HEAD);
            return Ok(self.content(Rest { stream: word, length, finished: flags & FIN != 0 }));
        }
        if (word >> 16) as u16 & 0x7fff != VERSION {
            return Err(ProtocolError("another version than 3"));
        }
        if length > CONTROL_MAX {
            return Err(ProtocolError("a control frame is too large"));
        }
        if self.bytes.len() < HEAD + length {
            return Ok(None);
        }
        self.bytes.advance(HEAD);
        control(word as u16, flags, self.bytes.split_to(length).freeze()).map(Some)
    }

    fn content(&mut self, rest: Rest) -> Option<Frame> {
        let Rest { stream, length, finished } = rest;
        let bytes = self.bytes.split_to(length.min(self.bytes.len())).freeze();
        let left = length - bytes.len();
        if left > 0 {
            self.rest = Some(Rest { stream, length: left, finished });
            return (!bytes.is_empty()).then_some(Frame::Data { stream, bytes, finished: false });
        }
        Some(Frame::Data { stream, bytes, finished })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn control(kind: u16, flags: u8, mut body: Bytes) -> Result<Frame, ProtocolError> {
    let finished = flags & FIN != 0;
    let mut number = || body.try_get_u32().map_err(|_| ProtocolError("a control frame is too short"));
    Ok(match kind {
        SYN_STREAM => {
            let stream = number()? & 0x7fff_ffff;
            // The stream it belongs to; then priority and slot.
            number()?;
            body.try_get_u16().map_err(|_| ProtocolError("a control frame is too short"))?;
            Frame::Open { stream, headers: body, finished }
        }
        SYN_REPLY | HEADERS => {
            let stream = number()? & 0x7fff_ffff;
            Frame::Headers { stream, headers: body, finished }
        }
        RST_STREAM => Frame::Reset { stream: number()? & 0x7fff_ffff },
        PING => Frame::Ping(number()?),
        GOAWAY => Frame::Leave,
        _ => Frame::Other,
    })
}

fn framed(kind: u16, parts: &[&[u8]]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = BytesMut::with_capacity(HEAD + length);
    frame.put_u16(0x8000 | VERSION);
    frame.put_u16(kind);
    frame.put_u32(length as u32);
    for part in parts {
        frame.put_slice(part);
    }
    frame.freeze()
}

/// SYN_REPLY.
pub(super) fn reply(stream: u32, headers: &[u8]) -> Bytes {
    framed(SYN_REPLY, &[&stream.to_be_bytes(), headers])
}

/// A data frame; the bytes are fewer than 16 MiB.
pub(super) fn data(stream: u32, bytes: &[u8], finished: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + bytes.len());
    frame.put_u32(stream);
    frame.put_u32(u32::from(if finished { FIN } else { 0 }) << 24 | bytes.len() as u32);
    frame.put_slice(bytes);
    frame.freeze()
}

/// RST_STREAM for a stream that goes no further.
pub(super) fn reset(stream: u32) -> Bytes {
    framed(RST_STREAM, &[&stream.to_be_bytes(), &CANCEL.to_be_bytes()])
}

/// RST_STREAM for a stream that is not taken.
pub(super) fn refuse(stream: u32) -> Bytes {
    framed(RST_STREAM, &[&stream.to_be_bytes(), &REFUSED.to_be_bytes()])
}

/// PING.
pub(super) fn ping(number: u32) -> Bytes {
    framed(PING, &[&number.to_be_bytes()])
}

/// GOAWAY without an error.
pub(super) fn leave(last: u32) -> Bytes {
    framed(GOAWAY, &[&last.to_be_bytes(), &0_u32.to_be_bytes()])
}

/// SYN_STREAM; only clients open streams.
#[cfg(test)]
pub(super) fn open(stream: u32, headers: &[u8]) -> Bytes {
    framed(SYN_STREAM, &[&stream.to_be_bytes(), &[0; 4], &[0; 2], headers])
}
