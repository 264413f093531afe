//! Reads the target's tail, from its end backwards, and what its leader remembers.

use std::time::Duration;

use host::BoxFuture;
use wire::{
    Isolation, TopicPartition,
    batch::{BatchView, batches},
    client::{FetchRequest, OffsetSpec, ProducerState},
    error::{ApiError, ClientError},
    record::{Record, decode},
};

use super::{Reconciler, TargetReader};

/// Batches of others that are passed over on the way back from the end, at most.
pub const STEPS: usize = 10_000;
/// Looks that a moving leader may cost.
const LOOKS: usize = 5;
/// Batches at the end of a target among which one of the unit's own is looked for where there is no checkpoint.
pub const TRACES: usize = 16;
const MAX_DECOMPRESSED: usize = 1 << 30;
/// Enough for any batch: the first one comes whole.
const ONE_BATCH: i32 = 1;
const OFFSET_OUT_OF_RANGE: i16 = 1;

/// What a target partition holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The offset behind what is replicated.
    pub end: i64,
    /// What the leader remembers of the unit's producer; none: nothing, or it does not tell.
    pub memory: Option<Memory>,
    /// The newest batch of the unit's producer, if there is one in the range.
    pub tail: Option<Tail>,
    /// The newest record in the range, whoever wrote it.
    pub newest: Option<Newest>,
}

/// A producer as the leader remembers it: what was sent, replicated or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Producer epoch.
    pub epoch: i16,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Largest timestamp of its last batch, in milliseconds since 1970.
    pub last_timestamp: i64,
}

/// The newest batch of the unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Tail {
    /// Producer epoch.
    pub epoch: i16,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Its last record, and where the log goes on.
    pub newest: Newest,
}

/// A record on the target, as far as it is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Newest {
    /// The record.
    pub record: Record,
    /// The leader set its time: it says nothing about the source's record.
    pub log_append_time: bool,
    /// The offset behind it.
    pub next_offset: i64,
}

impl Newest {
    /// Whether `source`'s record has the same content.
    pub fn is(&self, source: &Record) -> bool {
        if self.log_append_time {
            let timestamp = self.record.timestamp;
            let timeless = Record {
                timestamp,
                ..source.clone()
            };
            return timeless.crc() == self.record.crc();
        }
        self.record.crc() == source.crc()
    }
}

impl Reconciler for TargetReader {
    fn look<'a>(
        &'a self,
        target: &'a TopicPartition,
        from: i64,
        producer_id: i64,
    ) -> BoxFuture<'a, Result<Evidence, String>> {
        Box::pin(async move {
            for _ in 0..LOOKS {
                let before = self.leader_epoch(target).await?;
                let evidence = self.look_once(target, from, producer_id).await?;
                // What one leader said is nothing that another one has to hold.
                if self.leader_epoch(target).await? == before {
                    return Ok(evidence);
                }
            }
            Err("its leader keeps moving".to_owned())
        })
    }

    fn read_back<'a>(
        &'a self,
        target: &'a TopicPartition,
        offset: i64,
    ) -> BoxFuture<'a, Result<Option<BatchView>, String>> {
        Box::pin(self.batch_at(target, offset))
    }
}

impl TargetReader {
    /// Whether producer `id` wrote one of the batches of `target` at these offsets, among the last `most` of them; none
    /// if there are more, or one cannot be read.
    ///
    /// # Errors
    /// If they cannot be read now.
    pub async fn wrote(
        &self,
        target: &TopicPartition,
        offsets: std::ops::Range<i64>,
        id: i64,
        most: usize,
    ) -> Result<Option<bool>, ClientError> {
        let mut at = offsets.end - 1;
        for _ in 0..most {
            if at < offsets.start {
                return Ok(Some(false));
            }
            let request = one_batch(target, at);
            let fetched = self.client.fetch(request).await?;
            let Some(Ok(batch)) = batches(fetched.records).next() else {
                return Ok(None);
            };
            if batch.header.producer_id == id {
                return Ok(Some(true));
            }
            at = batch.header.base_offset.min(at) - 1;
        }
        Ok((at < offsets.start).then_some(false))
    }

    async fn look_once(
        &self,
        target: &TopicPartition,
        from: i64,
        producer_id: i64,
    ) -> Result<Evidence, String> {
        let memory = self.memory(target, producer_id).await?;
        let end = self.end(target).await?;
        let mut evidence = Evidence {
            end,
            memory,
            tail: None,
            newest: None,
        };
        let mut at = end - 1;
        for _ in 0..STEPS {
            if at < from {
                return Ok(evidence);
            }
            let Some(batch) = self.batch_at(target, at).await? else {
                return Err(format!("offset {at} of the target could not be read"));
            };
            at = batch.header.base_offset - 1;
            if batch.header.is_control() {
                continue;
            }
            let ours = batch.header.producer_id == producer_id;
            if !ours && evidence.newest.is_some() {
                continue;
            }
            let newest = newest(&batch)?;
            if evidence.newest.is_none() {
                evidence.newest.clone_from(&newest);
            }
            if let (true, Some(newest)) = (ours, newest) {
                evidence.tail = Some(Tail {
                    epoch: batch.header.producer_epoch,
                    last_sequence: batch.header.last_sequence(),
                    newest,
                });
                return Ok(evidence);
            }
        }
        Err(format!(
            "none of the last {STEPS} batches of the target is of this flow"
        ))
    }

    async fn memory(
        &self,
        target: &TopicPartition,
        producer_id: i64,
    ) -> Result<Option<Memory>, String> {
        let wanted = std::slice::from_ref(target);
        let described = self.client.describe_producers(wanted).await;
        let producers = match described.map_err(|error| error.to_string())?.pop() {
            Some((_, Ok(producers))) => producers,
            // The log itself tells what was appended; only what is not replicated yet stays unseen.
            Some((_, Err(_))) | None => Vec::new(),
        };
        let mut producers = producers.into_iter();
        let found = producers.find(|producer| producer.producer_id == producer_id);
        Ok(found.map(|producer: ProducerState| Memory {
            epoch: i16::try_from(producer.producer_epoch).unwrap_or(-1),
            last_sequence: producer.last_sequence,
            last_timestamp: producer.last_timestamp,
        }))
    }

    async fn end(&self, target: &TopicPartition) -> Result<i64, String> {
        let wanted = [(target.clone(), OffsetSpec::Latest)];
        let listed = self
            .client
            .list_offsets(&wanted, Isolation::ReadUncommitted)
            .await;
        match listed.map_err(|error| error.to_string())?.pop() {
            Some((_, Ok(found))) => Ok(found.offset),
            Some((_, Err(error))) => Err(error.to_string()),
            None => Err("no answer about its end".to_owned()),
        }
    }

    async fn leader_epoch(&self, target: &TopicPartition) -> Result<i32, String> {
        let topic = self.client.topic(&target.topic).await;
        let topic = topic.map_err(|error| error.to_string())?;
        let found = topic.partition(target.partition);
        Ok(found.map_or(-1, |found| found.leader_epoch))
    }

    async fn batch_at(
        &self,
        target: &TopicPartition,
        offset: i64,
    ) -> Result<Option<BatchView>, String> {
        let request = one_batch(target, offset);
        let is_gone = |error: &ApiError| error.code == OFFSET_OUT_OF_RANGE;
        let fetched = match self.client.fetch(request).await {
            Ok(fetched) => fetched,
            Err(error) if error.api_error().is_some_and(is_gone) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let batch = batches(fetched.records).next().transpose();
        let batch = batch.map_err(|error| format!("offset {offset} of the target: {error}"))?;
        if let Some(batch) = &batch {
            batch
                .check_crc()
                .map_err(|error| format!("offset {offset} of the target: {error}"))?;
        }
        Ok(batch.filter(|batch| batch.header.base_offset <= offset))
    }
}

fn one_batch(target: &TopicPartition, offset: i64) -> FetchRequest {
    FetchRequest {
        partition: target.clone(),
        offset,
        max_bytes: ONE_BATCH,
        // An acknowledged offset may be a moment ahead of the high watermark that readers see.
        max_wait: Duration::from_secs(1),
        isolation: Isolation::ReadUncommitted,
    }
}

/// The last record of a batch; none of a batch that compaction emptied.
fn newest(batch: &BatchView) -> Result<Option<Newest>, String> {
    let at = batch.header.base_offset;
    let records = decode(batch, MAX_DECOMPRESSED);
    let mut records = records.map_err(|error| format!("offset {at} of the target: {error}"))?;
    Ok(records.pop().map(|record| Newest {
        next_offset: record.offset + 1,
        log_append_time: batch.header.is_log_append_time(),
        record,
    }))
}
