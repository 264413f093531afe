//! What tools ask of a cluster: rights, quotas, credentials, elections, reassignments.

use kafka_protocol::messages::{
    CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest, DescribeClientQuotasRequest,
    DescribeUserScramCredentialsRequest, ElectLeadersRequest, ListPartitionReassignmentsRequest,
    create_acls_request::AclCreation, delete_acls_request::DeleteAclsFilter,
    describe_client_quotas_request::ComponentData,
    describe_user_scram_credentials_request::UserName, elect_leaders_request::TopicPartitions,
    list_partition_reassignments_request::ListPartitionReassignmentsTopics,
};

use super::topic;
use crate::talk::{Talk, text};

/// Neither broker has an authorizer.
pub fn acls(talk: &mut Talk) {
    for version in 1..=3 {
        let describe = DescribeAclsRequest::default()
            .with_resource_type_filter(1)
            .with_pattern_type_filter(1)
            .with_operation(1)
            .with_permission_type(1);
        talk.ask("any", version, &describe);
        let topic = describe
            .clone()
            .with_resource_type_filter(2)
            .with_pattern_type_filter(3)
            .with_resource_name_filter(Some(text("admin")))
            .with_principal_filter(Some(text("User:ann")))
            .with_host_filter(Some(text("*")));
        talk.ask("of a topic", version, &topic);
        for (what, request) in [
            ("type 0", describe.clone().with_resource_type_filter(0)),
            ("type 99", describe.clone().with_resource_type_filter(99)),
            ("pattern 0", describe.clone().with_pattern_type_filter(0)),
            ("operation 0", describe.clone().with_operation(0)),
            ("permission 0", describe.clone().with_permission_type(0)),
        ] {
            talk.ask(what, version, &request);
        }
        let creation = AclCreation::default()
            .with_resource_type(2)
            .with_resource_name(text("admin"))
            .with_resource_pattern_type(3)
            .with_principal(text("User:ann"))
            .with_host(text("*"))
            .with_operation(3)
            .with_permission_type(3);
        let create = |creations| CreateAclsRequest::default().with_creations(creations);
        talk.ask("one", version, &create(vec![creation.clone()]));
        talk.ask(
            "two",
            version,
            &create(vec![creation.clone(), creation.clone()]),
        );
        talk.ask("none", version, &create(vec![]));
        for (what, wrong) in [
            ("type 0", creation.clone().with_resource_type(0)),
            ("type 1", creation.clone().with_resource_type(1)),
            ("pattern 1", creation.clone().with_resource_pattern_type(1)),
            ("operation 1", creation.clone().with_operation(1)),
            ("no principal", creation.clone().with_principal(text(""))),
        ] {
            talk.ask(what, version, &create(vec![wrong]));
        }
        let filter = DeleteAclsFilter::default()
            .with_resource_type_filter(1)
            .with_pattern_type_filter(1)
            .with_operation(1)
            .with_permission_type(1);
        let delete = |filters| DeleteAclsRequest::default().with_filters(filters);
        talk.ask("one", version, &delete(vec![filter.clone()]));
        talk.ask(
            "two",
            version,
            &delete(vec![filter.clone(), filter.clone()]),
        );
        talk.ask("none", version, &delete(vec![]));
        talk.ask(
            "type 0",
            version,
            &delete(vec![filter.with_resource_type_filter(0)]),
        );
    }
}

pub fn quotas(talk: &mut Talk) {
    let component = |kind: &str, match_type, name: Option<&str>| {
        ComponentData::default()
            .with_entity_type(text(kind))
            .with_match_type(match_type)
            .with_match(name.map(text))
    };
    for version in 0..=1 {
        let ask = |components| DescribeClientQuotasRequest::default().with_components(components);
        talk.ask("all", version, &ask(vec![]));
        talk.ask("all, strict", version, &ask(vec![]).with_strict(true));
        talk.ask(
            "a user",
            version,
            &ask(vec![component("user", 0, Some("ann"))]),
        );
        talk.ask(
            "the default",
            version,
            &ask(vec![component("client-id", 1, None)]),
        );
        talk.ask("any", version, &ask(vec![component("ip", 2, None)]));
        talk.ask(
            "any of a name",
            version,
            &ask(vec![component("ip", 2, Some("x"))]),
        );
        talk.ask(
            "both",
            version,
            &ask(vec![
                component("user", 2, None),
                component("client-id", 2, None),
            ]),
        );
        talk.ask(
            "twice",
            version,
            &ask(vec![component("user", 2, None), component("user", 1, None)]),
        );
        talk.ask(
            "ip and user",
            version,
            &ask(vec![component("user", 2, None), component("ip", 2, None)]),
        );
        talk.ask("no type", version, &ask(vec![component("", 2, None)]));
        talk.ask(
            "unknown type",
            version,
            &ask(vec![component("moon", 2, None)]),
        );
        talk.ask("match 7", version, &ask(vec![component("user", 7, None)]));
        talk.ask(
            "exactly nobody",
            version,
            &ask(vec![component("user", 0, None)]),
        );
        talk.ask(
            "the default of a name",
            version,
            &ask(vec![component("user", 1, Some("ann"))]),
        );
    }
}

pub fn credentials(talk: &mut Talk) {
    let ask = |users: Option<&[&str]>| {
        let user = |name: &&str| UserName::default().with_name(text(name));
        let users = users.map(|users| users.iter().map(user).collect());
        DescribeUserScramCredentialsRequest::default().with_users(users)
    };
    talk.ask("all", 0, &ask(None));
    talk.ask("none", 0, &ask(Some(&[])));
    talk.ask("one", 0, &ask(Some(&["ann"])));
    talk.ask("twice", 0, &ask(Some(&["ann", "ann"])));
    talk.ask("no name", 0, &ask(Some(&[""])));
}

pub fn leaders(talk: &mut Talk) {
    let name = topic(talk, "admin-leaders", 2, &[]).name;
    let some = |topics: &[(&str, &[i32])]| {
        let topic = |(name, partitions): &(&str, &[i32])| {
            TopicPartitions::default()
                .with_topic(text(name).into())
                .with_partitions(partitions.to_vec())
        };
        ElectLeadersRequest::default()
            .with_topic_partitions(Some(topics.iter().map(topic).collect()))
            .with_timeout_ms(5000)
    };
    for version in 0..=2 {
        for election in if version >= 1 { 0..=2 } else { 0..=0 } {
            let mut ask = |what: &str, request: ElectLeadersRequest| {
                let request = if version >= 1 {
                    request.with_election_type(election)
                } else {
                    request
                };
                talk.ask(&format!("{what}, type {election}"), version, &request);
            };
            ask("both", some(&[(&name, &[0, 1])]));
            ask("unknown", some(&[("admin-nowhere", &[0]), (&name, &[9])]));
            ask("no topics", some(&[]));
            ask("no partitions", some(&[(&name, &[])]));
        }
    }
}

pub fn reassignments(talk: &mut Talk) {
    let name = topic(talk, "admin-reassignments", 2, &[]).name;
    let ask = |topics: Option<&[(&str, &[i32])]>| {
        let topic = |(name, partitions): &(&str, &[i32])| {
            ListPartitionReassignmentsTopics::default()
                .with_name(text(name).into())
                .with_partition_indexes(partitions.to_vec())
        };
        let topics = topics.map(|topics| topics.iter().map(topic).collect());
        ListPartitionReassignmentsRequest::default()
            .with_topics(topics)
            .with_timeout_ms(5000)
    };
    talk.ask("all", 0, &ask(None));
    talk.ask("none", 0, &ask(Some(&[])));
    talk.ask("one", 0, &ask(Some(&[(&name, &[0, 1])])));
    talk.ask(
        "unknown",
        0,
        &ask(Some(&[("admin-nowhere", &[0]), (&name, &[9])])),
    );
    talk.ask("twice", 0, &ask(Some(&[(&name, &[0]), (&name, &[0])])));
}
