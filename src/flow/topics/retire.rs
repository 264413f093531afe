//! Which topics of the target are to go because their sources are gone. Pure.
//!
//! A topic counts as gone when the whole list of the source's topics was read and it is not in it; how that looks at the
//! end of the time of grace is asked again by name, right before its target is deleted ([`retire`](super::super::retire)).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    checkpoint::control_topic::{ControlRecords, TopicKey, TopicRecord},
    config::{FlowConfig, OnDelete},
    flow::plan::{Rules, Snapshot, Trouble},
};

/// A process that sees a topic gone for less does not delete its target, whoever saw it before: clocks of hosts differ.
const LEAST_SEEN: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Retirement {
    /// Records to be written: gone as of now, or back.
    pub mark: Vec<(TopicKey, TopicRecord)>,
    /// Topics whose time of grace is over.
    pub due: Vec<(TopicKey, TopicRecord)>,
    /// What is told.
    pub troubles: Vec<Trouble>,
}

/// Since when this process has seen topics gone, by the source's names.
#[derive(Debug, Default)]
pub struct Gone(BTreeMap<String, Duration>);

impl Gone {
    /// Takes in what is gone at `now`, on the monotonic clock.
    fn see(&mut self, gone: &BTreeSet<String>, now: Duration) {
        self.0.retain(|name, _| gone.contains(name));
        for name in gone {
            self.0.entry(name.clone()).or_insert(now);
        }
    }

    /// Nothing is known any more: another process leads.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

impl Rules {
    /// Whether the flow as it is now would copy what `record` is about, and to where it did.
    pub fn owns(&self, record: &TopicRecord) -> bool {
        let target = self.naming.target(&record.source_topic);
        self.selection.selects(&record.source_topic, false)
            && target.is_ok_and(|target| target == record.target_topic)
    }

    /// What is to go, at `now` on the monotonic and `now_ms` on the wall clock.
    pub fn retirement(
        &self,
        flow: &FlowConfig,
        snapshot: &Snapshot,
        records: &ControlRecords,
        gone: &mut Gone,
        (now, now_ms): (Duration, i64),
    ) -> Retirement {
        let ours = records
            .topics
            .iter()
            .filter(|(_, record)| self.owns(record));
        let (there, away): (Vec<_>, Vec<_>) =
            ours.partition(|(_, record)| snapshot.seen.contains(&record.source_topic));
        let deletes =
            |record: &TopicRecord| flow.topic(&record.source_topic).on_delete == OnDelete::Delete;
        let (away, kept): (Vec<_>, Vec<_>) =
            away.into_iter().partition(|(_, record)| deletes(record));
        let names = away.iter().map(|(_, record)| record.source_topic.clone());
        gone.see(&names.collect(), now);
        let mut plan = Retirement::default();
        let marked = |(_, record): &&(_, &TopicRecord)| record.gone_since_ms.is_some();
        let back = there.iter().chain(&kept).filter(marked);
        plan.mark.extend(back.map(|(key, record)| {
            let record = TopicRecord {
                gone_since_ms: None,
                ..(*record).clone()
            };
            ((*key).clone(), record)
        }));
        if snapshot.seen.is_empty() {
            plan.troubles
                .extend(away.first().map(|(_, record)| self.all_gone(record)));
            return plan;
        }
        for (key, record) in away {
            let grace = flow.topic(&record.source_topic).delete_grace;
            let seen = now.saturating_sub(gone.0[&record.source_topic]);
            let Some(since) = record.gone_since_ms else {
                let record = TopicRecord {
                    gone_since_ms: Some(now_ms),
                    ..record.clone()
                };
                plan.troubles.extend(self.pending(&record, grace));
                plan.mark.push((key.clone(), record));
                continue;
            };
            let over = since.saturating_add(ms(grace)) <= now_ms && seen >= grace.min(LEAST_SEEN);
            if over {
                plan.due.push((key.clone(), record.clone()));
            } else {
                plan.troubles.extend(self.pending(record, grace));
            }
        }
        plan
    }

    fn pending(&self, record: &TopicRecord, grace: Duration) -> Option<Trouble> {
        let at = record.gone_since_ms?.saturating_add(ms(grace));
        let at = jiff::Timestamp::from_millisecond(at).ok()?;
        record.target_topic_id?;
        Some(Trouble {
            topic: record.source_topic.clone(),
            code: "deletion_pending",
            text: format!(
                "it is gone from {}: {} on {} will be deleted at {at:.0} (on_delete, delete_grace)",
                self.source, record.target_topic, self.target
            ),
        })
    }

    fn all_gone(&self, record: &TopicRecord) -> Trouble {
        Trouble {
            topic: record.source_topic.clone(),
            code: "all_topics_gone",
            text: format!(
                "{} shows none of the flow's topics any more: nothing is deleted from {} for that (on_delete)",
                self.source, self.target
            ),
        }
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io;

    use uuid::Uuid;

    use super::*;
    use crate::config::{Config, Sources};

    const HOUR: i64 = 3_600_000;

    struct Bench {
        flow: FlowConfig,
        rules: Rules,
        snapshot: Snapshot,
        records: ControlRecords,
        gone: Gone,
        now: Duration,
    }

    impl Bench {
        /// Of topics `a` and `b`, which were copied.
        fn new(flow: &str) -> Self {
            let text = format!(
                "[clusters.east]\nbootstrap.servers = \"e:1\"\n[clusters.west]\nbootstrap.servers = \"w:1\"\n\
                 [[flows]]\nsource = \"east\"\ntarget = \"west\"\ntopics = [\"[a-c]\"]\n{flow}"
            );
            let sources = Sources {
                variable: &|_| None,
                file: &|_| Err(io::ErrorKind::NotFound.into()),
            };
            let flow = Config::parse(&text, &sources).unwrap().flows.remove(0);
            let mut records = ControlRecords::default();
            for (number, name) in [(1, "a"), (2, "b")] {
                let key = TopicKey::new(Uuid::from_u128(number), name);
                let record = TopicRecord {
                    source_topic: name.to_owned(),
                    target_topic: name.to_owned(),
                    target_topic_id: Some(Uuid::from_u128(number + 10)),
                    start: None,
                    created_ms: 0,
                    given_up: Vec::new(),
                    ways: Vec::new(),
                    gone_since_ms: None,
                };
                records.topics.insert(key, record);
            }
            let mut bench = Self {
                rules: Rules::new(&flow),
                flow,
                snapshot: Snapshot::default(),
                records,
                gone: Gone::default(),
                now: Duration::ZERO,
            };
            bench.sees(&["a", "b"]);
            bench
        }

        fn sees(&mut self, names: &[&str]) {
            self.snapshot.seen = names.iter().map(|name| (*name).to_owned()).collect();
        }

        /// A round after `seconds` more; what is marked is written. Names of what is due, and the codes of what is told.
        fn round(&mut self, seconds: u64) -> (Vec<String>, Vec<&'static str>) {
            self.now += Duration::from_secs(seconds);
            let now = (self.now, ms(self.now));
            let plan = self.rules.retirement(
                &self.flow,
                &self.snapshot,
                &self.records,
                &mut self.gone,
                now,
            );
            self.records.topics.extend(plan.mark);
            let due = plan
                .due
                .iter()
                .map(|(_, record)| record.source_topic.clone());
            (
                due.collect(),
                plan.troubles.iter().map(|t| t.code).collect(),
            )
        }

        fn marked(&self) -> Vec<Option<i64>> {
            let records = self.records.topics.values();
            records.map(|record| record.gone_since_ms).collect()
        }
    }

    const DELETE: &str = "on_delete = \"delete\"";
    const PENDING: (Vec<String>, &[&str]) = (Vec::new(), &["deletion_pending"]);

    fn is(found: (Vec<String>, Vec<&'static str>), wanted: (Vec<String>, &[&str])) {
        assert_eq!((found.0, &found.1[..]), (wanted.0, wanted.1));
    }

    #[test]
    fn what_is_gone_for_the_whole_time_of_grace_is_due() {
        let mut bench = Bench::new(DELETE);
        is(bench.round(1), (vec![], &[]));
        bench.sees(&["b"]);
        is(bench.round(1), PENDING);
        assert_eq!(bench.marked(), [Some(2000), None]);
        is(bench.round(3599), PENDING);
        is(bench.round(1), (vec!["a".to_owned()], &[]));
    }

    #[test]
    fn what_is_back_is_forgotten() {
        let mut bench = Bench::new(DELETE);
        bench.sees(&["b"]);
        is(bench.round(1), PENDING);
        bench.sees(&["a", "b"]);
        is(bench.round(3000), (vec![], &[]));
        assert_eq!(bench.marked(), [None, None]);
        bench.sees(&["b"]);
        is(bench.round(1), PENDING);
        is(bench.round(3599), PENDING);
    }

    #[test]
    fn without_the_policy_nothing_is_due_and_nothing_is_remembered() {
        let mut bench = Bench::new("");
        bench.sees(&["b"]);
        for _ in 0..3 {
            is(bench.round(4000), (vec![], &[]));
        }
        let mut bench = Bench::new(
            "[[flows.rules]]\nmatch = \"b\"\non_delete = \"delete\"\ndelete_grace = \"1s\"",
        );
        bench.sees(&["c"]);
        is(bench.round(1), PENDING);
        is(bench.round(1), (vec!["b".to_owned()], &[]));
        bench.flow.rules.clear();
        is(bench.round(1), (vec![], &[]));
        assert_eq!(bench.marked(), [None, None]);
    }

    #[test]
    fn a_source_that_shows_nothing_is_not_believed() {
        let mut bench = Bench::new(DELETE);
        bench.sees(&["b"]);
        is(bench.round(1), PENDING);
        bench.sees(&[]);
        is(bench.round(9999), (vec![], &["all_topics_gone"]));
        // A topic that was not copied yet is one.
        bench.sees(&["c"]);
        is(
            bench.round(1),
            (vec!["a".to_owned()], &["deletion_pending"]),
        );
    }

    /// It may be a host whose clock is ahead, or one that was cut off.
    #[test]
    fn a_process_that_has_just_begun_to_look_waits_a_little() {
        let mut bench = Bench::new(DELETE);
        bench.sees(&["b"]);
        bench.round(1);
        bench.gone.forget();
        is(bench.round(3700), PENDING);
        is(bench.round(59), PENDING);
        is(bench.round(1), (vec!["a".to_owned()], &[]));
    }

    #[test]
    fn what_the_flow_would_not_copy_now_is_not_its_to_delete() {
        for (flow, more) in [("naming = \"prefix\"", ""), ("", "exclude = [\"a\"]")] {
            let mut bench = Bench::new(&format!("{DELETE}\n{flow}\n{more}"));
            bench.sees(&["b"]);
            is(bench.round(1), (vec![], &[]));
            is(bench.round(2 * HOUR.unsigned_abs() / 1000), (vec![], &[]));
        }
    }
}
