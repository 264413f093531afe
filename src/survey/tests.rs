use uuid::Uuid;

use wire::client::{GroupDescription, GroupMember};

use super::{check, detail::Detail, status, *};
use crate::checkpoint::Stopped;

pub(super) fn side(alias: &str, cluster_id: &str) -> Side {
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
        appends_at: None,
        stopped: None,
        settled: false,
        unmapped: None,
        anchors: Vec::new(),
    }
}

fn partition(index: i32, first: i64, end: i64, stored: Option<Stored>) -> Partition {
    let at_time = None;
    Partition {
        index,
        offsets: Ok(Offsets {
            first,
            end,
            at_time,
        }),
        stored,
    }
}

fn known(source_offset: i64, target_offset: i64) -> Option<Stored> {
    Some(codec::encode(&checkpoint(source_offset, target_offset)))
}

/// A flow of one topic; the target's partitions end at `target_ends`.
fn survey(partitions: Vec<Partition>, target_ends: Option<&[i64]>) -> Survey {
    let existing = target_ends.map(|ends| TargetTopic {
        id: Uuid::nil(),
        replicas: 1,
        partitions: (0..)
            .zip(ends.iter().map(|end| {
                Ok(Extent {
                    start: 0,
                    end: *end,
                })
            }))
            .collect(),
    });
    Survey {
        flow: "f".to_owned(),
        group: "strait.f".to_owned(),
        transport: Transport::Auto,
        source: side("east", "E"),
        target: side("west", "W"),
        control_exists: false,
        probe_exists: true,
        map_exists: true,
        mm2_topics: Vec::new(),
        groups: vec!["readers".to_owned()],
        is_fresh: true,
        group_denied: None,
        seen: BTreeSet::from(["orders".to_owned()]),
        topics: vec![Topic {
            source: "orders".to_owned(),
            source_id: Uuid::nil(),
            partitions,
            target: "east.orders".to_owned(),
            config: TopicConfig::default(),
            existing,
        }],
        sizes: BTreeMap::new(),
        sizes_unknown: None,
        troubles: Vec::new(),
    }
}

/// A flow of one partition with 100 records; the target's partitions end at `ends`.
pub(super) fn one(stored: Option<Stored>, ends: &[i64]) -> Survey {
    survey(vec![partition(0, 10, 110, stored)], Some(ends))
}

fn problems(survey: &Survey) -> Vec<&'static str> {
    let report = check::FlowReport::new(survey);
    report.problems.iter().map(|problem| problem.code).collect()
}

#[test]
fn a_fresh_flow_is_ready_and_lags_by_all_records() {
    let mut fresh = survey(
        vec![partition(0, 10, 110, None), partition(1, 0, 0, None)],
        None,
    );
    let report = check::Report::new(&[], vec![check::FlowReport::new(&fresh)]);
    assert!(report.ready);
    let topic = &report.flows[0].topics[0];
    assert_eq!((topic.partitions, topic.records, topic.lag), (2, 100, 100));
    assert!(!topic.target_exists);
    fresh.topics[0].config.start = Start::Latest;
    assert_eq!(check::FlowReport::new(&fresh).topics[0].lag, 0);
}

#[test]
fn bytes_are_summed_where_all_are_known_and_else_it_is_said_once() {
    let partitions = vec![partition(0, 0, 1, None), partition(1, 0, 1, None)];
    let mut sized = survey(partitions, None);
    let insert = |survey: &mut Survey, index, size| {
        let partition = TopicPartition::new("orders", index);
        survey.sizes.insert(partition, size);
    };
    insert(&mut sized, 0, 5);
    sized.sizes_unknown = Some("orders-1: no leader".to_owned());
    let report = check::FlowReport::new(&sized);
    assert_eq!(report.topics[0].bytes, None);
    let [warning] = &report.warnings[..] else {
        panic!("{:?}", report.warnings)
    };
    assert_eq!(warning.code, "bytes_unknown");
    assert!(warning.message.contains("east does not tell") && report.problems.is_empty());
    insert(&mut sized, 1, 7);
    sized.sizes_unknown = None;
    let report = check::FlowReport::new(&sized);
    assert_eq!(
        (report.topics[0].bytes, report.warnings.len()),
        (Some(12), 0)
    );
}

#[test]
fn lag_counts_from_the_checkpoint() {
    let running = survey(vec![partition(0, 10, 110, known(100, 90))], Some(&[95]));
    assert_eq!(problems(&running), [""; 0]);
    let flow = status::flow_status(&running, &Detail::default());
    assert_eq!(flow.lag, 10);
    let shown = &flow.partitions[0];
    assert_eq!(shown.source_offset, Some(100));
    assert_eq!(
        (shown.source_end, shown.target_offset),
        (Some(110), Some(90))
    );
}

#[test]
fn what_keeps_a_partition_from_running_is_named() {
    assert_eq!(problems(&one(None, &[5])), ["checkpoint_missing"]);
    assert_eq!(problems(&one(None, &[0])), [""; 0]);
    let by_hand = Some(Stored {
        offset: 5,
        metadata: String::new(),
    });
    assert_eq!(
        problems(&one(by_hand, &[5])),
        ["checkpoint_unknown_version"]
    );
    assert_eq!(problems(&one(known(9, 5), &[6])), ["offset_out_of_range"]);
    assert_eq!(problems(&one(known(111, 5), &[5])), ["offset_out_of_range"]);
    assert_eq!(problems(&one(known(50, 6), &[5])), ["target_truncated"]);

    let mut again = one(known(50, 5), &[5]);
    again.topics[0].source_id = Uuid::from_u128(7);
    assert_eq!(problems(&again), ["source_topic_recreated"]);

    let gone = survey(vec![partition(0, 0, 60, known(50, 5))], None);
    assert_eq!(problems(&gone), ["target_topic_missing"]);

    let mut foreign = one(known(50, 5), &[5]);
    foreign.source.cluster_id = "X".to_owned();
    assert_eq!(problems(&foreign), ["foreign_cluster"]);

    let mut same = one(known(50, 5), &[5]);
    same.source.cluster_id = "W".to_owned();
    assert!(problems(&same).contains(&"same_cluster"));

    let mut wide = survey(vec![partition(0, 0, 1, None)], None);
    wide.topics[0].config.replication_factor = 3;
    assert_eq!(problems(&wide), ["replication_factor"]);

    let mut unknown = one(known(50, 5), &[5]);
    unknown.topics[0].partitions[0].offsets = Err("no leader".to_owned());
    assert_eq!(problems(&unknown), ["offsets"]);
    let flow = status::flow_status(&unknown, &Detail::default());
    assert_eq!(flow.partitions[0].unknown.as_deref(), Some("no leader"));
}

#[test]
fn a_stop_is_shown_with_its_reason() {
    let mut stopped = checkpoint(50, 5);
    stopped.stopped = Some(Stopped {
        reason: "record_refused".to_owned(),
        source_offset: 50,
        since_ms: 7,
    });
    let stored = Some(codec::encode(&stopped));
    let stopped = survey(vec![partition(0, 0, 60, stored)], Some(&[5]));
    let report = check::FlowReport::new(&stopped);
    assert_eq!(
        (report.problems.len(), report.warnings[0].code),
        (0, "stopped")
    );
    let flow = status::flow_status(&stopped, &Detail::default());
    assert_eq!(flow.stopped, 1);
    let shown = &flow.partitions[0];
    assert_eq!(
        (shown.reason.as_deref(), shown.state.as_deref()),
        (Some("record_refused"), Some("stopped"))
    );
    assert_eq!(
        (shown.stopped_offset, shown.stopped_since_ms),
        (Some(50), Some(7))
    );
}

#[test]
fn another_partition_count_is_a_warning() {
    let warnings = |ends: &[i64]| {
        let partitions = [0, 1].map(|index| partition(index, 0, 0, None)).to_vec();
        let report = check::FlowReport::new(&survey(partitions, Some(ends)));
        assert_eq!(report.problems, []);
        report
            .warnings
            .iter()
            .map(|warning| warning.code)
            .collect::<Vec<_>>()
    };
    assert_eq!(warnings(&[0]), ["fewer_partitions"]);
    assert_eq!(warnings(&[0, 0]), [""; 0]);
    assert_eq!(warnings(&[0, 0, 0]), ["more_partitions"]);
}

#[test]
fn two_flows_into_one_topic_are_refused() {
    let flow = survey(vec![partition(0, 0, 0, None)], None);
    let mut other = flow.clone();
    other.flow = "g".to_owned();
    other.source = side("north", "N");
    let reports = [&flow, &other].map(check::FlowReport::new).to_vec();
    let report = check::Report::new(&[], reports);
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

fn member(name: &str, partitions: &[(&str, i32)]) -> GroupMember {
    let assignment = partitions.iter();
    GroupMember {
        member_id: format!("{name}-0815"),
        instance_id: Some(name.to_owned()),
        client_id: "strait".to_owned(),
        client_host: "/10.0.0.1".to_owned(),
        assignment: assignment
            .map(|(topic, partition)| TopicPartition::new(*topic, *partition))
            .collect(),
    }
}

fn group(state: &str, members: Vec<GroupMember>) -> Detail {
    Detail {
        group: Some(GroupDescription {
            state: state.to_owned(),
            protocol_type: "consumer".to_owned(),
            members,
        }),
        ..Detail::default()
    }
}

#[test]
fn who_runs_what_is_told_and_what_is_nobodys() {
    let partitions = (0..3).map(|index| partition(index, 0, 0, known(0, 0)));
    let shared = survey(partitions.collect(), Some(&[0, 0, 0]));
    let control = ("strait.f.control", 0);
    let members = || {
        let two = member("b", &[("east.orders", 2)]);
        vec![two, member("a", &[control, ("east.orders", 0)])]
    };
    let flow = status::flow_status(&shared, &group("Stable", members()));
    let owners: Vec<_> = flow.partitions.iter().map(|p| p.owner.as_deref()).collect();
    assert_eq!(owners, [Some("a"), None, Some("b")]);
    let seen: Vec<_> = flow.members.iter().flatten().collect();
    let seen = seen
        .iter()
        .map(|m| (m.name.as_str(), m.partitions, m.leader));
    assert_eq!(seen.collect::<Vec<_>>(), [("a", 1, true), ("b", 1, false)]);
    let [trouble] = &flow.troubles[..] else {
        panic!("{:?}", flow.troubles)
    };
    assert_eq!(
        (trouble.topic.as_str(), trouble.code.as_str()),
        ("orders", "no_owner")
    );
    assert!(
        trouble.text.contains("partitions 1 of east.orders"),
        "{}",
        trouble.text
    );
    // While the group hands out, and where nobody runs it, that is no trouble of a partition.
    for detail in [
        group("PreparingRebalance", members()),
        group("Empty", Vec::new()),
    ] {
        assert!(status::flow_status(&shared, &detail).troubles.is_empty());
    }
}

#[test]
fn lag_in_time_is_the_age_of_the_batch_at_the_position() {
    let three = vec![
        partition(0, 0, 10, known(4, 4)),
        partition(1, 0, 10, known(10, 10)),
        partition(2, 0, 10, known(4, 4)),
    ];
    let detail = Detail {
        now_ms: 100_000,
        oldest: BTreeMap::from([(TopicPartition::new("orders", 0), 40_000)]),
        group: None,
        ..Detail::default()
    };
    let flow = status::flow_status(&survey(three, Some(&[4, 10, 4])), &detail);
    let lags: Vec<_> = flow.partitions.iter().map(|p| p.lag_ms).collect();
    assert_eq!(
        lags,
        [Some(60_000), Some(0), None],
        "the last one could not be read"
    );
    assert_eq!((flow.lag_ms, flow.members), (Some(60_000), None));
}
