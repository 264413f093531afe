//! Record batches made by hand.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ProduceRequest,
    produce_request::{PartitionProduceData, TopicProduceData},
};
use uuid::Uuid;
use wire::{
    batch::{BatchHeader, HEADER_LEN, crc},
    record::{BatchBuilder, Codec},
};

use super::talk::text;

/// The time of most records: far from today, so that what is now shows.
pub const T: i64 = 1_700_000_000_000;

/// A batch with these times, keys `k0..`, values `v0..`.
pub fn batch(codec: Codec, times: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for (at, time) in times.iter().enumerate() {
        let (key, value) = (format!("k{at}"), format!("v{at}"));
        builder.push(*time, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
    }
    builder.build(0).expect("a batch")
}

/// One record with so many bytes.
pub fn of_size(codec: Codec, size: usize) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    builder.push(T, None, Some(&vec![b'x'; size]), &[]);
    builder.build(0).expect("a batch")
}

/// `count` records of a producer.
pub fn sequenced(id: i64, epoch: i16, sequence: i32, count: i32) -> Bytes {
    let times: Vec<i64> = (0..i64::from(count)).map(|at| T + at).collect();
    edited(&batch(Codec::None, &times), |header| {
        header.producer_id = id;
        header.producer_epoch = epoch;
        header.base_sequence = sequence;
    })
}

/// The batch with another header; its CRC fits.
pub fn edited(batch: &Bytes, edit: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::read(batch).expect("a header");
    edit(&mut header);
    let mut bytes = BytesMut::from(&batch[..]);
    bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    header.crc = crc(&bytes);
    bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    bytes.freeze()
}

/// The batch with other bytes behind its header; length and CRC fit.
pub fn refilled(batch: &Bytes, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(&batch[..HEADER_LEN]);
    bytes.extend_from_slice(payload);
    let length = i32::try_from(bytes.len() - 12).expect("small");
    edited(&bytes.freeze(), |header| header.length = length)
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
