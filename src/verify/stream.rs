//! One partition as a stream of items, fetched in bounded pieces.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use host::BoxFuture;
use wire::{
    Isolation, TopicPartition,
    client::{Client, FetchRequest},
    record::Record,
};

use super::{
    VerifyError,
    compare::{Item, Items},
};

/// Bytes asked for at once.
const FETCH_BYTES: i32 = 1 << 20;

/// The committed records of one partition from `next_offset` to `end`.
#[derive(Debug)]
pub(super) struct PartitionItems {
    /// Which cluster, for messages.
    pub(super) cluster: String,
    /// Its client.
    pub(super) client: Client,
    /// The partition.
    pub(super) partition: TopicPartition,
    /// What of transactions is seen.
    pub(super) isolation: Isolation,
    /// Whether times are compared.
    pub(super) timestamps: bool,
    /// Where to go on.
    pub(super) next_offset: i64,
    /// Where to stop.
    pub(super) end: i64,
    /// Fetched and not yet asked for.
    pub(super) ready: VecDeque<Item>,
}

impl PartitionItems {
    async fn fetch(&mut self) -> Result<(), VerifyError> {
        while self.ready.is_empty() && self.next_offset < self.end {
            let request = FetchRequest {
                partition: self.partition.clone(),
                offset: self.next_offset,
                max_bytes: FETCH_BYTES,
                max_wait: Duration::from_millis(500),
                isolation: self.isolation,
            };
            let read = async {
                let fetched = self.client.fetch(request).await?;
                fetched.committed(self.next_offset, self.isolation)
            };
            let committed = read.await.map_err(|source| VerifyError::Read {
                cluster: self.cluster.clone(),
                partition: self.partition.clone(),
                offset: self.next_offset,
                source,
            })?;
            self.next_offset = committed.next_offset;
            let within = committed
                .records
                .iter()
                .filter(|record| record.offset < self.end);
            self.ready
                .extend(within.map(|record| item(record, self.timestamps)));
        }
        Ok(())
    }
}

impl Items for PartitionItems {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Item>, VerifyError>> {
        Box::pin(async move {
            if self.ready.is_empty() {
                self.fetch().await?;
            }
            Ok(self.ready.pop_front())
        })
    }
}

fn item(record: &Record, timestamps: bool) -> Item {
    Item {
        offset: record.offset,
        timestamp: if timestamps { record.timestamp } else { 0 },
        key: hash(&record.key),
        value: hash(&record.value),
        headers: hash(&record.headers),
    }
}

fn hash(part: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    part.hash(&mut hasher);
    hasher.finish()
}
