//! What is left of topics when old records went and keys were compacted.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::{
    IncrementalAlterConfigsRequest, InitProducerIdRequest,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};
use wire::{
    batch::{BatchView, TRANSACTIONAL, batches},
    record::{BatchBuilder, Codec, decode},
};

use super::{
    fetches::{fetch, from},
    producer::{Producer, init, producer, settle},
    records::{at, list},
    topic,
};
use crate::{
    batches::{T, Topic, edited, produce},
    talk::{Entry, Talk, text},
};

/// Bytes of a value: eight records and a little fill a segment of 1 MiB.
const VALUE: usize = 120_000;

/// Longer than cleaners wait between two rounds (`OPEN_SETTINGS`), and a round takes.
const QUIET: Duration = Duration::from_millis(2_500);

/// Sets a config of a topic.
fn set(talk: &mut Talk, topic: &Topic, name: &str, value: &str) {
    let config = AlterableConfig::default()
        .with_name(text(name))
        .with_value(Some(text(value)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(&topic.name))
        .with_configs(vec![config]);
    let alter = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let altered = talk.quietly(1, &alter);
    assert_eq!(altered.responses[0].error_code, 0, "{name}={value}");
}

/// A value that no codec makes smaller, so that both brokers' segments are full at the same record.
fn value(seed: u32) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..VALUE).map(next).collect()
}

/// One record per key; keys beyond 100 are deleted.
fn records(codec: Codec, seed: u32, keys: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for (at, key) in (0..).zip(keys) {
        let value = (*key < 100).then(|| value(seed * 10 + at));
        let (time, key) = (T + i64::from(seed), [*key % 100]);
        builder.push(time, Some(&key), value.as_deref(), &[]);
    }
    builder.build(0).expect("a batch")
}

fn write(talk: &mut Talk, topic: &Topic, records: Bytes) {
    let answer = talk.quietly(9, &produce(9, topic, &[(0, Some(records))]));
    let code = answer.responses[0].partition_responses[0].error_code;
    assert_eq!(code, 0, "produce to {}", topic.name);
}

fn write_inside(talk: &mut Talk, topic: &Topic, producer: &Producer, sequence: i32, batch: &Bytes) {
    let records = edited(batch, |header| {
        header.attributes |= TRANSACTIONAL;
        header.producer_id = producer.id;
        header.producer_epoch = producer.epoch;
        header.base_sequence = sequence;
    });
    talk.quietly(3, &producer.add(3, &[(&topic.name, &[0])]));
    let request = produce(9, topic, &[(0, Some(records))]);
    let request = request.with_transactional_id(Some(producer.name()));
    let answer = talk.quietly(9, &request);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

/// All batches from the start on.
fn all(talk: &mut Talk, topic: &Topic) -> Vec<BatchView> {
    let earliest = talk.quietly(5, &list(&topic.name, vec![at(0, -2)]));
    let mut next = earliest.topics[0].partitions[0].offset;
    let mut found = Vec::new();
    loop {
        let answer = talk.quietly(11, &fetch(11, &[(topic, vec![from(0, next)])]));
        let data = &answer.responses[0].partitions[0];
        assert_eq!(data.error_code, 0, "fetch {} from {next}", topic.name);
        let records = data.records.clone().unwrap_or_default();
        if records.is_empty() {
            return found;
        }
        for batch in batches(records) {
            let batch = batch.expect("batches");
            next = batch.header.next_offset();
            found.push(batch);
        }
    }
}

/// Waits until the cleaner has changed something, and changes nothing more.
fn cleaned(talk: &mut Talk, topic: &Topic, before: &[BatchView]) -> Vec<BatchView> {
    let bytes = |all: &[BatchView]| -> usize { all.iter().map(|one| one.bytes.len()).sum() };
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut last, mut since) = (before.to_vec(), None);
    loop {
        std::thread::sleep(Duration::from_millis(100));
        assert!(Instant::now() < deadline, "{} is not cleaned", topic.name);
        let now = all(talk, topic);
        if bytes(&now) != bytes(&last) {
            since = Some(Instant::now());
            last = now;
        } else if since.is_some_and(|since| since.elapsed() > QUIET) {
            return last;
        }
    }
}

/// Notes what is left. Not the horizon, which is the brokers' own time, nor the empty batch that broker-lite leaves
/// at the end of each segment.
fn note(talk: &mut Talk, what: &str, left: &[BatchView]) {
    let left = left.iter().filter(|batch| batch.header.record_count > 0);
    let lines = left.map(|batch| {
        let header = &batch.header;
        let records = decode(batch, 1 << 30).expect("records");
        let records = records.iter().map(|record| {
            let value = record.value.as_ref().map(|value| crc32c::crc32c(value));
            let time = (!header.is_control()).then_some(record.timestamp);
            format!("{} {:?} {value:?} {time:?}", record.offset, record.key)
        });
        format!(
            "{}+{} attributes {} epoch {} sequence {} leader {}: {:?}",
            header.base_offset,
            header.last_offset_delta,
            header.attributes,
            header.producer_epoch,
            header.base_sequence,
            header.partition_leader_epoch,
            records.collect::<Vec<_>>()
        )
    });
    talk.entries.push(Entry {
        asked: what.to_owned(),
        answer: lines.collect(),
    });
}

pub fn compacting(talk: &mut Talk) {
    let wait = "1000000000000";
    let topic = topic(
        talk,
        "cleaning-compacting",
        1,
        &[
            ("cleanup.policy", "compact"),
            ("segment.bytes", "1048576"),
            ("min.cleanable.dirty.ratio", "0.0"),
            ("min.compaction.lag.ms", wait),
            ("delete.retention.ms", "1"),
        ],
    );
    let idempotent: InitProducerIdRequest = init(None);
    let id = talk.quietly(2, &idempotent).producer_id.0;
    let producers = ["commits", "aborts"].map(|name| producer(talk, &format!("cleaning-{name}")));
    let mut sequences = [0; 3];
    for round in 0..2 {
        set(talk, &topic, "min.compaction.lag.ms", wait);
        for turn in 0..12 {
            let seed = round * 100 + turn * 5;
            let codec = Codec::ALL[turn as usize % Codec::ALL.len()];
            let key = |plus: u32| u8::try_from((seed + plus) % 9).expect("small");
            write(
                talk,
                &topic,
                records(codec, seed, &[key(0), 100 + key(3), key(7)]),
            );
            let batch = records(codec, seed + 1, &[key(1), key(2)]);
            let batch = edited(&batch, |header| {
                header.producer_id = id;
                header.producer_epoch = 0;
                header.base_sequence = sequences[2];
            });
            write(talk, &topic, batch);
            sequences[2] += 2;
            for (at, producer) in producers.iter().enumerate() {
                let batch = records(codec, seed + 2 + at as u32, &[key(4), 20 + at as u8]);
                write_inside(talk, &topic, producer, sequences[at], &batch);
                sequences[at] += 2;
                if turn % 2 == 1 {
                    talk.quietly(3, &producer.end(at == 0));
                    settle(talk, producer);
                }
            }
        }
        let before = all(talk, &topic);
        note(talk, &format!("round {round}: what was written"), &before);
        set(talk, &topic, "min.compaction.lag.ms", "0");
        let left = cleaned(talk, &topic, &before);
        note(talk, &format!("round {round}: what is left"), &left);
    }
}

/// Waits until a topic begins elsewhere than at 0 and stays there; notes where.
fn shortened(talk: &mut Talk, what: &str, topic: &Topic) {
    let earliest = list(&topic.name, vec![at(0, -2)]);
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut last, mut since) = (0, Instant::now());
    while last == 0 || since.elapsed() < QUIET {
        assert!(Instant::now() < deadline, "{what}: nothing went");
        std::thread::sleep(Duration::from_millis(100));
        let now = talk.quietly(5, &earliest).topics[0].partitions[0].offset;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    for (edge, timestamp) in [("earliest", -2), ("latest", -1), ("largest", -3)] {
        let ask = list(&topic.name, vec![at(0, timestamp)]);
        talk.ask(&format!("{what}: {edge}"), 7, &ask);
    }
    for offset in [0, last - 1, last] {
        let ask = fetch(11, &[(topic, vec![from(0, offset)])]);
        talk.ask(&format!("{what}: from {offset}"), 11, &ask);
    }
}

pub fn expiring(talk: &mut Talk) {
    for (what, name, value) in [
        ("time", "retention.ms", "1"),
        ("size", "retention.bytes", "2500000"),
        ("no size", "retention.bytes", "0"),
    ] {
        let topic = topic(
            talk,
            &format!("cleaning-{}", what.replace(' ', "-")),
            1,
            &[("segment.bytes", "1048576")],
        );
        for seed in 0..30 {
            write(talk, &topic, records(Codec::None, seed, &[1]));
        }
        set(talk, &topic, name, value);
        shortened(talk, what, &topic);
        write(talk, &topic, records(Codec::None, 30, &[1]));
        if what == "size" {
            let ask = list(&topic.name, vec![at(0, -1)]);
            talk.ask(&format!("{what}: one more"), 7, &ask);
        }
    }
}
