//! DeleteTopics (key 20), versions 1-6.
//!
//! Committed offsets of a deleted topic go with it, as in Kafka.
//! Version 5: messages. Version 6: by id or by name.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
        delete_topics_response::DeletableTopicResult,
    },
    protocol::StrBytes,
};

use super::{Context, code};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let topics = &cx.state.topics;
    let results = if version >= 6 {
        let wanted = request.topics.into_iter().map(|wanted| match wanted.name {
            Some(name) => delete(cx, name),
            None => match topics.get_by_id(wanted.topic_id) {
                Some(topic) => delete(cx, TopicName(StrBytes::from_string(topic.name.clone())))
                    .with_topic_id(wanted.topic_id),
                None => DeletableTopicResult::default()
                    .with_topic_id(wanted.topic_id)
                    .with_error_code(ResponseError::UnknownTopicId.code()),
            },
        });
        wanted.collect()
    } else {
        request
            .topic_names
            .into_iter()
            .map(|name| delete(cx, name))
            .collect()
    };
    DeleteTopicsResponse::default().with_responses(results)
}

fn delete(cx: &Context, name: TopicName) -> DeletableTopicResult {
    let result = DeletableTopicResult::default().with_name(Some(name.clone()));
    let Some(topic) = cx.state.topics.get(&name) else {
        return result.with_error_code(ResponseError::UnknownTopicOrPartition.code());
    };
    let deleted = cx.state.topics.delete(&topic).and_then(|()| {
        cx.state
            .groups
            .forget_topic(&name)
            .map_err(|_| ResponseError::KafkaStorageError)
    });
    result
        .with_topic_id(topic.id)
        .with_error_code(code(deleted.err()))
}
