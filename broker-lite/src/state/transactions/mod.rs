//! The transaction coordinator (KIP-98): producer ids, transactional ids and their transactions.
//!
//! [`Transactions`] holds the lock, the journal and the timer around the pure machine
//! (`machine.rs`). What a transaction reaches, partitions and groups, is behind [`Participants`].
//!
//! A transaction ends in three steps under one lock: the decision is written to the journal; every
//! participant is told; the end is written. A decision that is in the journal is carried out,
//! however often the process dies in between: participants take the same end twice.
//!
//! Left out: transactional ids do not expire (`transactional.id.expiration.ms`).
//!
//! Lock order: transactions, then groups, then topics and partitions.
//!
//! On disk: `transactions.journal`, entries of [`TransactionEntry`] as JSON.

pub(crate) mod machine;
mod producer_ids;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use host::Host;
use kafka_protocol::error::ResponseError;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::{
    machine::{Ended, Initialized, Producer, Transaction, TransactionState},
    producer_ids::ProducerIds,
};
use super::entries::Entries;

/// How often an end that could not be carried out is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long the timer sleeps when nothing is open.
const IDLE: Duration = Duration::from_secs(60);

/// What a transaction reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Part {
    /// Records in a partition.
    Partition(String, i32),
    /// Offsets of a group.
    Group(String),
}

/// Those who are told how a transaction ended. Being told twice must do no harm.
pub(crate) trait Participants: Sync {
    /// Appends the marker to a partition; fine if the partition is gone.
    fn end_partition(
        &self,
        topic: &str,
        partition: i32,
        producer: Producer,
        commit: bool,
    ) -> io::Result<()>;

    /// Makes the offsets that `producer` committed count, or drops them.
    fn end_offsets(&self, producer: Producer, commit: bool) -> io::Result<()>;
}

/// Limits of transactions.
#[derive(Clone, Debug)]
pub(crate) struct TransactionSettings {
    /// `transaction.max.timeout.ms`
    pub(crate) max_timeout_ms: i32,
    /// Steps survive the machine, not only the process.
    pub(crate) flush: bool,
}

impl Default for TransactionSettings {
    fn default() -> Self {
        Self {
            max_timeout_ms: 900_000,
            flush: false,
        }
    }
}

/// All transactional ids of the broker.
#[derive(Debug)]
pub(crate) struct Transactions {
    host: Host,
    settings: TransactionSettings,
    inner: Mutex<Inner>,
    /// A transaction was opened, or an end could not be carried out.
    wake: Notify,
}

#[derive(Debug)]
struct Inner {
    by_id: BTreeMap<String, Transaction>,
    producer_ids: ProducerIds,
    entries: Entries<TransactionEntry>,
    /// When [`Transactions::run`] looks again by itself, ms since 1970.
    next_look_ms: i64,
}

/// One entry of the journal.
#[derive(Debug, Serialize, Deserialize)]
enum TransactionEntry {
    Transaction(Transaction),
    /// Producer ids below this one may have been handed out.
    ProducerIds {
        until: i64,
    },
}

/// What a client says with each request of a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) transactional_id: &'a str,
    pub(crate) producer: Producer,
}

impl Transactions {
    /// Reads the journal in `folder`, which exists.
    pub(crate) fn open(
        host: Host,
        folder: &Path,
        settings: TransactionSettings,
    ) -> io::Result<Self> {
        let mut by_id = BTreeMap::new();
        let mut producer_ids = ProducerIds::default();
        let path = folder.join("transactions.journal");
        let entries = Entries::open(&host, &path, |entry| match entry {
            TransactionEntry::Transaction(transaction) => {
                by_id.insert(transaction.transactional_id.clone(), transaction);
            }
            TransactionEntry::ProducerIds { until } => producer_ids.resume(until),
        })?;
        let entries = entries.flushing(settings.flush);
        let inner = Inner {
            by_id,
            producer_ids,
            entries,
            next_look_ms: i64::MIN,
        };
        Ok(Self {
            host,
            settings,
            inner: Mutex::new(inner),
            wake: Notify::new(),
        })
    }

    /// Finishes what was decided before the start, and aborts transactions that take too long, until
    /// `stop`.
    pub(crate) async fn run(&self, participants: &dyn Participants, stop: CancellationToken) {
        loop {
            let sleep = self.host.clock.sleep(self.expire(participants));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = sleep => {}
            }
        }
    }

    /// A producer id for a producer without transactions.
    pub(crate) fn new_producer(&self) -> Result<Producer, ResponseError> {
        let id = self.inner().new_producer_id()?;
        Ok(Producer { id, epoch: 0 })
    }

    /// InitProducerId with a transactional id.
    pub(crate) fn init(
        &self,
        transactional_id: &str,
        timeout_ms: i32,
        expected: Option<Producer>,
        participants: &dyn Participants,
    ) -> Result<Producer, ResponseError> {
        if transactional_id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        if !(1..=self.settings.max_timeout_ms).contains(&timeout_ms) {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        let mut inner = self.inner();
        let known = inner.by_id.get(transactional_id).cloned();
        let current = match known {
            Some(transaction) => transaction,
            None => Transaction::new(transactional_id, inner.new_producer_id()?, timeout_ms),
        };
        match current.init(expected, timeout_ms, || inner.new_producer_id())? {
            Initialized::Ready(next) => {
                let producer = next.producer();
                inner.store(next)?;
                Ok(producer)
            }
            Initialized::AbortFirst(fenced) => {
                self.end_prepared(&mut inner, fenced, participants)?;
                // The client asks again and gets an epoch that was never in doubt.
                Err(ResponseError::ConcurrentTransactions)
            }
        }
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn.
    pub(crate) fn add(
        &self,
        claim: Claim<'_>,
        parts: &BTreeSet<Part>,
    ) -> Result<(), ResponseError> {
        let mut inner = self.inner();
        self.add_locked(&mut inner, claim, parts)
    }

    fn add_locked(
        &self,
        inner: &mut Inner,
        claim: Claim<'_>,
        parts: &BTreeSet<Part>,
    ) -> Result<(), ResponseError> {
        let now_ms = self.host.clock.wall_ms();
        let transaction = inner.get(claim)?;
        if let Some(next) = transaction.add(claim.producer, parts, now_ms)? {
            let is_early = next
                .expires_ms()
                .is_some_and(|end| end < inner.next_look_ms);
            inner.store(next)?;
            if is_early {
                self.wake.notify_one();
            }
        }
        Ok(())
    }

    /// Does `work` if `part` belongs to the claimed transaction, which cannot end meanwhile. With
    /// `adds` the part is taken in first (KIP-890: Produce 12 and TxnOffsetCommit 5).
    pub(crate) fn within<T>(
        &self,
        claim: Claim<'_>,
        part: &Part,
        adds: bool,
        work: impl FnOnce() -> T,
    ) -> Result<T, ResponseError> {
        let mut inner = self.inner();
        if adds {
            let parts = BTreeSet::from([part.clone()]);
            self.add_locked(&mut inner, claim, &parts)?;
        } else {
            inner.get(claim)?.verify(claim.producer, part)?;
        }
        Ok(work())
    }

    /// EndTxn. `bumps` is set for clients of KIP-890, who go on with the producer in the answer.
    pub(crate) fn end(
        &self,
        claim: Claim<'_>,
        commit: bool,
        bumps: bool,
        participants: &dyn Participants,
    ) -> Result<Producer, ResponseError> {
        let mut inner = self.inner();
        let now_ms = self.host.clock.wall_ms();
        let transaction = inner.get(claim)?.clone();
        let producer = claim.producer;
        let new_id = || inner.new_producer_id();
        match transaction.end(producer, commit, bumps, now_ms, new_id)? {
            Ended::Already(producer) => Ok(producer),
            Ended::Prepare(prepared) => {
                let after = prepared.complete().producer();
                self.end_prepared(&mut inner, prepared, participants)?;
                Ok(after)
            }
        }
    }

    /// Looks at one transactional id.
    pub(crate) fn with<T>(&self, id: &str, look: impl FnOnce(Option<&Transaction>) -> T) -> T {
        look(self.inner().by_id.get(id))
    }

    /// Looks at all transactional ids.
    pub(crate) fn with_all<T>(&self, look: impl FnOnce(&BTreeMap<String, Transaction>) -> T) -> T {
        look(&self.inner().by_id)
    }

    /// Makes everything survive the machine.
    pub(crate) fn make_durable(&self) -> io::Result<()> {
        self.inner().entries.sync()
    }

    /// Writes the decision down; from there on it is carried out, now or later.
    fn end_prepared(
        &self,
        inner: &mut Inner,
        prepared: Transaction,
        participants: &dyn Participants,
    ) -> Result<(), ResponseError> {
        inner.store(prepared.clone())?;
        if let Err(error) = inner.carry_out(&prepared, participants) {
            let id = &prepared.transactional_id;
            tracing::warn!(transactional_id = %id, %error, "the end of a transaction is delayed");
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Does what is due; tells for how long nothing will be.
    fn expire(&self, participants: &dyn Participants) -> Duration {
        let mut inner = self.inner();
        let now_ms = self.host.clock.wall_ms();
        let over = |t: &&Transaction| t.expires_ms().is_some_and(|end| end <= now_ms);
        let overdue: Vec<_> = inner
            .by_id
            .values()
            .filter(over)
            .map(Transaction::fence)
            .collect();
        for fenced in overdue {
            let id = fenced.transactional_id.clone();
            tracing::info!(transactional_id = %id, "the transaction took too long: aborted");
            if inner.store(fenced).is_err() {
                break; // logged where it arises; the transaction stays overdue
            }
        }
        let ending = inner.by_id.values().filter(|t| t.state.is_ending());
        let ending: Vec<Transaction> = ending.cloned().collect();
        for prepared in ending {
            if let Err(error) = inner.carry_out(&prepared, participants) {
                let id = &prepared.transactional_id;
                tracing::warn!(transactional_id = %id, %error, "cannot end a transaction");
            }
        }
        let sleep = inner.time_to_next(now_ms);
        let sleep_ms = i64::try_from(sleep.as_millis()).unwrap_or(i64::MAX);
        inner.next_look_ms = now_ms.saturating_add(sleep_ms);
        sleep
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn get(&self, claim: Claim<'_>) -> Result<&Transaction, ResponseError> {
        if claim.transactional_id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let found = self.by_id.get(claim.transactional_id);
        found.ok_or(ResponseError::InvalidProducerIdMapping)
    }

    fn new_producer_id(&mut self) -> Result<i64, ResponseError> {
        let entries = &mut self.entries;
        // Synced whatever the settings say: an id that comes twice after a loss of power would let
        // one producer's sequence numbers pass for another's.
        let reserve = |until| {
            entries.append(&TransactionEntry::ProducerIds { until })?;
            entries.sync()
        };
        self.producer_ids
            .take(reserve)
            .map_err(|error| failed(&error))
    }

    /// Writes a step down, then makes it.
    fn store(&mut self, next: Transaction) -> Result<(), ResponseError> {
        let entry = TransactionEntry::Transaction(next.clone());
        self.entries
            .append(&entry)
            .map_err(|error| failed(&error))?;
        self.by_id.insert(next.transactional_id.clone(), next);
        self.compact();
        Ok(())
    }

    /// Tells all participants of a decision, and notes that it is done.
    fn carry_out(
        &mut self,
        prepared: &Transaction,
        participants: &dyn Participants,
    ) -> io::Result<()> {
        let commit = prepared.state == TransactionState::PrepareCommit;
        let producer = prepared.producer();
        let mut has_offsets = false;
        for part in &prepared.parts {
            match part {
                Part::Partition(topic, partition) => {
                    participants.end_partition(topic, *partition, producer, commit)?;
                }
                Part::Group(_) => has_offsets = true,
            }
        }
        if has_offsets {
            participants.end_offsets(producer, commit)?;
        }
        let done = prepared.complete();
        self.entries
            .append(&TransactionEntry::Transaction(done.clone()))?;
        self.by_id.insert(done.transactional_id.clone(), done);
        Ok(())
    }

    fn time_to_next(&self, now_ms: i64) -> Duration {
        let each = self.by_id.values().filter_map(|t| {
            if t.state.is_ending() {
                return Some(RETRY);
            }
            let left = t.expires_ms()?.saturating_sub(now_ms);
            // One that is overdue could not be written down: try again, but not at once.
            let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
            Some(if left.is_zero() { RETRY } else { left })
        });
        each.min().unwrap_or(IDLE).min(IDLE)
    }

    /// Rewrites the journal once it is mostly history.
    fn compact(&mut self) {
        let until = self.producer_ids.reserved_until();
        let by_id = &self.by_id;
        let snapshot = || {
            let ids = std::iter::once(TransactionEntry::ProducerIds { until });
            let all = by_id.values().cloned().map(TransactionEntry::Transaction);
            ids.chain(all).collect()
        };
        if let Err(error) = self.entries.compact_if_large(snapshot) {
            tracing::error!(%error, "cannot rewrite the transactions' journal");
        }
    }
}

/// The answer when the journal cannot be written.
fn failed(error: &io::Error) -> ResponseError {
    tracing::error!(%error, "cannot write to the transactions' journal");
    // As in Kafka, where the log of transactions cannot be written (`TransactionStateManager`): try again.
    ResponseError::NotCoordinator
}
