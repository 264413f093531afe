//! Whole frames, through a connection and every handler behind it: against a broker in memory.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::BytesMut;
use host::{
    Files, Host,
    sim::{SeededRandom, SimFiles},
};
use kafka_protocol::{
    messages::*,
    protocol::{Encodable, Request, StrBytes},
};
use tokio::io::{AsyncWriteExt, DuplexStream};
use wire::record::{BatchBuilder, Codec};

use super::{Fuzzer, fuzz};
use crate::{
    api::API,
    config::Config,
    security::listeners::{Listener, Plan},
    server,
    state::State,
};

/// Whoever waits longer waits for something that does not come: other members, more records.
const PATIENCE: Duration = Duration::from_millis(20);
/// Inputs for one broker: it remembers what it is told.
const EACH: usize = 400;

fn open() -> (Arc<State>, Arc<Listener>) {
    let files = SimFiles::default();
    files.create_dir_all(Path::new("/data")).unwrap();
    let lock = files.lock(Path::new("/data/.lock")).unwrap().unwrap();
    let host = Host {
        files: Arc::new(files),
        random: Arc::new(SeededRandom::new(7)),
        ..Host::real()
    };
    let mut config = Config::new("127.0.0.1:0", "/data");
    config
        .apply_file("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nsuper.users=User:ANONYMOUS")
        .unwrap();
    let plan = Plan::all(&config).unwrap().remove(0);
    let listener = plan.opened(1, SocketAddr::from(([127, 0, 0, 1], 9092)));
    let state = State::open(host, config, vec![lock]).unwrap();
    state.topics.create("t", 2, Default::default()).unwrap();
    (Arc::new(state), Arc::new(listener))
}

/// A frame with its length.
fn frame<R: Request>(version: i16, request: &R) -> Option<Vec<u8>> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_static_str("c")));
    let mut frame = BytesMut::from(&[0u8; 4][..]);
    header.encode(&mut frame, R::header_version(version)).ok()?;
    request.encode(&mut frame, version).ok()?;
    relength(&mut frame);
    Some(frame.to_vec())
}

fn relength(frame: &mut [u8]) {
    let length = u32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&length.to_be_bytes());
}

/// In every version that is served and has these fields.
fn all_versions<R: Request>(request: &R) -> Vec<Vec<u8>> {
    let served = API.iter().filter(|api| api.key as i16 == R::KEY);
    let versions = served.flat_map(|api| api.min..=api.max);
    versions
        .filter_map(|version| frame(version, request))
        .collect()
}

macro_rules! defaults {
    ($($request:ident)*) => {
        [$(all_versions(&$request::default()),)*].concat()
    };
}

fn name<T: From<StrBytes>>() -> T {
    StrBytes::from_static_str("t").into()
}

/// Some that name what is there.
#[expect(clippy::too_many_lines, reason = "a list")]
fn rich() -> Vec<Vec<u8>> {
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(1, Some(b"k"), Some(b"v"), &[]);
    let data = produce_request::PartitionProduceData::default()
        .with_records(Some(batch.build(0).unwrap()));
    let produce = produce_request::TopicProduceData::default()
        .with_name(name())
        .with_partition_data(vec![data]);
    let produce = ProduceRequest::default()
        .with_acks(-1)
        .with_topic_data(vec![produce]);
    let wanted = fetch_request::FetchPartition::default().with_partition_max_bytes(1000);
    let wanted = fetch_request::FetchTopic::default()
        .with_topic(name())
        .with_partitions(vec![wanted; 2]);
    let fetch = FetchRequest::default()
        .with_max_bytes(1000)
        .with_topics(vec![wanted]);
    let topic = metadata_request::MetadataRequestTopic::default().with_name(Some(name()));
    let metadata = MetadataRequest::default().with_topics(Some(vec![topic]));
    let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(name());
    let join = JoinGroupRequest::default()
        .with_group_id(name())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(1)
        .with_protocol_type(name())
        .with_protocols(vec![protocol]);
    let partition = offset_commit_request::OffsetCommitRequestPartition::default();
    let topic = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(name())
        .with_partitions(vec![partition]);
    let commit = OffsetCommitRequest::default()
        .with_group_id(name())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let topic = create_topics_request::CreatableTopic::default()
        .with_name(StrBytes::from_static_str("u").into())
        .with_num_partitions(1)
        .with_replication_factor(1);
    let create = CreateTopicsRequest::default().with_topics(vec![topic]);
    let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
    let topic = list_offsets_request::ListOffsetsTopic::default()
        .with_name(name())
        .with_partitions(vec![partition]);
    let list = ListOffsetsRequest::default().with_topics(vec![topic]);
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(name())
        .with_configuration_keys(None);
    let configs = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let creation = create_acls_request::AclCreation::default()
        .with_resource_type(2)
        .with_resource_name(name())
        .with_principal(StrBytes::from_static_str("User:ann"))
        .with_host(StrBytes::from_static_str("*"))
        .with_operation(3)
        .with_permission_type(3);
    let acls = CreateAclsRequest::default().with_creations(vec![creation]);
    let init = InitProducerIdRequest::default()
        .with_transactional_id(Some(name()))
        .with_transaction_timeout_ms(1000);
    let find = FindCoordinatorRequest::default()
        .with_key(name())
        .with_coordinator_keys(vec![name()]);
    [
        all_versions(&produce),
        all_versions(&fetch),
        all_versions(&metadata),
        all_versions(&join),
        all_versions(&commit),
        all_versions(&create),
        all_versions(&list),
        all_versions(&configs),
        all_versions(&acls),
        all_versions(&init),
        all_versions(&find),
    ]
    .concat()
}

fn samples() -> Vec<Vec<u8>> {
    let defaults = defaults! {
        ProduceRequest FetchRequest ListOffsetsRequest MetadataRequest OffsetCommitRequest OffsetFetchRequest
        FindCoordinatorRequest JoinGroupRequest HeartbeatRequest LeaveGroupRequest SyncGroupRequest
        DescribeGroupsRequest ListGroupsRequest SaslHandshakeRequest ApiVersionsRequest CreateTopicsRequest
        DeleteTopicsRequest DeleteRecordsRequest InitProducerIdRequest OffsetForLeaderEpochRequest
        AddPartitionsToTxnRequest AddOffsetsToTxnRequest EndTxnRequest TxnOffsetCommitRequest DescribeAclsRequest
        CreateAclsRequest DeleteAclsRequest DescribeConfigsRequest AlterConfigsRequest DescribeLogDirsRequest
        CreatePartitionsRequest SaslAuthenticateRequest DeleteGroupsRequest ElectLeadersRequest
        IncrementalAlterConfigsRequest ListPartitionReassignmentsRequest OffsetDeleteRequest
        DescribeClientQuotasRequest DescribeUserScramCredentialsRequest AlterUserScramCredentialsRequest
        DescribeClusterRequest DescribeProducersRequest DescribeTransactionsRequest ListTransactionsRequest
        ListConfigResourcesRequest DescribeTopicPartitionsRequest
    };
    let of = |sample: &Vec<u8>| i16::from_be_bytes([sample[4], sample[5]]);
    for api in API {
        assert!(
            defaults.iter().any(|one| of(one) == api.key as i16),
            "{:?}",
            api.key
        );
    }
    // Those that name something as often as the many that name nothing.
    let rich = rich();
    [defaults, rich.clone(), rich.clone(), rich].concat()
}

/// Says what it has to say, and hears all there is.
async fn peer(stream: DuplexStream, said: Vec<u8>) -> io::Result<u64> {
    let (mut answers, mut requests) = tokio::io::split(stream);
    let say = async {
        requests.write_all(&said).await?;
        requests.shutdown().await
    };
    let mut sink = tokio::io::sink();
    let (said, heard) = tokio::join!(say, tokio::io::copy(&mut answers, &mut sink));
    said.ok();
    heard
}

/// Some frames in a row; mostly with lengths that are right.
fn conversation(fuzzer: &Fuzzer<'_>, first: Vec<u8>) -> Vec<u8> {
    let mut said = Vec::new();
    let mut next = first;
    for _ in 0..=fuzzer.below(3) {
        if next.len() >= 8 && fuzzer.below(16) > 0 {
            // Another API or version, now and then.
            if fuzzer.below(8) == 0 {
                next[5] = fuzzer.below(80) as u8;
            }
            if fuzzer.below(8) == 0 {
                next[7] = fuzzer.below(16) as u8;
            }
            relength(&mut next);
        }
        said.extend_from_slice(&next);
        next = fuzzer.next();
    }
    said
}

#[test]
fn requests() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let memory = Arc::new(server::Memory::new(64 << 20));
    let (mut broker, mut left) = (open(), EACH);
    let (mut heard, mut cut) = (0, 0);
    fuzz(0x4652_414d, &samples(), |fuzzer, first| {
        if left == 0 {
            (broker, left) = (open(), EACH);
        }
        left -= 1;
        let said = conversation(fuzzer, first);
        let (near, far) = tokio::io::duplex(1 << 16);
        let (state, listener) = (Arc::clone(&broker.0), Arc::clone(&broker.1));
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        let serve = server::converse(Box::new(far), from, listener, state, Arc::clone(&memory));
        let talk = async { tokio::join!(serve, peer(near, said)) };
        match runtime.block_on(async { tokio::time::timeout(PATIENCE, talk).await }) {
            Ok((_, told)) => heard += told.unwrap_or(0),
            Err(_) => cut += 1,
        }
    });
    println!("{heard} bytes of answers, {cut} cut off");
    assert!(heard > 0, "nothing is answered");
}
