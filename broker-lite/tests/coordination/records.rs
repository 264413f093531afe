//! Produce within and outside of transactions, and what readers see.

use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use kafka_protocol::messages::{
    FetchRequest, ProduceRequest,
    fetch_request::{FetchPartition, FetchTopic},
    produce_request::{PartitionProduceData, TopicProduceData},
};
use wire::{
    batch,
    record::{BatchBuilder, Codec, control_type},
};

use super::{
    RECORDS,
    client::{Client, Transcript, text},
    transactions::{self, Held, NOTHING},
};

/// What is written: by whom, from which sequence number on.
struct Write<'a> {
    version: i16,
    id: Option<&'a str>,
    held: Held,
    sequence: i32,
    transactional: bool,
}

fn write(c: &mut Client, t: &mut Transcript, what: &str, write: &Write<'_>) {
    let (held, sequence) = (write.held, write.sequence);
    let mut records = BatchBuilder::new(Codec::None)
        .transactional(write.transactional)
        .producer(held.id, held.epoch, sequence);
    for _ in 0..2 {
        records.push(now_ms(), None, Some(b"value"), &[]);
    }
    let data = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(records.build(0).unwrap()));
    let topic = TopicProduceData::default()
        .with_name(text(RECORDS).into())
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_transactional_id(write.id.map(|id| text(id).into()))
        .with_acks(-1)
        .with_timeout_ms(5_000)
        .with_topic_data(vec![topic]);
    let answer = c.call(write.version, &request);
    let partition = &answer.responses[0].partition_responses[0];
    let (error, base) = (partition.error_code, partition.base_offset);
    t.note(format!(
        "write {}, {what}: {error} at {base}",
        write.version
    ));
}

/// Two records within the transaction of `id`.
pub(crate) fn write_inside(
    c: &mut Client,
    t: &mut Transcript,
    id: &str,
    held: Held,
    sequence: i32,
) {
    let inside = Write {
        version: 9,
        id: Some(id),
        held,
        sequence,
        transactional: true,
    };
    write(c, t, "inside", &inside);
}

/// Brokers forget producers by the age of their records.
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// What readers of both isolation levels find.
pub(crate) fn read(c: &mut Client, t: &mut Transcript) {
    for isolation in [0, 1] {
        let partition = FetchPartition::default()
            .with_partition(0)
            .with_fetch_offset(0)
            .with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default()
            .with_topic(text(RECORDS).into())
            .with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_bytes(1 << 20)
            .with_isolation_level(isolation)
            .with_topics(vec![topic]);
        let answer = c.call(11, &request);
        let p = &answer.responses[0].partitions[0];
        let mut aborted = Vec::new();
        for one in p.aborted_transactions.iter().flatten() {
            let name = t.name('P', &one.producer_id.0.to_string());
            aborted.push(format!("{name} from {}", one.first_offset));
        }
        let batches = batches(t, p.records.clone().unwrap_or_default());
        let (end, stable) = (p.high_watermark, p.last_stable_offset);
        t.note(format!(
            "read {isolation}: end {end} stable {stable} aborted {aborted:?} {batches:?}"
        ));
    }
}

fn batches(t: &mut Transcript, records: Bytes) -> Vec<String> {
    let each = batch::batches(records).map(|batch| {
        let batch = batch.unwrap();
        let header = batch.header;
        let name = t.name('P', &header.producer_id.to_string());
        let kind = if header.is_control() {
            format!("{:?}", control_type(&batch).unwrap())
        } else {
            format!("transactional {}", header.is_transactional())
        };
        format!(
            "{} {name}/{} {kind}",
            header.base_offset, header.producer_epoch
        )
    });
    each.collect()
}

pub(crate) fn records(address: SocketAddr, t: &mut Transcript) {
    t.title("records in transactions");
    let mut c = Client::connect(address);
    let c = &mut c;
    let id = "records";
    let held = transactions::init(c, t, "init", id, NOTHING);
    let of = |version, sequence| Write {
        version,
        id: Some(id),
        held,
        sequence,
        transactional: true,
    };
    let parts: [(&str, &[i32]); 1] = [(RECORDS, &[0])];
    for version in [3, 7, 9, 10, 11] {
        write(c, t, "outside", &of(version, 0));
        let stranger = Write {
            held: Held { epoch: 5, ..held },
            ..of(version, 0)
        };
        write(c, t, "wrong epoch", &stranger);
        let nobody = Write {
            id: Some("nobody"),
            ..of(version, 0)
        };
        write(c, t, "unknown id", &nobody);
        let anonymous = Write {
            id: None,
            ..of(version, 0)
        };
        write(c, t, "no id", &anonymous);
    }
    read(c, t);
    for (commit, sequence) in [(true, 0), (false, 4)] {
        transactions::add(c, t, "open", 3, id, held, &parts);
        write(c, t, "inside", &of(9, sequence));
        write(c, t, "repeated", &of(9, sequence));
        write(c, t, "more", &of(9, sequence + 2));
        let plain = Write {
            transactional: false,
            ..of(9, sequence + 4)
        };
        write(c, t, "without a transaction", &plain);
        read(c, t);
        transactions::end(c, t, "done", 3, id, held, commit);
        transactions::describe(c, t, id);
        write(c, t, "after the end", &of(11, sequence + 4));
        read(c, t);
    }
    let over = transactions::init(c, t, "init", id, NOTHING);
    transactions::add(c, t, "open", 3, id, over, &parts);
    write(c, t, "by the fenced", &of(9, 8));
    write(
        c,
        t,
        "new epoch",
        &Write {
            held: over,
            ..of(9, 0)
        },
    );
    transactions::end(c, t, "done", 3, id, over, true);
    transactions::describe(c, t, id);
    read(c, t);
}

/// Clients of KIP-890 take a partition in by writing to it.
pub(crate) fn first_writes(address: SocketAddr, t: &mut Transcript) {
    t.title("partitions that join by a write");
    let mut c = Client::connect(address);
    let c = &mut c;
    let id = "first-writes";
    let mut held = transactions::init(c, t, "init", id, NOTHING);
    for commit in [true, false] {
        let first = Write {
            version: 12,
            id: Some(id),
            held,
            sequence: 0,
            transactional: true,
        };
        write(c, t, "first", &first);
        write(
            c,
            t,
            "second",
            &Write {
                sequence: 2,
                ..first
            },
        );
        transactions::describe(c, t, id);
        held = transactions::end(c, t, "done", 5, id, held, commit);
        transactions::describe(c, t, id);
        read(c, t);
    }
}
