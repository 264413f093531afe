//! Producer ids and transactions.

use kafka_protocol::messages::{
    DescribeTransactionsRequest, ListTransactionsRequest, ListTransactionsResponse,
};

use super::{
    producer::{init, producer, settle},
    topic,
};
use crate::{
    batches::{produce, sequenced},
    talk::{Talk, text},
};

pub fn producers(talk: &mut Talk) {
    for version in 0..=5 {
        let id = format!("transactions-producers-{version}");
        talk.ask("idempotent", version, &init(None));
        talk.ask(
            "idempotent, timeout 0",
            version,
            &init(None).with_transaction_timeout_ms(0),
        );
        talk.ask("no name", version, &init(Some("")));
        for timeout in [0, -1, 900_000, 900_001, i32::MAX] {
            let request = init(Some(&id)).with_transaction_timeout_ms(timeout);
            talk.ask(&format!("timeout {timeout}"), version, &request);
        }
        let known = talk.ask("sound", version, &init(Some(&id)));
        if version >= 3 {
            let (producer, epoch) = (known.producer_id.0, known.producer_epoch);
            for (what, producer, epoch) in [
                ("its id", producer, epoch),
                ("its id again", producer, epoch),
                ("another id", producer + 1000, epoch),
                ("an older epoch", producer, epoch - 1),
                ("a newer epoch", producer, epoch + 9),
                ("no epoch", producer, -1),
                ("no id", -1, 0),
            ] {
                let request = init(Some(&id))
                    .with_producer_id(producer.into())
                    .with_producer_epoch(epoch);
                talk.ask(what, version, &request);
            }
            let stranger = init(None).with_producer_id(5.into()).with_producer_epoch(1);
            talk.ask("idempotent with an id", version, &stranger);
            let stranger = init(Some("transactions-unknown"))
                .with_producer_id(5.into())
                .with_producer_epoch(1);
            talk.ask("a name that is not known", version, &stranger);
        }
    }
}

pub fn partitions(talk: &mut Talk) {
    let topic = topic(talk, "transactions-partitions", 3, &[]);
    for version in 0..=5 {
        let producer = producer(talk, &format!("transactions-partitions-{version}"));
        for (what, wrong) in producer.wrong() {
            talk.ask(what, version, &wrong.add(version, &[(&topic.name, &[0])]));
        }
        talk.ask(
            "sound",
            version,
            &producer.add(version, &[(&topic.name, &[0])]),
        );
        talk.ask(
            "again",
            version,
            &producer.add(version, &[(&topic.name, &[0, 0])]),
        );
        talk.ask(
            "unknown partition",
            version,
            &producer.add(version, &[(&topic.name, &[1, 9])]),
        );
        talk.ask(
            "unknown topic",
            version,
            &producer.add(
                version,
                &[("transactions-nowhere", &[0]), (&topic.name, &[1])],
            ),
        );
        talk.ask(
            "no partitions",
            version,
            &producer.add(version, &[(&topic.name, &[])]),
        );
        talk.ask("no topics", version, &producer.add(version, &[]));
        if version >= 4 {
            let mut verify = producer.add(version, &[(&topic.name, &[0, 2])]);
            verify.transactions[0].verify_only = true;
            talk.ask("verified", version, &verify);
            let mut two = producer.add(version, &[(&topic.name, &[2])]);
            let (_, wrong) = producer.wrong().remove(0);
            two.transactions
                .extend(wrong.add(version, &[(&topic.name, &[0])]).transactions);
            talk.ask("two transactions", version, &two);
        }
        talk.quietly(2, &producer.end(false));
    }
}

pub fn ends(talk: &mut Talk) {
    let topic = topic(talk, "transactions-ends", 1, &[]);
    for version in 0..=4 {
        for committed in [true, false] {
            let producer = producer(talk, &format!("transactions-ends-{version}-{committed}"));
            talk.ask("nothing to end", version, &producer.end(committed));
            talk.quietly(3, &producer.add(3, &[(&topic.name, &[0])]));
            for (what, wrong) in producer.wrong() {
                talk.ask(what, version, &wrong.end(committed));
            }
            talk.ask("sound", version, &producer.end(committed));
            settle(talk, &producer);
            talk.ask("again", version, &producer.end(committed));
            talk.ask("the other way", version, &producer.end(!committed));
        }
    }
}

pub fn offsets(talk: &mut Talk) {
    let topic = topic(talk, "transactions-offsets", 2, &[]);
    for version in 0..=4 {
        let group = format!("transactions-offsets-{version}");
        let producer = producer(talk, &group);
        talk.ask(
            "not in the transaction",
            version,
            &producer.commit(&group, &topic.name, &[(0, 5)]),
        );
        for (what, wrong) in producer.wrong() {
            talk.ask(what, version, &wrong.offsets(&group));
            talk.ask(what, version, &wrong.commit(&group, &topic.name, &[(0, 5)]));
        }
        talk.ask("no group", version, &producer.offsets(""));
        talk.ask("sound", version, &producer.offsets(&group));
        talk.ask("again", version, &producer.offsets(&group));
        talk.ask(
            "sound",
            version,
            &producer.commit(&group, &topic.name, &[(0, 5), (1, 6)]),
        );
        talk.ask(
            "unknown partition",
            version,
            &producer.commit(&group, &topic.name, &[(0, 5), (9, 6)]),
        );
        talk.ask(
            "unknown topic",
            version,
            &producer.commit(&group, "transactions-nowhere", &[(0, 5)]),
        );
        talk.ask(
            "no group",
            version,
            &producer.commit("", &topic.name, &[(0, 5)]),
        );
        talk.ask(
            "no partitions",
            version,
            &producer.commit(&group, &topic.name, &[]),
        );
        if version >= 3 {
            let member = producer
                .commit(&group, &topic.name, &[(0, 5)])
                .with_member_id(text("stranger"))
                .with_generation_id(4);
            talk.ask("a member", version, &member);
        }
        talk.quietly(2, &producer.end(true));
    }
}

pub fn writes(talk: &mut Talk) {
    let topic = topic(talk, "transactions-writes", 2, &[]);
    for version in [3, 8, 10, 11] {
        // Producers of their own: Kafka remembers for a while with which sequence one was refused.
        let outside = producer(talk, &format!("transactions-outside-{version}"));
        let write = outside.write(version, &topic, 0, 0);
        talk.ask("not in a transaction", version, &write);
        let late = producer(talk, &format!("transactions-late-{version}"));
        talk.ask("in", 3, &late.add(3, &[(&topic.name, &[0])]));
        talk.ask("first, from 4", version, &late.write(version, &topic, 0, 4));
        talk.ask("its end", 2, &late.end(false));
        settle(talk, &late);
        let wronged = producer(talk, &format!("transactions-wronged-{version}"));
        talk.ask("in", 3, &wronged.add(3, &[(&topic.name, &[0])]));
        for (what, wrong) in wronged.wrong() {
            talk.ask(what, version, &wrong.write(version, &topic, 0, 0));
        }
        talk.ask("its end", 2, &wronged.end(false));
        settle(talk, &wronged);
        let producer = producer(talk, &format!("transactions-writes-{version}"));
        talk.ask("in", 3, &producer.add(3, &[(&topic.name, &[0])]));
        for (what, sequence) in [("sound", 0), ("repeat", 0), ("gap", 5)] {
            let write = producer.write(version, &topic, 0, sequence);
            talk.ask(what, version, &write);
        }
        let write = producer.write(version, &topic, 1, 0);
        talk.ask("a partition that is not in it", version, &write);
        let plain = sequenced(producer.id, producer.epoch, 1, 1);
        let write = produce(version, &topic, &[(0, Some(plain))]);
        talk.ask("plain, in between", version, &write);
        talk.ask("end", 2, &producer.end(true));
        settle(talk, &producer);
        let write = producer.write(version, &topic, 0, 1);
        talk.ask("after the end", version, &write);
    }
}

/// The protocol of KIP-890: writing takes a partition in, an end moves the producer to its next epoch.
pub fn newest(talk: &mut Talk) {
    let topic = topic(talk, "transactions-newest", 2, &[]);
    for version in [12, 13] {
        let name = format!("transactions-newest-{version}");
        let mut producer = producer(talk, &name);
        talk.ask("nothing to abort", 5, &producer.end(false));
        settle(talk, &producer);
        let known = talk.ask("again", 5, &init(Some(&name)));
        (producer.id, producer.epoch) = (known.producer_id.0, known.producer_epoch);
        for (what, wrong) in producer.wrong() {
            talk.ask(what, version, &wrong.write(version, &topic, 0, 0));
            talk.ask(what, 5, &wrong.commit(&name, &topic.name, &[(0, 3)]));
            talk.ask(what, 5, &wrong.end(true));
        }
        for partition in [0, 1, 9] {
            let write = producer.write(version, &topic, partition, 0);
            talk.ask(&format!("to {partition}"), version, &write);
        }
        talk.ask(
            "offsets",
            5,
            &producer.commit(&name, &topic.name, &[(0, 3), (9, 3)]),
        );
        talk.ask("no group", 5, &producer.commit("", &topic.name, &[(0, 3)]));
        let ended = talk.ask("end", 5, &producer.end(true));
        settle(talk, &producer);
        talk.ask("end again", 5, &producer.end(true));
        talk.ask("the other way", 5, &producer.end(false));
        talk.ask(
            "with the old epoch",
            version,
            &producer.write(version, &topic, 0, 1),
        );
        producer.epoch = ended.producer_epoch;
        talk.ask(
            "with the new epoch, not from 0",
            version,
            &producer.write(version, &topic, 0, 1),
        );
        talk.ask(
            "with the new epoch",
            version,
            &producer.write(version, &topic, 0, 0),
        );
        talk.ask("abort", 5, &producer.end(false));
        settle(talk, &producer);
    }
}

pub fn shown(talk: &mut Talk) {
    let topic = topic(talk, "transactions-shown", 2, &[]);
    let open = producer(talk, "transactions-shown-open");
    talk.quietly(3, &open.add(3, &[(&topic.name, &[0, 1])]));
    let done = producer(talk, "transactions-shown-done");
    talk.quietly(3, &done.add(3, &[(&topic.name, &[0])]));
    talk.quietly(3, &done.end(true));
    producer(talk, "transactions-shown-empty");
    // Kafka writes the markers behind its answer.
    super::until_accepted(|| {
        let answer = talk.quietly(3, &done.add(3, &[(&topic.name, &[1])]));
        let topics = &answer.results_by_topic_v3_and_below;
        topics
            .iter()
            .flat_map(|t| &t.results_by_partition)
            .map(|p| p.partition_error_code)
            .sum()
    });
    let describe = |ids: &[&str]| {
        DescribeTransactionsRequest::default()
            .with_transactional_ids(ids.iter().map(|id| text(id).into()).collect())
    };
    talk.ask("open", 0, &describe(&["transactions-shown-open"]));
    talk.ask(
        "empty and unknown",
        0,
        &describe(&["transactions-shown-empty", "transactions-unknown"]),
    );
    talk.ask(
        "twice",
        0,
        &describe(&["transactions-shown-empty", "transactions-shown-empty"]),
    );
    talk.ask("no name", 0, &describe(&[""]));
    talk.ask("none", 0, &describe(&[]));
    let only_ours = |answer: &mut ListTransactionsResponse| {
        answer
            .transaction_states
            .retain(|one| one.transactional_id.starts_with("transactions-shown"));
    };
    for version in 0..=2 {
        let request = ListTransactionsRequest::default();
        talk.ask_edited("all", version, &request, only_ours);
        for states in [
            &["Ongoing"][..],
            &["ongoing"],
            &["Empty", "Ongoing"],
            &["nonsense"],
            &["nonsense", "Empty"],
            &[""],
        ] {
            let filters = states.iter().map(|state| text(state)).collect();
            let request = request.clone().with_state_filters(filters);
            talk.ask_edited(&format!("states {states:?}"), version, &request, only_ours);
        }
        for producers in [vec![open.id], vec![open.id, 5], vec![-1]] {
            let filters = producers.iter().map(|id| (*id).into()).collect();
            let request = request.clone().with_producer_id_filters(filters);
            talk.ask_edited(
                &format!("{} producers", producers.len()),
                version,
                &request,
                only_ours,
            );
        }
        if version >= 1 {
            for duration in [0, 3_600_000, -2] {
                let request = request.clone().with_duration_filter(duration);
                talk.ask_edited(
                    &format!("duration {duration}"),
                    version,
                    &request,
                    only_ours,
                );
            }
        }
        if version >= 2 {
            for pattern in ["transactions-shown-.*", ".*open", "", "(", "shown"] {
                let request = request
                    .clone()
                    .with_transactional_id_pattern(Some(text(pattern)));
                talk.ask_edited(
                    &format!("pattern {pattern:?}"),
                    version,
                    &request,
                    only_ours,
                );
            }
        }
    }
}
