//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest,
    InitProducerIdRequest, InitProducerIdResponse, ListTransactionsRequest, TxnOffsetCommitRequest,
    add_partitions_to_txn_request::AddPartitionsToTxnTopic,
    txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
};

use super::{
    TOPIC,
    client::{Client, Transcript, text},
    groups,
};

const CONCURRENT: i16 = 51;

#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

pub(crate) const NOTHING: Held = Held { id: -1, epoch: -1 };

/// Asks until no end of a transaction is under way any more: Kafka writes markers after it answers.
fn settled<T>(mut ask: impl FnMut() -> T, error: impl Fn(&T) -> i16) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = ask();
        if error(&answer) != CONCURRENT || Instant::now() > deadline {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn request(id: Option<&str>, timeout_ms: i32, held: Held) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(id.map(|id| text(id).into()))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(held.id.into())
        .with_producer_epoch(held.epoch)
}

fn noted(t: &mut Transcript, what: &str, answer: &InitProducerIdResponse) -> Held {
    let id = answer.producer_id.0;
    let name = t.name('P', &id.to_string());
    t.note(format!(
        "{what}: {} {name} epoch {}",
        answer.error_code, answer.producer_epoch
    ));
    Held {
        id,
        epoch: answer.producer_epoch,
    }
}

pub(crate) fn init(
    client: &mut Client,
    t: &mut Transcript,
    what: &str,
    id: &str,
    held: Held,
) -> Held {
    let request = request(Some(id), 60_000, held);
    let answer = settled(|| client.call(4, &request), |a| a.error_code);
    noted(t, what, &answer)
}

pub(crate) fn add(
    client: &mut Client,
    t: &mut Transcript,
    what: &str,
    version: i16,
    id: &str,
    held: Held,
    list: &[(&str, &[i32])],
) {
    let topic = |(name, partitions): &(&str, &[i32])| {
        AddPartitionsToTxnTopic::default()
            .with_name(text(name).into())
            .with_partitions(partitions.to_vec())
    };
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(text(id).into())
        .with_v3_and_below_producer_id(held.id.into())
        .with_v3_and_below_producer_epoch(held.epoch)
        .with_v3_and_below_topics(list.iter().map(topic).collect());
    let flatten = |answer: &kafka_protocol::messages::AddPartitionsToTxnResponse| {
        let mut each = Vec::new();
        for topic in &answer.results_by_topic_v3_and_below {
            for p in &topic.results_by_partition {
                each.push((
                    p.partition_error_code,
                    format!("{}-{}", topic.name.0, p.partition_index),
                ));
            }
        }
        each.sort_by(|a, b| a.1.cmp(&b.1));
        each
    };
    let answer = settled(
        || flatten(&client.call(version, &request)),
        |each| each.first().map_or(0, |e| e.0),
    );
    t.note(format!("add {version}, {what}: {answer:?}"));
}

fn add_offsets(
    client: &mut Client,
    t: &mut Transcript,
    what: &str,
    version: i16,
    id: &str,
    held: Held,
) {
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(text(id).into())
        .with_producer_id(held.id.into())
        .with_producer_epoch(held.epoch)
        .with_group_id(text("txn-group").into());
    let answer = settled(|| client.call(version, &request), |a| a.error_code);
    t.note(format!(
        "add offsets {version}, {what}: {}",
        answer.error_code
    ));
}

pub(crate) fn end(
    client: &mut Client,
    t: &mut Transcript,
    what: &str,
    version: i16,
    id: &str,
    held: Held,
    commit: bool,
) -> Held {
    let request = EndTxnRequest::default()
        .with_transactional_id(text(id).into())
        .with_producer_id(held.id.into())
        .with_producer_epoch(held.epoch)
        .with_committed(commit);
    let answer = settled(|| client.call(version, &request), |a| a.error_code);
    let name = t.name('P', &answer.producer_id.0.to_string());
    let after = if version >= 5 {
        format!(" {name} epoch {}", answer.producer_epoch)
    } else {
        String::new()
    };
    t.note(format!(
        "end {version} commit {commit}, {what}: {}{after}",
        answer.error_code
    ));
    Held {
        id: answer.producer_id.0,
        epoch: answer.producer_epoch,
    }
}

pub(crate) fn describe(client: &mut Client, t: &mut Transcript, id: &str) {
    let request =
        DescribeTransactionsRequest::default().with_transactional_ids(vec![text(id).into()]);
    let ask = || {
        let answer = client.call(0, &request);
        answer.transaction_states.into_iter().next().unwrap()
    };
    // "Prepare..." passes by itself on Kafka.
    let s = settled(ask, |s| {
        if s.transaction_state.starts_with("Prepare") {
            CONCURRENT
        } else {
            0
        }
    });
    let name = t.name('P', &s.producer_id.0.to_string());
    let topics: Vec<_> = s
        .topics
        .iter()
        .map(|d| format!("{} {:?}", d.topic.0, d.partitions))
        .collect();
    t.note(format!(
        "describe {id:?}: {} {} {name} epoch {} timeout {} started {} {topics:?}",
        s.error_code,
        s.transaction_state,
        s.producer_epoch,
        s.transaction_timeout_ms,
        s.transaction_start_time_ms > 0,
    ));
}

/// Who holds a transactional id.
pub(crate) fn held(client: &mut Client, id: &str) -> Held {
    let ids = vec![text(id).into()];
    let request = DescribeTransactionsRequest::default().with_transactional_ids(ids);
    let answer = client.call(0, &request);
    let state = &answer.transaction_states[0];
    Held {
        id: state.producer_id.0,
        epoch: state.producer_epoch,
    }
}

pub(crate) fn producers(address: SocketAddr, t: &mut Transcript) {
    t.title("producers");
    let mut client = Client::connect(address);
    for version in 0..=5 {
        let answer = client.call(version, &request(None, 60_000, NOTHING));
        noted(t, &format!("version {version}"), &answer);
    }
    for (what, request) in [
        ("empty id", request(Some(""), 60_000, NOTHING)),
        ("no timeout", request(Some("limits"), 0, NOTHING)),
        ("long timeout", request(Some("limits"), 900_001, NOTHING)),
        (
            "an epoch without an id",
            request(Some("limits"), 60_000, Held { id: -1, epoch: 0 }),
        ),
        (
            "an id without an epoch",
            request(Some("limits"), 60_000, Held { id: 5, epoch: -1 }),
        ),
        (
            "a held producer of nobody",
            request(Some("held"), 60_000, Held { id: 5, epoch: 7 }),
        ),
        (
            "a held producer without transactions",
            request(None, 60_000, Held { id: 5, epoch: 7 }),
        ),
    ] {
        noted(t, what, &client.call(4, &request));
    }
    let id = "recovering";
    let first = init(&mut client, t, "first", id, NOTHING);
    let second = init(&mut client, t, "recovers", id, first);
    init(&mut client, t, "recovers again", id, first);
    let third = init(&mut client, t, "new", id, NOTHING);
    for version in [3, 4, 5] {
        let request = request(Some(id), 60_000, second);
        noted(
            t,
            &format!("fenced, version {version}"),
            &client.call(version, &request),
        );
    }
    let stranger = Held {
        id: third.id + 1_000_000,
        ..third
    };
    init(&mut client, t, "another producer id", id, stranger);
    describe(&mut client, t, id);
    describe(&mut client, t, "nobody");
    describe(&mut client, t, "");
}

pub(crate) fn histories(address: SocketAddr, t: &mut Transcript) {
    t.title("transactions");
    let mut c = Client::connect(address);
    let c = &mut c;
    let id = "histories";
    let unknown = Held { id: 1, epoch: 0 };
    add(c, t, "unknown id", 3, id, unknown, &[(TOPIC, &[0])]);
    end(c, t, "unknown id", 3, id, unknown, true);
    let held = init(c, t, "init", id, NOTHING);
    refusals(c, t, id, held);
    for commit in [true, false] {
        for version in 0..=4 {
            let adds = version.min(3);
            add(c, t, "open", adds, id, held, &[(TOPIC, &[0, 1])]);
            add(c, t, "again", adds, id, held, &[(TOPIC, &[1])]);
            describe(c, t, id);
            end(c, t, "done", version, id, held, commit);
            end(c, t, "repeated", version, id, held, commit);
            end(c, t, "the other way", version, id, held, !commit);
            describe(c, t, id);
        }
    }
    add(c, t, "open", 3, id, held, &[(TOPIC, &[0])]);
    list(c, t, id);
    let over = c.call(4, &request(Some(id), 60_000, NOTHING));
    noted(t, "init over an open transaction", &over);
    let next = init(c, t, "init once more", id, NOTHING);
    end(c, t, "fenced", 3, id, held, true);
    describe(c, t, id);
    add(c, t, "open", 3, id, next, &[(TOPIC, &[0])]);
    let over = c.call(4, &request(Some(id), 60_000, next));
    noted(t, "recovering over an open transaction", &over);
    init(c, t, "recovering once more", id, next);
    init(c, t, "init", id, NOTHING);
}

fn refusals(c: &mut Client, t: &mut Transcript, id: &str, held: Held) {
    end(c, t, "nothing open", 3, id, held, true);
    end(c, t, "nothing open", 3, id, held, false);
    let some_unknown: [(&str, &[i32]); 2] = [(TOPIC, &[0, 7]), ("nothing", &[0])];
    add(c, t, "unknown partitions", 3, id, held, &some_unknown);
    let ahead = Held { epoch: 5, ..held };
    let mut stranger = held;
    stranger.id += 1_000_000;
    let one: [(&str, &[i32]); 1] = [(TOPIC, &[0])];
    for version in 0..=3 {
        add(c, t, "wrong epoch", version, id, ahead, &one);
        add_offsets(c, t, "wrong epoch", version, id, ahead);
        end(c, t, "wrong epoch", version, id, ahead, true);
        add(c, t, "wrong producer", version, id, stranger, &one);
        end(c, t, "wrong producer", version, id, stranger, true);
    }
    add(c, t, "empty id", 3, "", held, &one);
    end(c, t, "empty id", 3, "", held, true);
}

fn list(client: &mut Client, t: &mut Transcript, id: &str) {
    for (states, producers, duration) in [
        (vec![], vec![], -1),
        (vec!["Ongoing", "Nonsense"], vec![], -1),
        (vec!["Empty"], vec![], -1),
        (vec!["ongoing"], vec![], -1),
        (vec![], vec![123_456_789], -1),
        (vec![], vec![], 3_600_000),
    ] {
        let what = format!("{states:?} {producers:?} {duration}");
        let request = ListTransactionsRequest::default()
            .with_state_filters(states.into_iter().map(text).collect())
            .with_producer_id_filters(producers.into_iter().map(i64::into).collect())
            .with_duration_filter(duration);
        let answer = client.call(1, &request);
        let mut each = Vec::new();
        for s in answer
            .transaction_states
            .iter()
            .filter(|s| &*s.transactional_id.0 == id)
        {
            let name = t.name('P', &s.producer_id.0.to_string());
            each.push(format!("{name} {}", s.transaction_state));
        }
        let unknown: Vec<_> = answer
            .unknown_state_filters
            .iter()
            .map(ToString::to_string)
            .collect();
        t.note(format!(
            "list {what}: {} {unknown:?} {each:?}",
            answer.error_code
        ));
    }
}

fn commit_offsets(
    client: &mut Client,
    t: &mut Transcript,
    what: &str,
    version: i16,
    id: &str,
    held: Held,
    generation: i32,
) {
    let partition = |index: i32| {
        TxnOffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(1000 + i64::from(version))
            .with_committed_leader_epoch(if version >= 2 { 3 } else { -1 })
            .with_committed_metadata(Some(text("txn")))
    };
    let topic = |name: &str, list: &[i32]| {
        TxnOffsetCommitRequestTopic::default()
            .with_name(text(name).into())
            .with_partitions(list.iter().map(|&p| partition(p)).collect())
    };
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(text(id).into())
        .with_group_id(text("txn-group").into())
        .with_producer_id(held.id.into())
        .with_producer_epoch(held.epoch)
        .with_generation_id(generation)
        .with_topics(vec![topic(TOPIC, &[0, 7]), topic("nothing", &[0])]);
    let flatten = |answer: &kafka_protocol::messages::TxnOffsetCommitResponse| {
        let mut each = Vec::new();
        for topic in &answer.topics {
            for p in &topic.partitions {
                each.push((
                    format!("{}-{}", topic.name.0, p.partition_index),
                    p.error_code,
                ));
            }
        }
        each.sort();
        each
    };
    let answer = settled(
        || flatten(&client.call(version, &request)),
        |each| each.first().map_or(0, |e| e.1),
    );
    t.note(format!("commit offsets {version}, {what}: {answer:?}"));
}

pub(crate) fn offsets(address: SocketAddr, t: &mut Transcript) {
    t.title("offsets in transactions");
    let mut c = Client::connect(address);
    let c = &mut c;
    let id = "offsets";
    let held = init(c, t, "init", id, NOTHING);
    for version in 0..=4 {
        for commit in [false, true] {
            commit_offsets(c, t, "group outside", version, id, held, -1);
            add_offsets(c, t, "open", version.min(4), id, held);
            commit_offsets(c, t, "inside", version, id, held, -1);
            commit_offsets(
                c,
                t,
                "wrong epoch",
                version,
                id,
                Held { epoch: 9, ..held },
                -1,
            );
            if version >= 3 {
                commit_offsets(c, t, "wrong generation", version, id, held, 4);
            }
            groups::fetch(c, t, "txn-group");
            end(c, t, "done", version.min(4), id, held, commit);
            describe(c, t, id);
            groups::fetch(c, t, "txn-group");
        }
    }
}

/// Clients of KIP-890 (EndTxn 5, TxnOffsetCommit 5) get a new epoch at each end.
pub(crate) fn bumping(address: SocketAddr, t: &mut Transcript) {
    t.title("epochs bumped at the end");
    let mut c = Client::connect(address);
    let c = &mut c;
    let id = "bumping";
    let held = init(c, t, "init", id, NOTHING);
    end(c, t, "nothing open", 5, id, held, true);
    let mut held = end(c, t, "nothing open", 5, id, held, false);
    for commit in [true, false] {
        add(c, t, "open", 3, id, held, &[(TOPIC, &[0])]);
        let before = held;
        held = end(c, t, "done", 5, id, held, commit);
        end(c, t, "repeated", 5, id, before, commit);
        end(c, t, "repeated the other way", 5, id, before, !commit);
        end(c, t, "again without a transaction", 5, id, held, true);
        describe(c, t, id);
    }
    commit_offsets(c, t, "by its first write", 5, id, held, -1);
    describe(c, t, id);
    end(c, t, "done", 5, id, held, true);
    describe(c, t, id);
    groups::fetch(c, t, "txn-group");
}
