//! The cluster: metadata, quotas, credentials, elections.

use kafka_protocol::messages::*;

use super::{ALLOW, LITERAL, TOPIC, any, blank, create, no_filter, rule};
use crate::{
    batches::Topic,
    talk::{Talk, text},
};

pub(super) fn ask(talk: &mut Talk, topic: &Topic, name: &str) {
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
