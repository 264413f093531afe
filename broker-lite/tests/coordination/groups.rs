//! FindCoordinator, offsets, and what operators ask of groups.

use std::net::SocketAddr;

use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, JoinGroupRequest,
    ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    },
};

use super::{
    TOPIC,
    client::{Client, Transcript, text},
    members::{self, JOIN, SYNC},
};

pub(crate) fn coordinators(address: SocketAddr, t: &mut Transcript) {
    t.title("coordinators");
    let mut client = Client::connect(address);
    for version in 0..=6 {
        for key_type in [0, 1, 2] {
            if version == 0 && key_type > 0 || version == 6 && key_type == 2 {
                continue;
            }
            let find = FindCoordinatorRequest::default().with_key_type(key_type);
            let find = if version >= 4 {
                find.with_coordinator_keys(vec![text("a"), text("b")])
            } else {
                find.with_key(text("a"))
            };
            let found = client.call(version, &find);
            let each = found.coordinators.iter().map(|c| {
                format!(
                    "{} {} {}",
                    c.key,
                    c.error_code,
                    c.port == i32::from(address.port())
                )
            });
            let each: Vec<String> = each.collect();
            let port = found.port == i32::from(address.port());
            t.note(format!(
                "version {version} type {key_type}: {} {port} {each:?}",
                found.error_code
            ));
        }
    }
}

/// One member through to a stable group, asked on the way.
pub(crate) fn one_member(address: SocketAddr, t: &mut Transcript) {
    t.title("one member");
    let mut client = Client::connect(address);
    let group = "one";
    let member = members::enter(&mut client, t, group);
    members::joined(t, "joined", &client.receive::<JoinGroupRequest>(JOIN));
    describe(&mut client, t, group, &[5]);
    commit(&mut client, t, "before sync", group, &member, 1, 9);
    let sync = members::sync(group, &member, 1, &[(&member, "mine")]);
    members::synced(t, "sync", &client.call(SYNC, &sync));
    describe(&mut client, t, group, &[0, 1, 2, 3, 4, 5, 6]);
    for version in 2..=9 {
        commit(&mut client, t, "member", group, &member, 1, version);
        commit(&mut client, t, "old generation", group, &member, 0, version);
        commit(
            &mut client,
            t,
            "unknown member",
            group,
            "stranger",
            1,
            version,
        );
        commit(&mut client, t, "nobody", group, "", -1, version);
        commit(&mut client, t, "no generation", group, &member, -1, version);
        commit(
            &mut client,
            t,
            "member of no group",
            "nowhere",
            &member,
            1,
            version,
        );
    }
    fetch(&mut client, t, group);
    delete_offsets(&mut client, t, group);
    delete(&mut client, t, &[group, group]);
    members::leave(&mut client, t, "leave", group, &[(&member, None)]);
    describe(&mut client, t, group, &[5, 6]);
    commit(&mut client, t, "member that left", group, &member, 1, 9);
    commit(&mut client, t, "nobody", group, "", -1, 9);
    delete_offsets(&mut client, t, group);
    fetch(&mut client, t, group);
    delete(&mut client, t, &[group]);
    describe(&mut client, t, group, &[5, 6]);
    fetch(&mut client, t, group);
}

/// Commits to both partitions of the topic, to one that it does not have, and to no topic.
pub(crate) fn commit(
    client: &mut Client,
    t: &mut Transcript,
    what: &str,
    group: &str,
    member: &str,
    generation: i32,
    version: i16,
) {
    let partition = |index: i32, metadata: usize| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(100 + i64::from(version))
            .with_committed_leader_epoch(if version >= 6 { 5 } else { -1 })
            .with_committed_metadata(Some(text(&"m".repeat(metadata))))
    };
    let topic = |name: &str, partitions| {
        OffsetCommitRequestTopic::default()
            .with_name(text(name).into())
            .with_partitions(partitions)
    };
    let request = OffsetCommitRequest::default()
        .with_group_id(text(group).into())
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(generation)
        .with_topics(vec![
            topic(
                TOPIC,
                vec![partition(0, 4096), partition(1, 4097), partition(2, 0)],
            ),
            topic("nothing", vec![partition(0, 0)]),
        ]);
    let answer = client.call(version, &request);
    let mut each: Vec<String> = Vec::new();
    for topic in &answer.topics {
        for p in &topic.partitions {
            each.push(format!(
                "{}-{}: {}",
                topic.name.0, p.partition_index, p.error_code
            ));
        }
    }
    each.sort();
    t.note(format!("commit {version}, {what}: {each:?}"));
}

pub(crate) fn fetch(client: &mut Client, t: &mut Transcript, group: &str) {
    for version in [1, 2, 3, 5, 6, 7, 8, 9] {
        for all in [false, true] {
            for stable in [false, true] {
                if version < 2 && all || version < 7 && stable {
                    continue;
                }
                let each = fetch_one(client, group, version, all, stable);
                let what = format!("all {all} stable {stable}");
                t.note(format!("fetch {version} {what}: {each}"));
            }
        }
    }
}

fn fetch_one(client: &mut Client, group: &str, version: i16, all: bool, stable: bool) -> String {
    let request = OffsetFetchRequest::default().with_require_stable(stable);
    let each = if version >= 8 {
        fetch_groups(client, group, version, all, request)
    } else {
        fetch_group(client, group, version, all, request)
    };
    each.join(", ")
}

/// Many groups: the one and one that is not there.
fn fetch_groups(
    client: &mut Client,
    group: &str,
    version: i16,
    all: bool,
    request: OffsetFetchRequest,
) -> Vec<String> {
    let topic = |name: &str, list| {
        OffsetFetchRequestTopics::default()
            .with_name(text(name).into())
            .with_partition_indexes(list)
    };
    let topics = vec![topic(TOPIC, vec![0, 1, 7]), topic("nothing", vec![0])];
    let asked = |name: &str| {
        OffsetFetchRequestGroup::default()
            .with_group_id(text(name).into())
            .with_member_epoch(-1)
            .with_topics((!all).then(|| topics.clone()))
    };
    let request = request.with_groups(vec![asked(group), asked("nowhere")]);
    let answer = client.call(version, &request);
    let mut each = Vec::new();
    for g in &answer.groups {
        each.push(format!("{}: {}", g.group_id.0, g.error_code));
        for topic in &g.topics {
            each.extend(topic.partitions.iter().map(|p| {
                let (at, metadata) = (p.partition_index, p.metadata.as_ref().map(|m| m.len()));
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                let error = p.error_code;
                format!(
                    "{}-{at}: {error} {offset} {epoch} {metadata:?}",
                    topic.name.0
                )
            }));
        }
    }
    each
}

fn fetch_group(
    client: &mut Client,
    group: &str,
    version: i16,
    all: bool,
    request: OffsetFetchRequest,
) -> Vec<String> {
    let topic = |name: &str, list| {
        OffsetFetchRequestTopic::default()
            .with_name(text(name).into())
            .with_partition_indexes(list)
    };
    let topics = vec![topic(TOPIC, vec![0, 1, 7]), topic("nothing", vec![0])];
    let request = request
        .with_group_id(text(group).into())
        .with_topics((!all).then_some(topics));
    let answer = client.call(version, &request);
    let mut each = vec![format!("group: {}", answer.error_code)];
    for topic in &answer.topics {
        each.extend(topic.partitions.iter().map(|p| {
            let (at, metadata) = (p.partition_index, p.metadata.as_ref().map(|m| m.len()));
            let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
            let error = p.error_code;
            format!(
                "{}-{at}: {error} {offset} {epoch} {metadata:?}",
                topic.name.0
            )
        }));
    }
    each
}

fn describe(client: &mut Client, t: &mut Transcript, group: &str, versions: &[i16]) {
    for &version in versions {
        let request = DescribeGroupsRequest::default().with_groups(vec![text(group).into()]);
        let answer = client.call(version, &request);
        for g in &answer.groups {
            let mut each = Vec::new();
            for m in &g.members {
                let name = t.name('M', &m.member_id);
                let instance = m.group_instance_id.as_deref().unwrap_or("-");
                let (metadata, assignment) = (m.member_metadata.len(), m.member_assignment.len());
                let who = format!("{} {}", m.client_id, m.client_host);
                each.push(format!("{name}/{instance} {who} {metadata} {assignment}"));
            }
            each.sort();
            let message = g.error_message.as_deref();
            t.note(format!(
                "describe {version}: {} {message:?} {} {:?} {:?} {each:?} {}",
                g.error_code,
                g.group_state,
                g.protocol_type,
                g.protocol_data,
                g.authorized_operations
            ));
        }
    }
}

fn delete_offsets(client: &mut Client, t: &mut Transcript, group: &str) {
    let partition = |index| OffsetDeleteRequestPartition::default().with_partition_index(index);
    let topic = |name: &str, list: &[i32]| {
        OffsetDeleteRequestTopic::default()
            .with_name(text(name).into())
            .with_partitions(list.iter().map(|&p| partition(p)).collect())
    };
    for (group, topics) in [
        (
            group,
            vec![topic(TOPIC, &[0, 1, 7]), topic("nothing", &[0])],
        ),
        ("nowhere", vec![topic(TOPIC, &[0])]),
        ("", vec![topic(TOPIC, &[0])]),
    ] {
        let request = OffsetDeleteRequest::default()
            .with_group_id(text(group).into())
            .with_topics(topics);
        let answer = client.call(0, &request);
        let mut each = Vec::new();
        for topic in &answer.topics {
            for p in &topic.partitions {
                each.push(format!(
                    "{}-{}: {}",
                    topic.name.0, p.partition_index, p.error_code
                ));
            }
        }
        each.sort();
        t.note(format!(
            "delete offsets of {group:?}: {} {each:?}",
            answer.error_code
        ));
    }
}

fn delete(client: &mut Client, t: &mut Transcript, groups: &[&str]) {
    let names = groups.iter().map(|g| text(g).into()).collect();
    let answer = client.call(2, &DeleteGroupsRequest::default().with_groups_names(names));
    let each = answer
        .results
        .iter()
        .map(|r| format!("delete {}: {}", r.group_id.0, r.error_code));
    let mut each: Vec<String> = each.collect();
    each.sort();
    each.into_iter().for_each(|line| t.note(line));
}

/// Commits by nobody, as admin tools and standalone consumers make them.
pub(crate) fn offsets(address: SocketAddr, t: &mut Transcript) {
    t.title("offsets without members");
    let mut client = Client::connect(address);
    let group = "plain";
    for version in 2..=9 {
        commit(&mut client, t, "plain", group, "", -1, version);
    }
    commit(
        &mut client,
        t,
        "a name in an empty group",
        group,
        "stranger",
        -1,
        9,
    );
    commit(
        &mut client,
        t,
        "a generation in an empty group",
        group,
        "",
        0,
        9,
    );
    commit(&mut client, t, "no group id", "", "", -1, 9);
    fetch(&mut client, t, group);
    describe(&mut client, t, group, &[5, 6]);
    delete_offsets(&mut client, t, group);
    fetch(&mut client, t, group);
    delete(&mut client, t, &[group, "nowhere", ""]);
}

pub(crate) fn administration(address: SocketAddr, t: &mut Transcript) {
    t.title("administration");
    let mut client = Client::connect(address);
    commit(&mut client, t, "plain", "listed-plain", "", -1, 9);
    let member = members::enter(&mut client, t, "listed-full");
    members::joined(t, "joined", &client.receive::<JoinGroupRequest>(JOIN));
    // Kafka lists what is committed to its log, a few milliseconds later.
    super::until_accepted(|| {
        let groups = client.call(5, &ListGroupsRequest::default()).groups;
        i16::from(!groups.iter().any(|g| g.group_id.starts_with("listed-full")))
    });
    for version in 0..=5 {
        for (states, types) in [
            (vec![], vec![]),
            (vec!["Empty"], vec![]),
            (vec!["completingrebalance", "Stable"], vec![]),
            (vec![], vec!["Classic"]),
            (vec![], vec!["consumer"]),
            (vec!["Nonsense"], vec![]),
        ] {
            if version < 4 && !states.is_empty() || version < 5 && !types.is_empty() {
                continue;
            }
            let what = format!("{states:?} {types:?}");
            let list = ListGroupsRequest::default()
                .with_states_filter(states.into_iter().map(text).collect())
                .with_types_filter(types.into_iter().map(text).collect());
            let answer = client.call(version, &list);
            let mut each: Vec<String> = answer
                .groups
                .iter()
                .filter(|g| g.group_id.starts_with("listed"))
                .map(|g| {
                    format!(
                        "{} {:?} {} {}",
                        g.group_id.0, g.protocol_type, g.group_state, g.group_type
                    )
                })
                .collect();
            each.sort();
            t.note(format!(
                "list {version} {what}: {} {each:?}",
                answer.error_code
            ));
        }
    }
    members::leave(&mut client, t, "leave", "listed-full", &[(&member, None)]);
    delete(&mut client, t, &["listed-full"]);
    delete(&mut client, t, &["listed-plain"]);
}
