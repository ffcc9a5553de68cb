//! Header blocks: names and values, compressed with one context for each direction of a connection.

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateError, InflateFlush, Status};

use super::ProtocolError;
use super::dictionary::DICTIONARY;

/// Names are lower case; several values of one name are separated by NUL.
pub(in super::super) type Headers = BTreeMap<String, String>;

/// A larger block is refused, so that a few compressed bytes cannot become all memory.
const BLOCK_MAX: usize = 64 << 10;
const CHUNK: usize = 4 << 10;

pub(super) struct Decompressor(Inflate);

impl Decompressor {
    pub(super) fn new() -> Self {
        Self(Inflate::new(true, 15))
    }

    /// Reads the header block of one frame.
    pub(super) fn read(&mut self, compressed: &[u8]) -> Result<Headers, ProtocolError> {
        parse(self.inflate(compressed)?)
    }

    fn inflate(&mut self, mut input: &[u8]) -> Result<Bytes, ProtocolError> {
        let (mut block, mut chunk) = (BytesMut::new(), vec![0; CHUNK]);
        loop {
            let (read, written) = (self.0.total_in(), self.0.total_out());
            let answer = self.0.decompress(input, &mut chunk, InflateFlush::SyncFlush);
            input = input.get((self.0.total_in() - read) as usize..).unwrap_or_default();
            let made = (self.0.total_out() - written) as usize;
            block.put_slice(&chunk[..made]);
            if block.len() > BLOCK_MAX {
                return Err(ProtocolError("a header block is too large"));
            }
            match answer {
                Err(InflateError::NeedDict { .. }) => {
                    self.0.set_dictionary(&DICTIONARY).map_err(|_| ProtocolError("an unknown dictionary"))?;
                }
                Ok(Status::Ok) if !input.is_empty() || made == CHUNK => {}
                Ok(Status::Ok | Status::BufError) if input.is_empty() => return Ok(block.freeze()),
                _ => return Err(ProtocolError("a header block cannot be decompressed")),
            }
        }
    }
}

pub(super) struct Compressor(Deflate);

impl Compressor {
    pub(super) fn new() -> Self {
        let mut deflate = Deflate::new(6, true, 15);
        // Refused only after data has been compressed.
        let _ = deflate.set_dictionary(&DICTIONARY);
        Self(deflate)
    }

    /// The header block of one frame. Frames must be sent in the order in which their blocks are made.
    pub(super) fn write(&mut self, headers: &Headers) -> Bytes {
        let block = render(headers);
        let (mut input, mut out, mut chunk) = (&block[..], BytesMut::new(), vec![0; CHUNK]);
        loop {
            let (read, written) = (self.0.total_in(), self.0.total_out());
            let answer = self.0.compress(input, &mut chunk, DeflateFlush::SyncFlush);
            input = input.get((self.0.total_in() - read) as usize..).unwrap_or_default();
            let made = (self.0.total_out() - written) as usize;
            out.put_slice(&chunk[..made]);
            // A full chunk may hide more; everything else is the end of the flush.
            if answer.is_err() || (input.is_empty() && made < CHUNK) {
                return out.freeze();
            }
        }
    }
}

fn parse(mut block: Bytes) -> Result<Headers, ProtocolError> {
    let mut headers = Headers::new();
    let count = number(&mut block)?;
    for _ in 0..count {
        let name = text(&mut block)?.to_lowercase();
        let value = text(&mut block)?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn number(block: &mut Bytes) -> Result<u32, ProtocolError> {
    block.try_get_u32().map_err(|_| ProtocolError("a header block ends early"))
}

fn text(block: &mut Bytes) -> Result<String, ProtocolError> {
    let length = number(block)? as usize;
    if length > block.len() {
        return Err(ProtocolError("a header block ends early"));
    }
    Ok(String::from_utf8_lossy(&block.split_to(length)).into_owned())
}

fn render(headers: &Headers) -> Bytes {
    let mut block = BytesMut::new();
    block.put_u32(headers.len() as u32);
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        block.put_u32(text.len() as u32);
        block.put_slice(text.as_bytes());
    }
    block.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn blocks_of_one_direction_share_their_context() {
        let (mut compressor, mut decompressor) = (Compressor::new(), Decompressor::new());
        let first = headers(&[("streamtype", "error"), ("port", "80"), ("requestid", "0")]);
        let second = headers(&[("streamtype", "data"), ("port", "80"), ("requestid", "0")]);
        let (one, two) = (compressor.write(&first), compressor.write(&second));
        assert!(two.len() < one.len());
        assert_eq!(decompressor.read(&one).unwrap(), first);
        assert_eq!(decompressor.read(&two).unwrap(), second);
        assert_eq!(decompressor.read(&compressor.write(&Headers::new())).unwrap(), Headers::new());
    }

    #[test]
    fn a_large_block_is_read_and_a_larger_one_refused() {
        let (mut compressor, mut decompressor) = (Compressor::new(), Decompressor::new());
        let large = headers(&[("a", &"x".repeat(BLOCK_MAX / 2))]);
        assert_eq!(decompressor.read(&compressor.write(&large)).unwrap(), large);
        let larger = headers(&[("a", &"x".repeat(BLOCK_MAX * 2))]);
        assert!(decompressor.read(&compressor.write(&larger)).is_err());
    }

    #[test]
    fn a_block_that_lies_about_its_lengths_is_refused() {
        assert!(parse(Bytes::from_static(&[0, 0, 0, 1, 0, 0, 0, 9, b'x'])).is_err());
        assert!(parse(Bytes::from_static(&[255, 255, 255, 255])).is_err());
        assert!(Decompressor::new().read(b"no zlib at all").is_err());
    }
}
