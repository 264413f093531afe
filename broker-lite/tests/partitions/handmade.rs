//! Batches made by hand. The conformance test of the workspace has them too.

use bytes::{Bytes, BytesMut};
use wire::{
    batch::{BatchHeader, HEADER_LEN, crc},
    record::{BatchBuilder, Codec},
};

/// The time of most records: far from today, so that what is now shows.
pub(crate) const T: i64 = 1_700_000_000_000;

/// A batch with these times, keys `k0..`, values `v0..`.
pub(crate) fn batch(codec: Codec, times: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for (at, time) in times.iter().enumerate() {
        let (key, value) = (format!("k{at}"), format!("v{at}"));
        builder.push(*time, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
    }
    builder.build(0).expect("a batch")
}

/// `count` records of a producer.
pub(crate) fn sequenced(id: i64, epoch: i16, sequence: i32, count: i32) -> Bytes {
    let times: Vec<i64> = (0..i64::from(count)).map(|at| T + at).collect();
    edited(&batch(Codec::None, &times), |header| {
        header.producer_id = id;
        header.producer_epoch = epoch;
        header.base_sequence = sequence;
    })
}

/// The batch with another header; its CRC fits.
pub(crate) fn edited(batch: &Bytes, edit: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::read(batch).expect("a header");
    edit(&mut header);
    let mut bytes = BytesMut::from(&batch[..]);
    bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    header.crc = crc(&bytes);
    bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    bytes.freeze()
}

/// The batch with other bytes behind its header; length and CRC fit.
pub(crate) fn refilled(batch: &Bytes, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(&batch[..HEADER_LEN]);
    bytes.extend_from_slice(payload);
    let length = i32::try_from(bytes.len() - 12).expect("small");
    edited(&bytes.freeze(), |header| header.length = length)
}
