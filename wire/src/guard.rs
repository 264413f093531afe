//! Answers, decoded with `kafka-protocol` so that the bytes cannot turn against the process. (Requests
//! are looked at by [`crate::request`].)
//!
//! The crate reserves memory for an array by the length that stands on the wire, before it looks
//! for a first element: a frame of twenty bytes asks for 150 GB, and the process aborts. So each
//! message is decoded twice. The first time is a rehearsal over a buffer that hands out no length
//! which the bytes behind it cannot fill; only what passes is decoded in earnest, and then every
//! element of every array is known to be there (docs/decisions/0005).
//!
//! The buffer cannot see what a number is meant for, but it can tell by what the decoder does next:
//!
//! * An `i32` that is too large for an array is handed out as -2. As a plain field it does no harm,
//!   since no decoder branches on one; as a length it ends the decoding on the spot. Then it was the
//!   length of an array, which is refused, or of a blob: the rehearsal starts over and hands out 0
//!   there, upon which a blob, and nothing else, is read as zero bytes.
//! * A varint (only lengths, counts and tags are varints) that is too large for an array is handed
//!   out as 1, upon which a blob is read as zero bytes or, behind a tag, as one. All else is refused.

use std::ops::Range;

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::{Decodable, buf::ByteBuf};

/// Most elements of one array. What is reserved ahead of the elements stays under 100 MB with the
/// largest structs, and Kafka's own limits (partitions of a cluster) are below.
const MAX_ELEMENTS: usize = 1 << 18;

/// A varint up to here may be more than there are bytes: vendors number their tags from 10,000 on.
const MAX_TAG: usize = 1 << 16;

/// The bytes are not a message of that version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(String);

/// Decodes one message from the front of `frame`; bytes behind it stay.
///
/// # Errors
/// If the bytes are no such message, or an array of it has more than 2^18 elements. Whatever the
/// bytes are, memory stays in proportion to them.
pub fn decode<T: Decodable>(frame: &mut Bytes, version: i16) -> Result<T, DecodeError> {
    rehearse::<T>(frame, version)?;
    T::decode(frame, version).map_err(|error| DecodeError(error.to_string()))
}

fn rehearse<T: Decodable>(frame: &Bytes, version: i16) -> Result<(), DecodeError> {
    let mut blobs = Vec::new();
    // Each start over is for a blob of more than MAX_ELEMENTS bytes; honest messages read little else.
    let mut reads_left = 2 * frame.len() + 64;
    loop {
        let mut rehearsal = Rehearsal::new(frame.clone(), &blobs);
        let outcome = T::decode(&mut rehearsal, version).map(drop);
        rehearsal.expect_nothing();
        if let Some(reason) = rehearsal.refusal {
            return Err(DecodeError(reason));
        }
        match (outcome, rehearsal.withheld) {
            (Ok(()), _) => return Ok(()),
            (Err(_), Some(held)) if held.fits && rehearsal.reads < reads_left => {
                reads_left -= rehearsal.reads;
                blobs.push(held.number);
            }
            (Err(_), Some(held)) => return Err(too_long(held.length, frame.len())),
            (Err(error), None) => return Err(DecodeError(error.to_string())),
        }
    }
}

fn too_long(length: usize, of: usize) -> DecodeError {
    DecodeError(format!("a length of {length} in a frame of {of} bytes"))
}

/// The buffer of a rehearsal. After a refusal it is empty, so that every further read fails.
struct Rehearsal<'a> {
    bytes: Bytes,
    whole: usize,
    /// Which `i32`s, by number, are lengths of blobs; ascending.
    blobs: &'a [usize],
    /// `i32`s read so far.
    numbers: usize,
    reads: usize,
    varint: Varint,
    /// The last read was a length that must belong to a blob.
    expected: Option<Blob>,
    /// The last read was an `i32`, and -2 was handed out for it.
    withheld: Option<Withheld>,
    refusal: Option<String>,
}

/// A varint that is being read.
#[derive(Clone, Copy, Default)]
struct Varint {
    bytes_left: usize,
    /// Its value, if 1 is handed out for it.
    masked: Option<usize>,
}

#[derive(Clone, Copy)]
enum Blob {
    /// So many bytes behind an `i32`, read as zero.
    Plain(usize),
    /// Behind a varint: one less than this, read as zero; or, as the size of a tagged field, as many,
    /// read as one.
    Compact(usize),
}

#[derive(Clone, Copy)]
struct Withheld {
    /// Which `i32`.
    number: usize,
    length: usize,
    /// Whether as many bytes follow.
    fits: bool,
}

impl<'a> Rehearsal<'a> {
    fn new(bytes: Bytes, blobs: &'a [usize]) -> Self {
        Self {
            whole: bytes.len(),
            bytes,
            blobs,
            numbers: 0,
            reads: 0,
            varint: Varint::default(),
            expected: None,
            withheld: None,
            refusal: None,
        }
    }

    fn refuse(&mut self, reason: String) {
        self.refusal.get_or_insert(reason);
        self.bytes.clear();
    }

    /// Something was read, or the end is reached: then it was no blob that was announced.
    fn expect_nothing(&mut self) {
        let announced = match self.expected.take() {
            Some(Blob::Plain(length) | Blob::Compact(length)) => Some(length),
            None => self.varint.masked,
        };
        if let Some(length) = announced {
            self.refuse(too_long(length, self.whole).0);
        }
    }

    /// Before each read.
    fn step(&mut self) {
        self.reads += 1;
        self.withheld = None;
        self.expect_nothing();
        self.varint = Varint::default();
    }

    /// At the first byte of a varint, or of a boolean, which is a varint of one byte.
    fn begin_varint(&mut self) {
        self.step();
        let Some((value, length)) = peek_varint(&self.bytes) else {
            return self.refuse("a number that does not end".to_owned());
        };
        let behind = self.bytes.len() - length;
        if value > (behind + 1).max(MAX_TAG) {
            return self.refuse(too_long(value, self.whole).0);
        }
        self.varint = Varint {
            bytes_left: length,
            masked: (value > MAX_ELEMENTS).then_some(value),
        };
    }

    fn skip(&mut self, length: usize) -> Bytes {
        if length > self.bytes.len() {
            self.refuse(too_long(length, self.whole).0);
        } else {
            self.bytes.advance(length);
        }
        Bytes::new()
    }

    fn shortage(&self, requested: usize) -> TryGetError {
        TryGetError {
            requested,
            available: self.bytes.len(),
        }
    }
}

/// Value and length of an unsigned varint of at most five bytes.
fn peek_varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return Some((value, index + 1));
        }
    }
    None
}

impl Buf for Rehearsal<'_> {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    /// All reads but those below end here.
    fn advance(&mut self, count: usize) {
        self.step();
        // A refusal has emptied the buffer under a read that had enough.
        let count = count.min(self.bytes.len());
        self.bytes.advance(count);
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let first = self.varint.bytes_left == 0;
        if first && !self.bytes.is_empty() {
            self.begin_varint();
        }
        if self.bytes.is_empty() {
            return Err(self.shortage(1));
        }
        let byte = self.bytes.get_u8();
        self.varint.bytes_left -= 1;
        let Some(value) = self.varint.masked else {
            return Ok(byte);
        };
        if self.varint.bytes_left == 0 {
            self.varint = Varint::default();
            self.expected = Some(Blob::Compact(value));
        }
        // As many bytes as there are, for the number 1.
        Ok((byte & 0x80) | u8::from(first))
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        self.step();
        let value = self.bytes.try_get_i32()?;
        let number = self.numbers;
        self.numbers += 1;
        let length = usize::try_from(value).unwrap_or(0);
        let fits = length <= self.bytes.len();
        if fits && length <= MAX_ELEMENTS {
            return Ok(value);
        }
        if fits && self.blobs.binary_search(&number).is_ok() {
            self.expected = Some(Blob::Plain(length));
            return Ok(0);
        }
        self.withheld = Some(Withheld {
            number,
            length,
            fits,
        });
        Ok(-2)
    }
}

impl ByteBuf for Rehearsal<'_> {
    fn peek_bytes(&mut self, range: Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        let announced = match (self.expected, size) {
            (Some(Blob::Plain(length)), 0) => Some(length),
            (Some(Blob::Compact(length)), 0) => Some(length - 1),
            (Some(Blob::Compact(length)), 1) => Some(length),
            _ => None,
        };
        if announced.is_some() {
            self.expected = None;
        }
        self.step();
        match announced {
            Some(length) => self.skip(length),
            None => self.bytes.split_to(size.min(self.bytes.len())),
        }
    }
}

#[cfg(test)]
mod tests;
