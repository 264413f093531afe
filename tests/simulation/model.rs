//! What the application knows of its own records, and what must be true of them on the source.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Result, ensure};
use host::sim::SimFiles;
use wire::TopicPartition;

use super::logs::Reader;

/// What became of a batch, as far as its producer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Acknowledged and, in a transaction, committed.
    There,
    /// In a transaction that was aborted.
    Gone,
}

/// A batch that was acknowledged.
#[derive(Clone, Debug)]
struct Told {
    partition: TopicPartition,
    offset: i64,
    keys: Vec<Vec<u8>>,
    fate: Fate,
}

/// Shared by the application, and by who checks.
#[derive(Clone, Debug, Default)]
pub struct Model(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    told: Vec<Told>,
    /// Writers that are still at work.
    writers: usize,
    is_ready: bool,
    is_over: bool,
}

impl Model {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topics are there, and each partition has its first batch.
    pub fn ready(&self, writers: usize) {
        let mut inner = self.inner();
        (inner.is_ready, inner.writers) = (true, writers);
    }

    pub fn is_ready(&self) -> bool {
        self.inner().is_ready
    }

    /// No more is to be written.
    pub fn end(&self) {
        self.inner().is_over = true;
    }

    pub fn is_over(&self) -> bool {
        self.inner().is_over
    }

    /// A writer has left nothing undecided.
    pub fn ended(&self) {
        self.inner().writers -= 1;
    }

    pub fn is_done(&self) -> bool {
        let inner = self.inner();
        inner.is_over && inner.writers == 0
    }

    /// Notes what a broker answered.
    pub fn told(&self, partition: &TopicPartition, offset: i64, keys: Vec<Vec<u8>>, fate: Fate) {
        self.inner().told.push(Told {
            partition: partition.clone(),
            offset,
            keys,
            fate,
        });
    }

    /// Holds the source to its word; how many records it kept.
    ///
    /// # Errors
    /// If an acknowledged record is not where it should be, or an aborted one is seen.
    pub fn check(&self, reader: &Reader, disk: &SimFiles) -> Result<usize> {
        let inner = self.inner();
        let told = &inner.told;
        let mut seen = BTreeMap::new();
        for one in told {
            if !seen.contains_key(&one.partition) {
                let records = reader.committed(disk, &one.partition)?.into_iter();
                let records: HashMap<_, _> = records.map(|seen| (seen.offset, seen)).collect();
                seen.insert(&one.partition, records);
            }
        }
        let mut kept = 0;
        for Told {
            partition,
            offset,
            keys,
            fate,
        } in told
        {
            for (offset, key) in (*offset..).zip(keys) {
                let found = seen[partition]
                    .get(&offset)
                    .and_then(|seen| seen.key.as_deref());
                let is_there = found == Some(key.as_slice());
                ensure!(
                    is_there == (*fate == Fate::There),
                    "the source was told {fate:?} of {:?} at {partition} offset {offset}, where there is {found:?}",
                    String::from_utf8_lossy(key),
                );
                kept += usize::from(is_there);
            }
        }
        Ok(kept)
    }
}
