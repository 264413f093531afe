//! Which errors an answer has, for the metrics: Kafka counts them as well (`AbstractResponse.errorCounts`).

use kafka_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, AlterConfigsResponse,
    AlterUserScramCredentialsResponse, ApiVersionsResponse, CreateAclsResponse,
    CreatePartitionsResponse, CreateTopicsResponse, DeleteAclsResponse, DeleteGroupsResponse,
    DeleteRecordsResponse, DeleteTopicsResponse, DescribeAclsResponse,
    DescribeClientQuotasResponse, DescribeClusterResponse, DescribeConfigsResponse,
    DescribeGroupsResponse, DescribeLogDirsResponse, DescribeProducersResponse,
    DescribeTopicPartitionsResponse, DescribeTransactionsResponse,
    DescribeUserScramCredentialsResponse, ElectLeadersResponse, EndTxnResponse, FetchResponse,
    FindCoordinatorResponse, HeartbeatResponse, IncrementalAlterConfigsResponse,
    InitProducerIdResponse, JoinGroupResponse, LeaveGroupResponse, ListConfigResourcesResponse,
    ListGroupsResponse, ListOffsetsResponse, ListPartitionReassignmentsResponse,
    ListTransactionsResponse, MetadataResponse, OffsetCommitResponse, OffsetDeleteResponse,
    OffsetFetchResponse, OffsetForLeaderEpochResponse, ProduceResponse, SaslAuthenticateResponse,
    SaslHandshakeResponse, SyncGroupResponse, TxnOffsetCommitResponse,
};

/// An answer.
pub(super) trait ErrorCodes {
    /// Tells each error code in it; those that are none as well.
    fn error_codes(&self, tell: &mut dyn FnMut(i16));
}

/// A field, or a field of each element of an array.
macro_rules! tell {
    ($tell:ident $of:expr; $code:ident) => {
        $tell($of.$code)
    };
    ($tell:ident $of:expr; $list:ident . $($rest:ident).+) => {
        for one in &$of.$list {
            tell!($tell one; $($rest).+);
        }
    };
}

macro_rules! error_codes {
    ($($response:ident: $($($path:ident).+),+;)*) => {
        $(impl ErrorCodes for $response {
            fn error_codes(&self, tell: &mut dyn FnMut(i16)) {
                $(tell!(tell self; $($path).+);)+
            }
        })*
    };
}

error_codes! {
    AddOffsetsToTxnResponse: error_code;
    AddPartitionsToTxnResponse: error_code,
        results_by_transaction.topic_results.results_by_partition.partition_error_code,
        results_by_topic_v3_and_below.results_by_partition.partition_error_code;
    AlterConfigsResponse: responses.error_code;
    AlterUserScramCredentialsResponse: results.error_code;
    ApiVersionsResponse: error_code;
    CreateAclsResponse: results.error_code;
    CreatePartitionsResponse: results.error_code;
    CreateTopicsResponse: topics.error_code;
    DeleteAclsResponse: filter_results.error_code;
    DeleteGroupsResponse: results.error_code;
    DeleteRecordsResponse: topics.partitions.error_code;
    DeleteTopicsResponse: responses.error_code;
    DescribeAclsResponse: error_code;
    DescribeClientQuotasResponse: error_code;
    DescribeClusterResponse: error_code;
    DescribeConfigsResponse: results.error_code;
    DescribeGroupsResponse: groups.error_code;
    DescribeLogDirsResponse: error_code, results.error_code;
    DescribeProducersResponse: topics.partitions.error_code;
    DescribeTopicPartitionsResponse: topics.error_code, topics.partitions.error_code;
    DescribeTransactionsResponse: transaction_states.error_code;
    DescribeUserScramCredentialsResponse: error_code, results.error_code;
    ElectLeadersResponse: error_code, replica_election_results.partition_result.error_code;
    EndTxnResponse: error_code;
    FetchResponse: error_code, responses.partitions.error_code;
    FindCoordinatorResponse: error_code, coordinators.error_code;
    HeartbeatResponse: error_code;
    IncrementalAlterConfigsResponse: responses.error_code;
    InitProducerIdResponse: error_code;
    JoinGroupResponse: error_code;
    LeaveGroupResponse: error_code, members.error_code;
    ListConfigResourcesResponse: error_code;
    ListGroupsResponse: error_code;
    ListOffsetsResponse: topics.partitions.error_code;
    ListPartitionReassignmentsResponse: error_code;
    ListTransactionsResponse: error_code;
    MetadataResponse: error_code, topics.error_code, topics.partitions.error_code;
    OffsetCommitResponse: topics.partitions.error_code;
    OffsetDeleteResponse: error_code, topics.partitions.error_code;
    OffsetFetchResponse: error_code, topics.partitions.error_code,
        groups.error_code, groups.topics.partitions.error_code;
    OffsetForLeaderEpochResponse: topics.partitions.error_code;
    ProduceResponse: responses.partition_responses.error_code;
    SaslAuthenticateResponse: error_code;
    SaslHandshakeResponse: error_code;
    SyncGroupResponse: error_code;
    TxnOffsetCommitResponse: topics.partitions.error_code;
}
