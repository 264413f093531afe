//! Fetch.

use std::time::Instant;

use kafka_protocol::messages::{
    FetchRequest, FetchResponse,
    fetch_request::{FetchPartition, FetchTopic},
};
use wire::{batch::batches, record::Codec};

use super::{
    batches::{T, batch, fetch, from, read, write},
    client::{Client, Transcript},
    offsets::delete,
    topic,
};

/// Three batches, offsets 0-2, 3-5, 6-8.
pub(crate) fn filled(c: &mut Client, t: &mut Transcript, name: &str, partitions: i32) {
    topic(c, name, partitions, &[]);
    for _ in 0..3 {
        write(c, t, name, "fill", &batch(Codec::None, &[T, T + 1, T + 2]));
    }
}

/// Notes partitions by their errors, ends and batches.
fn note(t: &mut Transcript, what: &str, answer: &FetchResponse) {
    if answer.error_code != 0 {
        t.note(format!("{what}: error {}", answer.error_code));
    }
    let all = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|partition| partition.partition_index);
    for p in all {
        let bases = batches(p.records.clone().unwrap_or_default());
        let bases: Vec<i64> = bases
            .map(|batch| batch.unwrap().header.base_offset)
            .collect();
        let diverging = (p.diverging_epoch.epoch, p.diverging_epoch.end_offset);
        let diverging = if diverging == (-1, -1) {
            String::new()
        } else {
            format!(" diverging {diverging:?}")
        };
        t.note(format!(
            "{what}: partition {} error {} end {} stable {} start {} batches {bases:?}{diverging}",
            p.partition_index,
            p.error_code,
            p.high_watermark,
            p.last_stable_offset,
            p.log_start_offset
        ));
    }
}

pub(crate) fn ranges(c: &mut Client, t: &mut Transcript) {
    t.title("where a read begins");
    filled(c, t, "ranges", 1);
    for offset in [0, 1, 3, 8, 9, 10, -1, i64::MAX] {
        let answer = c.call(11, &fetch("ranges", vec![from(0, offset, 1 << 20)]));
        note(t, &format!("from {offset}"), &answer);
    }
    for version in 4..=12 {
        let answer = c.call(version, &fetch("ranges", vec![from(0, 4, 1 << 20)]));
        note(t, &format!("version {version}"), &answer);
    }
    delete(c, t, "ranges", 4);
    for offset in [0, 3, 4, 5] {
        let answer = c.call(11, &fetch("ranges", vec![from(0, offset, 1 << 20)]));
        note(t, &format!("from {offset}"), &answer);
    }
    for epoch in [-1, 0, 1] {
        let partition = from(0, 6, 1 << 20).with_current_leader_epoch(epoch);
        let answer = c.call(11, &fetch("ranges", vec![partition]));
        note(t, &format!("leader epoch {epoch}"), &answer);
    }
    for (epoch, offset) in [(0, 6), (0, 9), (0, 12), (1, 6), (0, 2), (7, 12)] {
        let partition = from(0, offset, 1 << 20).with_last_fetched_epoch(epoch);
        let answer = c.call(12, &fetch("ranges", vec![partition]));
        note(t, &format!("last epoch {epoch}, from {offset}"), &answer);
    }
    read(c, t, "ranges", 5);
}

pub(crate) fn limits(c: &mut Client, t: &mut Transcript) {
    t.title("how much is read");
    filled(c, t, "limits", 2);
    let two = [(1, batch(Codec::None, &[T])), (1, batch(Codec::None, &[T]))];
    for (partition, records) in two {
        let request = super::batches::request("limits", &[(partition, Some(records))]);
        super::batches::note(t, "fill", &c.call(9, &request));
    }
    let size = i32::try_from(batch(Codec::None, &[T, T + 1, T + 2]).len()).unwrap();
    for (max, own) in [
        (1 << 20, 1 << 20),
        (1 << 20, 1),
        (1 << 20, 0),
        (1 << 20, size),
        (1 << 20, 2 * size),
        (1, 1 << 20),
        (0, 1 << 20),
        (size, 1 << 20),
        (3 * size, 1 << 20),
        (3 * size + 1, 1 << 20),
        (4 * size, 1 << 20),
    ] {
        let partitions = vec![from(0, 0, own), from(1, 0, own)];
        let request = fetch("limits", partitions).with_max_bytes(max);
        note(
            t,
            &format!("at most {max}, {own} each"),
            &c.call(11, &request),
        );
    }
    let partitions = vec![from(0, 9, 1), from(1, 0, 1)];
    note(
        t,
        "the first is empty",
        &c.call(11, &fetch("limits", partitions)),
    );
    let partitions = vec![from(1, 0, 1), from(0, 0, 1)];
    note(
        t,
        "the other way round",
        &c.call(11, &fetch("limits", partitions)),
    );
}

pub(crate) fn unknown(c: &mut Client, t: &mut Transcript) {
    t.title("what is not there");
    let id = topic(c, "unknown", 1, &[]);
    write(c, t, "unknown", "fill", &batch(Codec::None, &[T]));
    note(
        t,
        "partition",
        &c.call(12, &fetch("unknown", vec![from(1, 0, 1)])),
    );
    note(
        t,
        "topic",
        &c.call(12, &fetch("nowhere", vec![from(0, 0, 1)])),
    );
    let by_id = |id, partition| {
        let topic = FetchTopic::default()
            .with_topic_id(id)
            .with_partitions(vec![from(partition, 0, 100)]);
        FetchRequest::default()
            .with_max_bytes(1 << 20)
            .with_session_epoch(-1)
            .with_topics(vec![topic])
    };
    for version in 13..=18 {
        note(
            t,
            &format!("version {version}"),
            &c.call(version, &by_id(id, 0)),
        );
    }
    note(t, "partition by id", &c.call(13, &by_id(id, 1)));
    note(
        t,
        "topic by id",
        &c.call(13, &by_id(uuid::Uuid::from_u128(7), 0)),
    );
}

fn timed(c: &mut Client, t: &mut Transcript, what: &str, request: &FetchRequest) {
    let start = Instant::now();
    let answer = c.call(11, request);
    let waited = start.elapsed().as_millis() >= 300;
    note(t, &format!("{what}, waited {waited}"), &answer);
}

pub(crate) fn waiting(c: &mut Client, t: &mut Transcript) {
    t.title("how long a read waits");
    filled(c, t, "waiting", 1);
    let partitions = |all: &[FetchPartition]| {
        fetch("waiting", all.to_vec())
            .with_max_wait_ms(400)
            .with_min_bytes(1)
    };
    let only = |one: &FetchPartition| partitions(std::slice::from_ref(one));
    let (here, end) = (from(0, 0, 1 << 20), from(0, 9, 1 << 20));
    timed(c, t, "there are records", &only(&here));
    timed(c, t, "at the end", &only(&end));
    timed(c, t, "at the end, no wait", &only(&end).with_max_wait_ms(0));
    timed(
        c,
        t,
        "at the end, no minimum",
        &only(&end).with_min_bytes(0),
    );
    timed(c, t, "too few", &only(&here).with_min_bytes(100_000));
    let small = only(&here).with_min_bytes(100_000).with_max_bytes(100);
    timed(c, t, "more than the most", &small);
    let small = partitions(&[from(0, 0, 100)]).with_min_bytes(200);
    timed(c, t, "more than the most of one", &small);
    timed(c, t, "out of range", &partitions(&[from(0, 10, 1)]));
    timed(c, t, "one that is not there", &partitions(&[from(5, 0, 1)]));
    timed(
        c,
        t,
        "one that is not there and one at the end",
        &partitions(&[from(5, 0, 1), end]),
    );
    timed(
        c,
        t,
        "no partitions",
        &FetchRequest::default()
            .with_max_wait_ms(400)
            .with_min_bytes(1),
    );
}
