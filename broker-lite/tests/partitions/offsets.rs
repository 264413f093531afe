//! ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

use kafka_protocol::messages::{
    DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};
use wire::record::Codec;

use super::{
    batches::{T, batch, now_ms, write},
    client::{Client, Transcript, text},
    topic,
};

fn wanted(partition: i32, timestamp: i64) -> ListOffsetsPartition {
    ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp)
}

fn request(
    topic: &str,
    isolation: i8,
    partitions: Vec<ListOffsetsPartition>,
) -> ListOffsetsRequest {
    let wanted = ListOffsetsTopic::default()
        .with_name(text(topic).into())
        .with_partitions(partitions);
    ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_isolation_level(isolation)
        .with_topics(vec![wanted])
}

/// The error that the end of a partition is answered with.
pub(crate) fn error(c: &mut Client, topic: &str, partition: i32) -> i16 {
    let answer = c.call(7, &request(topic, 0, vec![wanted(partition, -1)]));
    answer.topics[0].partitions[0].error_code
}

pub(crate) fn list(
    c: &mut Client,
    t: &mut Transcript,
    topic: &str,
    version: i16,
    isolation: i8,
    partitions: Vec<ListOffsetsPartition>,
) {
    let asked: Vec<i64> = partitions.iter().map(|one| one.timestamp).collect();
    let answer = c.call(version, &request(topic, isolation, partitions));
    for (asked, p) in asked.iter().zip(&answer.topics[0].partitions) {
        let name = |time: i64| match time {
            ..0 => time.to_string(),
            time if (now_ms() - time).abs() < 60_000 => "now".to_owned(),
            time => format!("T+{}", time - T),
        };
        t.note(format!(
            "version {version}, {topic} {}: error {} offset {} time {} epoch {}",
            name(*asked),
            p.error_code,
            p.offset,
            name(p.timestamp),
            p.leader_epoch
        ));
    }
}

pub(crate) fn one(c: &mut Client, t: &mut Transcript, topic: &str, isolation: i8, timestamp: i64) {
    list(c, t, topic, 10, isolation, vec![wanted(0, timestamp)]);
}

/// Moves the start of partition 0.
pub(crate) fn delete(c: &mut Client, t: &mut Transcript, topic: &str, offset: i64) {
    delete_of(c, t, topic, 0, offset);
}

fn delete_of(c: &mut Client, t: &mut Transcript, topic: &str, partition: i32, offset: i64) {
    let partition = DeleteRecordsPartition::default()
        .with_partition_index(partition)
        .with_offset(offset);
    let wanted = DeleteRecordsTopic::default()
        .with_name(text(topic).into())
        .with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![wanted])
        .with_timeout_ms(5_000);
    let answer = c.call(2, &request);
    let p = &answer.topics[0].partitions[0];
    t.note(format!(
        "delete {topic} before {offset}: error {} start {}",
        p.error_code, p.low_watermark
    ));
}

pub(crate) fn specials(c: &mut Client, t: &mut Transcript) {
    t.title("special offsets");
    topic(c, "specials", 2, &[]);
    for spec in -6..0 {
        one(c, t, "specials", 0, spec);
    }
    write(
        c,
        t,
        "specials",
        "fill",
        &batch(Codec::None, &[T, T + 9, T + 3]),
    );
    write(
        c,
        t,
        "specials",
        "fill",
        &batch(Codec::Gzip, &[T + 2, T + 9, T + 1]),
    );
    for version in 1..=10 {
        for spec in -6..0 {
            list(c, t, "specials", version, 0, vec![wanted(0, spec)]);
        }
    }
    list(c, t, "specials", 7, 0, vec![wanted(2, -1)]);
    list(c, t, "nowhere", 7, 0, vec![wanted(0, -1)]);
    list(c, t, "specials", 7, 0, vec![wanted(0, -1), wanted(0, -1)]);
    for epoch in [0, 1] {
        let one = wanted(0, -1).with_current_leader_epoch(epoch);
        list(c, t, "specials", 7, 0, vec![one]);
    }
}

pub(crate) fn times(c: &mut Client, t: &mut Transcript) {
    t.title("offsets of times");
    topic(c, "times-of", 1, &[]);
    topic(
        c,
        "times-of-append",
        1,
        &[("message.timestamp.type", "LogAppendTime")],
    );
    let batches = [
        batch(Codec::None, &[T + 10, T + 20]),
        batch(Codec::Lz4, &[T + 50, T + 40, T + 30]),
        batch(Codec::None, &[T + 25, T + 60]),
    ];
    for records in &batches {
        write(c, t, "times-of", "fill", records);
    }
    write(c, t, "times-of-append", "fill", &batches[1]);
    for ms in [0, 10, 11, 20, 21, 31, 41, 50, 51, 60, 61] {
        one(c, t, "times-of", 0, T + ms);
    }
    one(c, t, "times-of-append", 0, T);
    one(c, t, "times-of-append", 0, -3);
    delete(c, t, "times-of", 3);
    for ms in [0, 31, 41, 55] {
        one(c, t, "times-of", 0, T + ms);
    }
    one(c, t, "times-of", 0, -3);
    one(c, t, "times-of", 0, -2);
}

pub(crate) fn epochs(c: &mut Client, t: &mut Transcript) {
    t.title("where epochs end");
    topic(c, "epoch-ends", 1, &[]);
    write(c, t, "epoch-ends", "fill", &batch(Codec::None, &[T, T]));
    for version in 2..=4 {
        for (current, epoch) in [(-1, 0), (0, 0), (1, 0), (-1, 1), (-1, -1), (0, 7)] {
            let partition = OffsetForLeaderPartition::default()
                .with_partition(0)
                .with_current_leader_epoch(current)
                .with_leader_epoch(epoch);
            let missing = partition.clone().with_partition(1);
            let wanted = OffsetForLeaderTopic::default()
                .with_topic(text("epoch-ends").into())
                .with_partitions(vec![partition, missing]);
            let request = OffsetForLeaderEpochRequest::default()
                .with_replica_id((-1).into())
                .with_topics(vec![wanted]);
            let answer = c.call(version, &request);
            for p in &answer.topics[0].partitions {
                t.note(format!(
                    "version {version}, epoch {epoch} as of {current}: partition {} error {} epoch {} end {}",
                    p.partition, p.error_code, p.leader_epoch, p.end_offset
                ));
            }
        }
    }
}

pub(crate) fn deleting(c: &mut Client, t: &mut Transcript) {
    t.title("deleting records");
    topic(c, "deleting", 1, &[]);
    for _ in 0..3 {
        write(c, t, "deleting", "fill", &batch(Codec::None, &[T, T, T]));
    }
    for offset in [0, 2, 1, -2, 10, 9, -1] {
        delete(c, t, "deleting", offset);
    }
    write(c, t, "deleting", "more", &batch(Codec::None, &[T]));
    delete(c, t, "deleting", -1);
    delete_of(c, t, "deleting", 1, 0);
    delete_of(c, t, "nowhere", 0, 0);
    for policy in ["compact", "compact,delete"] {
        let name = format!("deleting-{}", policy.replace(',', "-"));
        topic(c, &name, 1, &[("cleanup.policy", policy)]);
        write(c, t, &name, "fill", &batch(Codec::None, &[T]));
        delete(c, t, &name, 1);
    }
}
