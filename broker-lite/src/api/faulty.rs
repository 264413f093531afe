//! Requests as faults see them (`crate::faults`): the partitions that they name, and answers that say no.

use std::{future::Future, io};

use kafka_protocol::{
    error::ResponseError,
    messages::{
        AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AlterConfigsRequest,
        AlterUserScramCredentialsRequest, ApiKey, ApiVersionsRequest, CreateAclsRequest,
        CreatePartitionsRequest, CreateTopicsRequest, DeleteAclsRequest, DeleteGroupsRequest,
        DeleteRecordsRequest, DeleteTopicsRequest, DescribeAclsRequest,
        DescribeClientQuotasRequest, DescribeClusterRequest, DescribeConfigsRequest,
        DescribeGroupsRequest, DescribeLogDirsRequest, DescribeProducersRequest,
        DescribeProducersResponse, DescribeTopicPartitionsRequest, DescribeTransactionsRequest,
        DescribeUserScramCredentialsRequest, ElectLeadersRequest, EndTxnRequest, FetchRequest,
        FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest,
        IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
        ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest, ListOffsetsResponse,
        ListPartitionReassignmentsRequest, ListTransactionsRequest, MetadataRequest,
        OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetFetchRequest,
        OffsetFetchResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        ProduceRequest, SaslAuthenticateRequest, SaslHandshakeRequest, SyncGroupRequest, TopicName,
        TxnOffsetCommitRequest,
        create_topics_response::CreatableTopicResult,
        describe_producers_response::{PartitionResponse, TopicResponse},
        find_coordinator_response::Coordinator,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_fetch_response::OffsetFetchResponseGroup,
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
    protocol::Request,
};

use super::{Context, metadata};

/// A request that a fault may befall.
pub(super) trait Faulty: Request {
    /// The partitions that it names, by the names of their topics; -1 where only the topic is named.
    fn named(&self, _cx: &Context) -> Vec<(String, i32)> {
        Vec::new()
    }

    /// Whether it means something. Kafka closes the connection of a request that does not, once it is decoded.
    fn is_readable(&self) -> bool {
        true
    }

    /// The answer in which everything has this error; none if the API has no typical place for it.
    fn refused(&self, _cx: &Context, _version: i16, _error: i16) -> Option<Self::Response> {
        None
    }
}

/// Whether a fault may put an error into answers of `api`: Produce and Fetch do so themselves, and for others
/// [`Faulty::refused`] is there.
pub(crate) fn takes_errors(api: ApiKey) -> bool {
    use ApiKey::{
        CreateTopics, DescribeProducers, EndTxn, Fetch, FindCoordinator, Heartbeat, InitProducerId,
        JoinGroup, LeaveGroup, ListGroups, ListOffsets, Metadata, OffsetCommit, OffsetFetch,
        OffsetForLeaderEpoch, Produce, SyncGroup,
    };
    #[rustfmt::skip]
    let known = [
        CreateTopics, DescribeProducers, EndTxn, Fetch, FindCoordinator, Heartbeat, InitProducerId, JoinGroup,
        LeaveGroup, ListGroups, ListOffsets, Metadata, OffsetCommit, OffsetFetch, OffsetForLeaderEpoch, Produce,
        SyncGroup,
    ];
    known.contains(&api)
}

/// Answers `request` with `handle`, unless it cannot be read or a fault is in the way; an error ends the connection.
pub(super) async fn serve<R: Faulty, A: From<R::Response>, F>(
    cx: &Context,
    version: i16,
    request: R,
    handle: impl FnOnce(R) -> F,
) -> io::Result<Option<A>>
where
    F: Future<Output: Into<Option<A>>>,
{
    if !request.is_readable() {
        let reason = "a request with elements that nobody knows";
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let clock = &*cx.state.host.clock;
    let plan = cx.state.hooks.plan(R::KEY, clock, || request.named(cx));
    let Some(plan) = plan else {
        return Ok(handle(request).await.into());
    };
    if let Some(delay) = plan.delay {
        delay.await;
    }
    if plan.close {
        return Err(closed());
    }
    let refused = |error: ResponseError| {
        let answer = request.refused(cx, version, error.code());
        answer.map(A::from).ok_or_else(closed)
    };
    let failed = plan.fail_after.map(refused).transpose()?;
    let answer = match plan.refuse {
        Some(error) => Some(refused(error)?),
        None => {
            let done = handle(request).await.into();
            failed.or(done)
        }
    };
    if let Some(delay) = plan.delay_after {
        delay.await;
    }
    if plan.close_after {
        return Err(closed());
    }
    Ok(answer)
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "closed by a fault")
}

/// Requests that name no partition and have their error at the top of the answer.
macro_rules! fails_at_the_top {
    ($($request:ty),*) => {
        $(impl Faulty for $request {
            fn refused(&self, _: &Context, _: i16, error: i16) -> Option<Self::Response> {
                Some(<Self as Request>::Response::default().with_error_code(error))
            }
        })*
    };
}

fails_at_the_top!(
    EndTxnRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ListGroupsRequest,
    SyncGroupRequest
);

/// `CreateAclsRequest`, `DescribeAclsRequest`, `DeleteAclsRequest`: none of a right's parts may be UNKNOWN (0).
impl Faulty for CreateAclsRequest {
    fn is_readable(&self) -> bool {
        self.creations.iter().all(|one| {
            let pattern = one.resource_pattern_type;
            ![
                one.resource_type,
                pattern,
                one.operation,
                one.permission_type,
            ]
            .contains(&0)
        })
    }
}

impl Faulty for DescribeAclsRequest {
    fn is_readable(&self) -> bool {
        let (kind, pattern) = (self.resource_type_filter, self.pattern_type_filter);
        ![kind, pattern, self.operation, self.permission_type].contains(&0)
    }
}

impl Faulty for DeleteAclsRequest {
    fn is_readable(&self) -> bool {
        self.filters.iter().all(|one| {
            let (kind, pattern) = (one.resource_type_filter, one.pattern_type_filter);
            ![kind, pattern, one.operation, one.permission_type].contains(&0)
        })
    }
}

impl Faulty for AlterConfigsRequest {}
impl Faulty for AlterUserScramCredentialsRequest {}
impl Faulty for SaslAuthenticateRequest {}
impl Faulty for SaslHandshakeRequest {}
impl Faulty for DescribeClientQuotasRequest {}
impl Faulty for DescribeTopicPartitionsRequest {}
impl Faulty for DescribeUserScramCredentialsRequest {}
impl Faulty for ElectLeadersRequest {}
impl Faulty for ListConfigResourcesRequest {}
impl Faulty for ListPartitionReassignmentsRequest {}
impl Faulty for AddOffsetsToTxnRequest {}
impl Faulty for AddPartitionsToTxnRequest {}
impl Faulty for ApiVersionsRequest {}
impl Faulty for CreatePartitionsRequest {}
impl Faulty for DeleteGroupsRequest {}
impl Faulty for DescribeClusterRequest {}
impl Faulty for DescribeConfigsRequest {}
impl Faulty for DescribeGroupsRequest {}
impl Faulty for DescribeLogDirsRequest {}
impl Faulty for DescribeTransactionsRequest {}
impl Faulty for IncrementalAlterConfigsRequest {}
impl Faulty for ListTransactionsRequest {}
impl Faulty for OffsetDeleteRequest {}
impl Faulty for TxnOffsetCommitRequest {}

/// The pairs of a topic's name and each of its partitions.
fn pairs<'a>(
    topic: &'a str,
    partitions: impl Iterator<Item = i32> + 'a,
) -> impl Iterator<Item = (String, i32)> + 'a {
    partitions.map(move |partition| (topic.to_owned(), partition))
}

impl Faulty for ProduceRequest {
    fn named(&self, cx: &Context) -> Vec<(String, i32)> {
        let topics = self.topic_data.iter().flat_map(|topic| {
            let by_id = cx.state.topics.get_by_id(topic.topic_id);
            let name = by_id.map_or_else(|| topic.name.0.to_string(), |topic| topic.name.clone());
            let partitions = topic.partition_data.iter();
            let named = partitions.map(|one| (name.clone(), one.index));
            named.collect::<Vec<_>>()
        });
        topics.collect()
    }
}

impl Faulty for FetchRequest {
    fn named(&self, cx: &Context) -> Vec<(String, i32)> {
        let topics = self.topics.iter().flat_map(|topic| {
            let by_id = cx.state.topics.get_by_id(topic.topic_id);
            let name = by_id.map_or_else(|| topic.topic.0.to_string(), |topic| topic.name.clone());
            let partitions = topic.partitions.iter();
            let named = partitions.map(|one| (name.clone(), one.partition));
            named.collect::<Vec<_>>()
        });
        let session = cx.state.fetch_sessions.named(self.session_id);
        topics.chain(session).collect()
    }
}

impl Faulty for InitProducerIdRequest {
    fn refused(&self, _: &Context, _: i16, error: i16) -> Option<Self::Response> {
        let answer = <Self as Request>::Response::default().with_error_code(error);
        Some(answer.with_producer_id((-1).into()).with_producer_epoch(-1))
    }
}

impl Faulty for FindCoordinatorRequest {
    fn refused(&self, _: &Context, version: i16, error: i16) -> Option<Self::Response> {
        let answer = FindCoordinatorResponse::default();
        if version < 4 {
            let answer = answer.with_error_code(error).with_node_id((-1).into());
            return Some(answer.with_port(-1));
        }
        let keys = self.coordinator_keys.iter().map(|key| {
            Coordinator::default()
                .with_key(key.clone())
                .with_node_id((-1).into())
                .with_port(-1)
                .with_error_code(error)
        });
        Some(answer.with_coordinators(keys.collect()))
    }
}

impl Faulty for MetadataRequest {
    fn named(&self, cx: &Context) -> Vec<(String, i32)> {
        let named = self.topics.iter().flatten().map(|topic| {
            let by_id = cx.state.topics.get_by_id(topic.topic_id);
            let by_id = by_id.map(|topic| topic.name.clone());
            let name = topic.name.as_ref().map(|name| name.0.to_string());
            (by_id.or(name).unwrap_or_default(), -1)
        });
        match &self.topics {
            Some(_) => named.collect(),
            None => cx
                .state
                .topics
                .all()
                .iter()
                .map(|topic| (topic.name.clone(), -1))
                .collect(),
        }
    }

    fn refused(&self, cx: &Context, _: i16, error: i16) -> Option<Self::Response> {
        let failed = |name: Option<TopicName>, id| metadata::failed(error, name).with_topic_id(id);
        let topics = match &self.topics {
            Some(topics) => topics
                .iter()
                .map(|topic| failed(topic.name.clone(), topic.topic_id))
                .collect(),
            None => metadata::all(cx)
                .into_iter()
                .map(|topic| failed(topic.name, topic.topic_id))
                .collect(),
        };
        Some(metadata::cluster(cx).with_topics(topics))
    }
}

impl Faulty for CreateTopicsRequest {
    fn named(&self, _: &Context) -> Vec<(String, i32)> {
        let topics = self.topics.iter();
        topics.map(|topic| (topic.name.0.to_string(), -1)).collect()
    }

    fn refused(&self, _: &Context, _: i16, error: i16) -> Option<Self::Response> {
        let topics = self.topics.iter().map(|topic| {
            CreatableTopicResult::default()
                .with_name(topic.name.clone())
                .with_error_code(error)
                .with_num_partitions(-1)
                .with_replication_factor(-1)
        });
        Some(<Self as Request>::Response::default().with_topics(topics.collect()))
    }
}

impl Faulty for DeleteTopicsRequest {
    fn named(&self, _: &Context) -> Vec<(String, i32)> {
        let old = self.topic_names.iter().map(|name| name.0.to_string());
        let new = self.topics.iter().filter_map(|topic| topic.name.as_ref());
        let all = old.chain(new.map(|name| name.0.to_string()));
        all.map(|name| (name, -1)).collect()
    }
}

impl Faulty for DeleteRecordsRequest {
    fn named(&self, _: &Context) -> Vec<(String, i32)> {
        let topics = self.topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            pairs(&topic.name, partitions.map(|one| one.partition_index))
        });
        topics.collect()
    }
}

impl Faulty for ListOffsetsRequest {
    fn named(&self, _: &Context) -> Vec<(String, i32)> {
        let topics = self.topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            pairs(&topic.name, partitions.map(|one| one.partition_index))
        });
        topics.collect()
    }

    fn refused(&self, _: &Context, _: i16, error: i16) -> Option<Self::Response> {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|one| {
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(one.partition_index)
                    .with_error_code(error)
                    .with_leader_epoch(-1)
                    .with_timestamp(-1)
                    .with_offset(-1)
            });
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        Some(ListOffsetsResponse::default().with_topics(topics.collect()))
    }
}

impl Faulty for OffsetForLeaderEpochRequest {
    fn named(&self, _: &Context) -> Vec<(String, i32)> {
        let topics = self.topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            pairs(&topic.topic, partitions.map(|one| one.partition))
        });
        topics.collect()
    }

    fn refused(&self, _: &Context, _: i16, error: i16) -> Option<Self::Response> {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|one| {
                EpochEndOffset::default()
                    .with_partition(one.partition)
                    .with_error_code(error)
                    .with_leader_epoch(-1)
                    .with_end_offset(-1)
            });
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic.clone())
                .with_partitions(partitions.collect())
        });
        Some(OffsetForLeaderEpochResponse::default().with_topics(topics.collect()))
    }
}

impl Faulty for DescribeProducersRequest {
    fn named(&self, _: &Context) -> Vec<(String, i32)> {
        let topics = self.topics.iter();
        let pairs =
            topics.flat_map(|topic| pairs(&topic.name, topic.partition_indexes.iter().copied()));
        pairs.collect()
    }

    fn refused(&self, _: &Context, _: i16, error: i16) -> Option<Self::Response> {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                PartitionResponse::default()
                    .with_partition_index(*index)
                    .with_error_code(error)
            });
            TopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        Some(DescribeProducersResponse::default().with_topics(topics.collect()))
    }
}

impl Faulty for OffsetCommitRequest {
    fn named(&self, _: &Context) -> Vec<(String, i32)> {
        let topics = self.topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            pairs(&topic.name, partitions.map(|one| one.partition_index))
        });
        topics.collect()
    }

    fn refused(&self, _: &Context, _: i16, error: i16) -> Option<Self::Response> {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|one| {
                OffsetCommitResponsePartition::default()
                    .with_partition_index(one.partition_index)
                    .with_error_code(error)
            });
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        Some(OffsetCommitResponse::default().with_topics(topics.collect()))
    }
}

impl Faulty for OffsetFetchRequest {
    fn refused(&self, _: &Context, version: i16, error: i16) -> Option<Self::Response> {
        let answer = OffsetFetchResponse::default();
        if version < 8 {
            return (version >= 2).then(|| answer.with_error_code(error));
        }
        let groups = self.groups.iter().map(|group| {
            OffsetFetchResponseGroup::default()
                .with_group_id(group.group_id.clone())
                .with_error_code(error)
        });
        Some(answer.with_groups(groups.collect()))
    }
}
