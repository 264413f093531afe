//! One try of a target.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use host::Host;
use uuid::Uuid;
use wire::{
    Isolation, TopicPartition,
    batch::{BatchView, HEADER_LEN, batches},
    client::{Client, FetchRequest, NewTopic, ProducerState, Producers},
    connection::{Connection, MayGo, PendingProduce},
    error::{ApiError, ClientError},
    produce::ProduceBatch,
    record::{BatchBuilder, Codec, Header, Record, decode},
};

use super::{
    BEHIND_GAP, EPOCH, FIRST, Kept, Outcome, Seen, TOPIC,
    probe::{Failure, judged, wanted},
};

/// How long the leader waits for its replicas, as on the data path.
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(5);
/// Probes are small and short-lived.
const RETENTION_MS: &str = "3600000";
/// More than a probe writes, and others at the same time.
const READ_BYTES: i32 = 256 << 10;
const MAX_DECOMPRESSED: usize = 1 << 20;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// One try, with a producer id of its own.
pub(super) struct Attempt<'a> {
    client: &'a Client,
    partition: Arc<TopicPartition>,
    producer_id: i64,
    now: i64,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(client: &'a Client, host: &'a Host) -> Self {
        // As those of units, in the range that brokers do not allocate from (EXACTNESS 1).
        let id = host.random.number() & (u64::MAX >> 2) | 1 << 62;
        Self {
            client,
            partition: Arc::new(TopicPartition::new(TOPIC, 0)),
            producer_id: id.cast_signed(),
            now: host.clock.wall_ms(),
        }
    }

    pub(super) async fn look(&self, replication_factor: i16) -> Result<Seen, Failure> {
        let (leader, topic_id) = self.leader(replication_factor).await?;
        let connection = wanted(self.client.dial(leader).await)?;
        let (batch, later) = (self.batch(*FIRST.start()), self.batch(BEHIND_GAP));
        // All on their way at once, as on the data path.
        let [first, repeat, gap] =
            [&batch, &batch, &later].map(|batch| self.send(&connection, batch, topic_id));
        let mut seen = Seen {
            first: judged(self.answer(&connection, first).await)?,
            repeat: judged(self.answer(&connection, repeat).await)?,
            gap: judged(self.answer(&connection, gap).await)?,
            kept: Ok(Vec::new()),
            memory: Ok(None),
        };
        if let Ok(offset) = &seen.first {
            seen.kept = self.kept(*offset, &batch).await?;
            let wanted = std::slice::from_ref(&*self.partition);
            let described = self.client.describe_producers(wanted).await;
            seen.memory = judged(self.memory(described))?;
        }
        Ok(seen)
    }

    /// Who leads the topic, and its id; creates it if it is not there.
    async fn leader(&self, replication_factor: i16) -> Result<(i32, Uuid), Failure> {
        let described = self.client.topics(Some(&[TOPIC.to_owned()])).await;
        let topic = wanted(described)?.pop();
        let topic = topic.ok_or_else(|| Failure::Again("no answer about it".to_owned()))?;
        match &topic.error {
            None => {}
            Some(error) if error.code == UNKNOWN_TOPIC_OR_PARTITION => {
                self.create(replication_factor).await?;
                return Err(Failure::Again("it is not there yet".to_owned()));
            }
            Some(error) => wanted::<()>(Err(self.refusal(error.clone())))?,
        }
        let first = topic.partitions.iter().find(|found| found.index == 0);
        let leader = first.and_then(|found| found.leader);
        let leader = leader.ok_or_else(|| Failure::Again("it has no leader".to_owned()))?;
        Ok((leader, topic.id))
    }

    async fn create(&self, replication_factor: i16) -> Result<(), Failure> {
        let topic = NewTopic {
            name: TOPIC.to_owned(),
            partitions: 1,
            replication_factor,
            configs: vec![
                ("cleanup.policy".to_owned(), "delete".to_owned()),
                ("retention.ms".to_owned(), RETENTION_MS.to_owned()),
            ],
        };
        for (_, outcome) in wanted(self.client.create_topics(&[topic], false).await)? {
            match outcome {
                Err(error) if error.code != TOPIC_ALREADY_EXISTS => {
                    wanted::<()>(Err(self.refusal(error)))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Two records with headers, of which two have one name and one has no value.
    fn batch(&self, base_sequence: i32) -> Bytes {
        let header = |value: Option<&'static [u8]>| Header {
            key: Bytes::from_static(b"strait"),
            value: value.map(Bytes::from_static),
        };
        let headers = [header(Some(b"a")), header(None), header(Some(b"b"))];
        let key = self.producer_id.to_be_bytes();
        let mut batch =
            BatchBuilder::new(Codec::None).producer(self.producer_id, EPOCH, base_sequence);
        for _ in FIRST {
            batch.push(self.now, Some(&key), Some(b"probe"), &headers);
        }
        batch
            .build(0)
            .expect("two short records are no large batch")
    }

    fn send(
        &self,
        connection: &Connection,
        batch: &Bytes,
        topic_id: Uuid,
    ) -> Result<PendingProduce, ClientError> {
        let header = batch.first_chunk::<HEADER_LEN>();
        let batch = ProduceBatch {
            partition: Arc::clone(&self.partition),
            topic_id,
            header: *header.expect("a batch begins with its header"),
            payload: batch.slice(HEADER_LEN..),
        };
        connection.begin_produce(&[batch], PRODUCE_TIMEOUT, MayGo::new(|| true))
    }

    async fn answer(
        &self,
        connection: &Connection,
        begun: Result<PendingProduce, ClientError>,
    ) -> Outcome {
        let answer = connection.finish(&mut begun?).await?;
        let mut answers = answer
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses);
        let unanswered = ApiError {
            code: -1,
            message: Some("the broker did not answer for it".to_owned()),
        };
        let found = answers.next().ok_or_else(|| self.refusal(unanswered))?;
        match ApiError::from_code(found.error_code, found.error_message.as_deref()) {
            Some(error) => Err(self.refusal(error)),
            None => Ok(found.base_offset),
        }
    }

    /// What is there from `offset` on, where `sent` was acknowledged.
    async fn kept(&self, offset: i64, sent: &Bytes) -> Result<Result<Vec<Kept>, String>, Failure> {
        let request = FetchRequest {
            partition: (*self.partition).clone(),
            offset,
            max_bytes: READ_BYTES,
            // What is acknowledged may be a moment ahead of what readers see.
            max_wait: Duration::from_secs(1),
            isolation: Isolation::ReadUncommitted,
        };
        let fetched = wanted(self.client.fetch(request).await)?;
        if fetched.records.is_empty() {
            return Err(Failure::Again(format!(
                "nothing is seen at offset {offset}"
            )));
        }
        Ok(ours(&fetched.records, self.producer_id, sent))
    }

    fn memory(
        &self,
        described: Result<Producers, ClientError>,
    ) -> Result<Option<ProducerState>, ClientError> {
        let Some((_, producers)) = described?.pop() else {
            return Ok(None);
        };
        let producers = producers.map_err(|error| self.refusal(error))?;
        let ours = |one: &ProducerState| one.producer_id == self.producer_id;
        Ok(producers.into_iter().find(ours))
    }

    fn refusal(&self, error: ApiError) -> ClientError {
        let what = TOPIC.to_owned();
        ClientError::Api { what, error }
    }
}

/// The batches of a producer among `fetched`, compared with what it sent.
fn ours(fetched: &Bytes, producer_id: i64, sent: &Bytes) -> Result<Vec<Kept>, String> {
    let sent = contents(sent)?;
    let mut kept = Vec::new();
    for batch in batches(fetched.clone()) {
        let BatchView { header, bytes } = batch.map_err(|error| error.to_string())?;
        if header.producer_id == producer_id {
            kept.push(Kept {
                offset: header.base_offset,
                epoch: header.producer_epoch,
                base_sequence: header.base_sequence,
                unchanged: contents(&bytes)? == sent,
            });
        }
    }
    Ok(kept)
}

/// Records of a batch without what a broker sets: offsets, and times if it likes.
fn contents(batch: &Bytes) -> Result<Vec<Record>, String> {
    let view = BatchView::read(batch).map_err(|error| error.to_string())?;
    let view = view.ok_or("it is cut off")?;
    let records = decode(&view, MAX_DECOMPRESSED).map_err(|error| error.to_string())?;
    let records = records.into_iter().map(|record| Record {
        offset: 0,
        timestamp: 0,
        ..record
    });
    Ok(records.collect())
}
