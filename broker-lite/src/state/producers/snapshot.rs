//! The file that keeps what a partition remembers of its producers.
//!
//! `producers.snapshot`, big-endian: version u8 (1), CRC-32C of the rest u32, offset i64, then for each
//! producer: id i64, epoch i16, coordinator epoch i32, last timestamp i64, first offset of the open
//! transaction i64 (-1: none), number of batches u8 (at most 5), and for each batch: first sequence
//! i32, last sequence i32, base offset i64, largest timestamp i64.
//!
//! It says two things: what is remembered as of `offset`, and that the log before `offset` is whole and
//! durable. So it is written after a sync only, and a clean stop leaves one for the log's end: then
//! nothing has to be read again. Unlike Kafka's `.snapshot` it keeps all five batches, so repeats are
//! known after a restart too.

use std::{io, path::Path};

use bytes::Buf;
use host::{Files, files};

use super::{BATCHES, Batch, Entry, Producers};

const NAME: &str = "producers.snapshot";
const VERSION: u8 = 1;
/// Version and CRC.
const PREFIX: usize = 5;
/// A producer's bytes without its batches.
const PRODUCER: usize = 31;
const BATCH: usize = 24;

/// Reads the snapshot in `folder`: the offset and what was remembered. None if there is none, or only
/// a damaged one.
pub(crate) fn read(files: &dyn Files, folder: &Path) -> io::Result<Option<(i64, Producers)>> {
    let path = folder.join(NAME);
    if !files.exists(&path) {
        return Ok(None);
    }
    let file = files.open(&path)?;
    let length = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let snapshot = decode(&file.read_exact_at(length, 0)?);
    if snapshot.is_none() {
        tracing::warn!(file = %path.display(), "damaged: the log is read from its start instead");
    }
    Ok(snapshot)
}

/// Replaces the snapshot in `folder` by `bytes`, durably.
pub(crate) fn write(files: &dyn Files, folder: &Path, bytes: &[u8]) -> io::Result<()> {
    files::replace(files, &folder.join(NAME), bytes)
}

/// Removes the snapshot in `folder`.
pub(crate) fn remove(files: &dyn Files, folder: &Path) -> io::Result<()> {
    files.remove(&folder.join(NAME))
}

/// A snapshot of what is remembered as of `offset`.
pub(crate) fn encode(producers: &Producers, offset: i64) -> Vec<u8> {
    let mut rest = offset.to_be_bytes().to_vec();
    for (id, entry) in &producers.entries {
        rest.extend_from_slice(&id.to_be_bytes());
        rest.extend_from_slice(&entry.epoch.to_be_bytes());
        rest.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        rest.extend_from_slice(&entry.last_timestamp.to_be_bytes());
        rest.extend_from_slice(&entry.transaction.unwrap_or(-1).to_be_bytes());
        rest.push(entry.batches.len() as u8);
        for batch in &entry.batches {
            rest.extend_from_slice(&batch.first_sequence.to_be_bytes());
            rest.extend_from_slice(&batch.last_sequence.to_be_bytes());
            rest.extend_from_slice(&batch.base_offset.to_be_bytes());
            rest.extend_from_slice(&batch.max_timestamp.to_be_bytes());
        }
    }
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&crc32c::crc32c(&rest).to_be_bytes());
    bytes.append(&mut rest);
    bytes
}

fn decode(bytes: &[u8]) -> Option<(i64, Producers)> {
    let (mut prefix, mut rest) = bytes.split_at_checked(PREFIX)?;
    if prefix.get_u8() != VERSION || prefix.get_u32() != crc32c::crc32c(rest) {
        return None;
    }
    let offset = rest.try_get_i64().ok().filter(|offset| *offset >= 0)?;
    let mut producers = Producers::default();
    while rest.has_remaining() {
        if rest.remaining() < PRODUCER {
            return None;
        }
        let id = rest.get_i64();
        let mut entry = Entry {
            epoch: rest.get_i16(),
            coordinator_epoch: rest.get_i32(),
            last_timestamp: rest.get_i64(),
            transaction: Some(rest.get_i64()).filter(|first| *first >= 0),
            batches: std::collections::VecDeque::new(),
        };
        let count = usize::from(rest.get_u8());
        if count > BATCHES || rest.remaining() < count * BATCH {
            return None;
        }
        for _ in 0..count {
            entry.batches.push_back(Batch {
                first_sequence: rest.get_i32(),
                last_sequence: rest.get_i32(),
                base_offset: rest.get_i64(),
                max_timestamp: rest.get_i64(),
            });
        }
        producers.entries.insert(id, entry);
    }
    Some((offset, producers))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::batch::{BatchHeader, TRANSACTIONAL};

    use super::*;

    fn header(id: i64, sequence: i32, offset: i64, attributes: i16) -> BatchHeader {
        BatchHeader {
            base_offset: offset,
            length: 49,
            partition_leader_epoch: 0,
            crc: 0,
            attributes,
            last_offset_delta: 2,
            base_timestamp: 5,
            max_timestamp: 7 + offset,
            producer_id: id,
            producer_epoch: 3,
            base_sequence: sequence,
            record_count: 3,
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            appends in proptest::collection::vec((0i64..4, 0i32..9, any::<bool>()), 0..40),
            offset in 0i64..,
        ) {
            let mut producers = Producers::default();
            for (at, (id, sequence, transactional)) in appends.into_iter().enumerate() {
                let attributes = if transactional { TRANSACTIONAL } else { 0 };
                producers.appended(&header(id, sequence, at as i64 * 3, attributes));
            }
            let bytes = encode(&producers, offset);
            prop_assert_eq!(decode(&bytes), Some((offset, producers)));
        }

        #[test]
        fn damage_is_noticed(at in 0usize..70, bit in 0u8..8, cut in 0usize..70) {
            let mut producers = Producers::default();
            producers.appended(&header(1, 0, 0, 0));
            let bytes = encode(&producers, 3);
            let mut damaged = bytes.clone();
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= 1 << bit;
                prop_assert_eq!(decode(&damaged), None);
            }
            if cut < bytes.len() {
                prop_assert_eq!(decode(&bytes[..cut]), None);
            }
        }

        #[test]
        fn hostile_bytes_with_a_good_crc_never_panic(
            rest in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let mut bytes = vec![VERSION];
            bytes.extend_from_slice(&crc32c::crc32c(&rest).to_be_bytes());
            bytes.extend_from_slice(&rest);
            let _snapshot = decode(&bytes);
        }
    }
}
