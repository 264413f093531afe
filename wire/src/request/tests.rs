//! The oracle is the crate's encoder: what it writes is walked to its last byte, in every version.

use bytes::BytesMut;
use kafka_protocol::{
    messages::*,
    protocol::{Encodable, StrBytes},
};
use proptest::prelude::*;

use super::*;

/// Encodes `request` in every version that takes its fields, and walks it.
fn walks<R: Request + Clone + PartialEq + std::fmt::Debug>(request: &R, versions: &[i16]) {
    let api = ApiKey::try_from(R::KEY).unwrap();
    for &version in versions {
        let mut body = BytesMut::new();
        request
            .encode(&mut body, version)
            .unwrap_or_else(|e| panic!("{api:?} {version}: {e}"));
        let body = body.freeze();
        let flexible = api.request_header_version(version) >= 2;
        let mut walk = Walk::new(&body, version, flexible);
        let fields = schema::fields(api).unwrap();
        assert_eq!(walk.fields(fields), Some(()), "{api:?} {version}");
        assert!(
            walk.rest.is_empty(),
            "{api:?} {version}: {} bytes left",
            walk.rest.len()
        );
        decode::<R>(body.clone(), version).unwrap();
        for end in 0..body.len() {
            let cut = decode::<R>(body.slice(..end), version);
            assert!(
                cut.is_err(),
                "{api:?} {version} cut at {end} of {}",
                body.len()
            );
        }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn range(from: i16, to: i16) -> Vec<i16> {
    (from..=to).collect()
}

#[test]
fn data_requests() {
    let data = produce_request::PartitionProduceData::default()
        .with_records(Some(Bytes::from_static(b"records")));
    let topic =
        produce_request::TopicProduceData::default().with_partition_data(vec![data.clone(), data]);
    let produce = ProduceRequest::default().with_transactional_id(Some(text("id").into()));
    let named = topic.clone().with_name(text("t").into());
    walks(&produce.clone().with_topic_data(vec![named]), &range(3, 12));
    walks(&produce.with_topic_data(vec![topic]), &[13]);
    let partitions = vec![fetch_request::FetchPartition::default(); 3];
    let topic = fetch_request::FetchTopic::default().with_partitions(partitions);
    let forgotten = fetch_request::ForgottenTopic::default().with_partitions(vec![1, 2]);
    let fetch = FetchRequest::default().with_topics(vec![topic]);
    walks(&fetch, &range(4, 18));
    walks(
        &fetch.clone().with_forgotten_topics_data(vec![forgotten]),
        &range(7, 18),
    );
    walks(
        &fetch
            .with_rack_id(text("r"))
            .with_cluster_id(Some(text("c"))),
        &range(12, 18),
    );
    let partition = list_offsets_request::ListOffsetsPartition::default();
    let topic = list_offsets_request::ListOffsetsTopic::default().with_partitions(vec![partition]);
    walks(
        &ListOffsetsRequest::default().with_topics(vec![topic]),
        &range(1, 10),
    );
    let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default();
    let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
        .with_partitions(vec![partition]);
    walks(
        &OffsetForLeaderEpochRequest::default().with_topics(vec![topic]),
        &range(2, 4),
    );
    let partition = delete_records_request::DeleteRecordsPartition::default();
    let topic =
        delete_records_request::DeleteRecordsTopic::default().with_partitions(vec![partition]);
    walks(
        &DeleteRecordsRequest::default().with_topics(vec![topic]),
        &range(0, 2),
    );
    let topic = describe_producers_request::TopicRequest::default().with_partition_indexes(vec![1]);
    walks(
        &DescribeProducersRequest::default().with_topics(vec![topic]),
        &[0],
    );
}

#[test]
fn cluster_requests() {
    walks(&ApiVersionsRequest::default(), &range(0, 4));
    let topic =
        metadata_request::MetadataRequestTopic::default().with_name(Some(TopicName(text("t"))));
    walks(
        &MetadataRequest::default().with_topics(Some(vec![topic])),
        &range(0, 13),
    );
    walks(&MetadataRequest::default().with_topics(None), &range(1, 13));
    let config = create_topics_request::CreatableTopicConfig::default().with_value(Some(text("v")));
    let assignment = create_topics_request::CreatableReplicaAssignment::default()
        .with_broker_ids(vec![BrokerId(1)]);
    let topic = create_topics_request::CreatableTopic::default()
        .with_configs(vec![config])
        .with_assignments(vec![assignment]);
    walks(
        &CreateTopicsRequest::default().with_topics(vec![topic]),
        &range(2, 7),
    );
    walks(
        &DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text("t"))]),
        &range(1, 5),
    );
    let topic = delete_topics_request::DeleteTopicState::default();
    walks(
        &DeleteTopicsRequest::default().with_topics(vec![topic]),
        &[6],
    );
    let topic = create_partitions_request::CreatePartitionsTopic::default();
    walks(
        &CreatePartitionsRequest::default().with_topics(vec![topic]),
        &range(0, 3),
    );
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_configuration_keys(Some(vec![text("k")]));
    walks(
        &DescribeConfigsRequest::default().with_resources(vec![resource]),
        &range(1, 4),
    );
    let config = incremental_alter_configs_request::AlterableConfig::default();
    let resource = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_configs(vec![config]);
    let alter = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    walks(&alter, &range(0, 1));
    walks(&DescribeClusterRequest::default(), &range(0, 2));
    let topic = describe_log_dirs_request::DescribableLogDirTopic::default()
        .with_topic(TopicName(text("t")))
        .with_partitions(vec![1]);
    let some = DescribeLogDirsRequest::default().with_topics(Some(vec![topic]));
    walks(&some, &range(1, 4));
    walks(
        &DescribeLogDirsRequest::default().with_topics(None),
        &range(1, 4),
    );
}

#[test]
fn admin_requests() {
    let describe = DescribeAclsRequest::default()
        .with_resource_name_filter(Some(text("t")))
        .with_pattern_type_filter(3);
    walks(&describe, &range(1, 3));
    let creation = create_acls_request::AclCreation::default().with_resource_name(text("t"));
    walks(
        &CreateAclsRequest::default().with_creations(vec![creation]),
        &range(1, 3),
    );
    let filter = delete_acls_request::DeleteAclsFilter::default().with_host_filter(Some(text("h")));
    let filter = filter.with_pattern_type_filter(3);
    walks(
        &DeleteAclsRequest::default().with_filters(vec![filter]),
        &range(1, 3),
    );
    let config = alter_configs_request::AlterableConfig::default().with_value(Some(text("v")));
    let resource =
        alter_configs_request::AlterConfigsResource::default().with_configs(vec![config]);
    walks(
        &AlterConfigsRequest::default().with_resources(vec![resource]),
        &range(0, 2),
    );
    let topic = elect_leaders_request::TopicPartitions::default().with_partitions(vec![1]);
    let elect = ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic]));
    walks(&elect, &range(0, 2));
    let topic = list_partition_reassignments_request::ListPartitionReassignmentsTopics::default()
        .with_partition_indexes(vec![1]);
    let list = ListPartitionReassignmentsRequest::default().with_topics(Some(vec![topic]));
    walks(&list, &[0]);
    let component = describe_client_quotas_request::ComponentData::default();
    walks(
        &DescribeClientQuotasRequest::default().with_components(vec![component]),
        &range(0, 1),
    );
    let user = describe_user_scram_credentials_request::UserName::default().with_name(text("u"));
    walks(
        &DescribeUserScramCredentialsRequest::default().with_users(Some(vec![user])),
        &[0],
    );
    let upsertion = alter_user_scram_credentials_request::ScramCredentialUpsertion::default()
        .with_salt(Bytes::from_static(b"salt"));
    let deletion = alter_user_scram_credentials_request::ScramCredentialDeletion::default();
    let alter = AlterUserScramCredentialsRequest::default()
        .with_deletions(vec![deletion])
        .with_upsertions(vec![upsertion]);
    walks(&alter, &[0]);
    let handshake = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    walks(&handshake, &range(0, 1));
    let token = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(b"token"));
    walks(&token, &range(0, 2));
    walks(&ListConfigResourcesRequest::default(), &range(0, 1));
    walks(
        &ListConfigResourcesRequest::default().with_resource_types(vec![2, 4]),
        &[1],
    );
    let topic = describe_topic_partitions_request::TopicRequest::default();
    let page = DescribeTopicPartitionsRequest::default().with_topics(vec![topic]);
    walks(&page, &[0]);
    let cursor =
        describe_topic_partitions_request::Cursor::default().with_topic_name(text("t").into());
    walks(&page.with_cursor(Some(cursor)), &[0]);
}

#[test]
fn group_requests() {
    walks(
        &FindCoordinatorRequest::default().with_key(text("g")),
        &range(0, 3),
    );
    let many = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    walks(&many, &range(4, 6));
    let protocol = join_group_request::JoinGroupRequestProtocol::default()
        .with_metadata(Bytes::from_static(b"m"));
    walks(
        &JoinGroupRequest::default().with_protocols(vec![protocol]),
        &range(0, 9),
    );
    walks(&HeartbeatRequest::default(), &range(0, 4));
    walks(
        &LeaveGroupRequest::default().with_member_id(text("m")),
        &range(0, 2),
    );
    let member = leave_group_request::MemberIdentity::default();
    walks(
        &LeaveGroupRequest::default().with_members(vec![member]),
        &range(3, 5),
    );
    let assignment = sync_group_request::SyncGroupRequestAssignment::default();
    walks(
        &SyncGroupRequest::default().with_assignments(vec![assignment]),
        &range(0, 5),
    );
    walks(
        &DescribeGroupsRequest::default().with_groups(vec![text("g").into()]),
        &range(0, 6),
    );
    walks(&ListGroupsRequest::default(), &range(0, 5));
    walks(
        &DeleteGroupsRequest::default().with_groups_names(vec![text("g").into()]),
        &range(0, 2),
    );
    let partition = offset_commit_request::OffsetCommitRequestPartition::default()
        .with_committed_metadata(Some(text("m")));
    let topic =
        offset_commit_request::OffsetCommitRequestTopic::default().with_partitions(vec![partition]);
    walks(
        &OffsetCommitRequest::default().with_topics(vec![topic]),
        &range(2, 9),
    );
    let topic =
        offset_fetch_request::OffsetFetchRequestTopic::default().with_partition_indexes(vec![1]);
    walks(
        &OffsetFetchRequest::default().with_topics(Some(vec![topic])),
        &range(1, 7),
    );
    let topic =
        offset_fetch_request::OffsetFetchRequestTopics::default().with_partition_indexes(vec![1]);
    let group =
        offset_fetch_request::OffsetFetchRequestGroup::default().with_topics(Some(vec![topic]));
    walks(
        &OffsetFetchRequest::default().with_groups(vec![group]),
        &range(8, 9),
    );
    let partition = offset_delete_request::OffsetDeleteRequestPartition::default();
    let topic =
        offset_delete_request::OffsetDeleteRequestTopic::default().with_partitions(vec![partition]);
    walks(
        &OffsetDeleteRequest::default().with_topics(vec![topic]),
        &[0],
    );
}

#[test]
fn transaction_requests() {
    walks(&InitProducerIdRequest::default(), &range(0, 5));
    let topic =
        add_partitions_to_txn_request::AddPartitionsToTxnTopic::default().with_partitions(vec![1]);
    let one = AddPartitionsToTxnRequest::default().with_v3_and_below_topics(vec![topic.clone()]);
    walks(&one, &range(0, 3));
    let transaction = add_partitions_to_txn_request::AddPartitionsToTxnTransaction::default()
        .with_topics(vec![topic]);
    let many = AddPartitionsToTxnRequest::default().with_transactions(vec![transaction]);
    walks(&many, &range(4, 5));
    walks(&AddOffsetsToTxnRequest::default(), &range(0, 4));
    walks(&EndTxnRequest::default(), &range(0, 5));
    let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default();
    let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
        .with_partitions(vec![partition]);
    walks(
        &TxnOffsetCommitRequest::default().with_topics(vec![topic]),
        &range(0, 5),
    );
    let ids = vec![TransactionalId(text("id"))];
    walks(
        &DescribeTransactionsRequest::default().with_transactional_ids(ids),
        &[0],
    );
    let states = vec![text("Ongoing")];
    walks(
        &ListTransactionsRequest::default().with_state_filters(states),
        &range(0, 2),
    );
}

#[test]
fn what_may_not_be_null_is_refused() {
    for (version, body) in [
        (0, &b"\xff\xff\xff\xff"[..]),
        (1, b"\0\0\0\x01\xff\xff"),
        (9, b"\x02\x00\x00\x01\x00\x00\x00"),
    ] {
        let error = decode::<MetadataRequest>(Bytes::from_static(body), version).unwrap_err();
        assert!(matches!(error, RequestError::Malformed { .. }), "{error}");
    }
    let all = decode::<MetadataRequest>(Bytes::from_static(b"\xff\xff\xff\xff"), 1).unwrap();
    assert_eq!(all.topics, None);
}

#[test]
fn a_header_is_read_as_kafka_reads_it() {
    let frame = |rest: &[u8]| Bytes::from([&[0, 3, 0, 1, 0, 0, 0, 7][..], rest].concat());
    let header = |rest: &[u8]| header(&mut frame(rest));
    assert_eq!(header(&[0xff, 0xfe]).unwrap().client_id, None);
    let replaced = header(&[0, 2, b'a', 0xff]).unwrap().client_id;
    assert_eq!(replaced, Some(text("a\u{fffd}")));
    assert!(header(&[0, 9, b'a']).is_err(), "cut off");
    assert!(header(&[]).is_err());
}

#[test]
fn the_frame_that_asks_for_200_gigabytes_is_refused() {
    // transactional id null, acks, timeout, then an array of 2^31 - 1 topics.
    let body = Bytes::from_static(b"\xff\xff\0\x01\0\0\0\x01\x7f\xff\xff\xff");
    let error = decode::<ProduceRequest>(body, 3).unwrap_err();
    assert!(matches!(error, RequestError::Malformed { .. }), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_panic_or_abort(
        key in 0i16..80,
        version in 0i16..20,
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(api) = ApiKey::try_from(key) && api.valid_versions().max >= version {
            // Only what passes here reaches the crate.
            drop(check(api, version, &body));
        }
        let mut frame = [&key.to_be_bytes()[..], &version.to_be_bytes(), &body].concat().into();
        drop(header(&mut frame));
        drop(decode::<MetadataRequest>(body.clone().into(), version.min(13)));
        drop(decode::<CreateTopicsRequest>(body.clone().into(), version.clamp(2, 7)));
        drop(decode::<OffsetCommitRequest>(body.into(), version.clamp(2, 9)));
    }
}

/// Elements are counted wherever they are, before any becomes a structure; numbers are none.
#[test]
fn requests_have_so_many_elements_at_most() {
    let names = |count: usize| {
        let one =
            metadata_request::MetadataRequestTopic::default().with_name(Some(TopicName(text("t"))));
        let mut body = BytesMut::new();
        let request = MetadataRequest::default().with_topics(Some(vec![one; count]));
        request.encode(&mut body, 4).unwrap();
        decode::<MetadataRequest>(body.freeze(), 4)
    };
    assert!(names(MAX_ELEMENTS).is_ok());
    let refused = names(MAX_ELEMENTS + 1);
    let api = ApiKey::Metadata;
    assert!(matches!(refused, Err(RequestError::TooMany { api: found }) if found == api));
    let topic = delete_records_request::DeleteRecordsTopic::default()
        .with_partitions(vec![Default::default(); MAX_ELEMENTS / 2]);
    let mut body = BytesMut::new();
    let request = DeleteRecordsRequest::default().with_topics(vec![topic; 3]);
    request.encode(&mut body, 0).unwrap();
    let refused = decode::<DeleteRecordsRequest>(body.freeze(), 0);
    assert!(matches!(refused, Err(RequestError::TooMany { .. })));
}

/// By hand: elements and numbers of what the crate has written.
#[test]
fn what_is_many_costs_much() {
    let cost_of = |key: ApiKey, version, body: &[u8]| {
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version);
        cost(&header, body)
    };
    let topic = metadata_request::MetadataRequestTopic::default().with_name(Some(text("t").into()));
    let request = MetadataRequest::default().with_topics(Some(vec![topic; 1000]));
    let mut body = BytesMut::new();
    request.encode(&mut body, 12).unwrap();
    assert_eq!(cost_of(ApiKey::Metadata, 12, &body), 1000 * ELEMENT);
    assert_eq!(cost_of(ApiKey::Metadata, 12, &body[..100]), 0);
    let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
        .with_name(text("t").into())
        .with_partition_indexes((0..500).collect());
    let request = OffsetFetchRequest::default().with_topics(Some(vec![topic; 2]));
    let mut body = BytesMut::new();
    request.encode(&mut body, 5).unwrap();
    assert_eq!(
        cost_of(ApiKey::OffsetFetch, 5, &body),
        2 * GROUP + 1000 * NUMBER
    );
    assert_eq!(cost_of(ApiKey::ConsumerGroupHeartbeat, 0, &body), 0);
}

/// Tagged fields that nobody knows are kept as well, in far more memory than they take on the wire.
#[test]
fn tagged_fields_cost_and_are_bounded() {
    let with_tags = |count: usize| {
        let mut request = MetadataRequest::default().with_topics(Some(Vec::new()));
        let tags = (100..).take(count).map(|tag| (tag, Bytes::new()));
        request.unknown_tagged_fields.extend(tags);
        let mut body = BytesMut::new();
        request.encode(&mut body, 12).unwrap();
        body.freeze()
    };
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::Metadata as i16)
        .with_request_api_version(12);
    assert_eq!(cost(&header, &with_tags(1000)), 1000 * ELEMENT);
    let most = decode::<MetadataRequest>(with_tags(MAX_ELEMENTS), 12).unwrap();
    assert_eq!(most.unknown_tagged_fields.len(), MAX_ELEMENTS);
    let refused = decode::<MetadataRequest>(with_tags(MAX_ELEMENTS + 1), 12);
    assert!(matches!(refused, Err(RequestError::TooMany { .. })));
}
