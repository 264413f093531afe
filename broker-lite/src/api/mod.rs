//! The Kafka APIs: one file each, with its versions and behaviour on top.
//!
//! [`API`] is the registry: what is in it is served, and ApiVersions is built from it, so that the list
//! cannot drift from the code.

mod acl_filter;
mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod alter_user_scram_credentials;
mod altering;
mod api_versions;
mod config_resource;
mod create_acls;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod end_txn;
mod error_codes;
mod errors;
mod faulty;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod pieces;
mod produce;
mod rights;
mod sasl_authenticate;
mod sasl_handshake;
mod sync_group;
mod txn_offset_commit;

use std::{
    collections::BTreeMap,
    io,
    marker::PhantomData,
    sync::{Arc, atomic::AtomicBool},
};

use bytes::{BufMut, Bytes, BytesMut};
use error_codes::ErrorCodes;
pub(crate) use errors::{code, fenced_before, message, outside_transaction};
pub(crate) use faulty::takes_errors;
use host::BoxFuture;
use kafka_protocol::{
    messages::{ApiKey, ApiVersionsRequest, RequestHeader, ResponseHeader},
    protocol::{Encodable, HeaderVersion, Request},
};
pub(crate) use pieces::{Answer, Piece};

use wire::request;

use crate::{
    security::{Principal, listeners::Listener},
    state::State,
};

/// Bytes before an answer: length, correlation id, tagged fields.
const HEAD: usize = 9;

/// Who asks, and what of.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) state: Arc<State>,
    /// By which listener the client came.
    pub(crate) listener: Arc<Listener>,
    pub(crate) principal: Arc<Principal>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    /// Whether others may need the memory of what the request has become: it must not wait long.
    pub(crate) is_large: bool,
    /// Set where the only answer that can be given is to close the connection.
    pub(crate) hangs_up: Arc<AtomicBool>,
}

/// One served API.
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) min: i16,
    pub(crate) max: i16,
    serve: for<'a> fn(&'a Context, &'a RequestHeader, Bytes) -> Served<'a>,
}

type Served<'a> = BoxFuture<'a, io::Result<Option<Answer>>>;

/// `module key min..=max`: decodes, handles, encodes, unless `=>` names what does it instead.
macro_rules! apis {
    (@serve $module:ident $key:ident) => {
        |cx, header, body| Box::pin(async move {
            let version = header.request_api_version;
            let request = request::decode(body, version).map_err(invalid)?;
            let kind = kind(&request);
            let handle = |request| $module::handle(cx, version, request);
            let response = faulty::serve(cx, version, request, handle).await?;
            count_errors(cx, ApiKey::$key, response.as_ref());
            let frame = encode(kind, header.correlation_id, version, response)?;
            Ok(frame.map(Answer::from))
        })
    };
    (@serve $module:ident $key:ident $serve:path) => {
        |cx, header, body| Box::pin($serve(cx, header, body))
    };
    ($($module:ident $key:ident $min:literal ..= $max:literal $(=> $serve:path)?,)*) => {
        /// What is served.
        pub(crate) const API: &[Api] = &[$(Api {
            key: ApiKey::$key,
            min: $min,
            max: $max,
            serve: apis!(@serve $module $key $($serve)?),
        },)*];
    };
}

apis! {
    produce Produce 3..=13,
    fetch Fetch 4..=18 => fetch::serve,
    list_offsets ListOffsets 1..=10,
    metadata Metadata 0..=13,
    offset_commit OffsetCommit 2..=9,
    offset_fetch OffsetFetch 1..=9,
    find_coordinator FindCoordinator 0..=6,
    join_group JoinGroup 0..=9,
    heartbeat Heartbeat 0..=4,
    leave_group LeaveGroup 0..=5,
    sync_group SyncGroup 0..=5,
    describe_groups DescribeGroups 0..=6,
    list_groups ListGroups 0..=5,
    sasl_handshake SaslHandshake 0..=1,
    api_versions ApiVersions 0..=4,
    create_topics CreateTopics 2..=7,
    delete_topics DeleteTopics 1..=6,
    delete_records DeleteRecords 0..=2,
    init_producer_id InitProducerId 0..=5,
    offset_for_leader_epoch OffsetForLeaderEpoch 2..=4,
    add_partitions_to_txn AddPartitionsToTxn 0..=5,
    add_offsets_to_txn AddOffsetsToTxn 0..=4,
    end_txn EndTxn 0..=5,
    txn_offset_commit TxnOffsetCommit 0..=5,
    describe_acls DescribeAcls 1..=3,
    create_acls CreateAcls 1..=3,
    delete_acls DeleteAcls 1..=3,
    describe_configs DescribeConfigs 1..=4,
    alter_configs AlterConfigs 0..=2,
    describe_log_dirs DescribeLogDirs 1..=4,
    create_partitions CreatePartitions 0..=3,
    sasl_authenticate SaslAuthenticate 0..=2,
    delete_groups DeleteGroups 0..=2,
    elect_leaders ElectLeaders 0..=2,
    incremental_alter_configs IncrementalAlterConfigs 0..=1,
    list_partition_reassignments ListPartitionReassignments 0..=0,
    offset_delete OffsetDelete 0..=0,
    describe_client_quotas DescribeClientQuotas 0..=1,
    describe_user_scram_credentials DescribeUserScramCredentials 0..=0,
    alter_user_scram_credentials AlterUserScramCredentials 0..=0,
    describe_cluster DescribeCluster 0..=2,
    describe_producers DescribeProducers 0..=0,
    describe_transactions DescribeTransactions 0..=0,
    list_transactions ListTransactions 0..=2,
    list_config_resources ListConfigResources 0..=1,
    describe_topic_partitions DescribeTopicPartitions 0..=0,
}

fn count_errors(cx: &Context, api: ApiKey, response: Option<&impl ErrorCodes>) {
    // An answer may have a hundred thousand, mostly of one kind.
    let mut counts = BTreeMap::new();
    if let Some(response) = response {
        response.error_codes(&mut |code| {
            if code != 0 {
                *counts.entry(code).or_insert(0) += 1;
            }
        });
    }
    for (code, times) in counts {
        cx.state.metrics.errors(api, code, times);
    }
}

/// Serves a request; an error ends the connection, as with Kafka.
pub(crate) async fn serve(
    cx: &Context,
    header: &RequestHeader,
    body: Bytes,
) -> io::Result<Option<Answer>> {
    let (key, version) = (header.request_api_key, header.request_api_version);
    let served = API.iter().find(|api| api.key as i16 == key);
    match served {
        Some(api) if (api.min..=api.max).contains(&version) => (api.serve)(cx, header, body).await,
        // The client learns what it may ask instead, in the one version that every client reads (KIP-511).
        Some(api) if api.key == ApiKey::ApiVersions => {
            let kind = PhantomData::<ApiVersionsRequest>;
            let answer = Some(api_versions::unsupported());
            let frame = encode(kind, header.correlation_id, 0, answer)?;
            Ok(frame.map(Answer::from))
        }
        _ => Err(invalid(format!(
            "API {key} is not served in version {version}"
        ))),
    }
}

/// Whether an API is served in this version.
pub(crate) fn serves(key: ApiKey, version: i16) -> bool {
    let served = API.iter().find(|api| api.key == key);
    served.is_some_and(|api| (api.min..=api.max).contains(&version))
}

/// Answers ApiVersions before a login; and whether the request was a sound one.
pub(crate) fn versions(
    header: &RequestHeader,
    body: Bytes,
) -> io::Result<(Option<BytesMut>, bool)> {
    let (id, version) = (header.correlation_id, header.request_api_version);
    let kind = PhantomData::<ApiVersionsRequest>;
    if !serves(ApiKey::ApiVersions, version) {
        let answer = encode(kind, id, 0, Some(api_versions::unsupported()))?;
        return Ok((answer, false));
    }
    let request = request::decode(body, version).map_err(invalid)?;
    let answer = api_versions::answer(version, &request);
    let is_sound = answer.error_code == 0;
    Ok((encode(kind, id, version, Some(answer))?, is_sound))
}

/// The request's type, to find its response's.
fn kind<R: Request>(_request: &R) -> PhantomData<R> {
    PhantomData
}

/// A whole frame: length, header, response. None where the client wants no answer.
pub(crate) fn encode<R: Request>(
    _kind: PhantomData<R>,
    correlation_id: i32,
    version: i16,
    response: Option<R::Response>,
) -> io::Result<Option<BytesMut>> {
    let Some(response) = response else {
        return Ok(None);
    };
    // Answers of many megabytes must not be moved while they grow.
    let size = response.compute_size(version);
    let size = size.map_err(|error| invalid(format!("encode the answer: {error}")))?;
    let mut frame = BytesMut::with_capacity(size + HEAD);
    frame.put_i32(0);
    ResponseHeader::default()
        .with_correlation_id(correlation_id)
        .encode(&mut frame, R::Response::header_version(version))
        .and_then(|()| response.encode(&mut frame, version))
        .map_err(|error| invalid(format!("encode the answer: {error}")))?;
    let length = i32::try_from(frame.len() - 4).map_err(|_| invalid("too long".to_owned()))?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(Some(frame))
}

pub(crate) fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
