//! Record batches made by hand.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ProduceRequest,
    produce_request::{PartitionProduceData, TopicProduceData},
};
use uuid::Uuid;
use wire::record::{BatchBuilder, Codec};

pub(crate) use super::handmade::{T, batch, edited, refilled, sequenced};
use super::talk::text;

/// One record with so many bytes.
pub fn of_size(codec: Codec, size: usize) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    builder.push(T, None, Some(&vec![b'x'; size]), &[]);
    builder.build(0).expect("a batch")
}

/// The batch with these bytes at `at`, whatever the CRC says.
pub fn patched(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut patched = BytesMut::from(&batch[..]);
    patched[at..at + bytes.len()].copy_from_slice(bytes);
    patched.freeze()
}

/// A topic as the cases know it.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: String,
    pub id: Uuid,
}

/// A Produce request for some partitions of one topic, with acks -1.
pub fn produce(version: i16, topic: &Topic, data: &[(i32, Option<Bytes>)]) -> ProduceRequest {
    let data = data.iter().map(|(index, records)| {
        PartitionProduceData::default()
            .with_index(*index)
            .with_records(records.clone())
    });
    let named = TopicProduceData::default().with_partition_data(data.collect());
    let named = match version {
        ..=12 => named.with_name(text(&topic.name).into()),
        _ => named.with_topic_id(topic.id),
    };
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(5_000)
        .with_topic_data(vec![named])
}
