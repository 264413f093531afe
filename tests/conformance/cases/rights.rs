//! Rights: rules about them, and what every API does for who has none, or some.

use bytes::Bytes;
use kafka_protocol::{messages::*, protocol::StrBytes};

use wire::record::Codec;

use super::{topic, until};
use crate::{
    batches::{self, Topic, batch},
    talk::{Talk, text},
};

/// Kafka's message has the whole request in it.
pub fn blank(message: &mut Option<StrBytes>) {
    if let Some(text) = message
        && (text.starts_with("Request ") || **text == *"The request is not authorized.")
    {
        *message = None;
    }
}

/// A rule: resource type and name, pattern, principal, operation, permission.
fn rule(
    on: (i8, &str, i8),
    principal: &str,
    operation: i8,
    permission: i8,
) -> create_acls_request::AclCreation {
    create_acls_request::AclCreation::default()
        .with_resource_type(on.0)
        .with_resource_name(text(on.1))
        .with_resource_pattern_type(on.2)
        .with_principal(text(principal))
        .with_host(text("*"))
        .with_operation(operation)
        .with_permission_type(permission)
}

fn no_filter() -> delete_acls_request::DeleteAclsFilter {
    delete_acls_request::DeleteAclsFilter::default()
        .with_resource_name_filter(None)
        .with_principal_filter(None)
        .with_host_filter(None)
}

fn create(rules: &[create_acls_request::AclCreation]) -> CreateAclsRequest {
    CreateAclsRequest::default().with_creations(rules.to_vec())
}

fn any() -> DescribeAclsRequest {
    DescribeAclsRequest::default()
        .with_resource_name_filter(None)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_resource_type_filter(1)
        .with_pattern_type_filter(1)
        .with_operation(1)
        .with_permission_type(1)
}

const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const CLUSTER: i8 = 4;
const ID: i8 = 5;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const DENY: i8 = 2;
const ALLOW: i8 = 3;

pub fn rules(talk: &mut Talk) {
    talk.becomes("root");
    let on = (TOPIC, "rules", LITERAL);
    for version in 1..=3 {
        talk.ask("one", version, &create(&[rule(on, "User:r", 3, ALLOW)]));
        talk.ask("again", version, &create(&[rule(on, "User:r", 3, ALLOW)]));
        for (what, wrong) in [
            ("type 1", rule((1, "rules", LITERAL), "User:r", 3, ALLOW)),
            ("pattern 1", rule((TOPIC, "rules", 1), "User:r", 3, ALLOW)),
            ("pattern 2", rule((TOPIC, "rules", 2), "User:r", 3, ALLOW)),
            ("operation 1", rule(on, "User:r", 1, ALLOW)),
            ("permission 1", rule(on, "User:r", 3, 1)),
            ("no name", rule((TOPIC, "", LITERAL), "User:r", 3, ALLOW)),
            (
                "no cluster",
                rule((CLUSTER, "rules", LITERAL), "User:r", 3, ALLOW),
            ),
            ("no principal", rule(on, "r", 3, ALLOW)),
        ] {
            let right = rule(on, "User:r", 3, ALLOW);
            talk.ask(what, version, &create(std::slice::from_ref(&wrong)));
            talk.ask(what, version, &create(&[right, wrong]));
        }
    }
    let all = [
        rule((TOPIC, "rules", PREFIXED), "User:r", 4, DENY),
        rule((TOPIC, "*", LITERAL), "User:r", 8, ALLOW),
        rule((TOPIC, "r", PREFIXED), "User:*", 2, ALLOW),
        rule((GROUP, "rules", LITERAL), "User:r", 3, ALLOW),
        rule((CLUSTER, "kafka-cluster", LITERAL), "User:r", 12, ALLOW),
        rule((ID, "rules", LITERAL), "User:r", 4, ALLOW),
        rule((7, "User:r", LITERAL), "User:r", 13, ALLOW),
        rule((6, "token", LITERAL), "User:r", 8, ALLOW),
        rule(on, "User:r", 15, ALLOW).with_host(text("1.2.3.4")),
    ];
    talk.ask("many", 3, &create(&all));
    let of_r = any().with_principal_filter(Some(text("User:r")));
    until(|| talk.quietly(3, &of_r).resources.len() == 8);
    for version in 1..=3 {
        talk.ask("all of r", version, &of_r);
        for kind in 1..=7 {
            talk.ask(
                &format!("type {kind}"),
                version,
                &of_r.clone().with_resource_type_filter(kind),
            );
        }
        for pattern in 1..=4 {
            let of_kind = of_r.clone().with_pattern_type_filter(pattern);
            for name in ["rules", "rulesx", "*", "r"] {
                let named = of_kind.clone().with_resource_name_filter(Some(text(name)));
                talk.ask(&format!("pattern {pattern} {name}"), version, &named);
            }
        }
        talk.ask("reads", version, &of_r.clone().with_operation(3));
        talk.ask("denies", version, &of_r.clone().with_permission_type(DENY));
        talk.ask(
            "host",
            version,
            &of_r.clone().with_host_filter(Some(text("1.2.3.4"))),
        );
    }
    let filter = no_filter()
        .with_resource_type_filter(1)
        .with_pattern_type_filter(1)
        .with_operation(1)
        .with_permission_type(1);
    let delete = |filters: &[delete_acls_request::DeleteAclsFilter]| {
        DeleteAclsRequest::default().with_filters(filters.to_vec())
    };
    let of_group = filter.clone().with_resource_type_filter(GROUP);
    let of_r = filter.with_principal_filter(Some(text("User:r")));
    talk.ask(
        "of groups",
        3,
        &delete(&[
            of_group.with_principal_filter(Some(text("User:r"))),
            of_r.clone(),
        ]),
    );
    talk.ask("none is left", 1, &delete(&[of_r]));
    talk.ask(
        "everyone's",
        3,
        &delete(&[no_filter()
            .with_resource_type_filter(TOPIC)
            .with_resource_name_filter(Some(text("r")))
            .with_pattern_type_filter(PREFIXED)
            .with_operation(1)
            .with_permission_type(1)]),
    );
}

/// Topics, a group and a transactional id with something in them, by who may do everything.
fn furnish(address: std::net::SocketAddr, name: &str) -> Topic {
    // A talk of its own: what it learns of ids is not the matter here.
    let talk = &mut Talk::new(address);
    talk.becomes("root");
    let topic = topic(talk, name, 2, &[]);
    let record = batch(Codec::None, &[batches::T]);
    talk.quietly(
        9,
        &batches::produce(9, &topic, &[(0, Some(record.clone())), (1, Some(record))]),
    );
    let commit = offset_commit(name, name);
    until(|| {
        let answer = talk.quietly(7, &commit);
        answer.topics[0].partitions[0].error_code == 0
    });
    let id = InitProducerIdRequest::default()
        .with_transactional_id(Some(text(name).into()))
        .with_transaction_timeout_ms(60_000);
    until(|| talk.quietly(2, &id).error_code == 0);
    topic
}

fn offset_commit(group: &str, topic: &str) -> OffsetCommitRequest {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(text(topic).into())
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(text(group).into())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

pub fn nothing(talk: &mut Talk) {
    let topic = furnish(talk.address, "nothing");
    talk.becomes("eve");
    everything(talk, &topic, "nothing");
}

/// One right after the other, each for a topic, a group and an id of its own.
pub fn some(talk: &mut Talk) {
    for (number, rights) in [
        &[(TOPIC, 8, ALLOW), (GROUP, 8, ALLOW), (ID, 8, ALLOW)][..],
        &[(TOPIC, 3, ALLOW), (GROUP, 3, ALLOW)],
        &[(TOPIC, 4, ALLOW), (ID, 4, ALLOW)],
        &[
            (TOPIC, 3, ALLOW),
            (TOPIC, 4, ALLOW),
            (GROUP, 3, ALLOW),
            (ID, 4, ALLOW),
        ],
        &[
            (TOPIC, 2, ALLOW),
            (GROUP, 2, ALLOW),
            (ID, 2, ALLOW),
            (TOPIC, 3, DENY),
        ],
        &[(TOPIC, 11, ALLOW), (GROUP, 6, ALLOW), (TOPIC, 7, ALLOW)],
        &[(TOPIC, 6, ALLOW), (TOPIC, 10, ALLOW), (GROUP, 8, ALLOW)],
        &[
            (CLUSTER, 8, ALLOW),
            (CLUSTER, 10, ALLOW),
            (CLUSTER, 12, ALLOW),
        ],
        &[
            (CLUSTER, 5, ALLOW),
            (CLUSTER, 7, ALLOW),
            (CLUSTER, 11, ALLOW),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("some-{number}");
        let topic = furnish(talk.address, &name);
        talk.becomes("root");
        let of_number = |resource, operation, permission| {
            let name = match resource {
                CLUSTER => "kafka-cluster",
                _ => &name,
            };
            rule((resource, name, LITERAL), "User:ann", operation, permission)
        };
        let rules: Vec<_> = rights
            .iter()
            .map(|(resource, operation, permission)| of_number(*resource, *operation, *permission))
            .collect();
        talk.quietly(3, &create(&rules));
        let of_ann = any().with_principal_filter(Some(text("User:ann")));
        until(|| {
            let found = talk.quietly(3, &of_ann);
            found
                .resources
                .iter()
                .map(|one| one.acls.len())
                .sum::<usize>()
                == rules.len()
        });
        talk.becomes("ann");
        everything(talk, &topic, &name);
        talk.becomes("root");
        let filter = no_filter()
            .with_resource_type_filter(1)
            .with_pattern_type_filter(1)
            .with_principal_filter(Some(text("User:ann")))
            .with_operation(1)
            .with_permission_type(1);
        talk.quietly(3, &DeleteAclsRequest::default().with_filters(vec![filter]));
        until(|| talk.quietly(3, &of_ann).resources.is_empty());
    }
}

/// What is left out of lists, and what a prefix and a wildcard reach.
pub fn filters(talk: &mut Talk) {
    for name in ["filters-a", "filters-ab", "filters-b"] {
        furnish(talk.address, name);
    }
    talk.becomes("root");
    let rules = [
        rule((TOPIC, "filters-a", PREFIXED), "User:zoe", 8, ALLOW),
        rule((TOPIC, "filters-ab", LITERAL), "User:zoe", 8, DENY),
        rule((GROUP, "filters-", PREFIXED), "User:zoe", 8, ALLOW),
        rule((ID, "*", LITERAL), "User:*", 8, ALLOW),
        rule((GROUP, "filters-b", LITERAL), "User:*", 8, DENY),
    ];
    talk.quietly(3, &create(&rules));
    let all = any().with_pattern_type_filter(1);
    until(|| {
        let found = talk.quietly(3, &all);
        found
            .resources
            .iter()
            .map(|one| one.acls.len())
            .sum::<usize>()
            == rules.len()
    });
    talk.becomes("zoe");
    for version in [1, 7, 12, 13] {
        talk.ask(
            "all",
            version,
            &MetadataRequest::default().with_topics(None),
        );
    }
    talk.ask(
        "all",
        0,
        &DescribeTopicPartitionsRequest::default().with_response_partition_limit(100),
    );
    talk.ask("all", 5, &ListGroupsRequest::default());
    talk.ask_edited("all", 0, &ListTransactionsRequest::default(), |answer| {
        answer
            .transaction_states
            .retain(|one| one.transactional_id.starts_with("filters"));
        answer
            .transaction_states
            .iter_mut()
            .for_each(|one| one.producer_id = (-1).into());
    });
    talk.becomes("root");
    let filter = no_filter()
        .with_resource_type_filter(1)
        .with_pattern_type_filter(1)
        .with_operation(1)
        .with_permission_type(1);
    talk.quietly(3, &DeleteAclsRequest::default().with_filters(vec![filter]));
    until(|| talk.quietly(3, &all).resources.is_empty());
}

/// Every API in every version, on one topic and a group and a transactional id of that name.
fn everything(talk: &mut Talk, topic: &Topic, name: &str) {
    reads(talk, topic, name);
    groups(talk, name);
    transactions(talk, topic, name);
    cluster(talk, topic, name);
    topics(talk, topic, name);
}

fn reads(talk: &mut Talk, topic: &Topic, name: &str) {
    for version in 3..=13 {
        let records: Bytes = batch(Codec::None, &[batches::T]);
        let request = batches::produce(
            version,
            topic,
            &[(0, Some(records.clone())), (9, Some(records))],
        );
        talk.ask(name, version, &request);
    }
    for version in 4..=18 {
        let partition = |index| {
            fetch_request::FetchPartition::default()
                .with_partition(index)
                .with_partition_max_bytes(1000)
                .with_current_leader_epoch(-1)
        };
        let wanted =
            fetch_request::FetchTopic::default().with_partitions(vec![partition(0), partition(9)]);
        let wanted = match version {
            ..=12 => wanted.with_topic(text(name).into()),
            _ => wanted.with_topic_id(topic.id),
        };
        let request = FetchRequest::default()
            .with_max_bytes(1000)
            .with_session_epoch(-1)
            .with_topics(vec![wanted]);
        talk.ask_edited(name, version, &request, |answer| {
            for one in answer
                .responses
                .iter_mut()
                .flat_map(|topic| &mut topic.partitions)
            {
                // How many records there are by now is not the matter here.
                one.records = None;
                one.high_watermark = one.high_watermark.min(0);
                one.last_stable_offset = one.last_stable_offset.min(0);
            }
        });
    }
    for version in 1..=10 {
        let partition = list_offsets_request::ListOffsetsPartition::default()
            .with_timestamp(-2)
            .with_current_leader_epoch(-1);
        let wanted = list_offsets_request::ListOffsetsTopic::default()
            .with_name(text(name).into())
            .with_partitions(vec![partition.clone(), partition.with_partition_index(9)]);
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_topics(vec![wanted]);
        talk.ask(name, version, &request);
    }
    for version in 2..=4 {
        let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default()
            .with_current_leader_epoch(-1)
            .with_leader_epoch(-1);
        let wanted = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
            .with_topic(text(name).into())
            .with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id((-2).into())
            .with_topics(vec![wanted]);
        talk.ask(name, version, &request);
    }
    let producers = describe_producers_request::TopicRequest::default()
        .with_name(text(name).into())
        .with_partition_indexes(vec![0, 9]);
    let producers = DescribeProducersRequest::default().with_topics(vec![producers]);
    talk.ask(name, 0, &producers);
}

fn groups(talk: &mut Talk, name: &str) {
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

fn transactions(talk: &mut Talk, topic: &Topic, name: &str) {
    let id = || TransactionalId(text(name));
    for version in 0..=5 {
        talk.ask_edited(
            &format!("{name}, no id"),
            version,
            &InitProducerIdRequest::default()
                .with_transaction_timeout_ms(1000)
                .with_transactional_id(None),
            |answer| answer.producer_id = (-1).into(),
        );
        let init = InitProducerIdRequest::default()
            .with_transactional_id(Some(id()))
            .with_transaction_timeout_ms(-1);
        talk.ask(name, version, &init);
    }
    for version in 0..=5 {
        let wanted = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(text(&topic.name).into())
            .with_partitions(vec![0, 9]);
        let add = match version {
            ..=3 => AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(id())
                .with_v3_and_below_producer_id(99.into())
                .with_v3_and_below_topics(vec![wanted]),
            _ => {
                let transaction =
                    add_partitions_to_txn_request::AddPartitionsToTxnTransaction::default()
                        .with_transactional_id(id())
                        .with_producer_id(99.into())
                        .with_topics(vec![wanted]);
                AddPartitionsToTxnRequest::default().with_transactions(vec![transaction])
            }
        };
        talk.ask(name, version, &add);
    }
    for version in 0..=4 {
        let add = AddOffsetsToTxnRequest::default()
            .with_transactional_id(id())
            .with_producer_id(99.into())
            .with_group_id(text(name).into());
        talk.ask(name, version, &add);
    }
    for version in 0..=5 {
        let end = EndTxnRequest::default()
            .with_transactional_id(id())
            .with_producer_id(99.into());
        talk.ask(name, version, &end);
        let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default();
        let of_topic = |name: &str| {
            txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
                .with_name(text(name).into())
                .with_partitions(vec![partition.clone()])
        };
        let commit = TxnOffsetCommitRequest::default()
            .with_transactional_id(id())
            .with_group_id(text(name).into())
            .with_producer_id(99.into())
            .with_topics(vec![of_topic(name), of_topic("else")]);
        talk.ask(name, version, &commit);
    }
    let describe = DescribeTransactionsRequest::default().with_transactional_ids(vec![id()]);
    talk.ask_edited(name, 0, &describe, |answer| {
        for one in &mut answer.transaction_states {
            (one.transaction_start_time_ms, one.producer_id) = (0, (-1).into());
        }
    });
    for version in 0..=2 {
        talk.ask_edited(
            name,
            version,
            &ListTransactionsRequest::default(),
            |answer| {
                answer
                    .transaction_states
                    .retain(|one| one.transactional_id.starts_with(name));
                answer
                    .transaction_states
                    .iter_mut()
                    .for_each(|one| one.producer_id = (-1).into());
            },
        );
    }
}

fn cluster(talk: &mut Talk, topic: &Topic, name: &str) {
    for version in 0..=2 {
        let describe =
            DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
        talk.ask(name, version, &describe);
    }
    for version in 0..=13 {
        let named = |name: &str| {
            metadata_request::MetadataRequestTopic::default().with_name(Some(text(name).into()))
        };
        let request = MetadataRequest::default()
            .with_topics(Some(vec![
                named(name),
                named(&format!("{name}-not")),
                named("a/b"),
            ]))
            .with_allow_auto_topic_creation(version < 4)
            .with_include_topic_authorized_operations(version >= 8)
            .with_include_cluster_authorized_operations((8..=10).contains(&version));
        // Where it could be created it must not be.
        let request = match version {
            ..=3 => request.with_topics(Some(vec![named(name)])),
            _ => request.with_allow_auto_topic_creation(false),
        };
        talk.ask(name, version, &request);
    }
    for version in [4, 9, 13] {
        let named = metadata_request::MetadataRequestTopic::default()
            .with_name(Some(text(&format!("{name}-new-{version}")).into()));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![named]))
            .with_allow_auto_topic_creation(true);
        talk.ask_edited("new", version, &request, |answer| {
            for one in &mut answer.topics {
                // A new topic may or may not be there yet.
                if one.error_code != 29 {
                    one.error_code = 0;
                    one.partitions.clear();
                    one.topic_id = uuid::Uuid::nil();
                }
            }
        });
    }
    for version in 12..=13 {
        let by_id = metadata_request::MetadataRequestTopic::default()
            .with_name(None)
            .with_topic_id(topic.id);
        talk.ask(
            "by id",
            version,
            &MetadataRequest::default().with_topics(Some(vec![by_id])),
        );
    }
    let wanted = |name: &str| {
        describe_topic_partitions_request::TopicRequest::default().with_name(text(name).into())
    };
    let page = DescribeTopicPartitionsRequest::default()
        .with_topics(vec![wanted(name), wanted(&format!("{name}-not"))])
        .with_response_partition_limit(100);
    talk.ask(name, 0, &page);
    for version in 1..=4 {
        talk.ask_edited(
            name,
            version,
            &DescribeLogDirsRequest::default().with_topics(None),
            |answer| {
                answer.results.iter_mut().for_each(|one| one.topics.clear());
            },
        );
    }
    let reassignments = ListPartitionReassignmentsRequest::default().with_topics(None);
    talk.ask_edited(name, 0, &reassignments, |answer| {
        blank(&mut answer.error_message)
    });
    for version in 0..=1 {
        talk.ask(name, version, &DescribeClientQuotasRequest::default());
    }
    for version in 0..=1 {
        let request = ListConfigResourcesRequest::default();
        let request = if version == 1 {
            request.with_resource_types(vec![4])
        } else {
            request
        };
        talk.ask(name, version, &request);
    }
    for version in 1..=3 {
        talk.ask_edited(name, version, &any(), |answer| {
            blank(&mut answer.error_message);
            answer.resources.clear();
        });
        let unknown = no_filter()
            .with_resource_type_filter(TOPIC)
            .with_resource_name_filter(Some(text("no such")))
            .with_pattern_type_filter(LITERAL)
            .with_operation(1)
            .with_permission_type(1);
        talk.ask_edited(
            name,
            version,
            &DeleteAclsRequest::default().with_filters(vec![unknown]),
            |answer| {
                answer
                    .filter_results
                    .iter_mut()
                    .for_each(|one| blank(&mut one.error_message));
            },
        );
        let wrong = rule((TOPIC, "", LITERAL), "User:x", 3, ALLOW);
        talk.ask_edited(name, version, &create(&[wrong]), |answer| {
            answer
                .results
                .iter_mut()
                .for_each(|one| blank(&mut one.error_message));
        });
    }
    for version in 0..=2 {
        let wanted = elect_leaders_request::TopicPartitions::default()
            .with_topic(text(name).into())
            .with_partitions(vec![0, 9]);
        let elect = ElectLeadersRequest::default()
            .with_topic_partitions(Some(vec![wanted]))
            .with_timeout_ms(1000);
        talk.ask_edited(name, version, &elect, |answer| {
            let all = &mut answer.replica_election_results;
            for one in all.iter_mut().flat_map(|topic| &mut topic.partition_result) {
                blank(&mut one.error_message);
            }
        });
    }
}

fn topics(talk: &mut Talk, topic: &Topic, name: &str) {
    for version in 1..=4 {
        let resource = |kind, name: &str| {
            describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configuration_keys(Some(vec![text("retention.ms")]))
        };
        let request = DescribeConfigsRequest::default().with_resources(vec![
            resource(2, name),
            resource(4, "1"),
            resource(2, &format!("{name}-not")),
        ]);
        talk.ask_edited(name, version, &request, |answer| {
            // Which settings a broker has is not the matter here.
            for one in answer
                .results
                .iter_mut()
                .filter(|one| one.resource_type == 4)
            {
                one.configs.clear();
            }
        });
    }
    for version in 0..=2 {
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("1")));
        let resource = |name: &str| {
            alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(name))
                .with_configs(vec![config.clone()])
        };
        let alter = AlterConfigsRequest::default()
            .with_resources(vec![resource(name), resource(&format!("{name}-not"))])
            .with_validate_only(true);
        talk.ask(name, version, &alter);
    }
    for version in 0..=1 {
        let config = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("1")));
        let resource = |name: &str| {
            incremental_alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(name))
                .with_configs(vec![config.clone()])
        };
        let alter = IncrementalAlterConfigsRequest::default()
            .with_resources(vec![resource(name), resource(&format!("{name}-not"))])
            .with_validate_only(true);
        talk.ask(name, version, &alter);
    }
    for version in 0..=3 {
        let wanted = |name: &str| {
            create_partitions_request::CreatePartitionsTopic::default()
                .with_name(text(name).into())
                .with_count(5)
                .with_assignments(None)
        };
        let grow = CreatePartitionsRequest::default()
            .with_topics(vec![wanted(name), wanted(&format!("{name}-not"))])
            .with_validate_only(true)
            .with_timeout_ms(1000);
        talk.ask(name, version, &grow);
    }
    for version in 2..=7 {
        let wanted = |name: &str| {
            create_topics_request::CreatableTopic::default()
                .with_name(text(name).into())
                .with_num_partitions(1)
                .with_replication_factor(1)
        };
        let create = CreateTopicsRequest::default()
            .with_topics(vec![wanted(name), wanted(&format!("{name}-not"))])
            .with_validate_only(true)
            .with_timeout_ms(1000);
        talk.ask_edited(name, version, &create, |answer| {
            for one in &mut answer.topics {
                // All configs are compared elsewhere.
                if let Some(configs) = &mut one.configs {
                    configs.truncate(usize::from(!configs.is_empty()));
                    configs.iter_mut().for_each(|one| *one = Default::default());
                }
            }
        });
    }
    for version in 0..=2 {
        let partition = |index| {
            delete_records_request::DeleteRecordsPartition::default()
                .with_partition_index(index)
                .with_offset(0)
        };
        let wanted = delete_records_request::DeleteRecordsTopic::default()
            .with_name(text(name).into())
            .with_partitions(vec![partition(0), partition(9)]);
        let delete = DeleteRecordsRequest::default()
            .with_topics(vec![wanted])
            .with_timeout_ms(1000);
        talk.ask(name, version, &delete);
    }
    let not = format!("{name}-not");
    for version in 1..=5 {
        let delete = DeleteTopicsRequest::default()
            .with_topic_names(vec![text(&not).into()])
            .with_timeout_ms(1000);
        talk.ask(name, version, &delete);
    }
    let by_name = |name: &str| {
        delete_topics_request::DeleteTopicState::default().with_name(Some(text(name).into()))
    };
    let by_id = delete_topics_request::DeleteTopicState::default().with_topic_id(topic.id);
    let delete = |one| {
        DeleteTopicsRequest::default()
            .with_topics(vec![one])
            .with_timeout_ms(1000)
    };
    talk.ask("not there", 6, &delete(by_name(&not)));
    talk.ask("by id", 6, &delete(by_id));
    talk.ask("by name", 6, &delete(by_name(name)));
}
