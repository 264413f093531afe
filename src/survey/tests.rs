use uuid::Uuid;

use super::{check, status, *};
use crate::checkpoint::Stopped;

fn side(alias: &str, cluster_id: &str) -> Side {
    Side {
        alias: alias.to_owned(),
        cluster_id: cluster_id.to_owned(),
        brokers: 2,
    }
}

fn checkpoint(source_offset: i64, target_offset: i64) -> Checkpoint {
    Checkpoint {
        source_cluster: "E".to_owned(),
        source_topic: Uuid::nil(),
        target_cluster: "W".to_owned(),
        target_topic: Uuid::nil(),
        source_offset,
        target_offset,
        last_record: None,
        sequence: 0,
        producer: None,
        fingerprint: 0,
        stopped: None,
        anchors: Vec::new(),
    }
}

fn partition(index: i32, first: i64, end: i64, checkpoint: Progress) -> Partition {
    let at_time = None;
    Partition {
        index,
        offsets: Ok(Offsets {
            first,
            end,
            at_time,
        }),
        checkpoint,
    }
}

fn known(source_offset: i64, target_offset: i64) -> Progress {
    Progress::Known(Box::new(checkpoint(source_offset, target_offset)))
}

/// A flow of one topic whose target has `target_ends`.
fn survey(partitions: Vec<Partition>, target_ends: Option<&[i64]>) -> Survey {
    Survey {
        flow: "f".to_owned(),
        start: Start::Earliest,
        source: side("east", "E"),
        target: side("west", "W"),
        replication_factor: -1,
        topics: vec![Topic {
            source: "orders".to_owned(),
            target: "east.orders".to_owned(),
            partitions,
            target_ends: target_ends
                .map(|ends| (0..).zip(ends.iter().copied().map(Some)).collect()),
        }],
        unnamed: Vec::new(),
    }
}

fn problems(survey: &Survey) -> Vec<&'static str> {
    let report = check::FlowReport::new(survey);
    report.problems.iter().map(|problem| problem.code).collect()
}

#[test]
fn a_fresh_flow_is_ready_and_lags_by_all_records() {
    let mut fresh = survey(
        vec![
            partition(0, 10, 110, Progress::None),
            partition(1, 0, 0, Progress::None),
        ],
        None,
    );
    let report = check::Report::new(vec![check::FlowReport::new(&fresh)]);
    assert!(report.ready);
    let topic = &report.flows[0].topics[0];
    assert_eq!((topic.partitions, topic.records, topic.lag), (2, 100, 100));
    assert!(!topic.target_exists);
    fresh.start = Start::Latest;
    assert_eq!(check::FlowReport::new(&fresh).topics[0].lag, 0);
}

#[test]
fn lag_counts_from_the_checkpoint() {
    let running = survey(vec![partition(0, 10, 110, known(100, 90))], Some(&[95]));
    assert_eq!(problems(&running), [""; 0]);
    let flow = status::FlowStatus::new(&running);
    assert_eq!(flow.lag, 10);
    let shown = &flow.topics[0].partitions[0];
    assert_eq!(shown.source_offset, Some(100));
    assert_eq!(
        (shown.source_end, shown.target_offset),
        (Some(110), Some(90))
    );
}

#[test]
fn what_keeps_a_partition_from_running_is_named() {
    let one = |progress, ends: &[i64]| survey(vec![partition(0, 10, 110, progress)], Some(ends));
    assert_eq!(problems(&one(Progress::None, &[5])), ["existing_records"]);
    assert_eq!(problems(&one(Progress::None, &[0])), [""; 0]);
    assert_eq!(
        problems(&one(Progress::Unreadable("v9".into()), &[5])),
        ["unreadable_checkpoint"]
    );
    assert_eq!(problems(&one(known(9, 5), &[5])), ["gap"]);
    assert_eq!(problems(&one(known(111, 5), &[5])), ["gap"]);
    assert_eq!(problems(&one(known(50, 6), &[5])), ["target_behind"]);
    assert_eq!(problems(&one(known(50, 5), &[])), ["fewer_partitions"]);

    let mut foreign = one(known(50, 5), &[5]);
    foreign.source.cluster_id = "X".to_owned();
    assert_eq!(problems(&foreign), ["foreign_checkpoint"]);

    let mut same = one(known(50, 5), &[5]);
    same.source.cluster_id = "W".to_owned();
    assert!(problems(&same).contains(&"same_cluster"));

    let mut wide = survey(vec![partition(0, 0, 1, Progress::None)], None);
    wide.replication_factor = 3;
    assert_eq!(problems(&wide), ["replication_factor"]);

    let mut unknown = one(known(50, 5), &[5]);
    unknown.topics[0].partitions[0].offsets = Err("no leader".to_owned());
    assert_eq!(problems(&unknown), ["offsets"]);
    let flow = status::FlowStatus::new(&unknown);
    assert_eq!(
        flow.topics[0].partitions[0].unknown.as_deref(),
        Some("no leader")
    );
}

#[test]
fn a_stop_is_shown_with_its_reason() {
    let mut stopped = checkpoint(50, 5);
    stopped.stopped = Some(Stopped {
        reason: "poison".to_owned(),
        source_offset: 50,
        since_ms: 7,
    });
    let stopped = Progress::Known(Box::new(stopped));
    let survey = survey(vec![partition(0, 0, 60, stopped)], Some(&[5]));
    assert_eq!(problems(&survey), ["stopped"]);
    let flow = status::FlowStatus::new(&survey);
    assert_eq!(flow.stopped, 1);
    let shown = flow.topics[0].partitions[0].stopped.as_ref().unwrap();
    assert_eq!(
        (shown.reason.as_str(), shown.source_offset, shown.since_ms),
        ("poison", 50, 7)
    );
}

#[test]
fn two_flows_into_one_topic_are_refused() {
    let flow = survey(vec![partition(0, 0, 0, Progress::None)], None);
    let mut other = flow.clone();
    other.flow = "g".to_owned();
    other.source = side("north", "N");
    let reports = [&flow, &other].map(check::FlowReport::new).to_vec();
    let report = check::Report::new(reports);
    assert!(!report.ready);
    assert_eq!(report.flows[1].problems[0].code, "shared_target");
}

#[test]
fn a_flow_without_topics_is_ready_and_says_so() {
    let mut empty = survey(Vec::new(), None);
    empty.topics.clear();
    let report = check::FlowReport::new(&empty);
    assert_eq!(report.problems, []);
    assert_eq!(report.warnings[0].code, "no_topics");
}
