//! Groups that stand somewhere on the source, and what they get when they move.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use rdkafka::{
    consumer::{BaseConsumer, CommitMode, Consumer},
    topic_partition_list::{Offset, TopicPartitionList},
};

use super::workload::{Held, Kind, PARTITIONS, PATIENCE, reader, to_end};

/// Records that a group has not read; a topic must hold more than the last.
pub const LAGS: [u64; 8] = [0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];

/// One that reads one topic.
#[derive(Debug)]
pub struct Group {
    name: String,
    pub kind: Kind,
    /// Records that it has not read, of both partitions.
    pub lag: u64,
    /// How many records of each partition it has read.
    read: Vec<usize>,
}

/// What a group never got, and what it got twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    pub lost: u64,
    pub twice: u64,
}

impl Group {
    /// So many groups, in turn of each kind and at each lag, and not as far in one partition as in the other.
    pub fn all(count: usize, largest: u64, held: &BTreeMap<Kind, Held>) -> Vec<Self> {
        let lags: Vec<_> = LAGS.into_iter().filter(|lag| *lag <= largest).collect();
        let groups = (0..count).map(|index| {
            let kind = Kind::ALL[index % Kind::ALL.len()];
            let lag = lags[index / Kind::ALL.len() % lags.len()];
            let [first, second] = [0, 1].map(|part| held[&kind][part].len());
            let tenths = 3 + index as u64 % 5;
            let unread = usize::try_from(lag * tenths / 10).unwrap_or(first);
            let behind = (lag as usize - unread.min(first)).min(second);
            let unread = lag as usize - behind;
            Self {
                name: format!("group-{index:02}"),
                kind,
                lag,
                read: vec![first - unread, second - behind],
            }
        });
        groups.collect()
    }

    /// Commits on the source behind the last record that it has read, as a consumer does.
    pub fn stand(&self, bootstrap: &str, held: &Held) -> Result<()> {
        let consumer: BaseConsumer = reader(bootstrap, &self.name).create()?;
        let mut offsets = TopicPartitionList::new();
        for (partition, (read, held)) in (0..).zip(self.read.iter().zip(held)) {
            let next = match read.checked_sub(1) {
                Some(last) => held[last].0 + 1,
                None => held[0].0,
            };
            offsets.add_partition_offset(self.kind.topic(), partition, Offset::Offset(next))?;
        }
        Ok(consumer.commit(&offsets, CommitMode::Sync)?)
    }

    /// A client that asks for its offsets, and is no member.
    pub fn watch(&self, bootstrap: &str) -> Result<BaseConsumer> {
        Ok(reader(bootstrap, &self.name).create()?)
    }

    /// Its offsets on the target; -1001: none.
    pub fn offsets(&self, watch: &BaseConsumer) -> Result<Vec<i64>> {
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_range(self.kind.topic(), 0, PARTITIONS - 1);
        let found = watch.committed_offsets(wanted, PATIENCE)?;
        let found = found.elements();
        Ok(found
            .iter()
            .map(|one| one.offset().to_raw().unwrap_or(-1001))
            .collect())
    }

    /// Whether these are right: a copy without holes holds each record where its place among all is.
    pub fn is_right(&self, offsets: &[i64]) -> bool {
        offsets
            .iter()
            .zip(&self.read)
            .all(|(offset, read)| usize::try_from(*offset) == Ok(*read))
    }

    /// Joins on the target and reads all there is. What it gets is told by the records' numbers.
    pub fn moves(&self, bootstrap: &str, held: &Held) -> Result<Moved> {
        let consumer: BaseConsumer = reader(bootstrap, &self.name).create()?;
        consumer.subscribe(&[self.kind.topic()])?;
        // How often each record was delivered: once before the move if it was read then.
        let mut delivered = Vec::new();
        for (read, held) in self.read.iter().zip(held) {
            let last = held.last().map_or(0, |(_, number)| *number as usize);
            let mut times = vec![0_u32; last + 1];
            for (_, number) in &held[..*read] {
                times[*number as usize] += 1;
            }
            delivered.push(times);
        }
        let mut strangers = 0;
        to_end(&consumer, |partition, _, number| {
            match delivered[partition].get_mut(number as usize) {
                Some(times) => *times += 1,
                None => strangers += 1,
            }
        })?;
        let mut moved = Moved::default();
        for (held, times) in held.iter().zip(&mut delivered) {
            for (_, number) in held {
                match std::mem::take(&mut times[*number as usize]) {
                    0 => moved.lost += 1,
                    times => moved.twice += u64::from(times - 1),
                }
            }
            strangers += times.iter().sum::<u32>();
        }
        ensure!(
            strangers == 0,
            "{} got {strangers} records that nobody was to get",
            self.name
        );
        Ok(moved)
    }
}
