//! What a flow remembers beside its checkpoints: the topic `strait.<flow>.control` on the target.
//!
//! One partition, compacted. Keys and values are text, so that Kafka's console tools show them:
//!
//! ```text
//! flow            {"version":1,"source_cluster":ID,"target_cluster":ID,"source_alias":ALIAS,"created_ms":N,
//!                  "provides":{"transport":NAME,...} once the target was probed}
//! topic/TOPIC_ID  {"version":1,"source_topic":NAME,"target_topic":NAME,"target_topic_id":ID or null,
//!                  "start":{"0":OFFSET,...} or null,"created_ms":N,"given_up":[ID,...] if there are any,
//!                  "ways":[[{"cluster":ID,"alias":ALIAS,"topic":NAME,"flow":NAME},...],...] likewise,
//!                  "gone_since_ms":N while it is gone from the source and its target is to be deleted}
//! ```
//!
//! A topic is known by its id on the source (by `name/NAME` where brokers have no ids). Its record is
//! written when the flow first sees it, with the offsets where it starts if that is not the earliest,
//! and again with the id of its target; each is acknowledged before any worker of the topic runs. The
//! broker deletes the commits of a deleted topic, so without this a target that was created anew would look
//! like a fresh start. Records of a version that is not known are an error, never ignored.

mod records;

use bytes::Bytes;
use records::value;
pub use records::{ControlRecords, FlowRecord, Origin, TopicKey, TopicRecord, Way};
use wire::{TopicPartition, client::Client};

use super::own_topic::{OwnTopic, TopicError};

/// Of one read of the topic as a whole: some 100,000 topics.
const MAX_BYTES: usize = 64 << 20;
const UNKNOWN_TOPIC: i16 = 3;

/// The control topic cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("control topic {0}")]
pub struct ControlError(TopicError);

impl ControlError {
    /// Whether a later try may succeed.
    pub fn is_passing(&self) -> bool {
        self.0.is_passing()
    }
}

/// The control topic of one flow.
#[derive(Clone, Debug)]
pub struct ControlTopic(OwnTopic);

/// What the control topic of `flow` is called.
pub fn name(flow: &str) -> String {
    format!("strait.{flow}.control")
}

impl ControlTopic {
    /// Of `flow` on the target behind `client`.
    pub fn new(client: Client, flow: &str) -> Self {
        Self(OwnTopic::new(client, name(flow)))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.partition.topic
    }

    /// Its only partition; who owns it in the flow's group leads the flow.
    pub fn partition(&self) -> &TopicPartition {
        &self.0.partition
    }

    /// How many replicas it has; none if it does not exist.
    ///
    /// # Errors
    /// If the target does not answer, or the topic is not one that strait made.
    pub async fn replicas(&self) -> Result<Option<usize>, ControlError> {
        let topics = self.0.client.topics(Some(&[self.name().to_owned()])).await;
        let topics = topics.map_err(|error| ControlError(self.0.failed(error)))?;
        let Some(topic) = topics.first() else {
            return Ok(None);
        };
        match (&topic.error, topic.partitions.as_slice()) {
            (Some(error), _) if error.code == UNKNOWN_TOPIC => Ok(None),
            (Some(error), _) => Err(ControlError(self.0.refused(error.clone()))),
            (None, [partition]) => Ok(Some(partition.replicas.len())),
            (None, all) => {
                let reason = format!("it has {} partitions where one is wanted", all.len());
                Err(ControlError(self.0.unusable(reason)))
            }
        }
    }

    /// Creates it if it does not exist.
    ///
    /// # Errors
    /// If the target cannot be reached or refuses.
    pub async fn create(&self, replication_factor: i16) -> Result<(), ControlError> {
        let created = self.0.create(replication_factor, &[]).await;
        created.map_err(ControlError)
    }

    /// Its end.
    ///
    /// # Errors
    /// If the target does not answer, or refuses.
    pub async fn end(&self) -> Result<i64, ControlError> {
        let extent = self.0.extent().await.map_err(ControlError)?;
        Ok(extent.1)
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// If the target does not answer, or holds what this version does not understand.
    pub async fn read(&self) -> Result<ControlRecords, ControlError> {
        let (start, end) = self.0.extent().await.map_err(ControlError)?;
        let mut records = ControlRecords::default();
        let mut bytes = 0;
        let read = self.0.read(start, end, |record| {
            bytes += record.value.as_ref().map_or(0, Bytes::len);
            if bytes > MAX_BYTES {
                return Err(format!("its records are more than {MAX_BYTES} bytes"));
            }
            records.apply(record.key.as_deref(), record.value.as_deref())
        });
        read.await.map_err(ControlError)?;
        Ok(records)
    }

    /// Forgets topics; all are acknowledged when this returns.
    ///
    /// # Errors
    /// If the target does not acknowledge; some may be forgotten.
    pub async fn forget(&self, topics: &[TopicKey], now_ms: i64) -> Result<(), ControlError> {
        let keys = topics.iter().map(ToString::to_string);
        self.0.forget(keys, now_ms).await.map_err(ControlError)
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
            .map(|(key, record)| (key.to_string(), Some(value(record))));
        let flow = flow.map(|record| (records::FLOW_KEY.to_owned(), Some(value(record))));
        let written = self.0.write(topics.chain(flow), now_ms).await;
        written.map_err(ControlError)
    }
}
