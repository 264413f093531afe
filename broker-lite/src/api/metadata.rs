//! Metadata (key 3), versions 0-13.
//!
//! This broker leads every partition. Topics that are asked for by name and are not
//! there are created if the request and `auto.create.topics.enable` allow it; the next request finds them.
//! Topics that the client may not describe are refused by name, and left out where all are asked for.
//! Authorized operations: 8 on; those on the cluster 8-10.
//! Version 0: no topics means all. Version 4: the client may forbid creation. Version 10: topic ids; version
//! 12: topics by id.

use std::collections::HashSet;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
    protocol::StrBytes,
};

use super::Context;
use crate::{
    security::acl::{Operation, Resource},
    state::topics::{Topic, check_name},
};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: MetadataRequest,
) -> MetadataResponse {
    let create =
        cx.state.config.auto_create_topics && (version < 4 || request.allow_auto_topic_creation);
    let (of_topics, of_cluster) = (
        request.include_topic_authorized_operations,
        request.include_cluster_authorized_operations,
    );
    if let Some(error) = refuses(version, request.topics.as_deref().unwrap_or_default()) {
        return refused(version, request.topics.unwrap_or_default(), error);
    }
    let mut topics: Vec<_> = match request.topics {
        Some(wanted) if !(wanted.is_empty() && version == 0) => {
            // Where one goes by id all do.
            let by_id = wanted.iter().any(|one| !one.topic_id.is_nil());
            let wanted = wanted
                .into_iter()
                .filter(|one| !by_id || !one.topic_id.is_nil());
            once_each(wanted)
                .map(|one| match one.name {
                    Some(name) if !by_id => by_name(cx, name, create),
                    _ => match cx.state.topics.get_by_id(one.topic_id) {
                        // An id is no secret, the name behind it may be.
                        Some(found) if !cx.may_topic(Operation::Describe, &found.name) => {
                            refused_topic(None).with_topic_id(one.topic_id)
                        }
                        Some(found) => describe(cx, &found),
                        None => failed(ResponseError::UnknownTopicId.code(), None)
                            .with_topic_id(one.topic_id),
                    },
                })
                .collect()
        }
        _ => all(cx),
    };
    // Kafka has what it refuses last.
    topics.sort_by_key(is_refused);
    if of_topics {
        // Also of topics that are not there, but not of ids that stand for nothing.
        for topic in topics.iter_mut().filter(|topic| !is_refused(topic)) {
            if let Some(name) = &topic.name {
                topic.topic_authorized_operations = cx.operations(Resource::Topic, name);
            }
        }
    }
    let cluster = cluster(cx).with_topics(topics);
    match of_cluster {
        true => cluster.with_cluster_authorized_operations(cx.cluster_operations()),
        false => cluster,
    }
}

/// Why nothing is answered: an id before version 12, or neither name nor id
/// (`KafkaApis.handleTopicMetadataRequest`).
fn refuses(version: i16, wanted: &[MetadataRequestTopic]) -> Option<ResponseError> {
    let goes_by_id = |one: &MetadataRequestTopic| one.name.is_none() || !one.topic_id.is_nil();
    if version < 12 {
        let by_id = wanted.iter().any(goes_by_id);
        return by_id.then_some(ResponseError::InvalidRequest);
    }
    let is_nothing = |one: &MetadataRequestTopic| one.name.is_none() && one.topic_id.is_nil();
    let is_lost = wanted.iter().any(is_nothing) && wanted.iter().all(|one| one.topic_id.is_nil());
    is_lost.then_some(ResponseError::UnknownServerError)
}

fn refused(
    version: i16,
    wanted: Vec<MetadataRequestTopic>,
    error: ResponseError,
) -> MetadataResponse {
    let topics = wanted.into_iter().map(|one| {
        failed(error.code(), Some(one.name.unwrap_or_default())).with_topic_id(one.topic_id)
    });
    let top = if version >= 13 { error.code() } else { 0 };
    MetadataResponse::default()
        .with_topics(topics.collect())
        .with_error_code(top)
}

/// Each topic once, in the order of first mention.
fn once_each(
    wanted: impl Iterator<Item = MetadataRequestTopic>,
) -> impl Iterator<Item = MetadataRequestTopic> {
    let mut seen = HashSet::new();
    wanted.filter(move |one| seen.insert((one.name.clone(), one.topic_id)))
}

/// The answer without its topics.
pub(super) fn cluster(cx: &Context) -> MetadataResponse {
    let node = &cx.listener.node;
    let mut ids = vec![node.id];
    ids.extend(cx.state.hooks.others().iter());
    let brokers = ids.into_iter().map(|id| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_host(StrBytes::from_string(node.host.clone()))
            .with_port(i32::from(node.port))
    });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(StrBytes::from_string(cx.state.cluster_id.clone())))
        .with_controller_id(BrokerId(node.id))
}

/// All topics.
pub(super) fn all(cx: &Context) -> Vec<MetadataResponseTopic> {
    let topics = cx.state.topics.all();
    let shown = topics.iter();
    let shown = shown.filter(|topic| cx.may_topic(Operation::Describe, &topic.name));
    shown.map(|topic| describe(cx, topic)).collect()
}

fn by_name(cx: &Context, name: TopicName, create: bool) -> MetadataResponseTopic {
    if !cx.may_topic(Operation::Describe, &name) {
        return refused_topic(Some(name));
    }
    if let Some(topic) = cx.state.topics.get(&name) {
        return describe(cx, &topic);
    }
    if create && !cx.may_cluster(Operation::Create) && !cx.may_topic(Operation::Create, &name) {
        return refused_topic(Some(name));
    }
    if check_name(&name).is_err() {
        return failed(ResponseError::InvalidTopicException.code(), Some(name));
    }
    if !create {
        return failed(ResponseError::UnknownTopicOrPartition.code(), Some(name));
    }
    let partitions = cx.state.config.num_partitions;
    let created = cx
        .state
        .topics
        .create(&name, partitions, Default::default());
    // Once it is made the client has to ask again, as with Kafka, whose controller makes it meanwhile
    // (`AutoTopicCreationManager.createTopics`).
    let error = match created {
        Ok(_) | Err(ResponseError::TopicAlreadyExists) => ResponseError::UnknownTopicOrPartition,
        Err(error) => error,
    };
    failed(error.code(), Some(name))
}

fn describe(cx: &Context, topic: &Topic) -> MetadataResponseTopic {
    let node = BrokerId(cx.state.config.node_id);
    let partitions = topic.partitions();
    let partitions = partitions.iter().zip(0..).map(|(partition, number)| {
        MetadataResponsePartition::default()
            .with_partition_index(number)
            .with_leader_id(node)
            .with_leader_epoch(partition.leader_epoch())
            .with_replica_nodes(vec![node])
            .with_isr_nodes(vec![node])
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.clone()))))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}

/// A topic that the client may not describe or create.
fn refused_topic(name: Option<TopicName>) -> MetadataResponseTopic {
    failed(ResponseError::TopicAuthorizationFailed.code(), name)
}

fn is_refused(topic: &MetadataResponseTopic) -> bool {
    topic.error_code == ResponseError::TopicAuthorizationFailed.code()
}

pub(super) fn failed(error: i16, name: Option<TopicName>) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(error)
        .with_name(name)
}
