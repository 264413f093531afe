//! A sealed batch on its way to another partition: a new header before untouched records.

use super::{
    BatchHeader, BatchView, DELETE_HORIZON, HEADER_LEN, LOG_APPEND_TIME, TRANSACTIONAL, algebra,
    header::CRC_START,
};

/// What an idempotent producer writes into its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Producer id.
    pub producer_id: i64,
    /// Producer epoch.
    pub producer_epoch: i16,
    /// Sequence of the batch's first record.
    pub base_sequence: i32,
}

impl BatchView {
    /// The header under which a producer sends these records on: base offset 0, no trace of the source's
    /// transactions, append times and delete horizons, and the stamp (EXACTNESS 14). The CRC follows by
    /// algebra and the records are not read, so that damage they may have stays detectable.
    pub fn stamped(&self, stamp: Stamp) -> [u8; HEADER_LEN] {
        let header = BatchHeader {
            base_offset: 0,
            partition_leader_epoch: -1,
            attributes: self.header.attributes
                & !(LOG_APPEND_TIME | TRANSACTIONAL | DELETE_HORIZON),
            producer_id: stamp.producer_id,
            producer_epoch: stamp.producer_epoch,
            base_sequence: stamp.base_sequence,
            ..self.header
        };
        let mut bytes = header.to_bytes();
        let difference = covered(&self.bytes) ^ covered(&bytes);
        let crc = header.crc ^ algebra::shift(difference, self.bytes.len() - HEADER_LEN);
        bytes[CRC_START - 4..CRC_START].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// The CRC-32C of the records as they lie there, from the header's CRC by algebra. Brokers may change what
    /// a header says; the records behind it stay the same until they are compacted or compressed anew.
    pub fn payload_crc(&self) -> u32 {
        self.header.crc ^ algebra::shift(covered(&self.bytes), self.bytes.len() - HEADER_LEN)
    }
}

/// The CRC of that part of the header which the batch's CRC covers.
fn covered(batch: &[u8]) -> u32 {
    crc32c::crc32c(&batch[CRC_START..HEADER_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        batch::CONTROL,
        record::{BatchBuilder, Codec},
    };
    use bytes::{Bytes, BytesMut};
    use proptest::prelude::*;

    fn batch(values: &[Vec<u8>], attributes: i16) -> BatchView {
        let mut builder = BatchBuilder::new(Codec::Lz4)
            .attributes(attributes)
            .producer(7, 3, 9);
        for value in values {
            builder.push(1_700_000_000_000, None, Some(value), &[]);
        }
        let bytes = builder.build(4711).unwrap();
        BatchView::read(&bytes).unwrap().unwrap()
    }

    fn join(header: [u8; HEADER_LEN], batch: &BatchView) -> BatchView {
        let mut bytes = BytesMut::from(&header[..]);
        bytes.extend_from_slice(&batch.payload());
        BatchView::read(&bytes.freeze()).unwrap().unwrap()
    }

    const STAMP: Stamp = Stamp {
        producer_id: 1 << 62 | 5,
        producer_epoch: 2,
        base_sequence: i32::MAX,
    };

    proptest! {
        #[test]
        fn a_stamped_batch_is_whole_and_clean(
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..40),
            attributes in 0i16..128,
        ) {
            let source = batch(&values, attributes & !CONTROL);
            let sent = join(source.stamped(STAMP), &source);
            prop_assert!(sent.check_crc().is_ok());
            let header = sent.header;
            prop_assert_eq!(header.base_offset, 0);
            prop_assert_eq!(
                (header.producer_id, header.producer_epoch, header.base_sequence),
                (STAMP.producer_id, STAMP.producer_epoch, STAMP.base_sequence)
            );
            prop_assert!(!header.is_transactional() && !header.is_log_append_time());
            prop_assert!(!header.has_delete_horizon());
            prop_assert_eq!(header.codec().unwrap(), Codec::Lz4);
            prop_assert_eq!(header.record_count, source.header.record_count);
            prop_assert_eq!(header.max_timestamp, source.header.max_timestamp);
            prop_assert_eq!(sent.payload_crc(), crc32c::crc32c(&source.payload()));
            prop_assert_eq!(source.payload_crc(), sent.payload_crc());
        }
    }

    #[test]
    fn damage_of_the_records_stays_detectable() {
        let source = batch(&[b"hello".to_vec()], 0);
        let mut bytes = BytesMut::from(&source.bytes[..]);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let damaged = BatchView::read(&Bytes::from(bytes)).unwrap().unwrap();
        assert!(join(damaged.stamped(STAMP), &damaged).check_crc().is_err());
    }
}
