//! What a flow remembers beside its checkpoints: the topic `strait.<flow>.control` on the target.
//!
//! One partition, compacted. Keys and values are text, so that Kafka's console tools show them:
//!
//! ```text
//! flow            {"version":1,"source_cluster":ID,"target_cluster":ID,"created_ms":N}
//! topic/TOPIC_ID  {"version":1,"source_topic":NAME,"target_topic":NAME,"target_topic_id":ID or null,
//!                  "start":{"0":OFFSET,...} or null,"created_ms":N}
//! ```
//!
//! A topic is known by its id on the source (by `name/NAME` where brokers have no ids). Its record is
//! written when the flow first sees it, with the offsets where it starts if that is not the earliest,
//! and again with the id of its target; each is acknowledged before any worker of the topic runs. The
//! broker deletes the commits of a deleted topic, so without this a target that was created anew would look
//! like a fresh start. Records of a version that is not known are an error, never ignored.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wire::{
    Isolation, TopicPartition,
    client::{Client, FetchRequest, NewTopic, OffsetSpec},
    error::{ApiError, ClientError},
    record::{BatchBuilder, Codec, RecordError},
};

use super::text::{topic_id, topic_id_from};

const VERSION: u32 = 1;
const FLOW_KEY: &str = "flow";
/// Of one read of the topic as a whole: some 100,000 topics.
const MAX_BYTES: usize = 64 << 20;
const FETCH_BYTES: i32 = 1 << 20;
const FETCH_WAIT: Duration = Duration::from_millis(500);
/// Reads that bring nothing before the end, in a row, until it is an error.
const MAX_EMPTY: u32 = 20;
/// Of one batch that is written, well below the smallest usual limit of a topic.
const BATCH_BYTES: usize = 256 << 10;
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// How a source topic is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicKey {
    /// By its id.
    Id(Uuid),
    /// By its name, on brokers that have no ids.
    Name(String),
}

impl TopicKey {
    /// Of the topic with this id, nil if there is none, and name.
    pub fn new(id: Uuid, name: &str) -> Self {
        if id.is_nil() {
            Self::Name(name.to_owned())
        } else {
            Self::Id(id)
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.split_once('/')? {
            ("topic", id) => topic_id_from(id).map(Self::Id),
            ("name", name) => Some(Self::Name(name.to_owned())),
            _ => None,
        }
    }
}

impl std::fmt::Display for TopicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "topic/{}", topic_id(*id)),
            Self::Name(name) => write!(f, "name/{name}"),
        }
    }
}

/// The flow itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// Cluster id of the source.
    pub source_cluster: String,
    /// Cluster id of the target.
    pub target_cluster: String,
    /// When the flow first ran, milliseconds since 1970.
    pub created_ms: i64,
}

/// One source topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRecord {
    /// Its name on the source.
    pub source_topic: String,
    /// Its name on the target.
    pub target_topic: String,
    /// Its id on the target; none until it is there.
    #[serde(with = "id_text")]
    pub target_topic_id: Option<Uuid>,
    /// Source offsets where its partitions start; none, and partitions that are not there: the earliest.
    pub start: Option<BTreeMap<i32, i64>>,
    /// When the flow first saw it, milliseconds since 1970.
    pub created_ms: i64,
}

/// All that the topic says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlRecords {
    /// None before the flow's first run is complete.
    pub flow: Option<FlowRecord>,
    /// By source topic.
    pub topics: BTreeMap<TopicKey, TopicRecord>,
}

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

impl ControlTopic {
    /// Of `flow` on the target behind `client`.
    pub fn new(client: Client, flow: &str) -> Self {
        let partition = TopicPartition::new(format!("strait.{flow}.control"), 0);
        Self { client, partition }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.partition.topic
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
        let flow = flow.map(|record| (FLOW_KEY.to_owned(), value(record)));
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

/// A record's fields behind the version.
fn value<T: Serialize>(record: &T) -> String {
    let fields = serde_json::to_string(record).expect("text, numbers and their maps are JSON");
    let fields = fields.trim_start_matches('{');
    format!("{{\"version\":{VERSION},{fields}")
}

fn parse<T: for<'de> Deserialize<'de>>(value: &[u8]) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let wrong = |error: serde_json::Error| format!("not a record of strait: {error}");
    let Version { version } = serde_json::from_slice(value).map_err(wrong)?;
    if version != VERSION {
        return Err(format!(
            "it has version {version}, this strait reads version {VERSION}"
        ));
    }
    serde_json::from_slice(value).map_err(wrong)
}

impl ControlRecords {
    /// Takes in the next record of the topic; the error is a reason.
    fn apply(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), String> {
        let key = key
            .and_then(|key| std::str::from_utf8(key).ok())
            .ok_or("its key is not text")?;
        if key == FLOW_KEY {
            self.flow = value.map(parse).transpose()?;
            return Ok(());
        }
        let key = TopicKey::parse(key).ok_or_else(|| format!("its key {key:?} is not known"))?;
        match value {
            Some(value) => drop(self.topics.insert(key, parse(value)?)),
            None => drop(self.topics.remove(&key)),
        }
        Ok(())
    }
}

/// An id as Kafka's tools show it.
mod id_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use uuid::Uuid;

    use super::{topic_id, topic_id_from};

    pub(super) fn serialize<S: Serializer>(id: &Option<Uuid>, out: S) -> Result<S::Ok, S::Error> {
        id.map(topic_id).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Uuid>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let id = |text: String| {
            topic_id_from(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no topic id")))
        };
        text.map(id).transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> TopicRecord {
        TopicRecord {
            source_topic: "orders".to_owned(),
            target_topic: "east.orders".to_owned(),
            target_topic_id: Some(Uuid::from_u128(1)),
            start: Some(BTreeMap::from([(0, 17), (3, 0)])),
            created_ms: 1_780_000_000_000,
        }
    }

    const GOLDEN: &str = r#"{"version":1,"source_topic":"orders","target_topic":"east.orders","target_topic_id":"AAAAAAAAAAAAAAAAAAAAAQ","start":{"0":17,"3":0},"created_ms":1780000000000}"#;
    const GOLDEN_FLOW: &str =
        r#"{"version":1,"source_cluster":"a","target_cluster":"b","created_ms":5}"#;

    fn read(records: &[(&str, Option<&str>)]) -> Result<ControlRecords, String> {
        let mut all = ControlRecords::default();
        for (key, value) in records {
            all.apply(Some(key.as_bytes()), value.map(str::as_bytes))?;
        }
        Ok(all)
    }

    /// What was once written is read forever.
    #[test]
    fn version_1_does_not_drift() {
        let key = TopicKey::new(Uuid::from_u128(2), "orders");
        assert_eq!(key.to_string(), "topic/AAAAAAAAAAAAAAAAAAAAAg");
        assert_eq!(value(&record()), GOLDEN);
        let flow = FlowRecord {
            source_cluster: "a".to_owned(),
            target_cluster: "b".to_owned(),
            created_ms: 5,
        };
        assert_eq!(value(&flow), GOLDEN_FLOW);
        let text = key.to_string();
        let all = read(&[(&text, Some(GOLDEN)), (FLOW_KEY, Some(GOLDEN_FLOW))]).unwrap();
        assert_eq!(all.flow, Some(flow));
        assert_eq!(all.topics, BTreeMap::from([(key, record())]));
    }

    #[test]
    fn the_last_record_of_a_key_counts() {
        let unbound = GOLDEN.replace("\"AAAAAAAAAAAAAAAAAAAAAQ\"", "null");
        let key = "name/orders";
        let all = read(&[(key, Some(&unbound)), (key, Some(GOLDEN))]).unwrap();
        assert_eq!(all.topics[&TopicKey::new(Uuid::nil(), "orders")], record());
        let all = read(&[(key, Some(GOLDEN)), (key, Some(&unbound))]).unwrap();
        assert_eq!(
            all.topics[&TopicKey::new(Uuid::nil(), "orders")].target_topic_id,
            None
        );
        let all = read(&[(key, Some(GOLDEN)), (key, None)]).unwrap();
        assert!(all.topics.is_empty());
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let key = "topic/AAAAAAAAAAAAAAAAAAAAAg";
        for (key, value, reason) in [
            (key, GOLDEN.replace(":1,", ":2,"), "version 2"),
            (key, GOLDEN.replace("\"orders\"", "1"), "not a record"),
            (key, GOLDEN.replace("AAQ", "AAR"), "no topic id"),
            (key, "{}".to_owned(), "not a record"),
            (key, String::new(), "not a record"),
            ("topic/x", GOLDEN.to_owned(), "not known"),
            ("other", GOLDEN.to_owned(), "not known"),
            (FLOW_KEY, GOLDEN_FLOW.replace(":1,", ":9,"), "version 9"),
        ] {
            let error = read(&[(key, Some(&value))]).unwrap_err();
            assert!(error.contains(reason), "{key} {value}: {error}");
        }
        assert!(ControlRecords::default().apply(None, None).is_err());
        assert!(
            ControlRecords::default()
                .apply(Some(&[0xff]), None)
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn every_record_comes_back(
            source_topic: String, target_topic: String, id: Option<u128>, created_ms: i64,
            start: Option<BTreeMap<i32, i64>>,
        ) {
            let record = TopicRecord {
                source_topic, target_topic, target_topic_id: id.map(Uuid::from_u128), start, created_ms,
            };
            prop_assert_eq!(parse::<TopicRecord>(value(&record).as_bytes()).unwrap(), record);
        }

        #[test]
        fn hostile_records_do_no_harm(key: Vec<u8>, value: Option<Vec<u8>>) {
            let mut all = ControlRecords::default();
            if all.apply(Some(&key), value.as_deref()).is_err() {
                prop_assert_eq!(all, ControlRecords::default());
            }
        }
    }
}
