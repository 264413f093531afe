//! Committed offsets of groups.

use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    },
};

use super::topic;
use crate::talk::{Talk, text};

fn commit(group: &str, name: &str, offsets: &[(i32, i64)]) -> OffsetCommitRequest {
    let partition = |(index, offset): &(i32, i64)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(*index)
            .with_committed_offset(*offset)
            .with_committed_metadata(Some(text("note")))
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_name(text(name).into())
        .with_partitions(offsets.iter().map(partition).collect());
    OffsetCommitRequest::default()
        .with_group_id(text(group).into())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

pub fn committing(talk: &mut Talk) {
    let name = topic(talk, "offsets-committing", 2, &[]).name;
    for version in 2..=9 {
        let group = format!("offsets-committing-{version}");
        let mut ask = |what: &str, request: OffsetCommitRequest| {
            talk.ask(what, version, &request);
        };
        ask("sound", commit(&group, &name, &[(0, 5), (1, 7)]));
        ask("twice", commit(&group, &name, &[(0, 5), (0, 6)]));
        ask(
            "unknown partitions",
            commit(&group, &name, &[(0, 5), (2, 7), (-1, 7)]),
        );
        ask(
            "unknown topic",
            commit(&group, "offsets-nowhere", &[(0, 5)]),
        );
        ask("offset -1", commit(&group, &name, &[(1, -1)]));
        ask("offset -5", commit(&group, &name, &[(1, -5)]));
        ask("no partitions", commit(&group, &name, &[]));
        ask("no topics", commit(&group, &name, &[]).with_topics(vec![]));
        ask("no group", commit("", &name, &[(0, 5)]));
        ask(
            "a generation",
            commit(&group, &name, &[(0, 5)]).with_generation_id_or_member_epoch(3),
        );
        ask(
            "a generation of an unknown group",
            commit("offsets-nowhere", &name, &[(0, 5)]).with_generation_id_or_member_epoch(3),
        );
        ask(
            "a member",
            commit(&group, &name, &[(0, 5)]).with_member_id(text("stranger")),
        );
        ask(
            "a member with a generation",
            commit(&group, &name, &[(0, 5)])
                .with_member_id(text("stranger"))
                .with_generation_id_or_member_epoch(1),
        );
        let mut noted = commit(&group, &name, &[(0, 5)]);
        for length in [4096, 4097] {
            noted.topics[0].partitions[0].committed_metadata = Some(text(&"m".repeat(length)));
            ask(&format!("{length} bytes of metadata"), noted.clone());
        }
        noted.topics[0].partitions[0].committed_metadata = None;
        ask("no metadata", noted);
        let mut twice = commit(&group, &name, &[(0, 5)]);
        twice.topics.extend(commit(&group, &name, &[(1, 6)]).topics);
        ask("a topic twice", twice);
    }
}

pub fn fetching(talk: &mut Talk) {
    let name = topic(talk, "offsets-fetching", 3, &[]).name;
    let group = "offsets-fetching";
    talk.quietly(7, &commit(group, &name, &[(0, 5), (1, 7)]));
    for version in 1..=7 {
        let ask = |group: &str, topics: Option<&[(&str, &[i32])]>| {
            let topic = |(name, partitions): &(&str, &[i32])| {
                OffsetFetchRequestTopic::default()
                    .with_name(text(name).into())
                    .with_partition_indexes(partitions.to_vec())
            };
            OffsetFetchRequest::default()
                .with_group_id(text(group).into())
                .with_topics(topics.map(|topics| topics.iter().map(topic).collect()))
        };
        talk.ask(
            "some",
            version,
            &ask(group, Some(&[(&name, &[0, 2, 9, -1])])),
        );
        talk.ask("twice", version, &ask(group, Some(&[(&name, &[0, 0])])));
        talk.ask(
            "unknown topic",
            version,
            &ask(group, Some(&[("offsets-nowhere", &[0])])),
        );
        talk.ask(
            "unknown group",
            version,
            &ask("offsets-nowhere", Some(&[(&name, &[0])])),
        );
        talk.ask("no group", version, &ask("", Some(&[(&name, &[0])])));
        talk.ask("no partitions", version, &ask(group, Some(&[(&name, &[])])));
        talk.ask("no topics", version, &ask(group, Some(&[])));
        if version >= 2 {
            talk.ask("all", version, &ask(group, None));
            talk.ask(
                "all of an unknown group",
                version,
                &ask("offsets-nowhere", None),
            );
        }
        if version >= 7 {
            talk.ask(
                "stable",
                version,
                &ask(group, Some(&[(&name, &[0])])).with_require_stable(true),
            );
        }
    }
    for version in 8..=9 {
        let of = |group: &str, topics: Option<&[(&str, &[i32])]>| {
            let topic = |(name, partitions): &(&str, &[i32])| {
                OffsetFetchRequestTopics::default()
                    .with_name(text(name).into())
                    .with_partition_indexes(partitions.to_vec())
            };
            OffsetFetchRequestGroup::default()
                .with_group_id(text(group).into())
                .with_topics(topics.map(|topics| topics.iter().map(topic).collect()))
        };
        let mut ask = |what: &str, groups: Vec<OffsetFetchRequestGroup>| {
            talk.ask(
                what,
                version,
                &OffsetFetchRequest::default().with_groups(groups),
            );
        };
        ask("some", vec![of(group, Some(&[(&name, &[0, 2, 9, -1])]))]);
        ask(
            "unknown topic",
            vec![of(group, Some(&[("offsets-nowhere", &[0])]))],
        );
        ask(
            "two groups",
            vec![of(group, None), of("offsets-nowhere", None)],
        );
        ask("a group twice", vec![of(group, None), of(group, None)]);
        ask("no group", vec![of("", Some(&[(&name, &[0])]))]);
        ask("no topics", vec![of(group, Some(&[]))]);
        ask("no partitions", vec![of(group, Some(&[(&name, &[])]))]);
        ask("no groups", vec![]);
        if version == 9 {
            let member = of(group, None)
                .with_member_id(Some(text("stranger")))
                .with_member_epoch(3);
            ask("a member", vec![member.clone()]);
            ask(
                "a member of an unknown group",
                vec![member.with_group_id(text("offsets-nowhere").into())],
            );
        }
    }
}

pub fn deleting(talk: &mut Talk) {
    let name = topic(talk, "offsets-deleting", 3, &[]).name;
    let group = "offsets-deleting";
    talk.quietly(7, &commit(group, &name, &[(0, 5), (1, 7)]));
    let ask = |group: &str, name: &str, partitions: &[i32]| {
        let partition =
            |index: &i32| OffsetDeleteRequestPartition::default().with_partition_index(*index);
        let topic = OffsetDeleteRequestTopic::default()
            .with_name(text(name).into())
            .with_partitions(partitions.iter().map(partition).collect());
        OffsetDeleteRequest::default()
            .with_group_id(text(group).into())
            .with_topics(vec![topic])
    };
    talk.ask("some", 0, &ask(group, &name, &[0, 2, 9]));
    talk.ask("again", 0, &ask(group, &name, &[0]));
    talk.ask("twice", 0, &ask(group, &name, &[1, 1]));
    talk.ask("unknown topic", 0, &ask(group, "offsets-nowhere", &[0]));
    talk.ask("unknown group", 0, &ask("offsets-nowhere", &name, &[0]));
    talk.ask("no group", 0, &ask("", &name, &[0]));
    talk.ask("no partitions", 0, &ask(group, &name, &[]));
    talk.ask("no topics", 0, &ask(group, &name, &[]).with_topics(vec![]));
}
