//! Rights: rules about them, and what every API does for who has none, or some.

mod cluster;
mod groups;
mod records;
mod topics;
mod transactions;

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

/// Makes these rules, the only ones, and waits until they hold.
fn give(talk: &mut Talk, rules: &[create_acls_request::AclCreation]) {
    talk.quietly(3, &create(rules));
    until(|| {
        let found = talk.quietly(3, &any());
        let rules_found = found.resources.iter().map(|one| one.acls.len());
        rules_found.sum::<usize>() == rules.len()
    });
}

/// Removes all rules, and waits until none holds.
fn take_all(talk: &mut Talk) {
    let all = no_filter()
        .with_resource_type_filter(1)
        .with_pattern_type_filter(1)
        .with_operation(1)
        .with_permission_type(1);
    talk.quietly(3, &DeleteAclsRequest::default().with_filters(vec![all]));
    until(|| talk.quietly(3, &any()).resources.is_empty());
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
        give(talk, &rules);
        talk.becomes("ann");
        everything(talk, &topic, &name);
        talk.becomes("root");
        take_all(talk);
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
    give(talk, &rules);
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
    take_all(talk);
}

/// Every API in every version, on one topic and a group and a transactional id of that name.
fn everything(talk: &mut Talk, topic: &Topic, name: &str) {
    records::ask(talk, topic, name);
    groups::ask(talk, name);
    transactions::ask(talk, topic, name);
    cluster::ask(talk, topic, name);
    topics::ask(talk, topic, name);
}
