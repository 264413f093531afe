//! The thread that drains the consumer.
//!
//! Per open partition: `next` is the offset that is expected, `first` the one from which a batch has
//! not been handed on. What comes below `next` came before (a partition that was assigned again) and
//! is dropped. A partition whose worker does not keep up, or for which the budget stays empty, is
//! *stalled*: taken from the consumer, which drops what it had read ahead, and assigned again at
//! `next` when its batch has gone out. So one slow partition never stops the others, and the thread
//! always comes back to librdkafka's queue.
//!
//! The first record after an assignment is trusted only at `next`. One further on may stand behind a
//! range without records, or come from an earlier assignment that had read ahead; taking the latter would
//! lose what lies between. So the range is read with the wire client ([`pass_over`]), `next` moves as far
//! as no record is seen, and the partition is assigned there.

use std::{
    collections::{HashMap, HashSet},
    sync::PoisonError,
    time::{Duration, Instant},
};

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    topic_partition_list::{Offset, TopicPartitionList},
};
use tokio::{runtime::Handle, sync::mpsc};
use wire::TopicPartition;

use super::{
    Settings,
    building::Building,
    command::{Command, Positions},
    context::Context,
    diagnose::diagnose,
    partition::{Partition, Partitions, Taken, get, take},
    tail::pass_over,
};
use crate::{
    base::budget::{Permit, Share, fair},
    source::{Batch, Content, Event, SourceError},
};

/// How long the thread waits for records when there is nothing else to do.
const IDLE: Duration = Duration::from_millis(50);
/// The same where all that is to be handed on has no room.
const STALLED: Duration = Duration::from_millis(5);
/// How long it waits for the budget before it stalls a partition.
const PATIENCE: Duration = Duration::from_millis(200);
/// Records taken before commands are looked at.
const BURST: usize = 4096;
/// Between two diagnoses of errors that name no partition.
const DIAGNOSE_EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Poller {
    consumer: BaseConsumer<Context>,
    settings: Settings,
    commands: mpsc::Receiver<Command>,
    runtime: Handle,
    positions: Positions,
    partitions: Partitions,
    /// Partitions with records in the making.
    dirty: HashSet<TopicPartition>,
    diagnose_at: Option<Instant>,
}

impl Poller {
    pub(super) fn new(
        consumer: BaseConsumer<Context>,
        settings: Settings,
        commands: mpsc::Receiver<Command>,
        runtime: Handle,
        positions: Positions,
    ) -> Self {
        Self {
            consumer,
            settings,
            commands,
            runtime,
            positions,
            partitions: Partitions::new(),
            dirty: HashSet::new(),
            diagnose_at: None,
        }
    }

    /// Until the source is dropped.
    pub(super) fn run(mut self) {
        while self.obey() {
            let timeout = self.timeout();
            // Records come in bursts: commands and stalled partitions are looked at once per burst.
            for _ in 0..BURST {
                let taken = match self.consumer.poll(timeout) {
                    None => break,
                    Some(Ok(message)) => take(&mut self.partitions, &mut self.dirty, &message),
                    Some(Err(error)) => {
                        self.error(&error);
                        Taken::More
                    }
                };
                match taken {
                    Taken::More => {}
                    Taken::Full(partition) => self.hand_on(&partition),
                    Taken::Ahead(partition) => self.catch_up(&partition),
                }
            }
            self.hand_on_all();
            self.diagnose_if_due();
        }
    }

    /// How long to wait for a record: not at all before a batch that is to be handed on.
    fn timeout(&mut self) -> Duration {
        let mut waiting = self.dirty.iter();
        if self.dirty.is_empty() {
            IDLE
        } else if waiting.all(|one| get(&mut self.partitions, one).is_some_and(|one| one.stalled)) {
            STALLED
        } else {
            Duration::ZERO
        }
    }

    /// Takes what was asked; false when nobody is left to ask.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Open {
                    partition,
                    offset,
                    most,
                    sender,
                }) => {
                    self.open(partition, offset, most, sender);
                }
                Ok(Command::Passed {
                    partition,
                    from,
                    to,
                }) => self.passed(&partition, from, to),
                Ok(Command::Ends(ends)) => self.ends(&ends),
                Err(mpsc::error::TryRecvError::Empty) => return true,
                Err(mpsc::error::TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn open(
        &mut self,
        partition: TopicPartition,
        offset: i64,
        most: usize,
        sender: mpsc::Sender<Event>,
    ) {
        self.close(&partition);
        let state = Partition {
            sender,
            first: offset,
            next: offset,
            end: -1,
            building: Building::default(),
            fresh: true,
            share: Share::default(),
            most,
            stalled: false,
        };
        self.assign(&partition, offset);
        self.note_position(&partition, offset);
        self.partitions
            .entry(partition.topic)
            .or_default()
            .insert(partition.partition, state);
    }

    /// Forgets a partition whose worker went away, or that cannot go on.
    fn close(&mut self, partition: &TopicPartition) {
        let topic = self.partitions.get_mut(&partition.topic);
        let state = topic.and_then(|topic| topic.remove(&partition.partition));
        self.dirty.remove(partition);
        self.positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(partition);
        if state.is_some_and(|state| !state.stalled) {
            self.unassign(partition);
        }
    }

    /// Hands on what is in the making everywhere, and sees who went away.
    fn hand_on_all(&mut self) {
        let dirty: Vec<_> = self.dirty.iter().cloned().collect();
        for partition in &dirty {
            self.hand_on(partition);
        }
        let all = self.partitions.iter().flat_map(|(topic, partitions)| {
            let gone = partitions
                .iter()
                .filter(|(_, state)| state.sender.is_closed());
            gone.map(move |(number, _)| TopicPartition::new(topic, *number))
        });
        for partition in all.collect::<Vec<_>>() {
            self.close(&partition);
        }
    }

    /// Hands on one partition's batch, or as much of it as leaves something for the next partition; stalls the
    /// partition if there is no room for it.
    fn hand_on(&mut self, partition: &TopicPartition) {
        let Some(state) = get(&mut self.partitions, partition) else {
            return;
        };
        let free = self.settings.budget.free();
        let (count, charge) = state.building.part(fair(free));
        let room = state.sender.capacity() > 0 && state.share.has_room(fair(free).min(state.most));
        let share = room.then(|| state.share.clone());
        // Who waits already need not wait again: the next burst tries once more.
        let patience = if state.stalled {
            Duration::ZERO
        } else {
            PATIENCE
        };
        let permit = share.and_then(|share| {
            let permit = self.take_budget(charge, patience)?;
            Some(permit.counted(&share, charge))
        });
        let Some(permit) = permit else {
            return self.stall(partition);
        };
        let Some(state) = get(&mut self.partitions, partition) else {
            return;
        };
        let content = match state.building.take(count) {
            records if records.is_empty() => Content::Nothing,
            records => Content::Open(records),
        };
        let rest = state.building.first_offset();
        let next = rest.unwrap_or(state.next);
        let batch = Batch {
            first_offset: state.first,
            next_offset: next,
            epoch: -1,
            source_end: if state.end < 0 {
                -1
            } else {
                state.end.max(state.next)
            },
            // Only the wire client tells.
            held: false,
            content,
            permit,
        };
        state.first = next;
        let stalled = rest.is_none() && std::mem::take(&mut state.stalled);
        // There was room, and only this thread fills it; a worker that went away is closed later.
        state.sender.try_send(Ok(vec![batch])).ok();
        if rest.is_none() {
            self.dirty.remove(partition);
        }
        self.note_position(partition, next);
        if stalled {
            self.assign(partition, next);
        }
    }

    fn take_budget(&self, bytes: usize, patience: Duration) -> Option<Permit> {
        let budget = &self.settings.budget;
        budget.try_take(bytes).or_else(|| {
            self.runtime.block_on(async {
                tokio::time::timeout(patience, budget.take(bytes))
                    .await
                    .ok()
            })
        })
    }

    /// Takes it from the consumer until there is room, which each burst looks for: also where only its end is to be told, as
    /// nothing comes any more that would do so.
    fn stall(&mut self, partition: &TopicPartition) {
        let Some(state) = get(&mut self.partitions, partition) else {
            return;
        };
        if !std::mem::replace(&mut state.stalled, true) {
            self.unassign(partition);
        }
        self.dirty.insert(partition.clone());
    }

    /// A range without records becomes a batch without records.
    fn passed(&mut self, partition: &TopicPartition, from: i64, to: i64) {
        let Some(state) = get(&mut self.partitions, partition) else {
            return;
        };
        if state.next == from && state.building.is_empty() && !state.stalled {
            state.next = to;
            self.hand_on(partition);
        }
    }

    /// Tells workers of a new end, for their lag.
    fn ends(&mut self, ends: &HashMap<TopicPartition, i64>) {
        for (partition, end) in ends {
            let Some(state) = get(&mut self.partitions, partition) else {
                continue;
            };
            if std::mem::replace(&mut state.end, *end) != *end && state.building.is_empty() {
                self.hand_on(partition);
            }
        }
    }

    fn error(&mut self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure) => {}
            // Behind a damaged batch the consumer goes on: go back everywhere, until it is known where.
            Some(RDKafkaErrorCode::BadMessage) => {
                tracing::warn!(cluster = %self.settings.cluster, %error, "damaged bytes from the source");
                self.diagnose_at.get_or_insert_with(Instant::now);
                self.reassign_all();
            }
            _ => {
                tracing::debug!(cluster = %self.settings.cluster, %error, "the source reports an error");
                self.diagnose_at.get_or_insert_with(Instant::now);
            }
        }
    }

    fn diagnose_if_due(&mut self) {
        if self.diagnose_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.diagnose_at = None;
        let open = self.partitions.iter().flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(move |(number, state)| (TopicPartition::new(topic, *number), state.next))
        });
        let positions: Vec<_> = open.collect();
        let Settings {
            client, isolation, ..
        } = &self.settings;
        match self
            .runtime
            .block_on(diagnose(client, &positions, *isolation))
        {
            Ok(failures) => failures.into_iter().for_each(|failure| self.fail(failure)),
            // Not known yet: ask again, but not in a tight loop.
            Err(error) => {
                tracing::debug!(%error, "cannot look at the source's partitions");
                self.diagnose_at = Some(Instant::now() + DIAGNOSE_EVERY);
            }
        }
    }

    /// Hands on what came before the failure, then the failure.
    fn fail(&mut self, failure: SourceError) {
        let partition = failure.partition().clone();
        self.hand_on(&partition);
        if let Some(state) = get(&mut self.partitions, &partition)
            && state.building.is_empty()
        {
            state.sender.try_send(Err(Box::new(failure))).ok();
            self.close(&partition);
        } else {
            // No room for what came before: the failure is found again later.
            self.diagnose_at = Some(Instant::now() + DIAGNOSE_EVERY);
        }
    }

    /// Moves `next` over what holds no record, and assigns the partition there.
    fn catch_up(&mut self, partition: &TopicPartition) {
        let Some(state) = get(&mut self.partitions, partition) else {
            return;
        };
        let next = state.next;
        let Settings {
            client, isolation, ..
        } = &self.settings;
        let proof = pass_over(client, *isolation, partition, next);
        match self.runtime.block_on(proof) {
            Ok(to) => state.next = to.max(next),
            Err(error) => {
                tracing::debug!(%partition, offset = next, %error, "cannot read a gap");
                self.diagnose_at.get_or_insert_with(Instant::now);
            }
        }
        let next = state.next;
        if !state.stalled {
            self.unassign(partition);
            self.assign(partition, next);
        }
        self.hand_on(partition);
    }

    fn reassign_all(&mut self) {
        let open = self.partitions.iter().flat_map(|(topic, partitions)| {
            let assigned = partitions.iter().filter(|(_, state)| !state.stalled);
            assigned.map(move |(number, state)| (TopicPartition::new(topic, *number), state.next))
        });
        for (partition, next) in open.collect::<Vec<_>>() {
            self.unassign(&partition);
            self.assign(&partition, next);
        }
    }

    fn assign(&mut self, partition: &TopicPartition, offset: i64) {
        if let Some(state) = get(&mut self.partitions, partition) {
            state.fresh = true;
        }
        let mut list = TopicPartitionList::new();
        let added = list.add_partition_offset(
            &partition.topic,
            partition.partition,
            Offset::Offset(offset),
        );
        if let Err(error) = added.and_then(|()| self.consumer.incremental_assign(&list)) {
            tracing::error!(%partition, offset, %error, "cannot assign a partition");
        }
    }

    fn unassign(&self, partition: &TopicPartition) {
        let mut list = TopicPartitionList::new();
        list.add_partition(&partition.topic, partition.partition);
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            tracing::error!(%partition, %error, "cannot unassign a partition");
        }
    }

    fn note_position(&self, partition: &TopicPartition, next: i64) {
        let mut positions = self
            .positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match positions.get_mut(partition) {
            Some(position) => *position = next,
            None => drop(positions.insert(partition.clone(), next)),
        }
    }
}
