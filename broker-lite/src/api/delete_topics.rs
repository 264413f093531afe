//! DeleteTopics (key 20), versions 1-6.
//!
//! Committed offsets of a deleted topic go with it, as in Kafka.
//! Version 5: messages. Version 6: by id or by name.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
        delete_topics_request::DeleteTopicState, delete_topics_response::DeletableTopicResult,
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{Context, message};
use crate::{security::acl::Operation, state::topics::Topic};

/// Why a topic is not deleted.
type Refusal = (ResponseError, StrBytes);

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let wanted: Vec<DeleteTopicState> = if version >= 6 {
        request.topics
    } else {
        let names = request.topic_names.into_iter();
        let by_name = |name| DeleteTopicState::default().with_name(Some(name));
        names.map(by_name).collect()
    };
    let mut times: HashMap<(Option<TopicName>, Uuid), usize> = HashMap::new();
    for one in &wanted {
        let key = (one.name.clone(), one.topic_id);
        *times.entry(key).or_default() += 1;
    }
    let both_ways = both_ways(cx, &wanted);
    let rights = Rights::of(cx);
    let mut results = Vec::new();
    for one in wanted {
        // What is named more than once is answered once.
        let Some(count) = times.remove(&(one.name.clone(), one.topic_id)) else {
            continue;
        };
        let answer = DeletableTopicResult::default()
            .with_name(one.name.clone())
            .with_topic_id(one.topic_id);
        let topic = match find(cx, &one, count) {
            Ok(topic) if !rights.may_delete(&topic.name) => {
                let told = one.name.is_none() && rights.may_describe(&topic.name);
                let name = told.then(|| StrBytes::from_string(topic.name.clone()).into());
                let error = ResponseError::TopicAuthorizationFailed;
                let answer = answer.with_name(one.name.or(name));
                results.push(failed(answer, (error, message(error))));
                continue;
            }
            Ok(topic) => topic,
            Err(refusal) => {
                results.push(failed(answer, refusal));
                continue;
            }
        };
        let answer = answer.with_topic_id(topic.id);
        if both_ways.contains(&topic.id) {
            if one.name.is_some() {
                let why = "The provided topic name maps to an ID that was already supplied.";
                results.push(failed(answer, invalid(why)));
            }
            continue;
        }
        results.push(match delete(cx, &topic) {
            Ok(()) => answer.with_name(Some(StrBytes::from_string(topic.name.clone()).into())),
            Err(error) => failed(answer, (error, message(error))),
        });
    }
    DeleteTopicsResponse::default().with_responses(results)
}

/// What the client may do to topics: a right to delete in the cluster is one to all of them.
struct Rights<'a> {
    cx: &'a Context,
    to_all: bool,
}

impl<'a> Rights<'a> {
    fn of(cx: &'a Context) -> Self {
        let to_all = cx.may_cluster(Operation::Delete);
        Self { cx, to_all }
    }

    fn may_describe(&self, topic: &str) -> bool {
        self.to_all || self.cx.may_topic(Operation::Describe, topic)
    }

    fn may_delete(&self, topic: &str) -> bool {
        self.to_all || self.cx.may_topic(Operation::Delete, topic)
    }
}

/// Topics that are named by id and by name too: neither counts, and the name is answered.
fn both_ways(cx: &Context, wanted: &[DeleteTopicState]) -> HashSet<Uuid> {
    let by_id = wanted.iter().filter(|one| one.name.is_none());
    let ids: HashSet<Uuid> = by_id.map(|one| one.topic_id).collect();
    let by_name = wanted.iter().filter(|one| one.topic_id.is_nil());
    by_name
        .filter_map(|one| Some(cx.state.topics.get(one.name.as_ref()?)?.id))
        .filter(|id| ids.contains(id))
        .collect()
}

/// The topic that is meant (`ControllerApis.deleteTopics`).
fn find(cx: &Context, one: &DeleteTopicState, count: usize) -> Result<Arc<Topic>, Refusal> {
    match (&one.name, one.topic_id.is_nil()) {
        (None, true) => Err(invalid("Neither topic name nor id were specified.")),
        (Some(_), false) => Err(invalid("You may not specify both topic name and topic id.")),
        (Some(_), true) if count > 1 => Err(invalid("Duplicate topic name.")),
        (None, false) if count > 1 => Err(invalid("Duplicate topic id.")),
        (Some(name), true) => {
            let unknown = match Rights::of(cx).may_describe(name) {
                true => ResponseError::UnknownTopicOrPartition,
                false => ResponseError::TopicAuthorizationFailed,
            };
            let topic = cx.state.topics.get(name);
            topic.ok_or_else(|| (unknown, message(unknown)))
        }
        (None, false) => {
            let unknown = ResponseError::UnknownTopicId;
            let topic = cx.state.topics.get_by_id(one.topic_id);
            topic.ok_or_else(|| (unknown, message(unknown)))
        }
    }
}

fn invalid(message: &'static str) -> Refusal {
    let message = StrBytes::from_static_str(message);
    (ResponseError::InvalidRequest, message)
}

fn failed(answer: DeletableTopicResult, (error, message): Refusal) -> DeletableTopicResult {
    answer
        .with_error_code(error.code())
        .with_error_message(Some(message))
}

fn delete(cx: &Context, topic: &Topic) -> Result<(), ResponseError> {
    cx.state.topics.delete(topic)?;
    let forgotten = cx.state.groups.forget_topic(&topic.name);
    forgotten.map_err(|_| ResponseError::KafkaStorageError)
}
