//! Groups: members and committed offsets.

use kafka_protocol::messages::*;

use super::offset_commit;
use crate::talk::{Talk, text};

pub(super) fn ask(talk: &mut Talk, name: &str) {
    for version in 0..=6 {
        for kind in [0, 1] {
            let request = match version {
                ..=3 => FindCoordinatorRequest::default().with_key(text(name)),
                _ => FindCoordinatorRequest::default()
                    .with_coordinator_keys(vec![text(name), text("else")]),
            };
            if version > 0 || kind == 0 {
                talk.ask(
                    &format!("{name} {kind}"),
                    version,
                    &request.with_key_type(kind),
                );
            }
        }
    }
    let group = || GroupId(text(name));
    // Requests that fail also for who may.
    for version in 0..=9 {
        let join = JoinGroupRequest::default()
            .with_group_id(group())
            .with_session_timeout_ms(1)
            .with_rebalance_timeout_ms(1)
            .with_protocol_type(text("consumer"));
        talk.ask(name, version, &join);
    }
    for version in 0..=5 {
        let sync = SyncGroupRequest::default()
            .with_group_id(group())
            .with_member_id(text("x"));
        let sync = match version {
            5.. => sync
                .with_protocol_type(Some(text("consumer")))
                .with_protocol_name(Some(text("range"))),
            _ => sync,
        };
        talk.ask(name, version, &sync);
        let member = leave_group_request::MemberIdentity::default().with_member_id(text("x"));
        let leave = LeaveGroupRequest::default().with_group_id(group());
        let leave = match version {
            ..=2 => leave.with_member_id(text("x")),
            _ => leave.with_members(vec![member]),
        };
        talk.ask(name, version, &leave);
    }
    for version in 0..=4 {
        let heartbeat = HeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(text("x"));
        talk.ask(name, version, &heartbeat);
    }
    for version in 2..=9 {
        let mut commit = offset_commit(name, name);
        commit
            .topics
            .push(offset_commit(name, "else").topics.remove(0));
        talk.ask(name, version, &commit);
    }
    for version in 1..=9 {
        let indexes = vec![0, 9];
        let named = match version {
            ..=7 => {
                let wanted = offset_fetch_request::OffsetFetchRequestTopic::default()
                    .with_name(text(name).into())
                    .with_partition_indexes(indexes);
                OffsetFetchRequest::default()
                    .with_group_id(group())
                    .with_topics(Some(vec![wanted]))
            }
            _ => {
                let wanted = offset_fetch_request::OffsetFetchRequestTopics::default()
                    .with_name(text(name).into())
                    .with_partition_indexes(indexes);
                let of_group = offset_fetch_request::OffsetFetchRequestGroup::default()
                    .with_group_id(group())
                    .with_topics(Some(vec![wanted]))
                    .with_member_epoch(-1);
                OffsetFetchRequest::default().with_groups(vec![of_group])
            }
        };
        talk.ask(name, version, &named);
        let all = match version {
            1 => continue,
            ..=7 => OffsetFetchRequest::default()
                .with_group_id(group())
                .with_topics(None),
            _ => {
                let of_group = offset_fetch_request::OffsetFetchRequestGroup::default()
                    .with_group_id(group())
                    .with_topics(None)
                    .with_member_epoch(-1);
                OffsetFetchRequest::default().with_groups(vec![of_group])
            }
        };
        talk.ask(&format!("{name}, all"), version, &all);
    }
    for version in 0..=6 {
        let describe = DescribeGroupsRequest::default()
            .with_groups(vec![group()])
            .with_include_authorized_operations(version >= 3);
        talk.ask(name, version, &describe);
    }
    for version in 0..=5 {
        talk.ask_edited(name, version, &ListGroupsRequest::default(), |answer| {
            answer.groups.retain(|one| one.group_id.starts_with(name));
        });
    }
    let partition = offset_delete_request::OffsetDeleteRequestPartition::default();
    let of_topic = |name: &str| {
        offset_delete_request::OffsetDeleteRequestTopic::default()
            .with_name(text(name).into())
            .with_partitions(vec![partition.clone()])
    };
    let delete = OffsetDeleteRequest::default()
        .with_group_id(group())
        .with_topics(vec![of_topic(name), of_topic("else")]);
    talk.ask(name, 0, &delete);
    for version in 0..=2 {
        let delete = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
        talk.ask(name, version, &delete);
    }
}
