//! Framing: bytes in, messages out. Synchronous, without I/O, bounded by what it was told to accept.
//!
//! ```text
//! u64 length of the block that follows            all numbers are little-endian
//! ├ u64 number of frames n
//! ├ n × u64 length of a frame
//! └ the leading frames
//! the other frames, which the block does not count
//! ```
//!
//! (`distributed/comm/tcp.py`, `distributed/protocol/utils.py`.) Until 2023.9 the block holds all frames; since then large
//! ones may follow it, so that each gets a buffer of its own. Frame 0 is MessagePack; the others belong to objects that only
//! Python can read, and are skipped.

use bytes::{Buf, Bytes, BytesMut};

/// Frames of one message: two for each object that Python alone can read. The replies that are asked for have one.
const FRAMES_MAX: u64 = 4_096;
/// Bytes of a number.
const WORD: usize = 8;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Frame 0: MessagePack.
    pub head: Bytes,
    /// How many frames of opaque objects came with it and were skipped.
    pub opaque: usize,
}

/// Why bytes are no messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is larger than is accepted, or what came is no length at all.
    #[error("a message of {bytes} bytes is announced, more than the {limit} that are accepted")]
    TooLarge {
        /// The announced size.
        bytes: u64,
        /// The accepted size.
        limit: u64,
    },
    /// The number of frames is zero or more than is accepted.
    #[error("a message of {0} frames is announced")]
    Frames(u64),
    /// The block ends inside the lengths, inside a frame, or behind the last one.
    #[error("a message's length does not agree with those of its frames")]
    Inconsistent,
}

/// Gathers bytes until they are messages.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    limit: u64,
}

impl Decoder {
    /// Accepts messages of up to `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { buffer: BytesMut::new(), limit }
    }

    /// Where the next bytes go.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next message, once all of it is there. After an error the bytes that follow mean nothing.
    pub fn message(&mut self) -> Result<Option<Message>, FrameError> {
        let Some(layout) = Layout::read(&self.buffer, self.limit)? else { return Ok(None) };
        if self.buffer.len() < layout.end {
            return Ok(None);
        }
        let mut bytes = self.buffer.split_to(layout.end).freeze();
        bytes.advance(layout.start);
        Ok(Some(Message { head: bytes.slice(..layout.head), opaque: layout.frames - 1 }))
    }
}

/// A message of one frame.
pub fn encode(head: &[u8]) -> Vec<u8> {
    let words = [(2 * WORD + head.len()) as u64, 1, head.len() as u64];
    let mut bytes = Vec::with_capacity(words.len() * WORD + head.len());
    for word in words {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(head);
    bytes
}

/// Where the parts of a message lie.
struct Layout {
    /// Where frame 0 begins.
    start: usize,
    /// How long it is.
    head: usize,
    /// Where the message ends.
    end: usize,
    frames: usize,
}

impl Layout {
    /// `None` until all lengths are there.
    fn read(bytes: &[u8], limit: u64) -> Result<Option<Self>, FrameError> {
        let word = |index: usize| {
            let at = index * WORD;
            Some(u64::from_le_bytes(*bytes.get(at..at + WORD)?.first_chunk()?))
        };
        let Some(block) = word(0) else { return Ok(None) };
        if block > limit {
            return Err(FrameError::TooLarge { bytes: block, limit });
        }
        let Some(count) = word(1) else { return Ok(None) };
        if count == 0 || count > FRAMES_MAX {
            return Err(FrameError::Frames(count));
        }
        let frames = count as usize;
        let Some(lengths) = (2..2 + frames).map(word).collect::<Option<Vec<u64>>>() else { return Ok(None) };
        let prelude = ((1 + frames) * WORD) as u64;
        let mut size = prelude;
        let mut agrees = block == size;
        for length in &lengths {
            size = size
                .checked_add(*length)
                .filter(|size| *size <= limit)
                .ok_or(FrameError::TooLarge { bytes: size.saturating_add(*length), limit })?;
            agrees |= block == size;
        }
        if !agrees {
            return Err(FrameError::Inconsistent);
        }
        let head = lengths.first().copied().unwrap_or(0) as usize;
        Ok(Some(Self { start: WORD + prelude as usize, head, end: WORD + size as usize, frames }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 1 << 20;

    /// A message of these frames, of which the block counts `inside`.
    fn mk_message(frames: &[Vec<u8>], inside: usize) -> Vec<u8> {
        let prelude = WORD * (1 + frames.len());
        let counted: usize = frames[..inside].iter().map(Vec::len).sum();
        let mut bytes = ((prelude + counted) as u64).to_le_bytes().to_vec();
        bytes.extend((frames.len() as u64).to_le_bytes());
        bytes.extend(frames.iter().flat_map(|frame| (frame.len() as u64).to_le_bytes()));
        bytes.extend(frames.concat());
        bytes
    }

    fn check_fault(bytes: &[u8], expected: &FrameError) {
        let mut decoder = Decoder::new(LIMIT);
        decoder.buffer().extend_from_slice(bytes);
        assert_eq!(decoder.message().as_ref(), Err(expected));
    }

    #[test]
    fn what_is_not_framing_is_refused_before_it_is_gathered() {
        // A TLS alert, and the beginning of an HTTP answer.
        check_fault(
            b"\x15\x03\x03\x00\x02\x02\x46\x00",
            &FrameError::TooLarge { bytes: 0x0046_0202_0003_0315, limit: LIMIT },
        );
        check_fault(b"HTTP/1.1", &FrameError::TooLarge { bytes: 0x312e_312f_5054_5448, limit: LIMIT });
        check_fault(&[16_u64, 0].map(u64::to_le_bytes).concat(), &FrameError::Frames(0));
        check_fault(&[16_u64, 5_000].map(u64::to_le_bytes).concat(), &FrameError::Frames(5_000));
        check_fault(&[17_u64, 1, 5].map(u64::to_le_bytes).concat(), &FrameError::Inconsistent);
        check_fault(&[8_u64, 1, 5].map(u64::to_le_bytes).concat(), &FrameError::Inconsistent);
        let huge = [24_u64, 2, 5, u64::MAX].map(u64::to_le_bytes).concat();
        check_fault(&huge, &FrameError::TooLarge { bytes: u64::MAX, limit: LIMIT });
    }

    proptest! {
        #[test]
        fn messages_are_found_however_the_bytes_are_cut(
            messages in prop::collection::vec(
                (prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5), 0_usize..5), 1..4),
            cut in 1_usize..50,
        ) {
            let bytes: Vec<u8> = messages
                .iter()
                .flat_map(|(frames, inside)| mk_message(frames, (*inside).min(frames.len())))
                .collect();
            let mut decoder = Decoder::new(LIMIT);
            let mut found = Vec::new();
            for chunk in bytes.chunks(cut) {
                decoder.buffer().extend_from_slice(chunk);
                while let Some(message) = decoder.message().unwrap() {
                    found.push((message.head.to_vec(), message.opaque));
                }
            }
            let expected: Vec<_> =
                messages.into_iter().map(|(frames, _)| (frames[0].clone(), frames.len() - 1)).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn what_is_encoded_is_decoded(head in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut decoder = Decoder::new(LIMIT);
            decoder.buffer().extend_from_slice(&encode(&head));
            let message = decoder.message().unwrap().unwrap();
            prop_assert_eq!((message.head.to_vec(), message.opaque), (head, 0));
            prop_assert_eq!(decoder.message(), Ok(None));
        }

        #[test]
        fn any_bytes_are_messages_or_an_error_and_never_kept_beyond_the_limit(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut decoder = Decoder::new(64);
            decoder.buffer().extend_from_slice(&bytes);
            while let Ok(Some(message)) = decoder.message() {
                prop_assert!(message.head.len() <= 64);
            }
        }
    }
}
