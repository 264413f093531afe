//! The oracle is the crate's own decoder on honest messages; on hostile ones, that the process lives.

use bytes::{BufMut, BytesMut};
use kafka_protocol::{
    messages::{
        fetch_response::{FetchableTopicResponse, PartitionData},
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition},
        produce_request::{PartitionProduceData, TopicProduceData},
        *,
    },
    protocol::{Encodable, StrBytes},
};
use proptest::prelude::*;

use super::*;

fn encoded(message: &impl Encodable, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

fn survives<T: Decodable + Encodable + PartialEq + std::fmt::Debug>(message: &T, version: i16) {
    let mut bytes = encoded(message, version);
    let decoded: T = decode(&mut bytes, version).unwrap_or_else(|e| panic!("v{version}: {e}"));
    assert_eq!(&decoded, message, "version {version}");
    assert!(bytes.is_empty());
}

fn fetched(sizes: &[usize]) -> FetchResponse {
    fetched_with(sizes, -1, i32::MAX)
}

fn fetched_with(sizes: &[usize], offset: i64, number: i32) -> FetchResponse {
    let partitions = sizes.iter().enumerate().map(|(index, size)| {
        PartitionData::default()
            .with_partition_index(index as i32)
            .with_high_watermark(offset)
            .with_last_stable_offset(offset)
            .with_log_start_offset(offset)
            .with_aborted_transactions(None)
            .with_records(Some(Bytes::from(vec![0x55; *size])))
    });
    FetchResponse::default()
        .with_throttle_time_ms(number)
        .with_session_id(number)
        .with_responses(vec![
            FetchableTopicResponse::default()
                .with_topic(TopicName(StrBytes::from_static_str("orders")))
                .with_partitions(partitions.collect()),
        ])
}

/// Around the limits of arrays, and where the low bits of a varint are all zeros or ones.
const BLOBS: &[usize] = &[
    0,
    1,
    MAX_ELEMENTS - 1,
    MAX_ELEMENTS,
    MAX_ELEMENTS + 1,
    (1 << 21) - 2,
    (1 << 21) - 1,
    1 << 21,
    5_000_000,
];

#[test]
fn blobs_of_any_size_come_through() {
    for version in [7, 11, 12] {
        for size in BLOBS {
            survives(&fetched(&[*size]), version);
        }
        survives(&fetched(BLOBS), version);
    }
    for version in [3, 8, 9, 12] {
        let data = BLOBS.iter().map(|size| {
            PartitionProduceData::default()
                .with_index(i32::MAX)
                .with_records(Some(Bytes::from(vec![0; *size])))
        });
        let topic = TopicProduceData::default().with_partition_data(data.collect());
        let request = ProduceRequest::default()
            .with_timeout_ms(i32::MAX)
            .with_topic_data(vec![topic]);
        survives(&request, version);
    }
}

#[test]
fn large_arrays_and_large_plain_numbers_come_through() {
    for version in [4, 8, 9, 12] {
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(i32::MAX))
            .with_port(i32::MAX);
        let partitions = (0..100_000).map(|index| {
            MetadataResponsePartition::default()
                .with_partition_index(index * 20_000)
                .with_leader_id(BrokerId(i32::MAX))
                .with_replica_nodes(vec![BrokerId(i32::MAX); 3])
        });
        let topic = metadata_response::MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_static_str("orders"))))
            .with_partitions(partitions.collect());
        let response = MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_controller_id(BrokerId(i32::MAX))
            .with_topics(vec![topic]);
        survives(&response, version);
    }
}

#[test]
fn tags_of_others_come_through() {
    for size in [0, 1, 2, 1 << 14, MAX_ELEMENTS, MAX_ELEMENTS + 1, 1 << 21] {
        let response = MetadataResponse::default()
            .with_unknown_tagged_field(10_000, Bytes::from(vec![0xff; size]))
            .with_unknown_tagged_field(10_001, Bytes::from_static(b"more"));
        survives(&response, 12);
    }
}

/// The frames that a decoder without a guard reserves up to 150 GB for.
#[test]
fn lengths_that_nothing_stands_behind_are_refused() {
    let mut array = BytesMut::new();
    array.put_i32(i32::MAX);
    assert!(decode::<MetadataRequest>(&mut array.freeze(), 1).is_err());
    let mut compact = BytesMut::new();
    compact.put_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(decode::<MetadataRequest>(&mut compact.freeze(), 9).is_err());

    // As large as the frame allows, so that only what follows tells an array from a blob.
    for padding in [0, 0x55, 0xff] {
        let mut array = BytesMut::new();
        array.put_i32(50_000_000);
        array.put_bytes(padding, 50_000_000);
        let error = decode::<MetadataRequest>(&mut array.freeze(), 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a length of 50000000 in a frame of 50000004 bytes"
        );
        let mut compact = BytesMut::new();
        compact.put_slice(&[0x81, 0x80, 0x80, 0x18]);
        compact.put_bytes(padding, 50_331_648);
        let error = decode::<MetadataRequest>(&mut compact.freeze(), 9).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a length of 50331649 in a frame of 50331652 bytes"
        );
    }
}

/// The third array inside: topic, partition, replicas.
#[test]
fn nested_lengths_are_refused_too() {
    let partition = MetadataResponsePartition::default().with_replica_nodes(vec![BrokerId(0x5a5a)]);
    let topic = metadata_response::MetadataResponseTopic::default()
        .with_name(Some(TopicName::default()))
        .with_partitions(vec![partition]);
    let response = MetadataResponse::default().with_topics(vec![topic]);
    let mut bytes = encoded(&response, 8).to_vec();
    let replica = [0, 0, 0, 1, 0, 0, 0x5a, 0x5a];
    let at = bytes.windows(8).position(|w| w == replica).unwrap();
    bytes[at..at + 4].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(decode::<MetadataResponse>(&mut bytes.into(), 8).is_err());
}

/// A boolean above 127 looks like the start of a varint; it must not hide the length behind it.
#[test]
fn a_boolean_cannot_hide_a_length() {
    // In DescribeConfigs v4 an array, synonyms, follows a boolean, is_sensitive.
    let entry = describe_configs_response::DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str("retention"))
        .with_is_sensitive(true);
    let resource = describe_configs_response::DescribeConfigsResult::default()
        .with_configs(vec![entry])
        .with_error_message(None);
    let response = DescribeConfigsResponse::default().with_results(vec![resource]);
    let honest = encoded(&response, 4);
    let name = honest.windows(9).position(|w| w == b"retention").unwrap();
    // value (null), read_only, config_source, is_sensitive, synonyms
    let sensitive = name + 9 + 3;
    assert_eq!(honest[sensitive], 1);
    for fake in [&[0xff][..], &[0x80], &[0xff, 0xff], &[0x80, 0x80, 0x80]] {
        let lengths: [&[u8]; 3] = [
            &[0x80, 0x80, 0x80, 0x80, 0x0f],
            &[0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x80, 0x80, 0x80, 0x7f],
        ];
        for length in lengths {
            let mut bytes = honest[..sensitive].to_vec();
            bytes.extend_from_slice(fake);
            bytes.extend_from_slice(length);
            bytes.extend_from_slice(&[0; 64]);
            assert!(decode::<DescribeConfigsResponse>(&mut bytes.into(), 4).is_err());
        }
    }
}

macro_rules! hostile {
    ($($message:ident $versions:expr),* $(,)?) => {
        /// Decodes in every version; what comes out does not matter, that it comes out does.
        fn decode_as_everything(bytes: &Bytes) {
            $(for version in $versions {
                decode::<$message>(&mut bytes.clone(), version).ok();
            })*
        }
    };
}

hostile! {
    ApiVersionsResponse 0..=4, MetadataResponse 0..=13, FetchResponse 4..=17, ProduceResponse 3..=12,
    ListOffsetsResponse 1..=10, OffsetFetchResponse 1..=9, OffsetCommitResponse 2..=9,
    FindCoordinatorResponse 0..=6, CreateTopicsResponse 2..=7, DeleteTopicsResponse 1..=6,
    CreatePartitionsResponse 0..=3, DescribeConfigsResponse 1..=4, DeleteRecordsResponse 0..=2,
    IncrementalAlterConfigsResponse 0..=1, DescribeGroupsResponse 0..=6, ListGroupsResponse 0..=5,
    DeleteGroupsResponse 0..=2, DescribeProducersResponse 0..=0, OffsetForLeaderEpochResponse 2..=4,
    ProduceRequest 3..=13, FetchRequest 4..=17, MetadataRequest 0..=13, CreateTopicsRequest 2..=7,
    JoinGroupRequest 0..=9, SyncGroupRequest 0..=5, OffsetCommitRequest 2..=9,
    AddPartitionsToTxnRequest 0..=5, TxnOffsetCommitRequest 0..=5,
}

/// Bytes as hostile lengths are written: 0xff and 0x7f and 0 are common, text is there too.
fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        Just(vec![0x7f, 0xff, 0xff, 0xff]),
        Just(vec![0, 0, 0, 1]),
        Just(vec![0xff, 0xff, 0xff, 0xff, 0x0f]),
        Just(vec![0; 8]),
        Just(vec![2]),
        (0..1_u32 << 20).prop_map(|number| number.to_be_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_end_the_process(bytes in hostile_bytes()) {
        decode_as_everything(&bytes.into());
    }

    /// One byte of an honest answer is replaced so that no length comes out that is too large to ask
    /// the bare crate too: the guard refuses nothing that it takes, and changes nothing.
    #[test]
    fn the_guard_agrees_with_the_crate(at in 0_usize..400, byte in 0_u8..0x80) {
        // No byte of it continues a varint, save the first of 301.
        let mut honest = fetched_with(&[10, 0, 300], 5, 5);
        for partition in &mut honest.responses[0].partitions {
            partition.preferred_read_replica = BrokerId(5);
        }
        let mut bytes = encoded(&honest, 12).to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let bytes = Bytes::from(bytes);
        let bare = FetchResponse::decode(&mut bytes.clone(), 12).ok();
        let guarded = decode::<FetchResponse>(&mut bytes.clone(), 12).ok();
        prop_assert_eq!(guarded, bare);
    }

    /// With any number anywhere, what the guard lets through is what the crate reads.
    #[test]
    fn numbers_are_not_changed(at in 0_usize..400, number: u32, version in 7_i16..=12) {
        let mut bytes = encoded(&fetched(&[10, 0, 300]), version).to_vec();
        let at = at % (bytes.len() - 4);
        bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
        let bytes = Bytes::from(bytes);
        if let Ok(guarded) = decode::<FetchResponse>(&mut bytes.clone(), version) {
            prop_assert_eq!(guarded, FetchResponse::decode(&mut bytes.clone(), version).unwrap());
        }
    }

    #[test]
    fn a_cut_answer_is_an_error(cut in 0_usize..400, version in 7_i16..=12) {
        let bytes = encoded(&fetched(&[10, 0, 300]), version);
        let cut = cut % bytes.len();
        prop_assert!(decode::<FetchResponse>(&mut bytes.slice(..cut), version).is_err());
    }
}
