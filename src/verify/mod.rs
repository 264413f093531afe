//! Compares source and target record by record: count, order, key, value, headers, timestamp.
//!
//! Reads with the wire client, which the data path over librdkafka does not use. Partitions are streamed
//! side by side in bounded memory ([`compare`]). What is compared ends where the target ended when the
//! comparison began; the source is read at least as far. A flow may run meanwhile.

pub mod compare;
mod plan;
mod stream;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use compare::{Counts, Item, Items, compare};
use host::{BoxFuture, Host};
use plan::Job;
use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinSet};
use wire::{TopicPartition, error::ClientError};

use crate::{
    checkpoint::control_topic::ControlError,
    config::{Config, FlowConfig},
    survey::collect::Unreachable,
};

/// Partitions that are compared at a time.
const PARALLEL: usize = 4;

/// Why a comparison cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A cluster cannot be asked.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// Where the flow began is not known.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A call on a cluster failed.
    #[error("cluster {cluster}: {source}")]
    Cluster {
        /// Its alias.
        cluster: String,
        /// What the client said.
        source: ClientError,
    },
    /// A partition cannot be read.
    #[error("cluster {cluster}, {partition} at offset {offset}: {source}")]
    Read {
        /// The cluster's alias.
        cluster: String,
        /// The partition.
        partition: TopicPartition,
        /// Where.
        offset: i64,
        /// What the client said.
        source: ClientError,
    },
    /// A task of the comparison failed.
    #[error("a comparison failed: {0}")]
    Panic(String),
}

/// How far a comparison is; shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    compared: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// Target records looked at, and how many there are, as far as offsets tell.
    pub fn now(&self) -> (u64, u64) {
        (
            self.compared.load(Ordering::Relaxed),
            self.total.load(Ordering::Relaxed),
        )
    }
}

/// What a comparison found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Sums over everything.
    #[serde(flatten)]
    pub counts: Counts,
    /// Records that retention removed on one side and that were therefore not compared.
    pub expired: u64,
    /// Records that targets held before their flows began (`on_existing = "append"`, a takeover), which were therefore
    /// not compared.
    pub before: u64,
    /// Partitions that were compared.
    pub partitions: usize,
    /// Those of them that differ.
    pub different: Vec<PartitionReport>,
}

/// What one partition's comparison found.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionReport {
    /// The flow.
    pub flow: String,
    /// Partition of the source, as `topic-number`.
    pub source: String,
    /// Partition of the target.
    pub target: String,
    /// What differs.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Report {
    /// Whether the targets hold what the flows promise, and all of it is there.
    pub fn is_equal(&self, up_to_checkpoint: bool) -> bool {
        self.counts.is_equal() && (up_to_checkpoint || self.counts.behind == 0)
    }
}

/// Compares all partitions of `flows`, which are of `config`.
///
/// # Errors
/// If a cluster cannot be asked or read; differences are no errors.
pub async fn verify(
    host: &Host,
    config: &Config,
    flows: &[&FlowConfig],
    progress: &Arc<Progress>,
) -> Result<Report, VerifyError> {
    let mut jobs = Vec::new();
    for flow in flows {
        jobs.extend(plan::jobs(host, config, flow).await?);
    }
    let total = jobs.iter().map(Job::target_records).sum();
    progress.total.store(total, Ordering::Relaxed);
    let slots = Arc::new(Semaphore::new(PARALLEL));
    let mut running = JoinSet::new();
    for job in jobs {
        let (slots, progress) = (Arc::clone(&slots), Arc::clone(progress));
        running.spawn(async move {
            let _slot = slots.acquire_owned().await;
            one(job, &progress).await
        });
    }
    let mut report = Report::default();
    while let Some(ended) = running.join_next().await {
        let (partition, passed) =
            ended.map_err(|error| VerifyError::Panic(error.to_string()))??;
        report.partitions += 1;
        report.expired += passed.expired;
        report.before += passed.before;
        report.counts.add(&partition);
        if !partition.counts.is_equal() || partition.counts.behind > 0 {
            report.different.push(partition);
        }
    }
    report
        .different
        .sort_by(|a, b| (&a.flow, &a.source).cmp(&(&b.flow, &b.source)));
    Ok(report)
}

/// Compares one partition.
async fn one(mut job: Job, progress: &Progress) -> Result<(PartitionReport, Passed), VerifyError> {
    let mut source = Peekable::new(&mut job.source);
    let mut target = Peekable::new(&mut job.target);
    let expire = [job.source_expires, job.target_expires];
    let mut passed = Passed::default();
    if job.appends && !job.source_expires {
        passed.before = pass_before(&mut source, &mut target).await?;
    }
    if passed.before == 0 {
        passed.expired = align(&mut source, &mut target, expire).await?;
    }
    let seen = AtomicU64::new(0);
    let heard = |records: u64| {
        let before = seen.swap(records, Ordering::Relaxed);
        progress
            .compared
            .fetch_add(records - before, Ordering::Relaxed);
    };
    let counts = compare(&mut source, &mut target, job.checkpoint, &heard).await?;
    let report = PartitionReport {
        flow: job.flow,
        source: job.source.partition.to_string(),
        target: job.target.partition.to_string(),
        counts,
    };
    Ok((report, passed))
}

/// Records that are not compared.
#[derive(Default)]
struct Passed {
    expired: u64,
    before: u64,
}

/// Passes over what the target held before the flow began: all that is before the source's first record, or all if the
/// source has none. How many.
async fn pass_before(
    source: &mut Peekable<'_>,
    target: &mut Peekable<'_>,
) -> Result<u64, VerifyError> {
    if let Some(first) = source.peek().await? {
        return Ok(target.pass_to(&first).await?.unwrap_or(0));
    }
    let mut passed = 0;
    while target.next().await?.is_some() {
        passed += 1;
    }
    Ok(passed)
}

/// Passes over what retention has removed on the other side: the source's records before the target's
/// first, and the target's before the source's first. How many.
async fn align(
    source: &mut Peekable<'_>,
    target: &mut Peekable<'_>,
    [source_expires, target_expires]: [bool; 2],
) -> Result<u64, VerifyError> {
    let (Some(first_source), Some(first_target)) = (source.peek().await?, target.peek().await?)
    else {
        return Ok(0);
    };
    if first_source.equals(&first_target) {
        return Ok(0);
    }
    if target_expires && let Some(passed) = source.pass_to(&first_target).await? {
        return Ok(passed);
    }
    if source_expires && let Some(passed) = target.pass_to(&first_source).await? {
        return Ok(passed);
    }
    Ok(0)
}

/// Items with a look ahead.
struct Peekable<'a> {
    items: &'a mut dyn Items,
    ahead: VecDeque<Item>,
}

/// How far ahead the other side's first record is looked for.
const LOOK_AHEAD: usize = 1 << 20;

impl<'a> Peekable<'a> {
    fn new(items: &'a mut dyn Items) -> Self {
        Self {
            items,
            ahead: VecDeque::new(),
        }
    }

    async fn peek(&mut self) -> Result<Option<Item>, VerifyError> {
        if self.ahead.is_empty() {
            self.ahead.extend(self.items.next().await?);
        }
        Ok(self.ahead.front().copied())
    }

    /// Passes over everything before an item equal to `wanted`; nothing is passed if there is none.
    async fn pass_to(&mut self, wanted: &Item) -> Result<Option<u64>, VerifyError> {
        for index in 0..LOOK_AHEAD {
            if index == self.ahead.len() {
                match self.items.next().await? {
                    Some(item) => self.ahead.push_back(item),
                    None => return Ok(None),
                }
            }
            if self.ahead[index].equals(wanted) {
                self.ahead.drain(..index);
                return Ok(Some(index as u64));
            }
        }
        Ok(None)
    }
}

impl Items for Peekable<'_> {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Item>, VerifyError>> {
        Box::pin(async move {
            match self.ahead.pop_front() {
                Some(item) => Ok(Some(item)),
                None => self.items.next().await,
            }
        })
    }
}
