//! The protobuf wire format: tags, varints, lengths.

use super::malformed;
use crate::status::Status;

/// A field's undecoded content.
#[derive(Debug)]
pub(super) enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// Reads one message field by field.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's number and content; `None` at the end of the message.
    pub(super) fn next_field(&mut self) -> Result<Option<(u32, Payload<'a>)>, Status> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| malformed("a field number is too large"))?;
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let length =
                    usize::try_from(self.varint()?).map_err(|_| malformed("a length is too large"))?;
                Payload::Bytes(self.take(length)?)
            }
            5 => Payload::Fixed32(u32::from_le_bytes(self.fixed()?)),
            other => return Err(malformed(&format!("wire type {other} is not supported"))),
        };
        Ok(Some((number, payload)))
    }

    pub(super) fn varint(&mut self) -> Result<u64, Status> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed("a varint is longer than ten bytes"))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Status> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| malformed("the message ends within a field"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Status> {
        if length > self.rest.len() {
            return Err(malformed("the message ends within a field"));
        }
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(taken)
    }
}
