//! One frame in several pieces of memory, written together.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

/// Pieces that follow each other. None is empty.
#[derive(Debug, Default)]
pub(super) struct Segments(VecDeque<Bytes>);

impl From<Bytes> for Segments {
    fn from(bytes: Bytes) -> Self {
        Self::from(vec![bytes])
    }
}

impl From<Vec<Bytes>> for Segments {
    fn from(mut pieces: Vec<Bytes>) -> Self {
        pieces.retain(|piece| !piece.is_empty());
        Self(pieces.into())
    }
}

impl Buf for Segments {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(&self.0);
        pairs
            .map(|(slice, piece)| *slice = IoSlice::new(piece))
            .count()
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(piece) = self.0.front_mut().filter(|_| count > 0) {
            let step = count.min(piece.len());
            piece.advance(step);
            count -= step;
            self.0.pop_front_if(|piece| piece.is_empty());
        }
        assert!(count == 0, "advanced behind the end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_are_read_as_one(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..9),
            step in 1usize..7,
        ) {
            let whole = pieces.concat();
            let pieces: Vec<_> = pieces.into_iter().map(Bytes::from).collect();
            let mut segments = Segments::from(pieces);
            let mut read = Vec::new();
            while segments.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 3];
                let filled = segments.chunks_vectored(&mut slices);
                let seen: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
                let count = step.min(seen.len());
                read.extend_from_slice(&seen[..count]);
                segments.advance(count);
            }
            prop_assert_eq!(read, whole);
        }
    }
}
