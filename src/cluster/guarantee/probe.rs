//! Tries a target, and asks it how long it remembers producers.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use host::Host;
use tokio::sync::OnceCell;
use uuid::Uuid;
use wire::{
    Class, Isolation, TopicPartition,
    batch::{BatchView, HEADER_LEN, batches},
    client::{Client, FetchRequest, NewTopic, ProducerState, Producers},
    connection::{Connection, MayGo, PendingProduce},
    error::{ApiError, ClientError},
    produce::ProduceBatch,
    record::{BatchBuilder, Codec, Header, Record, decode},
};

use super::{BEHIND_GAP, EPOCH, FIRST, Kept, Outcome, Probed, Seen, TOPIC, code, verdict};
use crate::base::backoff::Backoff;

/// How long a target may take until it can be probed: its topic is made, leaders move.
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// How long the leader waits for its replicas, as on the data path.
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// Probes are small and short-lived.
const RETENTION_MS: &str = "3600000";
/// More than a probe writes, and others at the same time.
const READ_BYTES: i32 = 256 << 10;
const MAX_DECOMPRESSED: usize = 1 << 20;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const TOPIC_ALREADY_EXISTS: i16 = 36;
/// TOPIC_ and CLUSTER_AUTHORIZATION_FAILED.
const DENIED: [i16; 2] = [29, 31];

/// One target's probe in this process: made by the first flow that asks, while others wait for it.
#[derive(Debug, Default)]
pub struct Once(OnceCell<Probed>);

impl Once {
    /// What [`probe`] found, now or before.
    ///
    /// # Errors
    /// As [`probe`]; it is tried again when asked again.
    pub async fn get(
        &self,
        client: &Client,
        host: &Host,
        replication_factor: i16,
    ) -> Result<&Probed, String> {
        let found = || probe(client, host, replication_factor);
        self.0.get_or_try_init(found).await
    }
}

/// Tries the cluster behind `client`, on [`TOPIC`], which is created with `replication_factor` if it is not there.
///
/// # Errors
/// A reason, if it cannot be tried for the moment.
pub async fn probe(
    client: &Client,
    host: &Host,
    replication_factor: i16,
) -> Result<Probed, String> {
    let deadline = host.clock.monotonic() + PATIENCE;
    let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
    loop {
        let probe = Probe::new(client, host);
        let reason = match probe.look(replication_factor).await {
            Ok(seen) => {
                return Ok(match verdict(&seen) {
                    Ok(()) => Probed::Passed,
                    Err(what) => Probed::Failed(what),
                });
            }
            Err(Failure::Never(reason)) => return Ok(Probed::Not(reason)),
            Err(Failure::Again(reason)) => reason,
        };
        let pause = backoff.delay(&*host.random);
        if host.clock.monotonic() + pause > deadline {
            return Err(format!("{TOPIC} cannot be used: {reason}"));
        }
        host.clock.sleep(pause).await;
    }
}

/// Why it is not known for how long the brokers remember producers.
#[derive(Debug, thiserror::Error)]
pub enum NotTold {
    /// A broker does not answer, or refuses.
    #[error(transparent)]
    Failed(#[from] ClientError),
    /// A broker has no such config.
    #[error("broker {0} has no such config")]
    Without(i32),
}

impl NotTold {
    /// Whether it may be told a little later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Failed(error) if error.class() == Class::Retriable)
    }
}

/// For how long the brokers remember a producer without news (`producer.id.expiration.ms`): the shortest of all.
///
/// # Errors
/// If one of them does not tell.
pub async fn expiration(client: &Client) -> Result<Duration, NotTold> {
    const NAME: &str = "producer.id.expiration.ms";
    let cluster = client.describe_cluster().await;
    let mut shortest = Duration::MAX;
    for broker in cluster?.brokers {
        let configs = client.describe_broker_configs(broker.id, &[NAME]).await;
        let mut configs = configs?.into_iter();
        let found = configs.find(|config| config.name == NAME);
        let found = found.and_then(|config| config.value?.parse().ok());
        let found = found.ok_or(NotTold::Without(broker.id))?;
        shortest = shortest.min(Duration::from_millis(found));
    }
    Ok(shortest)
}

/// About the topic or the clocks, not about producers: MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, INVALID_TIMESTAMP,
/// POLICY_VIOLATION.
const BESIDE_THE_POINT: [i16; 4] = [10, 18, 32, 44];

/// Why nothing was seen.
enum Failure {
    /// Soon there may be.
    Again(String),
    /// There will not be until somebody changes something.
    Never(String),
}

/// A failed call: what passes, is forbidden or beside the point says nothing about the target, the rest is what it does.
fn judged<T>(outcome: Result<T, ClientError>) -> Result<Result<T, ClientError>, Failure> {
    let Err(error) = &outcome else {
        return Ok(outcome);
    };
    match (code(error), error.class()) {
        (Some(code), _) if DENIED.contains(&code) => {
            let reason = format!("strait may not use topic {TOPIC} ({error})");
            Err(Failure::Never(reason))
        }
        (Some(code), _) if BESIDE_THE_POINT.contains(&code) => {
            Err(Failure::Never(error.to_string()))
        }
        (_, Class::Retriable | Class::Throttled) => Err(Failure::Again(error.to_string())),
        (_, Class::Fenced | Class::Fatal) => Ok(outcome),
    }
}

/// The same where only success says something.
fn wanted<T>(outcome: Result<T, ClientError>) -> Result<T, Failure> {
    judged(outcome)?.map_err(|error| Failure::Never(error.to_string()))
}

/// One try, with a producer id of its own.
struct Probe<'a> {
    client: &'a Client,
    host: &'a Host,
    partition: Arc<TopicPartition>,
    producer_id: i64,
    now: i64,
}

impl<'a> Probe<'a> {
    fn new(client: &'a Client, host: &'a Host) -> Self {
        // As those of units, in the range that brokers do not allocate from (EXACTNESS 1).
        let id = host.random.number() & (u64::MAX >> 2) | 1 << 62;
        Self {
            client,
            host,
            partition: Arc::new(TopicPartition::new(TOPIC, 0)),
            producer_id: id.cast_signed(),
            now: host.clock.wall_ms(),
        }
    }

    async fn look(&self, replication_factor: i16) -> Result<Seen, Failure> {
        let (leader, topic_id) = self.leader(replication_factor).await?;
        let connection = wanted(self.client.dial(leader).await)?;
        let first = self.batch(*FIRST.start());
        let batches = [first.clone(), first.clone(), self.batch(BEHIND_GAP)];
        // All on their way at once, as on the data path.
        let mut begun: Vec<_> = batches
            .iter()
            .map(|batch| self.send(&connection, batch, topic_id))
            .collect();
        let mut outcomes = [Ok(-1), Ok(-1), Ok(-1)];
        for (outcome, begun) in outcomes.iter_mut().zip(&mut begun) {
            *outcome = judged(self.answer(&connection, begun).await)?;
        }
        let [first_outcome, repeat, gap] = outcomes;
        let mut seen = Seen {
            first: first_outcome,
            repeat,
            gap,
            kept: Ok(Vec::new()),
            memory: Ok(None),
        };
        if let Ok(offset) = &seen.first {
            seen.kept = self.kept(*offset, &first).await?;
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
        begun: &mut Result<PendingProduce, ClientError>,
    ) -> Outcome {
        let pending = begun.as_mut().map_err(|error| error.clone())?;
        let answer = tokio::select! {
            biased;
            answer = connection.finish(pending) => answer?,
            () = self.host.clock.sleep(ANSWER_TIMEOUT) => {
                let (broker, api) = (self.partition.to_string(), "Produce");
                return Err(ClientError::Timeout { broker, api, seconds: ANSWER_TIMEOUT.as_secs() });
            }
        };
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
