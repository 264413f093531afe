//! Single partitions, read and written: for checks, comparisons and small topics of our own. The data
//! path has its own source and sink.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{
    BrokerId, FetchRequest as WireFetch, ProduceRequest, ProduceResponse,
    fetch_request::{FetchPartition, FetchTopic},
    fetch_response::PartitionData,
    produce_request::{PartitionProduceData, TopicProduceData},
};

use super::{Client, To, offsets::name, unanswered};
use crate::{
    Isolation, TopicPartition,
    batch::batches,
    error::{ApiError, ClientError},
    record::{Aborted, Record, decode},
};

/// A read of one partition.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// Which.
    pub partition: TopicPartition,
    /// From where.
    pub offset: i64,
    /// How much; a larger first batch comes all the same.
    pub max_bytes: i32,
    /// How long the broker waits for a first byte, within the time for an answer.
    pub max_wait: Duration,
    /// What of transactions is seen.
    pub isolation: Isolation,
}

/// What a read brought.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Which partition.
    pub partition: TopicPartition,
    /// The end of what is replicated.
    pub high_watermark: i64,
    /// The end of what is decided.
    pub last_stable_offset: i64,
    /// The first offset there is.
    pub log_start_offset: i64,
    /// Batches; the first may begin before the wanted offset, the last may be cut off.
    pub records: Bytes,
    /// Aborted transactions in the range: producer id, first offset.
    pub aborted: Vec<(i64, i64)>,
}

/// Committed records of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// At or behind the wanted offset, in order.
    pub records: Vec<Record>,
    /// Where to read next, past markers and aborted records too.
    pub next_offset: i64,
}

/// Where a written batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Offset of its first record.
    pub base_offset: i64,
    /// When it was appended, in milliseconds since 1970; -1 unless the topic counts by that.
    pub log_append_time: i64,
    /// The first offset there is.
    pub log_start_offset: i64,
}

/// A batch may decompress to as much.
const MAX_DECOMPRESSED: usize = 1 << 30;

impl Client {
    /// Reads one partition from its leader, without a fetch session.
    ///
    /// # Errors
    /// If the leader cannot be reached, or refuses: OFFSET_OUT_OF_RANGE for an offset that is gone.
    pub async fn fetch(&self, request: FetchRequest) -> Result<Fetched, ClientError> {
        let partition = &request.partition;
        let entry = FetchPartition::default()
            .with_partition(partition.partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(request.offset)
            .with_last_fetched_epoch(-1)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(request.max_bytes);
        let topic = FetchTopic::default()
            .with_topic(name(&partition.topic))
            .with_partitions(vec![entry]);
        let max_wait = i32::try_from(request.max_wait.as_millis()).unwrap_or(i32::MAX);
        let max_wait = max_wait.min(self.patience_ms());
        let wire = WireFetch::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(max_wait)
            .with_min_bytes(1)
            .with_max_bytes(request.max_bytes)
            .with_isolation_level(request.isolation as i8)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        // From version 13 on topics go by id, which this simple call does not know.
        let mut answer = self
            .call(To::Leader(partition), &wire, 4..=12, |answer| {
                let mut all = answer.responses.iter().flat_map(|topic| &topic.partitions);
                ApiError::from_code(answer.error_code, None::<&str>)
                    .or_else(|| all.find_map(|p| ApiError::from_code(p.error_code, None::<&str>)))
            })
            .await?;
        let data = answer
            .responses
            .pop()
            .and_then(|mut topic| topic.partitions.pop());
        match data {
            Some(data) => Ok(Fetched::from_wire(request.partition, data)),
            None => Err(refusal(&request.partition, unanswered())),
        }
    }

    /// Writes one batch to a partition and waits for all in-sync replicas. It is sent again only after an
    /// answer that says that it was not written.
    ///
    /// # Errors
    /// If the leader cannot be reached or refuses. Where no broker answered, or one answered
    /// REQUEST_TIMED_OUT or NOT_ENOUGH_REPLICAS_AFTER_APPEND, the batch may be there.
    pub async fn produce(
        &self,
        partition: &TopicPartition,
        batch: Bytes,
    ) -> Result<Produced, ClientError> {
        let data = PartitionProduceData::default()
            .with_index(partition.partition)
            .with_records(Some(batch));
        let topic = TopicProduceData::default()
            .with_name(name(&partition.topic))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(self.patience_ms())
            .with_topic_data(vec![topic]);
        // From version 13 on topics go by id.
        let answer = self
            .call(To::Leader(partition), &request, 3..=12, |answer| {
                produce_error(answer).filter(was_not_written)
            })
            .await?;
        if let Some(error) = produce_error(&answer) {
            return Err(refusal(partition, error));
        }
        let data = answer
            .responses
            .first()
            .and_then(|topic| topic.partition_responses.first())
            .ok_or_else(|| refusal(partition, unanswered()))?;
        Ok(Produced {
            base_offset: data.base_offset,
            log_append_time: data.log_append_time_ms,
            log_start_offset: data.log_start_offset,
        })
    }
}

fn refusal(partition: &TopicPartition, error: ApiError) -> ClientError {
    ClientError::Api {
        what: partition.to_string(),
        error,
    }
}

fn produce_error(answer: &ProduceResponse) -> Option<ApiError> {
    let mut all = answer
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    all.find_map(|p| ApiError::from_code(p.error_code, p.error_message.as_deref()))
}

/// Refusals of the leader, or of a broker that is not it, before anything is appended:
/// UNKNOWN_TOPIC_OR_PARTITION (on its way to the broker), LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER,
/// NOT_ENOUGH_REPLICAS, FENCED and UNKNOWN_LEADER_EPOCH (`ReplicaManager.appendToLocalLog`).
fn was_not_written(error: &ApiError) -> bool {
    matches!(error.code, 3 | 5 | 6 | 19 | 74 | 75)
}

impl Fetched {
    fn from_wire(partition: TopicPartition, data: PartitionData) -> Self {
        let aborted = data.aborted_transactions.unwrap_or_default();
        Self {
            partition,
            high_watermark: data.high_watermark,
            last_stable_offset: data.last_stable_offset,
            log_start_offset: data.log_start_offset,
            records: data.records.unwrap_or_default(),
            aborted: aborted
                .iter()
                .map(|one| (one.producer_id.0, one.first_offset))
                .collect(),
        }
    }

    /// Opens the batches: records from `offset` on, without markers and, under read_committed, without
    /// aborted transactions.
    ///
    /// # Errors
    /// If a batch is damaged.
    pub fn committed(&self, offset: i64, isolation: Isolation) -> Result<Committed, ClientError> {
        let mut aborted = Aborted::new(&self.aborted, isolation);
        let mut committed = Committed {
            records: Vec::new(),
            next_offset: offset,
        };
        for batch in batches(self.records.clone()) {
            let damaged = |error: crate::batch::BatchError| {
                ClientError::damaged(&self.partition, committed.next_offset, error)
            };
            let batch = batch.map_err(damaged)?;
            let base = batch.header.base_offset;
            batch
                .check_crc()
                .map_err(|e| ClientError::damaged(&self.partition, base, e))?;
            let skip = aborted
                .skips(&batch)
                .map_err(|e| ClientError::damaged(&self.partition, base, e))?;
            if !skip {
                let records = decode(&batch, MAX_DECOMPRESSED)
                    .map_err(|e| ClientError::damaged(&self.partition, base, e))?;
                committed
                    .records
                    .extend(records.into_iter().filter(|r| r.offset >= offset));
            }
            committed.next_offset = committed.next_offset.max(batch.header.next_offset());
        }
        Ok(committed)
    }
}
