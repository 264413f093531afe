//! Producers' sequence numbers, without transactions.

use kafka_protocol::messages::{
    DescribeProducersRequest, describe_producers_request::TopicRequest,
};

use super::{
    batches::{T, sequenced, write},
    client::{Client, Transcript, text},
    topic,
};

fn describe(c: &mut Client, t: &mut Transcript, topic: &str) {
    let wanted = TopicRequest::default()
        .with_name(text(topic).into())
        .with_partition_indexes(vec![0]);
    let answer = c.call(
        0,
        &DescribeProducersRequest::default().with_topics(vec![wanted]),
    );
    let mut producers = answer.topics[0].partitions[0].active_producers.clone();
    producers.sort_by_key(|producer| producer.producer_id.0);
    for p in producers {
        t.note(format!(
            " producer {} epoch {} sequence {} time T+{} coordinator {} transaction {}",
            p.producer_id.0,
            p.producer_epoch,
            p.last_sequence,
            p.last_timestamp - T,
            p.coordinator_epoch,
            p.current_txn_start_offset
        ));
    }
}

/// Writes batches of a producer, told by epoch, sequence and count.
fn writes(c: &mut Client, t: &mut Transcript, topic: &str, id: i64, all: &[(&str, i16, i32, i32)]) {
    for (what, epoch, sequence, count) in all {
        let what = format!("{what}: epoch {epoch} from {sequence}, {count}");
        write(
            c,
            t,
            topic,
            &what,
            &sequenced(id, *epoch, *sequence, *count),
        );
    }
    describe(c, t, topic);
}

pub(crate) fn one_epoch(c: &mut Client, t: &mut Transcript) {
    t.title("sequences");
    topic(c, "sequences", 1, &[]);
    let all = [
        ("first", 0, 0, 3),
        ("second", 0, 3, 3),
        ("third", 0, 6, 3),
        ("fourth", 0, 9, 3),
        ("fifth", 0, 12, 3),
        ("sixth", 0, 15, 3),
        ("the sixth again", 0, 15, 3),
        ("the second again", 0, 3, 3),
        ("the first again", 0, 0, 3),
        ("a gap", 0, 19, 3),
        ("an overlap", 0, 17, 3),
        ("part of the sixth", 0, 15, 2),
        ("fifth and sixth", 0, 12, 6),
        ("seventh", 0, 18, 1),
    ];
    writes(c, t, "sequences", 70_001, &all);
    let all = [
        ("not known, from the middle", 4, 100, 3),
        ("next", 4, 103, 3),
        ("the first again", 4, 100, 3),
    ];
    writes(c, t, "sequences", 70_002, &all);
}

pub(crate) fn epochs(c: &mut Client, t: &mut Transcript) {
    t.title("epochs of producers");
    topic(c, "epochs-of-producers", 1, &[]);
    let all = [
        ("first", 5, 0, 3),
        ("an older epoch", 4, 3, 1),
        ("an older epoch from 0", 4, 0, 1),
        ("a newer epoch, not from 0", 6, 3, 1),
        ("a newer epoch", 6, 0, 2),
        ("again in the newer epoch", 6, 0, 2),
        ("again in the first epoch", 5, 0, 3),
        ("next", 6, 2, 1),
        ("the largest epoch", i16::MAX, 0, 1),
    ];
    writes(c, t, "epochs-of-producers", 70_003, &all);
}

pub(crate) fn wrapping(c: &mut Client, t: &mut Transcript) {
    t.title("sequences wrap");
    topic(c, "wrapping", 1, &[]);
    let max = i32::MAX;
    let across = [
        ("across", 0, max - 1, 3),
        ("again", 0, max - 1, 3),
        ("next", 0, 1, 1),
    ];
    writes(c, t, "wrapping", 70_004, &across);
    let at_the_end = [
        ("to the end", 0, max, 1),
        ("gap", 0, 1, 1),
        ("from 0", 0, 0, 1),
    ];
    writes(c, t, "wrapping", 70_005, &at_the_end);
}
