//! Leader epochs: a partition whose leader changed twice.
//!
//! Recorded from a Kafka that was started anew in between, which raises the epoch by two. With
//! `PARTITIONS_BOOTSTRAP=HOST:PORT`: `PARTITIONS_EPOCHS=fill` writes the records of the leader that is; after the
//! third time `PARTITIONS_EPOCHS=FILE` writes the answers there.

use kafka_protocol::messages::{
    FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceRequest,
    fetch_request::FetchPartition,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};
use wire::{batch::batches, record::Codec};

use super::{
    asked,
    batches::{T, batch, fetch, from, request},
    client::{Client, Transcript, text},
    faults::Running,
    first_difference,
    offsets::{delete, error},
    topic, until_accepted,
};

const KAFKA: &str = include_str!("kafka-4.1.1-epochs.txt");
const TOPIC: &str = "epochs";

/// Three records, in one batch, of the leader that is.
fn fill(c: &mut Client) {
    if error(c, TOPIC, 0) == 3 {
        topic(c, TOPIC, 1, &[]);
    }
    let records = batch(Codec::None, &[T, T + 1, T + 2]);
    let produce: ProduceRequest = request(TOPIC, &[(0, Some(records))]);
    until_accepted(|| c.call(9, &produce).responses[0].partition_responses[0].error_code);
}

fn ask(c: &mut Client, t: &mut Transcript) {
    let known = |epoch| from(0, 9, 1).with_current_leader_epoch(epoch);
    for epoch in -1..=5 {
        read(c, t, &format!("leader {epoch}"), known(epoch));
        let leader = c.call(12, &fetch(TOPIC, vec![known(epoch)]));
        let p = &leader.responses[0].partitions[0];
        let leader = (*p.current_leader.leader_id, p.current_leader.leader_epoch);
        t.note(format!(" before version 16: {leader:?}"));
        let list = c.call(7, &list(epoch, -1));
        let p = &list.topics[0].partitions[0];
        t.note(format!(
            " end: error {} offset {} epoch {}",
            p.error_code, p.offset, p.leader_epoch
        ));
    }
    for timestamp in [-1, -2, -3, T, T + 3] {
        let list = c.call(7, &list(-1, timestamp));
        let p = &list.topics[0].partitions[0];
        let name = if timestamp < 0 {
            timestamp
        } else {
            timestamp - T
        };
        t.note(format!(
            "time {name}: offset {} epoch {}",
            p.offset, p.leader_epoch
        ));
    }
    ends(c, t);
    diverging(c, t);
    delete(c, t, TOPIC, 7);
    ends(c, t);
    diverging(c, t);
    let list = c.call(7, &list(-1, -2));
    t.note(format!(
        "start: epoch {}",
        list.topics[0].partitions[0].leader_epoch
    ));
}

fn ends(c: &mut Client, t: &mut Transcript) {
    for epoch in -1..=5 {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(0)
            .with_current_leader_epoch(-1)
            .with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default()
            .with_topic(text(TOPIC).into())
            .with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id((-2).into())
            .with_topics(vec![topic]);
        let answer = c.call(4, &request);
        let p = &answer.topics[0].partitions[0];
        t.note(format!(
            "epoch {epoch}: error {} epoch {} end {}",
            p.error_code, p.leader_epoch, p.end_offset
        ));
    }
}

fn diverging(c: &mut Client, t: &mut Transcript) {
    for epoch in 0..=5 {
        for offset in [2, 3, 4, 6, 7, 9, 10] {
            let partition = from(0, offset, 1 << 20).with_last_fetched_epoch(epoch);
            read(
                c,
                t,
                &format!("last of epoch {epoch}, from {offset}"),
                partition,
            );
        }
    }
}

fn read(c: &mut Client, t: &mut Transcript, what: &str, partition: FetchPartition) {
    let id = super::topic_ids::id(c, TOPIC);
    let mut request: FetchRequest = fetch(TOPIC, vec![partition]);
    request.topics[0].topic_id = id;
    let answer = c.call(16, &request);
    let p = &answer.responses[0].partitions[0];
    let bases = batches(p.records.clone().unwrap_or_default()).map(|batch| {
        let header = batch.unwrap().header;
        (header.base_offset, header.partition_leader_epoch)
    });
    t.note(format!(
        "{what}: error {} end {} diverging {:?} leader {:?} nodes {} batches {:?}",
        p.error_code,
        p.high_watermark,
        (p.diverging_epoch.epoch, p.diverging_epoch.end_offset),
        (*p.current_leader.leader_id, p.current_leader.leader_epoch),
        answer.node_endpoints.len(),
        bases.collect::<Vec<_>>()
    ));
}

fn list(known: i32, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(0)
        .with_current_leader_epoch(known)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default()
        .with_name(text(TOPIC).into())
        .with_partitions(vec![partition]);
    ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_topics(vec![topic])
}

#[test]
fn a_leaders_epochs_are_judged_as_kafka_judges_them() {
    let mut t = Transcript::default();
    if let (Some(address), Ok(what)) = (asked(), std::env::var("PARTITIONS_EPOCHS")) {
        let mut c = Client::connect(address);
        if what == "fill" {
            return fill(&mut c);
        }
        ask(&mut c, &mut t);
        return std::fs::write(what, t.lines.join("\n") + "\n").unwrap();
    }
    let (mut running, mut c) = Running::start();
    for round in 0..3 {
        fill(&mut c);
        if round < 2 {
            running.faults.raise_leader_epoch(TOPIC, 0).unwrap();
            running.faults.raise_leader_epoch(TOPIC, 0).unwrap();
            (running, c) = running.restart();
        }
    }
    ask(&mut c, &mut t);
    drop(running);
    let kafka: Vec<&str> = KAFKA.lines().collect();
    if let Some(difference) = first_difference(&t.lines, &kafka) {
        panic!("another answer than Kafka's: {difference}");
    }
}
