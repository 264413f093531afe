//! Records inside a batch.

pub use crate::codec::Codec;
