//! Answers as they go out: bytes, and records that stay in their files until then.

use bytes::{Bytes, BytesMut};

use crate::state::partition::Records;

/// A part of a frame.
#[derive(Debug)]
pub(crate) enum Piece {
    Bytes(Bytes),
    Records(Records),
}

/// A whole frame: length, header, response.
#[derive(Debug)]
pub(crate) struct Answer(pub(crate) Vec<Piece>);

impl Answer {
    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(Piece::len).sum()
    }

    /// Bytes of it that are in memory.
    pub(crate) fn held(&self) -> usize {
        let held = self.0.iter().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Records(_) => 0,
        });
        held.sum()
    }
}

impl From<BytesMut> for Answer {
    fn from(bytes: BytesMut) -> Self {
        Self(vec![Piece::Bytes(bytes.freeze())])
    }
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Records(records) => records.slice.len,
        }
    }
}
