//! The two requests that carry batches, and what is noted of their answers.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse,
    fetch_request::{FetchPartition, FetchTopic},
    produce_request::{PartitionProduceData, TopicProduceData},
};
use wire::{batch::batches, record::decode};

use super::client::{Client, Transcript, text};
pub(crate) use super::handmade::{T, batch, edited, refilled, sequenced};

pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

pub(crate) fn joined(batches: &[&[u8]]) -> Bytes {
    batches.concat().into()
}

/// A Produce request for some partitions of one topic.
pub(crate) fn request(topic: &str, data: &[(i32, Option<Bytes>)]) -> ProduceRequest {
    let data = data.iter().map(|(index, records)| {
        PartitionProduceData::default()
            .with_index(*index)
            .with_records(records.clone())
    });
    let topic = TopicProduceData::default()
        .with_name(text(topic).into())
        .with_partition_data(data.collect());
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(5_000)
        .with_topic_data(vec![topic])
}

/// Writes one batch and notes the answer.
pub(crate) fn write(c: &mut Client, t: &mut Transcript, topic: &str, what: &str, records: &Bytes) {
    write_as(c, t, topic, what, 9, records);
}

pub(crate) fn write_as(
    c: &mut Client,
    t: &mut Transcript,
    topic: &str,
    what: &str,
    version: i16,
    records: &Bytes,
) {
    let request = request(topic, &[(0, Some(records.clone()))]);
    let answer = c.call(version, &request);
    note(t, what, &answer);
}

pub(crate) fn note(t: &mut Transcript, what: &str, answer: &ProduceResponse) {
    for topic in &answer.responses {
        let mut partitions: Vec<_> = topic.partition_responses.iter().collect();
        partitions.sort_by_key(|partition| partition.index);
        for p in partitions {
            let time = match p.log_append_time_ms {
                time if (now_ms() - time).abs() < 60_000 => "now".to_owned(),
                -1 => "-".to_owned(),
                time => format!("T+{}", time - T),
            };
            let blamed: Vec<_> = p.record_errors.iter().map(|one| one.batch_index).collect();
            t.note(format!(
                "{what}: {} at {}, time {time}, start {}, blamed {blamed:?}",
                p.error_code, p.base_offset, p.log_start_offset
            ));
        }
    }
}

/// One partition of a Fetch request.
pub(crate) fn from(partition: i32, offset: i64, max_bytes: i32) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(max_bytes)
}

pub(crate) fn fetch(topic: &str, partitions: Vec<FetchPartition>) -> FetchRequest {
    let topic = FetchTopic::default()
        .with_topic(text(topic).into())
        .with_partitions(partitions);
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// Reads partition 0 from `offset` on and notes every batch and record.
pub(crate) fn read(c: &mut Client, t: &mut Transcript, topic: &str, offset: i64) {
    let answer = c.call(11, &fetch(topic, vec![from(0, offset, 1 << 20)]));
    let p = &answer.responses[0].partitions[0];
    t.note(format!(
        "read {topic} from {offset}: {}",
        ends(p.error_code, &answer)
    ));
    for batch in batches(p.records.clone().unwrap_or_default()) {
        let batch = batch.unwrap();
        let h = &batch.header;
        let time = |time: i64| match (now_ms() - time).abs() / 60_000 {
            0 => "now".to_owned(),
            1..300 => "today".to_owned(),
            _ => format!("T+{}", time - T),
        };
        t.note(format!(
            " batch {}+{} of {}: attributes {:#b} epoch {} times {} {} producer {} {} {} sound {}",
            h.base_offset,
            h.last_offset_delta,
            h.record_count,
            h.attributes,
            h.partition_leader_epoch,
            time(h.base_timestamp),
            time(h.max_timestamp),
            h.producer_id,
            h.producer_epoch,
            h.base_sequence,
            batch.check_crc().is_ok(),
        ));
        for record in decode(&batch, 1 << 20).unwrap() {
            let text = |bytes: &Option<Bytes>| {
                bytes
                    .as_ref()
                    .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            };
            t.note(format!(
                "  {} {} {:?} {:?}",
                record.offset,
                time(record.timestamp),
                text(&record.key),
                text(&record.value)
            ));
        }
    }
}

/// Error and ends of the first partition of an answer.
pub(crate) fn ends(error: i16, answer: &FetchResponse) -> String {
    let p = &answer.responses[0].partitions[0];
    format!(
        "{error} end {} stable {} start {}",
        p.high_watermark, p.last_stable_offset, p.log_start_offset
    )
}
