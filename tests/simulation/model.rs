//! What the application knows of its own records, and what must be true of them on the source.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
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

/// What the application is asked to do beside its writing.
#[derive(Clone, Debug)]
pub enum Wish {
    /// A topic with so many partitions, or so many of one that is there.
    Partitions(String, i32),
    /// Records are deleted: so many percent of what is copied.
    Delete(TopicPartition, i64),
}

/// Shared by the application, and by who checks.
#[derive(Clone, Debug, Default)]
pub struct Model(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    told: Vec<Told>,
    /// Topics that there may be, and how many partitions they may have.
    topics: BTreeMap<String, i32>,
    /// Partitions that take plain batches.
    plain: Vec<TopicPartition>,
    wishes: VecDeque<Wish>,
    /// How often what was granted.
    granted: BTreeMap<&'static str, usize>,
    /// Writers that are still at work.
    writers: usize,
    is_ready: bool,
    is_over: bool,
}

impl Model {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A topic with so many partitions is about to be made, or to get as many.
    pub fn asked(&self, topic: &str, partitions: i32) {
        self.inner().topics.insert(topic.to_owned(), partitions);
    }

    /// Everything that there may be to copy.
    pub fn all(&self) -> Vec<TopicPartition> {
        let inner = self.inner();
        let all = inner.topics.iter();
        let all = all.flat_map(|(topic, count)| (0..*count).map(move |number| (topic, number)));
        all.map(|(topic, number)| TopicPartition::new(topic, number))
            .collect()
    }

    /// The partitions of a topic that takes plain batches.
    pub fn takes_plain(&self, topic: &str, partitions: i32) {
        let mut inner = self.inner();
        for number in 0..partitions {
            let one = TopicPartition::new(topic, number);
            if !inner.plain.contains(&one) {
                inner.plain.push(one);
            }
        }
    }

    /// Where plain batches may go.
    pub fn plain(&self) -> Vec<TopicPartition> {
        self.inner().plain.clone()
    }

    pub fn wish(&self, wish: Wish) {
        self.inner().wishes.push_back(wish);
    }

    /// A wish came true.
    pub fn granted(&self, what: &'static str) {
        *self.inner().granted.entry(what).or_default() += 1;
    }

    /// How often what was.
    pub fn all_granted(&self) -> BTreeMap<&'static str, usize> {
        self.inner().granted.clone()
    }

    pub fn next_wish(&self) -> Option<Wish> {
        self.inner().wishes.pop_front()
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
                let records = reader.whole(disk, &one.partition)?.into_iter();
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
