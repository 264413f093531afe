//! A topic that strait keeps on the target: one partition, compacted.

use std::time::Duration;

use wire::{
    Class, Isolation, TopicPartition,
    client::{Client, FetchRequest, NewTopic, OffsetSpec},
    error::{ApiError, ClientError},
    record::{BatchBuilder, Codec, Record},
};

const FETCH_BYTES: i32 = 1 << 20;
const FETCH_WAIT: Duration = Duration::from_millis(500);
/// Reads that bring nothing before the end, in a row, until it is an error.
const MAX_EMPTY: u32 = 20;
/// Of one batch that is written, well below the smallest usual limit of a topic.
const BATCH_BYTES: usize = 256 << 10;
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// The topic cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TopicError {
    /// The cluster failed or refused.
    #[error("{topic}: {error}")]
    Client {
        /// Its name.
        topic: String,
        /// What the client said.
        error: ClientError,
    },
    /// It holds what this version does not understand, or more than it may.
    #[error("{topic}, offset {offset}: {reason}")]
    Unknown {
        /// Its name.
        topic: String,
        /// The offset of the record.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// It is not what strait made.
    #[error("{topic}: {reason}")]
    Unusable {
        /// Its name.
        topic: String,
        /// Why.
        reason: String,
    },
}

impl TopicError {
    /// Whether a later try may succeed.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Client { error, .. } if error.class() != Class::Fatal)
    }

    /// What the target answered, if that is the error.
    pub fn api_error(&self) -> Option<&ApiError> {
        match self {
            Self::Client { error, .. } => error.api_error(),
            Self::Unknown { .. } | Self::Unusable { .. } => None,
        }
    }
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct OwnTopic {
    pub(super) client: Client,
    pub(crate) partition: TopicPartition,
}

impl OwnTopic {
    /// Called `name`, on the target behind `client`.
    pub(crate) fn new(client: Client, name: String) -> Self {
        let partition = TopicPartition::new(name, 0);
        Self { client, partition }
    }

    /// Makes it if it does not exist; whether it did. Who may not create it may use one that is there.
    pub(crate) async fn ensure(&self, replication_factor: i16) -> Result<bool, TopicError> {
        let names = [self.partition.topic.clone()];
        let found = self.client.topics(Some(&names)).await;
        let found = found.map_err(|error| self.failed(error))?;
        if found.iter().any(|topic| topic.error.is_none()) {
            return Ok(false);
        }
        self.create(replication_factor, &[]).await?;
        Ok(true)
    }

    /// Creates it, compacted and with these settings besides, if it does not exist.
    pub(crate) async fn create(
        &self,
        replication_factor: i16,
        configs: &[(&str, &str)],
    ) -> Result<(), TopicError> {
        let configs = [("cleanup.policy", "compact")].iter().chain(configs);
        let configs = configs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let topic = NewTopic {
            name: self.partition.topic.clone(),
            partitions: 1,
            replication_factor,
            configs: configs.collect(),
        };
        let outcomes = self.client.create_topics(&[topic], false).await;
        for (_, outcome) in outcomes.map_err(|error| self.failed(error))? {
            match outcome {
                Err(error) if error.code != TOPIC_ALREADY_EXISTS => {
                    return Err(self.refused(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Its first offset and its end.
    pub(crate) async fn extent(&self) -> Result<(i64, i64), TopicError> {
        let start = self.offset(OffsetSpec::Earliest).await?;
        Ok((start, self.offset(OffsetSpec::Latest).await?))
    }

    /// Gives what lies from `next` up to `end` to `apply`, which says what is wrong with a record; the offset to read
    /// next.
    pub(crate) async fn read(
        &self,
        mut next: i64,
        end: i64,
        mut apply: impl FnMut(&Record) -> Result<(), String>,
    ) -> Result<i64, TopicError> {
        let mut empty = 0;
        while next < end {
            let request = FetchRequest {
                partition: self.partition.clone(),
                offset: next,
                max_bytes: FETCH_BYTES,
                max_wait: FETCH_WAIT,
                isolation: Isolation::ReadCommitted,
            };
            let fetched = self.client.fetch(request).await;
            let fetched = fetched.map_err(|error| self.failed(error))?;
            let committed = fetched.committed(next, Isolation::ReadCommitted);
            let committed = committed.map_err(|error| self.failed(error))?;
            for record in &committed.records {
                apply(record).map_err(|reason| TopicError::Unknown {
                    topic: self.partition.topic.clone(),
                    offset: record.offset,
                    reason,
                })?;
            }
            let stuck = committed.next_offset <= next;
            empty = if stuck { empty + 1 } else { 0 };
            if empty > MAX_EMPTY {
                return Err(self.unusable(format!("nothing is read before its end {end}")));
            }
            next = committed.next_offset;
        }
        Ok(next)
    }

    /// Writes records, or takes back those without a value; all are acknowledged when this returns, and some may be if
    /// it fails.
    pub(crate) async fn write(
        &self,
        records: impl Iterator<Item = (impl AsRef<[u8]>, Option<impl AsRef<[u8]>>)>,
        now_ms: i64,
    ) -> Result<(), TopicError> {
        let mut batch = BatchBuilder::new(Codec::None);
        for (key, value) in records {
            let value = value.as_ref().map(AsRef::as_ref);
            batch.push(now_ms, Some(key.as_ref()), value, &[]);
            if batch.plain_len() >= BATCH_BYTES {
                let full = std::mem::replace(&mut batch, BatchBuilder::new(Codec::None));
                self.produce(full).await?;
            }
        }
        self.produce(batch).await
    }

    /// Writes tombstones; all are acknowledged when this returns.
    pub(super) async fn forget(
        &self,
        keys: impl Iterator<Item = String>,
        now_ms: i64,
    ) -> Result<(), TopicError> {
        let mut batch = BatchBuilder::new(Codec::None);
        for key in keys {
            batch.push(now_ms, Some(key.as_bytes()), None, &[]);
        }
        self.produce(batch).await
    }

    async fn produce(&self, batch: BatchBuilder) -> Result<(), TopicError> {
        if batch.count() == 0 {
            return Ok(());
        }
        let bytes = batch.build(0);
        let bytes = bytes.map_err(|error| self.unusable(error.to_string()))?;
        let produced = self.client.produce(&self.partition, bytes).await;
        produced.map(drop).map_err(|error| self.failed(error))
    }

    async fn offset(&self, spec: OffsetSpec) -> Result<i64, TopicError> {
        let wanted = [(self.partition.clone(), spec)];
        let listed = self
            .client
            .list_offsets(&wanted, Isolation::ReadCommitted)
            .await;
        match listed.map_err(|error| self.failed(error))?.pop() {
            Some((_, Ok(listed))) => Ok(listed.offset),
            Some((_, Err(error))) => Err(self.refused(error)),
            None => Err(self.unusable("the target did not answer for it".to_owned())),
        }
    }

    pub(super) fn failed(&self, error: ClientError) -> TopicError {
        TopicError::Client {
            topic: self.partition.topic.clone(),
            error,
        }
    }

    pub(super) fn refused(&self, error: ApiError) -> TopicError {
        let what = self.partition.topic.clone();
        self.failed(ClientError::Api { what, error })
    }

    pub(super) fn unusable(&self, reason: String) -> TopicError {
        TopicError::Unusable {
            topic: self.partition.topic.clone(),
            reason,
        }
    }
}
