use std::io;

use uuid::Uuid;

use super::*;
use crate::{
    checkpoint::ProducerState,
    config::{Config, Sources},
};
use wire::{client::TopicDescription, error::ApiError};

const HOUR: i64 = 3_600_000;

struct Bench {
    rules: Rules,
    snapshot: Snapshot,
    records: ControlRecords,
    absences: Absences,
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
            snapshot: Snapshot::default(),
            records,
            absences: Absences::default(),
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
        let absences = &mut self.absences;
        let plan = self
            .rules
            .retirement(&self.snapshot, &self.records, absences, now);
        self.records.topics.extend(plan.mark);
        assert_eq!(plan.shared, [], "looked at in a test of its own");
        let due = plan.due.iter().map(|gone| gone.record.source_topic.clone());
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
    let mut bench =
        Bench::new("[[flows.rules]]\nmatch = \"b\"\non_delete = \"delete\"\ndelete_grace = \"1s\"");
    bench.sees(&["c"]);
    is(bench.round(1), PENDING);
    is(bench.round(1), (vec!["b".to_owned()], &[]));
    bench.rules.config.rules.clear();
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
    bench.absences.forget();
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

const RECREATE: &str = "on_recreate = \"recreate\"";
const REPLACED: (Vec<String>, &[&str]) = (Vec::new(), &["recreation_pending"]);

impl Bench {
    /// The source has `a` under the id `id`, which is recorded, bound to the target `target`.
    fn has_a(&mut self, id: u128, target: Option<u128>) {
        self.snapshot.topics = vec![SourceTopic {
            name: "a".to_owned(),
            id: Uuid::from_u128(id),
            partitions: 1,
            target: "a".to_owned(),
        }];
        let before = self.records.topics[&key(1)].clone();
        let record = TopicRecord {
            target_topic_id: target.map(Uuid::from_u128),
            gone_since_ms: None,
            ..before
        };
        self.records.topics.insert(key(id), record);
    }

    /// The target has `a` under the id `id`, or says that it has none.
    fn target_has_a(&mut self, id: Option<u128>) {
        let error = ApiError {
            code: 3,
            message: None,
        };
        let found = TopicDescription {
            name: "a".to_owned(),
            id: Uuid::from_u128(id.unwrap_or_default()),
            internal: false,
            error: id.is_none().then_some(error),
            partitions: Vec::new(),
        };
        self.snapshot.target.insert("a".to_owned(), found);
    }
}

fn key(id: u128) -> TopicKey {
    TopicKey::Id(Uuid::from_u128(id))
}

#[test]
fn what_was_made_anew_for_the_whole_time_of_grace_is_due() {
    let mut bench = Bench::new(RECREATE);
    bench.target_has_a(Some(11));
    bench.has_a(3, None);
    is(bench.round(1), REPLACED);
    assert_eq!(bench.marked(), [Some(1000), None, None]);
    is(bench.round(3599), REPLACED);
    is(bench.round(1), (vec!["a".to_owned()], &[]));
    // Whoever leads next has to see it for a minute.
    bench.absences.forget();
    is(bench.round(1), REPLACED);
    is(bench.round(60), (vec!["a".to_owned()], &[]));
    // The name goes to the next one meanwhile.
    bench.has_a(4, None);
    is(bench.round(1), (vec!["a".to_owned(); 2], &[]));
    // What the target does not say is asked again right before the deletion.
    bench.snapshot.target.clear();
    is(bench.round(1), (vec!["a".to_owned(); 2], &[]));
}

#[test]
fn what_is_gone_first_and_then_replaced_waits_once() {
    let mut bench = Bench::new(&format!("{DELETE}\n{RECREATE}"));
    bench.target_has_a(Some(11));
    bench.sees(&["b"]);
    is(bench.round(1), PENDING);
    bench.sees(&["a", "b"]);
    bench.has_a(3, None);
    is(bench.round(3599), REPLACED);
    is(bench.round(1), (vec!["a".to_owned()], &[]));
}

/// Another one of the name, or none: nothing is to be deleted, and nothing to be waited for.
#[test]
fn what_lost_its_target_already_is_due_at_once() {
    for there in [Some(15), None] {
        let mut bench = Bench::new(RECREATE);
        bench.target_has_a(there);
        bench.has_a(3, there);
        is(bench.round(1), (vec!["a".to_owned()], &[]));
        assert_eq!(bench.marked(), [None, None, None]);
    }
}

#[test]
fn what_cannot_be_told_apart_or_is_not_to_be_made_anew_stays() {
    for (flow, id) in [
        ("", 3),
        ("on_recreate = \"append\"", 3),
        (DELETE, 3),
        (RECREATE, 1),
        (RECREATE, 0),
    ] {
        let mut bench = Bench::new(flow);
        bench.target_has_a(Some(11));
        bench.has_a(id, Some(11));
        is(bench.round(1), (vec![], &[]));
        is(bench.round(9999), (vec![], &[]));
        assert!(
            bench
                .rules
                .replaced(&bench.snapshot, &bench.records)
                .is_empty()
        );
    }
    // Its brokers had no ids when it was copied.
    let mut bench = Bench::new(RECREATE);
    let record = bench.records.topics.remove(&key(1)).unwrap();
    bench.records.topics.insert(key(1), record.clone());
    bench.has_a(3, None);
    bench.records.topics.remove(&key(1));
    let named = TopicKey::Name("a".to_owned());
    bench.records.topics.insert(named, record);
    is(bench.round(9999), (vec![], &[]));
}

#[test]
fn a_topic_that_shares_the_target_of_its_heir_is_neither_due_nor_pending() {
    let mut bench = Bench::new(RECREATE);
    bench.target_has_a(Some(11));
    bench.has_a(3, Some(11));
    let now = (Duration::from_secs(9), 9000);
    let plan = bench
        .rules
        .retirement(&bench.snapshot, &bench.records, &mut bench.absences, now);
    let [shared] = &plan.shared[..] else {
        panic!("{plan:?}");
    };
    assert_eq!((&shared.key, &shared.heir), (&key(1), &Some(key(3))));
    assert!(plan.due.is_empty() && plan.mark.is_empty() && plan.troubles.is_empty());
}

#[test]
fn only_the_flows_own_count_makes_a_partition_its_own() {
    let target = Uuid::from_u128(11);
    let checkpoint = |target_offset, base, sequence| Checkpoint {
        source_cluster: "E".to_owned(),
        source_topic: Uuid::from_u128(1),
        target_cluster: "W".to_owned(),
        target_topic: target,
        source_offset: 1000,
        target_offset,
        last_record: None,
        sequence,
        producer: Some(ProducerState {
            id: 1 << 62,
            generation: 0,
            epoch: 0,
            epoch_base: base,
        }),
        fingerprint: 0,
        appends_at: None,
        settled: true,
        unmapped: None,
        stopped: None,
        anchors: Vec::new(),
    };
    let of = |end, known: &Checkpoint, heir: Option<TopicKey>| {
        not_only_ours(end, target, Some(known), heir.as_ref())
    };
    let big = 5 * (1i64 << 31) + 7;
    for (end, base, sequence) in [(0, 0, 0), (9, 0, 9), (9, 6, 3), (big, 0, 7), (big, 3, 4)] {
        let known = checkpoint(end, base, sequence);
        assert_eq!(of(end, &known, Some(key(3))), None, "{end}");
        for (end, heir, says) in [
            (end + 1, key(3), "others write to it"),
            (end, key(1), "topic that the source has now"),
        ] {
            let found = of(end, &known, Some(heir)).unwrap();
            assert!(found.contains(says), "{found}");
        }
        // Five of others before it, or between.
        let behind = checkpoint(end + 5, base, sequence);
        let found = of(end + 5, &behind, None).unwrap();
        assert!(found.contains("others wrote to it too"), "{found}");
    }
    assert_eq!(not_only_ours(0, target, None, None), None);
    assert!(not_only_ours(1, target, None, None).is_some());
    let mut other = checkpoint(9, 0, 9);
    other.target_topic = Uuid::from_u128(12);
    assert!(of(9, &other, None).is_some());
}
