//! The requests that broker-lite serves, field by field: which versions have it, and its type.
//!
//! After Kafka's message definitions (clients/src/main/resources/common/message), as version 4.1 has
//! them. Fields in tagged sections are left out: they carry their own length.

use kafka_protocol::messages::ApiKey;

use super::Kind::{
    self, Array, Bytes, I8, I16, I32, I64, List, Name, Nullable, Struct, Text, Uuid,
};

/// Versions and type, in the order of the wire.
pub(super) type Fields = &'static [(std::ops::RangeInclusive<i16>, Kind)];

/// The fields of a request; none for one that is not served.
pub(super) fn fields(api: ApiKey) -> Option<Fields> {
    Some(match api {
        ApiKey::Produce => PRODUCE,
        ApiKey::Fetch => FETCH,
        ApiKey::ListOffsets => LIST_OFFSETS,
        ApiKey::Metadata => METADATA,
        ApiKey::OffsetCommit => OFFSET_COMMIT,
        ApiKey::OffsetFetch => OFFSET_FETCH,
        ApiKey::FindCoordinator => FIND_COORDINATOR,
        ApiKey::JoinGroup => JOIN_GROUP,
        ApiKey::Heartbeat => HEARTBEAT,
        ApiKey::LeaveGroup => LEAVE_GROUP,
        ApiKey::SyncGroup => SYNC_GROUP,
        ApiKey::DescribeGroups => DESCRIBE_GROUPS,
        ApiKey::ListGroups => LIST_GROUPS,
        ApiKey::SaslHandshake => SASL_HANDSHAKE,
        ApiKey::SaslAuthenticate => SASL_AUTHENTICATE,
        ApiKey::AlterUserScramCredentials => ALTER_USER_SCRAM_CREDENTIALS,
        ApiKey::ApiVersions => API_VERSIONS,
        ApiKey::CreateTopics => CREATE_TOPICS,
        ApiKey::DeleteTopics => DELETE_TOPICS,
        ApiKey::DeleteRecords => DELETE_RECORDS,
        ApiKey::InitProducerId => INIT_PRODUCER_ID,
        ApiKey::OffsetForLeaderEpoch => OFFSET_FOR_LEADER_EPOCH,
        ApiKey::AddPartitionsToTxn => ADD_PARTITIONS_TO_TXN,
        ApiKey::AddOffsetsToTxn => ADD_OFFSETS_TO_TXN,
        ApiKey::EndTxn => END_TXN,
        ApiKey::TxnOffsetCommit => TXN_OFFSET_COMMIT,
        ApiKey::DescribeConfigs => DESCRIBE_CONFIGS,
        ApiKey::DescribeLogDirs => DESCRIBE_LOG_DIRS,
        ApiKey::CreatePartitions => CREATE_PARTITIONS,
        ApiKey::DeleteGroups => DELETE_GROUPS,
        ApiKey::IncrementalAlterConfigs => INCREMENTAL_ALTER_CONFIGS,
        ApiKey::OffsetDelete => OFFSET_DELETE,
        ApiKey::DescribeCluster => DESCRIBE_CLUSTER,
        ApiKey::DescribeProducers => DESCRIBE_PRODUCERS,
        ApiKey::DescribeTransactions => DESCRIBE_TRANSACTIONS,
        ApiKey::ListTransactions => LIST_TRANSACTIONS,
        ApiKey::DescribeAcls => DESCRIBE_ACLS,
        ApiKey::CreateAcls => CREATE_ACLS,
        ApiKey::DeleteAcls => DELETE_ACLS,
        ApiKey::AlterConfigs => ALTER_CONFIGS,
        ApiKey::ElectLeaders => ELECT_LEADERS,
        ApiKey::ListPartitionReassignments => LIST_PARTITION_REASSIGNMENTS,
        ApiKey::DescribeClientQuotas => DESCRIBE_CLIENT_QUOTAS,
        ApiKey::DescribeUserScramCredentials => DESCRIBE_USER_SCRAM_CREDENTIALS,
        ApiKey::ListConfigResources => LIST_CONFIG_RESOURCES,
        ApiKey::DescribeTopicPartitions => DESCRIBE_TOPIC_PARTITIONS,
        _ => return None,
    })
}

const PRODUCE_PARTITION_DATA: Fields = &[
    (3..=13, I32),   // index
    (3..=13, Bytes), // records
];
const PRODUCE_TOPIC_DATA: Fields = &[
    (3..=12, Text),                                   // name
    (13..=13, Uuid),                                  // topic_id
    (3..=13, Array(&Struct(PRODUCE_PARTITION_DATA))), // partition_data
];
const PRODUCE: Fields = &[
    (3..=13, Text),                               // transactional_id
    (3..=13, I16),                                // acks
    (3..=13, I32),                                // timeout_ms
    (3..=13, Array(&Struct(PRODUCE_TOPIC_DATA))), // topic_data
];

const FETCH_PARTITIONS: Fields = &[
    (4..=18, I32),  // partition
    (9..=18, I32),  // current_leader_epoch
    (4..=18, I64),  // fetch_offset
    (12..=18, I32), // last_fetched_epoch
    (5..=18, I64),  // log_start_offset
    (4..=18, I32),  // partition_max_bytes
];
const FETCH_TOPICS: Fields = &[
    (4..=12, Text),                             // topic
    (13..=18, Uuid),                            // topic_id
    (4..=18, Array(&Struct(FETCH_PARTITIONS))), // partitions
];
const FETCH_FORGOTTEN_TOPICS_DATA: Fields = &[
    (7..=12, Text),        // topic
    (13..=18, Uuid),       // topic_id
    (7..=18, Array(&I32)), // partitions
];
const FETCH: Fields = &[
    (4..=14, I32),                                         // replica_id
    (4..=18, I32),                                         // max_wait_ms
    (4..=18, I32),                                         // min_bytes
    (4..=18, I32),                                         // max_bytes
    (4..=18, I8),                                          // isolation_level
    (7..=18, I32),                                         // session_id
    (7..=18, I32),                                         // session_epoch
    (4..=18, Array(&Struct(FETCH_TOPICS))),                // topics
    (7..=18, Array(&Struct(FETCH_FORGOTTEN_TOPICS_DATA))), // forgotten_topics_data
    (11..=18, Text),                                       // rack_id
];

const LIST_OFFSETS_PARTITIONS: Fields = &[
    (1..=10, I32), // partition_index
    (4..=10, I32), // current_leader_epoch
    (1..=10, I64), // timestamp
];
const LIST_OFFSETS_TOPICS: Fields = &[
    (1..=10, Text),                                    // name
    (1..=10, Array(&Struct(LIST_OFFSETS_PARTITIONS))), // partitions
];
const LIST_OFFSETS: Fields = &[
    (1..=10, I32),                                 // replica_id
    (2..=10, I8),                                  // isolation_level
    (1..=10, Array(&Struct(LIST_OFFSETS_TOPICS))), // topics
    (10..=10, I32),                                // timeout_ms
];

const OFFSET_FOR_LEADER_EPOCH_PARTITIONS: Fields = &[
    (2..=4, I32), // partition
    (2..=4, I32), // current_leader_epoch
    (2..=4, I32), // leader_epoch
];
const OFFSET_FOR_LEADER_EPOCH_TOPICS: Fields = &[
    (2..=4, Text),                                               // topic
    (2..=4, Array(&Struct(OFFSET_FOR_LEADER_EPOCH_PARTITIONS))), // partitions
];
const OFFSET_FOR_LEADER_EPOCH: Fields = &[
    (3..=4, I32),                                            // replica_id
    (2..=4, Array(&Struct(OFFSET_FOR_LEADER_EPOCH_TOPICS))), // topics
];

const METADATA_TOPICS: Fields = &[
    (10..=13, Uuid), // topic_id
    (0..=9, Name),   // name
    (10..=13, Text), // name
];
const METADATA: Fields = &[
    (0..=0, List(&Struct(METADATA_TOPICS))),   // topics
    (1..=13, Array(&Struct(METADATA_TOPICS))), // topics
    (4..=13, I8),                              // allow_auto_topic_creation
    (8..=10, I8),                              // include_cluster_authorized_operations
    (8..=13, I8),                              // include_topic_authorized_operations
];

const OFFSET_COMMIT_PARTITIONS: Fields = &[
    (2..=9, I32),  // partition_index
    (2..=9, I64),  // committed_offset
    (6..=9, I32),  // committed_leader_epoch
    (2..=9, Text), // committed_metadata
];
const OFFSET_COMMIT_TOPICS: Fields = &[
    (2..=9, Text),                                     // name
    (2..=9, Array(&Struct(OFFSET_COMMIT_PARTITIONS))), // partitions
];
const OFFSET_COMMIT: Fields = &[
    (2..=9, Text),                                 // group_id
    (2..=9, I32),                                  // generation_id_or_member_epoch
    (2..=9, Text),                                 // member_id
    (7..=9, Text),                                 // group_instance_id
    (2..=4, I64),                                  // retention_time_ms
    (2..=9, Array(&Struct(OFFSET_COMMIT_TOPICS))), // topics
];

const OFFSET_FETCH_TOPICS: Fields = &[
    (1..=7, Text),        // name
    (1..=7, Array(&I32)), // partition_indexes
];
const OFFSET_FETCH_GROUP_TOPICS: Fields = &[
    (8..=9, Text),        // name
    (8..=9, Array(&I32)), // partition_indexes
];
const OFFSET_FETCH_GROUPS: Fields = &[
    (8..=9, Text),                                      // group_id
    (9..=9, Text),                                      // member_id
    (9..=9, I32),                                       // member_epoch
    (8..=9, Array(&Struct(OFFSET_FETCH_GROUP_TOPICS))), // topics
];
const OFFSET_FETCH: Fields = &[
    (1..=7, Text),                                // group_id
    (1..=7, Array(&Struct(OFFSET_FETCH_TOPICS))), // topics
    (8..=9, Array(&Struct(OFFSET_FETCH_GROUPS))), // groups
    (7..=9, I8),                                  // require_stable
];

const FIND_COORDINATOR: Fields = &[
    (0..=3, Text),         // key
    (1..=6, I8),           // key_type
    (4..=6, Array(&Text)), // coordinator_keys
];

const JOIN_GROUP_PROTOCOLS: Fields = &[
    (0..=9, Text),  // name
    (0..=9, Bytes), // metadata
];
const JOIN_GROUP: Fields = &[
    (0..=9, Text),                                 // group_id
    (0..=9, I32),                                  // session_timeout_ms
    (1..=9, I32),                                  // rebalance_timeout_ms
    (0..=9, Text),                                 // member_id
    (5..=9, Text),                                 // group_instance_id
    (0..=9, Text),                                 // protocol_type
    (0..=9, Array(&Struct(JOIN_GROUP_PROTOCOLS))), // protocols
    (8..=9, Text),                                 // reason
];

const HEARTBEAT: Fields = &[
    (0..=4, Text), // group_id
    (0..=4, I32),  // generation_id
    (0..=4, Text), // member_id
    (3..=4, Text), // group_instance_id
];

const LEAVE_GROUP_MEMBERS: Fields = &[
    (3..=5, Text), // member_id
    (3..=5, Text), // group_instance_id
    (5..=5, Text), // reason
];
const LEAVE_GROUP: Fields = &[
    (0..=5, Text),                                // group_id
    (0..=2, Text),                                // member_id
    (3..=5, Array(&Struct(LEAVE_GROUP_MEMBERS))), // members
];

const SYNC_GROUP_ASSIGNMENTS: Fields = &[
    (0..=5, Text),  // member_id
    (0..=5, Bytes), // assignment
];
const SYNC_GROUP: Fields = &[
    (0..=5, Text),                                   // group_id
    (0..=5, I32),                                    // generation_id
    (0..=5, Text),                                   // member_id
    (3..=5, Text),                                   // group_instance_id
    (5..=5, Text),                                   // protocol_type
    (5..=5, Text),                                   // protocol_name
    (0..=5, Array(&Struct(SYNC_GROUP_ASSIGNMENTS))), // assignments
];

const DESCRIBE_GROUPS: Fields = &[
    (0..=6, Array(&Text)), // groups
    (3..=6, I8),           // include_authorized_operations
];

const LIST_GROUPS: Fields = &[
    (4..=5, Array(&Text)), // states_filter
    (5..=5, Array(&Text)), // types_filter
];

const API_VERSIONS: Fields = &[
    (3..=4, Text), // client_software_name
    (3..=4, Text), // client_software_version
];

const CREATE_TOPICS_ASSIGNMENTS: Fields = &[
    (2..=7, I32),         // partition_index
    (2..=7, Array(&I32)), // broker_ids
];
const CREATE_TOPICS_CONFIGS: Fields = &[
    (2..=7, Text), // name
    (2..=7, Text), // value
];
const CREATE_TOPICS_TOPICS: Fields = &[
    (2..=7, Text),                                      // name
    (2..=7, I32),                                       // num_partitions
    (2..=7, I16),                                       // replication_factor
    (2..=7, Array(&Struct(CREATE_TOPICS_ASSIGNMENTS))), // assignments
    (2..=7, Array(&Struct(CREATE_TOPICS_CONFIGS))),     // configs
];
const CREATE_TOPICS: Fields = &[
    (2..=7, Array(&Struct(CREATE_TOPICS_TOPICS))), // topics
    (2..=7, I32),                                  // timeout_ms
    (2..=7, I8),                                   // validate_only
];

const DELETE_TOPICS_TOPICS: Fields = &[
    (6..=6, Text), // name
    (6..=6, Uuid), // topic_id
];
const DELETE_TOPICS: Fields = &[
    (6..=6, Array(&Struct(DELETE_TOPICS_TOPICS))), // topics
    (1..=5, Array(&Text)),                         // topic_names
    (1..=6, I32),                                  // timeout_ms
];

const DELETE_RECORDS_PARTITIONS: Fields = &[
    (0..=2, I32), // partition_index
    (0..=2, I64), // offset
];
const DELETE_RECORDS_TOPICS: Fields = &[
    (0..=2, Text),                                      // name
    (0..=2, Array(&Struct(DELETE_RECORDS_PARTITIONS))), // partitions
];
const DELETE_RECORDS: Fields = &[
    (0..=2, Array(&Struct(DELETE_RECORDS_TOPICS))), // topics
    (0..=2, I32),                                   // timeout_ms
];

const INIT_PRODUCER_ID: Fields = &[
    (0..=5, Text), // transactional_id
    (0..=5, I32),  // transaction_timeout_ms
    (3..=5, I64),  // producer_id
    (3..=5, I16),  // producer_epoch
];

const ADD_PARTITIONS_TO_TXN_TOPICS: Fields = &[
    (0..=5, Text),        // name
    (0..=5, Array(&I32)), // partitions
];
const ADD_PARTITIONS_TO_TXN_TRANSACTIONS: Fields = &[
    (4..=5, Text),                                         // transactional_id
    (4..=5, I64),                                          // producer_id
    (4..=5, I16),                                          // producer_epoch
    (4..=5, I8),                                           // verify_only
    (4..=5, Array(&Struct(ADD_PARTITIONS_TO_TXN_TOPICS))), // topics
];
const ADD_PARTITIONS_TO_TXN_V3_AND_BELOW_TOPICS: Fields = &[
    (0..=5, Text),        // name
    (0..=5, Array(&I32)), // partitions
];
const ADD_PARTITIONS_TO_TXN: Fields = &[
    (4..=5, Array(&Struct(ADD_PARTITIONS_TO_TXN_TRANSACTIONS))), // transactions
    (0..=3, Text),                                               // v3_and_below_transactional_id
    (0..=3, I64),                                                // v3_and_below_producer_id
    (0..=3, I16),                                                // v3_and_below_producer_epoch
    (
        0..=3,
        Array(&Struct(ADD_PARTITIONS_TO_TXN_V3_AND_BELOW_TOPICS)),
    ), // v3_and_below_topics
];

const ADD_OFFSETS_TO_TXN: Fields = &[
    (0..=4, Text), // transactional_id
    (0..=4, I64),  // producer_id
    (0..=4, I16),  // producer_epoch
    (0..=4, Text), // group_id
];

const END_TXN: Fields = &[
    (0..=5, Text), // transactional_id
    (0..=5, I64),  // producer_id
    (0..=5, I16),  // producer_epoch
    (0..=5, I8),   // committed
];

const TXN_OFFSET_COMMIT_PARTITIONS: Fields = &[
    (0..=5, I32),  // partition_index
    (0..=5, I64),  // committed_offset
    (2..=5, I32),  // committed_leader_epoch
    (0..=5, Text), // committed_metadata
];
const TXN_OFFSET_COMMIT_TOPICS: Fields = &[
    (0..=5, Text),                                         // name
    (0..=5, Array(&Struct(TXN_OFFSET_COMMIT_PARTITIONS))), // partitions
];
const TXN_OFFSET_COMMIT: Fields = &[
    (0..=5, Text),                                     // transactional_id
    (0..=5, Text),                                     // group_id
    (0..=5, I64),                                      // producer_id
    (0..=5, I16),                                      // producer_epoch
    (3..=5, I32),                                      // generation_id
    (3..=5, Text),                                     // member_id
    (3..=5, Text),                                     // group_instance_id
    (0..=5, Array(&Struct(TXN_OFFSET_COMMIT_TOPICS))), // topics
];

const DESCRIBE_CONFIGS_RESOURCES: Fields = &[
    (1..=4, I8),           // resource_type
    (1..=4, Text),         // resource_name
    (1..=4, Array(&Text)), // configuration_keys
];
const DESCRIBE_CONFIGS: Fields = &[
    (1..=4, Array(&Struct(DESCRIBE_CONFIGS_RESOURCES))), // resources
    (1..=4, I8),                                         // include_synonyms
    (3..=4, I8),                                         // include_documentation
];

const DESCRIBE_LOG_DIRS_TOPICS: Fields = &[
    (1..=4, Text),        // topic
    (1..=4, Array(&I32)), // partitions
];
const DESCRIBE_LOG_DIRS: Fields = &[
    (1..=4, Array(&Struct(DESCRIBE_LOG_DIRS_TOPICS))), // topics
];

const CREATE_PARTITIONS_ASSIGNMENTS: Fields = &[
    (0..=3, Array(&I32)), // broker_ids
];
const CREATE_PARTITIONS_TOPICS: Fields = &[
    (0..=3, Text),                                          // name
    (0..=3, I32),                                           // count
    (0..=3, Array(&Struct(CREATE_PARTITIONS_ASSIGNMENTS))), // assignments
];
const CREATE_PARTITIONS: Fields = &[
    (0..=3, Array(&Struct(CREATE_PARTITIONS_TOPICS))), // topics
    (0..=3, I32),                                      // timeout_ms
    (0..=3, I8),                                       // validate_only
];

const DELETE_GROUPS: Fields = &[
    (0..=2, Array(&Text)), // groups_names
];

const INCREMENTAL_ALTER_CONFIGS_CONFIGS: Fields = &[
    (0..=1, Text), // name
    (0..=1, I8),   // config_operation
    (0..=1, Text), // value
];
const INCREMENTAL_ALTER_CONFIGS_RESOURCES: Fields = &[
    (0..=1, I8),                                                // resource_type
    (0..=1, Text),                                              // resource_name
    (0..=1, Array(&Struct(INCREMENTAL_ALTER_CONFIGS_CONFIGS))), // configs
];
const INCREMENTAL_ALTER_CONFIGS: Fields = &[
    (0..=1, Array(&Struct(INCREMENTAL_ALTER_CONFIGS_RESOURCES))), // resources
    (0..=1, I8),                                                  // validate_only
];

const OFFSET_DELETE_PARTITIONS: Fields = &[
    (0..=0, I32), // partition_index
];
const OFFSET_DELETE_TOPICS: Fields = &[
    (0..=0, Text),                                     // name
    (0..=0, Array(&Struct(OFFSET_DELETE_PARTITIONS))), // partitions
];
const OFFSET_DELETE: Fields = &[
    (0..=0, Text),                                 // group_id
    (0..=0, Array(&Struct(OFFSET_DELETE_TOPICS))), // topics
];

const DESCRIBE_CLUSTER: Fields = &[
    (0..=2, I8), // include_cluster_authorized_operations
    (1..=2, I8), // endpoint_type
    (2..=2, I8), // include_fenced_brokers
];

const DESCRIBE_PRODUCERS_TOPICS: Fields = &[
    (0..=0, Text),        // name
    (0..=0, Array(&I32)), // partition_indexes
];
const DESCRIBE_PRODUCERS: Fields = &[
    (0..=0, Array(&Struct(DESCRIBE_PRODUCERS_TOPICS))), // topics
];

const DESCRIBE_TRANSACTIONS: Fields = &[
    (0..=0, Array(&Text)), // transactional_ids
];

const LIST_TRANSACTIONS: Fields = &[
    (0..=2, Array(&Text)), // state_filters
    (0..=2, Array(&I64)),  // producer_id_filters
    (1..=2, I64),          // duration_filter
    (2..=2, Text),         // transactional_id_pattern
];

const DESCRIBE_ACLS: Fields = &[
    (1..=3, I8),   // resource_type_filter
    (1..=3, Text), // resource_name_filter
    (1..=3, I8),   // pattern_type_filter
    (1..=3, Text), // principal_filter
    (1..=3, Text), // host_filter
    (1..=3, I8),   // operation
    (1..=3, I8),   // permission_type
];

const CREATE_ACLS_CREATIONS: Fields = &[
    (1..=3, I8),   // resource_type
    (1..=3, Text), // resource_name
    (1..=3, I8),   // resource_pattern_type
    (1..=3, Text), // principal
    (1..=3, Text), // host
    (1..=3, I8),   // operation
    (1..=3, I8),   // permission_type
];
const CREATE_ACLS: Fields = &[
    (1..=3, Array(&Struct(CREATE_ACLS_CREATIONS))), // creations
];

const DELETE_ACLS: Fields = &[
    (1..=3, Array(&Struct(DESCRIBE_ACLS))), // filters
];

const ALTER_CONFIGS_CONFIGS: Fields = &[
    (0..=2, Text), // name
    (0..=2, Text), // value
];
const ALTER_CONFIGS_RESOURCES: Fields = &[
    (0..=2, I8),                                    // resource_type
    (0..=2, Text),                                  // resource_name
    (0..=2, Array(&Struct(ALTER_CONFIGS_CONFIGS))), // configs
];
const ALTER_CONFIGS: Fields = &[
    (0..=2, Array(&Struct(ALTER_CONFIGS_RESOURCES))), // resources
    (0..=2, I8),                                      // validate_only
];

const ELECT_LEADERS_TOPIC_PARTITIONS: Fields = &[
    (0..=2, Text),        // topic
    (0..=2, Array(&I32)), // partitions
];
const ELECT_LEADERS: Fields = &[
    (1..=2, I8),                                             // election_type
    (0..=2, Array(&Struct(ELECT_LEADERS_TOPIC_PARTITIONS))), // topic_partitions
    (0..=2, I32),                                            // timeout_ms
];

const LIST_PARTITION_REASSIGNMENTS_TOPICS: Fields = &[
    (0..=0, Text),        // name
    (0..=0, Array(&I32)), // partition_indexes
];
const LIST_PARTITION_REASSIGNMENTS: Fields = &[
    (0..=0, I32),                                                 // timeout_ms
    (0..=0, Array(&Struct(LIST_PARTITION_REASSIGNMENTS_TOPICS))), // topics
];

const DESCRIBE_CLIENT_QUOTAS_COMPONENTS: Fields = &[
    (0..=1, Text), // entity_type
    (0..=1, I8),   // match_type
    (0..=1, Text), // match
];
const DESCRIBE_CLIENT_QUOTAS: Fields = &[
    (0..=1, Array(&Struct(DESCRIBE_CLIENT_QUOTAS_COMPONENTS))), // components
    (0..=1, I8),                                                // strict
];

const DESCRIBE_USER_SCRAM_CREDENTIALS_USERS: Fields = &[
    (0..=0, Text), // name
];
const DESCRIBE_USER_SCRAM_CREDENTIALS: Fields = &[
    (0..=0, Array(&Struct(DESCRIBE_USER_SCRAM_CREDENTIALS_USERS))), // users
];

const ALTER_USER_SCRAM_CREDENTIALS_DELETIONS: Fields = &[
    (0..=0, Text), // name
    (0..=0, I8),   // mechanism
];
const ALTER_USER_SCRAM_CREDENTIALS_UPSERTIONS: Fields = &[
    (0..=0, Text),  // name
    (0..=0, I8),    // mechanism
    (0..=0, I32),   // iterations
    (0..=0, Bytes), // salt
    (0..=0, Bytes), // salted_password
];
const ALTER_USER_SCRAM_CREDENTIALS: Fields = &[
    (
        0..=0,
        Array(&Struct(ALTER_USER_SCRAM_CREDENTIALS_DELETIONS)),
    ), // deletions
    (
        0..=0,
        Array(&Struct(ALTER_USER_SCRAM_CREDENTIALS_UPSERTIONS)),
    ), // upsertions
];

const SASL_HANDSHAKE: Fields = &[
    (0..=1, Text), // mechanism
];

const SASL_AUTHENTICATE: Fields = &[
    (0..=2, Bytes), // auth_bytes
];

const LIST_CONFIG_RESOURCES: Fields = &[
    (1..=1, Array(&I8)), // resource_types
];

const DESCRIBE_TOPIC_PARTITIONS_TOPICS: Fields = &[
    (0..=0, Text), // name
];
const DESCRIBE_TOPIC_PARTITIONS_CURSOR: Fields = &[
    (0..=0, Text), // topic_name
    (0..=0, I32),  // partition_index
];
const DESCRIBE_TOPIC_PARTITIONS: Fields = &[
    (0..=0, Array(&Struct(DESCRIBE_TOPIC_PARTITIONS_TOPICS))), // topics
    (0..=0, I32),                                              // response_partition_limit
    (0..=0, Nullable(DESCRIBE_TOPIC_PARTITIONS_CURSOR)),       // cursor
];
