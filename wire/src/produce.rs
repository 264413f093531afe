//! Produce requests whose records are not copied: the envelope in one small buffer, cut where a batch's
//! records go, and the records as they lie.
//!
//! ```text
//! request header (KIP-482) | transactional id = null | acks = all | timeout ms
//!   | topics: name (9-12) or id (13) | partitions: index | record bytes + 1 as varint | batch header
//!   ✂ records of the batch ✂ | no tags | ... | no tags
//! ```
//!
//! Versions 9 to 13 (Kafka 2.4 and later); the crate's encoder, which copies, is the oracle of the tests.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use uuid::Uuid;

use crate::{TopicPartition, batch::HEADER_LEN};

/// The lowest version that is spoken here.
pub const MIN_VERSION: i16 = 9;
/// The highest; from here on topics go by id (KIP-516).
pub const MAX_VERSION: i16 = 13;

/// One batch for one partition.
#[derive(Clone, Debug)]
pub struct ProduceBatch {
    /// Where to.
    pub partition: Arc<TopicPartition>,
    /// The topic's id; needed from version 13 on.
    pub topic_id: Uuid,
    /// As the leader shall see it.
    pub header: [u8; HEADER_LEN],
    /// Behind the header.
    pub payload: Bytes,
}

impl ProduceBatch {
    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }
}

/// A request as segments of one frame, the length in front. Batches of one topic shall stand together, and
/// each partition once: a second entry would silently win (`KafkaApis.handleProduceRequest`).
pub(crate) fn encode(
    batches: &[ProduceBatch],
    version: i16,
    correlation_id: i32,
    client_id: &str,
    timeout_ms: i32,
) -> Vec<Bytes> {
    debug_assert!((MIN_VERSION..=MAX_VERSION).contains(&version));
    let mut out = Segments::default();
    let to = &mut out.envelope;
    to.put_i32(0);
    to.put_i16(ApiKey::Produce as i16);
    to.put_i16(version);
    to.put_i32(correlation_id);
    to.put_i16(client_id.len() as i16);
    to.put_slice(client_id.as_bytes());
    to.put_u8(0);
    put_varint(to, 0);
    to.put_i16(-1);
    to.put_i32(timeout_ms);
    let topics = || batches.chunk_by(|a, b| a.partition.topic == b.partition.topic);
    put_varint(to, topics().count() + 1);
    for topic in topics() {
        out.topic(topic, version);
    }
    out.envelope.put_u8(0);
    out.finish()
}

#[derive(Default)]
struct Segments<'a> {
    envelope: BytesMut,
    /// Payloads, each with the place in the envelope where it belongs.
    cuts: Vec<(usize, &'a Bytes)>,
}

impl<'a> Segments<'a> {
    fn topic(&mut self, batches: &'a [ProduceBatch], version: i16) {
        let to = &mut self.envelope;
        if version >= MAX_VERSION {
            to.put_slice(batches[0].topic_id.as_bytes());
        } else {
            let name = batches[0].partition.topic.as_bytes();
            put_varint(to, name.len() + 1);
            to.put_slice(name);
        }
        put_varint(to, batches.len() + 1);
        for batch in batches {
            let to = &mut self.envelope;
            to.put_i32(batch.partition.partition);
            put_varint(to, batch.size() + 1);
            to.put_slice(&batch.header);
            self.cuts.push((to.len(), &batch.payload));
            to.put_u8(0);
        }
        self.envelope.put_u8(0);
    }

    fn finish(mut self) -> Vec<Bytes> {
        let payloads: usize = self.cuts.iter().map(|(_, payload)| payload.len()).sum();
        let length = self.envelope.len() - 4 + payloads;
        self.envelope[..4].copy_from_slice(&(length as i32).to_be_bytes());
        let envelope = self.envelope.freeze();
        let mut segments = Vec::with_capacity(2 * self.cuts.len() + 1);
        let mut from = 0;
        for (cut, payload) in self.cuts {
            segments.push(envelope.slice(from..cut));
            segments.push(payload.clone());
            from = cut;
        }
        segments.push(envelope.slice(from..));
        segments
    }
}

/// An unsigned varint (KIP-482).
pub fn put_varint(to: &mut BytesMut, value: usize) {
    let mut rest = value;
    while rest >= 0x80 {
        to.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    to.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;
    use kafka_protocol::{
        messages::{ProduceRequest, RequestHeader, TopicName, TransactionalId},
        protocol::{Decodable, StrBytes},
    };
    use proptest::prelude::*;

    fn batch(topic: u8, partition: i32, payload: Vec<u8>) -> ProduceBatch {
        ProduceBatch {
            partition: Arc::new(TopicPartition::new(format!("topic-{topic}"), partition)),
            topic_id: Uuid::from_u128(u128::from(topic) + 1),
            header: [topic; HEADER_LEN],
            payload: payload.into(),
        }
    }

    proptest! {
        /// Against the crate's decoder.
        #[test]
        fn requests_are_what_the_crate_reads(
            mut sizes in proptest::collection::vec((0u8..4, 0i32..9, 0usize..40_000), 0..12),
            version in MIN_VERSION..=MAX_VERSION,
        ) {
            sizes.sort_unstable();
            sizes.dedup_by_key(|(topic, partition, _)| (*topic, *partition));
            let batches: Vec<_> = sizes
                .iter()
                .map(|(topic, partition, size)| batch(*topic, *partition, vec![7; *size]))
                .collect();
            let mut frame = encode(&batches, version, 77, "strait", 5_000).concat();
            let mut frame = Bytes::from(std::mem::take(&mut frame));
            prop_assert_eq!(frame.get_i32() as usize, frame.len());
            let header = RequestHeader::decode(&mut frame, 2).unwrap();
            prop_assert_eq!(header.request_api_key, ApiKey::Produce as i16);
            prop_assert_eq!(header.request_api_version, version);
            prop_assert_eq!(header.correlation_id, 77);
            prop_assert_eq!(header.client_id, Some(StrBytes::from_static_str("strait")));
            let request = ProduceRequest::decode(&mut frame, version).unwrap();
            prop_assert!(frame.is_empty());
            prop_assert_eq!(request.acks, -1);
            prop_assert_eq!(request.timeout_ms, 5_000);
            prop_assert_eq!(request.transactional_id, None::<TransactionalId>);
            let mut read = Vec::new();
            for topic in &request.topic_data {
                for data in &topic.partition_data {
                    let name = if version < 13 { topic.name.clone() } else { TopicName::default() };
                    read.push((name, topic.topic_id, data.index, data.records.clone().unwrap()));
                }
            }
            prop_assert_eq!(read.len(), batches.len());
            for (batch, (name, id, index, records)) in batches.iter().zip(read) {
                if version < 13 {
                    prop_assert_eq!(name.as_str(), batch.partition.topic.as_str());
                } else {
                    prop_assert_eq!(id, batch.topic_id);
                }
                prop_assert_eq!(index, batch.partition.partition);
                prop_assert_eq!(&records[..HEADER_LEN], &batch.header[..]);
                prop_assert_eq!(&records[HEADER_LEN..], &batch.payload[..]);
            }
        }
    }
}
