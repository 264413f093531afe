//! What a flow remembers beside its checkpoints: the topic `strait.<flow>.control` on the target.
//!
//! One partition, compacted. Keys and values are text, so that Kafka's console tools show them:
//!
//! ```text
//! flow            {"version":1,"source_cluster":ID,"target_cluster":ID,"created_ms":N,
//!                  "provides":{"transport":NAME,...} once the target was probed}
//! topic/TOPIC_ID  {"version":1,"source_topic":NAME,"target_topic":NAME,"target_topic_id":ID or null,
//!                  "start":{"0":OFFSET,...} or null,"created_ms":N,"given_up":[ID,...] if there are any}
//! ```
//!
//! A topic is known by its id on the source (by `name/NAME` where brokers have no ids). Its record is
//! written when the flow first sees it, with the offsets where it starts if that is not the earliest,
//! and again with the id of its target; each is acknowledged before any worker of the topic runs. The
//! broker deletes the commits of a deleted topic, so without this a target that was created anew would look
//! like a fresh start. Records of a version that is not known are an error, never ignored.

mod records;

use std::time::Duration;

use records::value;
pub use records::{ControlRecords, FlowRecord, TopicKey, TopicRecord};
use wire::{
    Isolation, TopicPartition,
    client::{Client, FetchRequest, NewTopic, OffsetSpec},
    error::{ApiError, ClientError},
    record::{BatchBuilder, Codec, RecordError},
};

/// Of one read of the topic as a whole: some 100,000 topics.
const MAX_BYTES: usize = 64 << 20;
const FETCH_BYTES: i32 = 1 << 20;
const FETCH_WAIT: Duration = Duration::from_millis(500);
/// Reads that bring nothing before the end, in a row, until it is an error.
const MAX_EMPTY: u32 = 20;
/// Of one batch that is written, well below the smallest usual limit of a topic.
const BATCH_BYTES: usize = 256 << 10;
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// The control topic cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The cluster failed or refused.
    #[error("control topic {topic}: {error}")]
    Client {
        /// The control topic.
        topic: String,
        /// What the client said.
        error: ClientError,
    },
    /// It holds what this version does not understand.
    #[error("control topic {topic}, offset {offset}: {reason}")]
    Unknown {
        /// The control topic.
        topic: String,
        /// The offset of the record.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// It is not what strait made.
    #[error("control topic {topic}: {reason}")]
    Unusable {
        /// The control topic.
        topic: String,
        /// Why.
        reason: String,
    },
}

impl ControlError {
    /// Whether a later try may succeed.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Client { error, .. } if error.class() != wire::Class::Fatal)
    }
}

/// The control topic of one flow.
#[derive(Clone, Debug)]
pub struct ControlTopic {
    client: Client,
    partition: TopicPartition,
}

/// What the control topic of `flow` is called.
pub fn name(flow: &str) -> String {
    format!("strait.{flow}.control")
}

impl ControlTopic {
    /// Of `flow` on the target behind `client`.
    pub fn new(client: Client, flow: &str) -> Self {
        let partition = TopicPartition::new(name(flow), 0);
        Self { client, partition }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.partition.topic
    }

    /// Its only partition; who owns it in the flow's group leads the flow.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// How many replicas it has; none if it does not exist.
    ///
    /// # Errors
    /// If the target does not answer, or the topic is not one that strait made.
    pub async fn replicas(&self) -> Result<Option<usize>, ControlError> {
        let names = [self.partition.topic.clone()];
        let topics = self
            .client
            .topics(Some(&names))
            .await
            .map_err(|e| self.client_error(e))?;
        let Some(topic) = topics.first() else {
            return Ok(None);
        };
        match (&topic.error, topic.partitions.as_slice()) {
            (Some(error), _) if error.code == 3 => Ok(None),
            (Some(error), _) => Err(self.api_error(error.clone())),
            (None, [partition]) => Ok(Some(partition.replicas.len())),
            (None, all) => Err(ControlError::Unusable {
                topic: self.partition.topic.clone(),
                reason: format!("it has {} partitions where one is wanted", all.len()),
            }),
        }
    }

    /// Creates it if it does not exist.
    ///
    /// # Errors
    /// If the target cannot be reached or refuses.
    pub async fn create(&self, replication_factor: i16) -> Result<(), ControlError> {
        let topic = NewTopic {
            name: self.partition.topic.clone(),
            partitions: 1,
            replication_factor,
            configs: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
        };
        let outcomes = self.client.create_topics(&[topic], false).await;
        for (_, outcome) in outcomes.map_err(|e| self.client_error(e))? {
            match outcome {
                Err(error) if error.code != TOPIC_ALREADY_EXISTS => {
                    return Err(self.api_error(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// If the target does not answer, or holds what this version does not understand.
    pub async fn read(&self) -> Result<ControlRecords, ControlError> {
        let mut next = self.offset(OffsetSpec::Earliest).await?;
        let end = self.offset(OffsetSpec::Latest).await?;
        let mut records = ControlRecords::default();
        let (mut bytes, mut empty) = (0, 0);
        while next < end {
            let request = FetchRequest {
                partition: self.partition.clone(),
                offset: next,
                max_bytes: FETCH_BYTES,
                max_wait: FETCH_WAIT,
                isolation: Isolation::ReadCommitted,
            };
            let fetched = self
                .client
                .fetch(request)
                .await
                .map_err(|e| self.client_error(e))?;
            let committed = fetched.committed(next, Isolation::ReadCommitted);
            let committed = committed.map_err(|e| self.client_error(e))?;
            for record in &committed.records {
                bytes += record.value.as_ref().map_or(0, bytes::Bytes::len);
                records
                    .apply(record.key.as_deref(), record.value.as_deref())
                    .map_err(|reason| ControlError::Unknown {
                        topic: self.partition.topic.clone(),
                        offset: record.offset,
                        reason,
                    })?;
            }
            empty = if committed.next_offset > next {
                0
            } else {
                empty + 1
            };
            next = committed.next_offset;
            if bytes > MAX_BYTES || empty > MAX_EMPTY {
                return Err(ControlError::Unusable {
                    topic: self.partition.topic.clone(),
                    reason: format!(
                        "its records end neither at offset {end} nor at {MAX_BYTES} bytes"
                    ),
                });
            }
        }
        Ok(records)
    }

    /// Writes topics, then the flow if it is given; all are acknowledged when this returns.
    ///
    /// # Errors
    /// If the target does not acknowledge; some may be written.
    pub async fn write(
        &self,
        topics: &[(TopicKey, TopicRecord)],
        flow: Option<&FlowRecord>,
        now_ms: i64,
    ) -> Result<(), ControlError> {
        let topics = topics
            .iter()
            .map(|(key, record)| (key.to_string(), value(record)));
        let flow = flow.map(|record| (records::FLOW_KEY.to_owned(), value(record)));
        let mut batch = BatchBuilder::new(Codec::None);
        for (key, value) in topics.chain(flow) {
            batch.push(now_ms, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
            if batch.plain_len() >= BATCH_BYTES {
                let full = std::mem::replace(&mut batch, BatchBuilder::new(Codec::None));
                self.produce(full).await?;
            }
        }
        self.produce(batch).await
    }

    async fn produce(&self, batch: BatchBuilder) -> Result<(), ControlError> {
        if batch.count() == 0 {
            return Ok(());
        }
        let unusable = |error: RecordError| ControlError::Unusable {
            topic: self.partition.topic.clone(),
            reason: error.to_string(),
        };
        let bytes = batch.build(0).map_err(unusable)?;
        let produced = self.client.produce(&self.partition, bytes).await;
        produced.map(drop).map_err(|e| self.client_error(e))
    }

    async fn offset(&self, spec: OffsetSpec) -> Result<i64, ControlError> {
        let wanted = [(self.partition.clone(), spec)];
        let listed = self
            .client
            .list_offsets(&wanted, Isolation::ReadCommitted)
            .await;
        let listed = listed.map_err(|e| self.client_error(e))?;
        match listed.into_iter().next() {
            Some((_, Ok(listed))) => Ok(listed.offset),
            Some((_, Err(error))) => Err(self.api_error(error)),
            None => Err(ControlError::Unusable {
                topic: self.partition.topic.clone(),
                reason: "the target did not answer for it".to_owned(),
            }),
        }
    }

    fn client_error(&self, error: ClientError) -> ControlError {
        ControlError::Client {
            topic: self.partition.topic.clone(),
            error,
        }
    }

    fn api_error(&self, error: ApiError) -> ControlError {
        let what = self.partition.topic.clone();
        self.client_error(ClientError::Api { what, error })
    }
}
