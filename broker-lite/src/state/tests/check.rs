//! What has to be there.

use std::collections::BTreeMap;

use kafka_protocol::error::ResponseError;
use wire::{
    Isolation, TopicPartition,
    batch::{BatchView, batches},
    record::{Aborted, decode},
};

use super::world::{Answer, GROUP, INSIDE, TRANSACTED, World};

impl World {
    /// Whether what was answered so has to be there after a loss of power or without one.
    fn must(power_was_lost: bool) -> impl Fn(&Answer) -> bool {
        move |answer| match power_was_lost {
            true => answer.is_durable,
            false => answer.is_acked,
        }
    }

    pub(super) fn check(&mut self, power_was_lost: bool, context: &str) {
        let must = Self::must(power_was_lost);
        self.check_topics(context);
        self.finish_transactions(power_was_lost, context);
        for topic in ["plain", "old", "gone"] {
            self.check_records(topic, &must, context);
        }
        self.check_keys(&must, context);
        self.check_transactions(&must, context);
        self.check_offsets(&must, context);
        if !power_was_lost || self.flush {
            self.check_repeat(context);
        }
        self.check_service(context);
    }

    /// The last thing that was acknowledged of each topic, or what was asked for after it.
    fn check_topics(&self, context: &str) {
        for name in ["plain", "old", "keys", "gone"] {
            let of = self.known.topics.iter().filter(|one| one.0 == name);
            let all: Vec<_> = of.collect();
            let sure = all.iter().rposition(|one| one.2.is_acked);
            let mut may_be: Vec<bool> = all[sure.unwrap_or(0)..].iter().map(|one| one.1).collect();
            if sure.is_none() {
                may_be.push(false);
            }
            let is_there = self.state().topics.get(name).is_some();
            assert!(may_be.contains(&is_there), "{context}: topic {name}");
        }
    }

    /// What was decided is carried out; what was left open is aborted by the next epoch, and nothing stays open.
    fn finish_transactions(&mut self, power_was_lost: bool, context: &str) {
        self.carry_out();
        while let Err(error) = self.init() {
            assert_eq!(error, ResponseError::ConcurrentTransactions, "{context}");
        }
        if power_was_lost && !self.flush {
            // The coordinator may not know of what the partition knows.
            return;
        }
        if let Some(partition) = self.partition(TRANSACTED) {
            let ends = partition.ends();
            assert_eq!(ends.last_stable, ends.high_watermark, "{context}");
        }
    }

    /// All batches of a partition, from its start on.
    fn batches(&self, of: (&str, i32), isolation: Isolation) -> Vec<BatchView> {
        let Some(partition) = self.partition(of) else {
            return Vec::new();
        };
        let (ends, mut all) = (partition.ends(), Vec::new());
        let mut next = ends.log_start;
        while next < ends.of(isolation) {
            let found = partition.find(next, isolation).unwrap();
            let read = partition.read(&found, 1 << 20, true).unwrap();
            let listed = read.aborted.iter();
            let listed: Vec<_> = listed
                .map(|one| (one.producer_id, one.first_offset))
                .collect();
            let mut aborted = Aborted::new(&listed, isolation);
            for batch in batches(read.bytes()) {
                let batch = batch.unwrap();
                batch.check_crc().unwrap();
                assert!(batch.header.next_offset() > next);
                next = batch.header.next_offset();
                if !aborted.skips(&batch).unwrap() {
                    all.push(batch);
                }
            }
        }
        all
    }

    fn values(&self, of: (&str, i32), isolation: Isolation) -> Vec<(i64, String)> {
        let mut all = Vec::new();
        for batch in self.batches(of, isolation) {
            for record in decode(&batch, 1 << 20).unwrap() {
                let value = String::from_utf8(record.value.unwrap().to_vec());
                all.push((record.offset, value.unwrap()));
            }
        }
        all
    }

    /// Records of one partition are an unbroken part of what was sent, from the start to at least the last that counts.
    fn check_records(&self, topic: &str, must: &impl Fn(&Answer) -> bool, context: &str) {
        let Some(partition) = self.partition((topic, 0)) else {
            return;
        };
        let found = self.values((topic, 0), Isolation::ReadUncommitted);
        let sent = self.known.sent.iter().filter(|one| one.topic == topic);
        let sent: Vec<_> = sent.collect();
        let start = usize::try_from(partition.ends().log_start).unwrap();
        let expected: Vec<(i64, String)> = (0..)
            .zip(&sent)
            .map(|(offset, one)| (offset, one.value.clone()))
            .skip(start)
            .take(found.len())
            .collect();
        assert_eq!(found, expected, "{context}: {topic}");
        let last = sent.iter().rposition(|one| must(&one.answer));
        let least = last.map_or(0, |last| last + 1);
        assert!(start + found.len() >= least, "{context}: {topic} {found:?}");
        let starts = self.known.starts.iter().filter(|one| one.0 == topic);
        for (_, offset, answer) in starts {
            let is_done = start as i64 >= *offset;
            assert!(
                is_done || !answer.is_acked,
                "{context}: {topic} starts at {start}"
            );
        }
    }

    /// Of each key the newest record that counts is there, or one that was sent later.
    fn check_keys(&self, must: &impl Fn(&Answer) -> bool, context: &str) {
        let mut newest: BTreeMap<u8, String> = BTreeMap::new();
        for batch in self.batches(("keys", 0), Isolation::ReadUncommitted) {
            for record in decode(&batch, 1 << 20).unwrap() {
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                newest.insert(record.key.unwrap()[0], value);
            }
        }
        let sent: Vec<_> = self
            .known
            .sent
            .iter()
            .filter(|one| one.topic == "keys")
            .collect();
        for (at, one) in sent.iter().enumerate().filter(|(_, one)| must(&one.answer)) {
            let found = newest.get(&one.key);
            let later = sent[at..].iter().filter(|later| later.key == one.key);
            let mut later = later.map(|later| &later.value);
            assert!(
                found.is_some_and(|found| later.any(|value| value == found)),
                "{context}: {one:?}, found {found:?}"
            );
        }
    }

    fn check_transactions(&self, must: &impl Fn(&Answer) -> bool, context: &str) {
        let seen = self.values(TRANSACTED, Isolation::ReadCommitted);
        let mut may_be = vec![None];
        for one in &self.known.transactions {
            let is_seen = seen.iter().filter(|(_, value)| *value == one.value).count();
            let expected: &[usize] = match (one.commit, must(&one.answer)) {
                (Some(true), true) => &[1],
                (Some(true), false) => &[0, 1],
                _ => &[0],
            };
            assert!(expected.contains(&is_seen), "{context}: {one:?} {seen:?}");
            if one.commit == Some(true) {
                if must(&one.answer) {
                    may_be.clear();
                }
                may_be.push(Some(one.offset));
            }
        }
        assert!(
            may_be.contains(&self.committed(INSIDE)),
            "{context}: {:?}, not one of {may_be:?}",
            self.committed(INSIDE)
        );
    }

    fn committed(&self, group: &str) -> Option<i64> {
        let partition = TopicPartition::new("plain", 0);
        let mut fetched = self.state().groups.fetch(group, Some(&[partition]), false);
        fetched.remove(0).1.unwrap().map(|one| one.offset)
    }

    fn check_offsets(&self, must: &impl Fn(&Answer) -> bool, context: &str) {
        let found = self.committed(GROUP);
        let offsets = &self.known.offsets;
        let sure = offsets.iter().rposition(|one| must(&one.1));
        let is_right = match found {
            None => sure.is_none(),
            Some(found) => offsets[sure.unwrap_or(0)..]
                .iter()
                .any(|one| one.0 == found),
        };
        assert!(is_right, "{context}: {found:?} of {offsets:?}");
    }

    /// A record whose answer never came is sent again, and is there once.
    fn check_repeat(&self, context: &str) {
        let Some(last) = self.known.sent.last().filter(|one| !one.answer.is_acked) else {
            return;
        };
        if self.partition((last.topic, 0)).is_some() {
            self.send_again(last).unwrap();
            let found = self.values((last.topic, 0), Isolation::ReadUncommitted);
            let count = found
                .iter()
                .filter(|(_, value)| *value == last.value)
                .count();
            assert_eq!(count, 1, "{context}: {last:?}");
        }
    }

    /// It takes more, knows its producers, and gives no id twice.
    fn check_service(&mut self, context: &str) {
        let id = self.state().transactions.new_producer().unwrap().id;
        let ids = &mut self.known.producer_ids;
        assert!(!ids.contains(&id), "{context}");
        ids.push(id);
        for topic in ["plain", "old", "keys"] {
            if let Some(partition) = self.partition((topic, 0)) {
                let before = partition.ends().high_watermark;
                self.send(id, topic, 0).unwrap();
                let after = partition.ends().high_watermark;
                assert_eq!(after, before + 1, "{context}");
            }
        }
    }
}
