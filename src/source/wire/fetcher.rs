//! The task that fetches from one source broker.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use kafka_protocol::{
    messages::{FetchRequest, FetchResponse, fetch_response::PartitionData},
    protocol::StrBytes,
};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;
use wire::{
    Isolation, TopicPartition,
    connection::Connection,
    error::{ApiError, ClientError},
};

use super::{
    Fetchers, Settings,
    ahead::Ahead,
    answer::{failure, name_of, size},
    cut::cut,
    request::{Way, request},
    session::{Asked, Position, Session},
};
use crate::{
    base::budget::{Permit, Share},
    cluster::leaders::Leader,
    source::{Batch, Content, Event, Looks, SourceError},
    telemetry::Throttle,
};

/// How long the broker waits for a first byte. New partitions and those that have room again wait behind it.
const WAIT: Duration = Duration::from_millis(250);
/// The same after some partition had no room and so was not part of the request; twice as long each time that
/// nothing came.
const SHORT_WAIT: Duration = Duration::from_millis(1);
/// Between two looks for readers that went away while no partition has room.
const LOOK: Duration = Duration::from_secs(1);
/// Fetch versions: from 13 on topics go by id.
const VERSIONS: std::ops::RangeInclusive<i16> = 4..=17;
const LAST_BY_NAME: i16 = 12;

/// A partition to be fetched.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) partition: TopicPartition,
    pub(super) leader: Leader,
    /// As in [`Partition`].
    pub(super) until: Option<Duration>,
    pub(super) offset: i64,
    pub(super) epoch: i32,
    pub(super) most: usize,
    pub(super) sender: mpsc::Sender<Event>,
    /// To be told of this broker's answers.
    pub(super) looks: Looks,
}

pub(super) struct Partition {
    pub(super) leader: Leader,
    /// Until when a replica is read instead of the leader, on the monotonic clock; none: the leader is.
    pub(super) until: Option<Duration>,
    pub(super) position: Position,
    pub(super) asked: Asked,
    pub(super) sender: mpsc::Sender<Event>,
    pub(super) looks: Looks,
    share: Share,
    /// How many bytes it may have in flight, whatever is free.
    pub(super) most: usize,
    /// The end that was told last, and whether an open transaction begins there; -1: none.
    end: (i64, bool),
}

impl Partition {
    /// Whether more of it may be fetched while one partition may hold so many bytes.
    fn has_room(&self, room: usize) -> bool {
        self.sender.capacity() > 0 && self.share.has_room(room.min(self.most))
    }
}

pub(super) struct Fetcher {
    pub(super) broker: i32,
    pub(super) settings: Settings,
    /// Of all brokers.
    pub(super) fetchers: Weak<Fetchers>,
    looks: Looks,
    throttle: Throttle,
    connection: Option<Arc<Connection>>,
    way: Way,
    ahead: Ahead,
    pub(super) session: Session,
    pub(super) partitions: BTreeMap<TopicPartition, Partition>,
    /// Names of the topics, for answers that only know ids.
    names: HashMap<Uuid, String>,
    /// Told when a partition has room again.
    freed: Arc<Notify>,
    wait: Duration,
}

impl Fetcher {
    pub(super) fn new(broker: i32, settings: Settings, fetchers: Weak<Fetchers>) -> Self {
        Self {
            broker,
            fetchers,
            looks: Looks::default(),
            throttle: settings.outage.throttle("fetch"),
            connection: None,
            way: Way::default(),
            ahead: Ahead::default(),
            session: Session::default(),
            partitions: BTreeMap::new(),
            names: HashMap::new(),
            freed: Arc::default(),
            wait: WAIT,
            settings,
        }
    }

    /// Fetches until the source is gone and all readers are.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Open>) {
        loop {
            while let Ok(open) = commands.try_recv() {
                self.open(open);
            }
            let session = &mut self.session;
            self.partitions.retain(|name, partition| {
                let gone = partition.sender.is_closed();
                if gone {
                    session.leave(name, partition.asked);
                }
                !gone
            });
            self.send_home();
            if self.partitions.is_empty() {
                // No session and no connection for nothing.
                self.disconnect();
                match commands.recv().await {
                    Some(open) => self.open(open),
                    None => return,
                }
                continue;
            }
            if let Some(pause) = self.pause() {
                tokio::select! {
                    biased;
                    Some(open) = commands.recv() => self.open(open),
                    () = self.freed.notified() => self.ahead.freed(self.held(), self.total()),
                    () = self.settings.host.clock.sleep(pause) => self.looked(),
                }
                continue;
            }
            let budget = self.settings.budget.clone();
            let bytes = self.way.response_bytes(budget.free(), budget.total());
            let permit = tokio::select! {
                biased;
                Some(open) = commands.recv() => {
                    self.open(open);
                    continue;
                }
                permit = budget.take(bytes) => permit,
            };
            self.fetch(permit, bytes).await;
        }
    }

    /// How long to wait before more is asked for, if nobody frees something.
    fn pause(&self) -> Option<Duration> {
        let held = self.held();
        let room = self.room(self.settings.budget.free(), held);
        if !self.partitions.values().any(|one| one.has_room(room)) {
            return Some(LOOK);
        }
        self.is_full(held).then(|| self.ahead.pause())
    }

    /// The pause is over, and nothing came back.
    fn looked(&mut self) {
        let held = self.held();
        if self.is_full(held) && self.partitions.values().any(|one| one.has_room(0)) {
            self.ahead.stalled(held, self.total());
        }
    }

    /// What one partition may hold while so much of the budget is free and all hold `held`.
    fn room(&self, free: usize, held: usize) -> usize {
        self.way.room(free, self.ahead.room(held, self.total()))
    }

    /// Whether enough is read ahead, of a broker that is near.
    fn is_full(&self, held: usize) -> bool {
        !self.way.is_far() && self.ahead.is_full(held, self.total())
    }

    /// What all partitions have in flight.
    fn held(&self) -> usize {
        let shares = self.partitions.values().map(|one| one.share.in_flight());
        shares.sum()
    }

    fn total(&self) -> usize {
        self.settings.budget.total()
    }

    fn open(&mut self, open: Open) {
        let topic_id = open.leader.topic_id;
        let known = self.partitions.remove(&open.partition);
        if let Some(known) = known {
            self.session.leave(&open.partition, known.asked);
        }
        open.looks.follow(&self.looks);
        let partition = Partition {
            leader: open.leader,
            until: open.until,
            looks: open.looks,
            position: Position {
                topic_id,
                offset: open.offset,
                leader_epoch: open.leader.epoch,
                last_epoch: open.epoch,
                max_bytes: 0,
            },
            asked: Asked::default(),
            sender: open.sender,
            share: Share::new(Arc::clone(&self.freed)),
            most: open.most,
            end: (-1, false),
        };
        self.names.insert(topic_id, open.partition.topic.clone());
        self.partitions.insert(open.partition, partition);
    }

    /// One request and its answer, which has `bytes` at most, save for a single batch that is larger.
    async fn fetch(&mut self, permit: Permit, bytes: usize) {
        let connection = match self.connected().await {
            Ok(connection) => connection,
            Err(error) => return self.give_up(&error),
        };
        // What this request has taken is as good as free for it.
        let room = self.room(self.settings.budget.free() + bytes, self.held());
        let (way, total) = (self.way, self.total());
        let partitions = self.partitions.iter_mut().map(|(name, partition)| {
            partition.position.max_bytes = way.partition_bytes(partition.most, total);
            let wanted = partition.has_room(room).then_some(partition.position);
            (name, &mut partition.asked, wanted)
        });
        let plan = self.session.plan(partitions);
        let wait = if plan.all { WAIT } else { self.wait };
        let rack = self.settings.rack.clone().unwrap_or_default();
        let request = request(&plan, self.settings.isolation, bytes, wait)
            .with_rack_id(StrBytes::from_string(rack));
        let begun = self.settings.host.clock.monotonic();
        let answer = match self.ask(&connection, &request).await {
            Ok(answer) => answer,
            Err(error) => return self.give_up(&error),
        };
        match ApiError::from_code(answer.error_code, None::<&str>) {
            None => self.session.answered(answer.session_id),
            // FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR
            Some(error) if matches!(error.code, 70 | 71 | 106) => return self.session.reset(),
            Some(error) => {
                let what = format!("broker {}", self.broker);
                return self.give_up(&ClientError::Api { what, error });
            }
        }
        self.looks.looked(self.settings.host.clock.wall_ms());
        self.throttle.asked(answer.throttle_time_ms);
        let sizes = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let came = sizes.map(size).sum();
        let took = self.settings.host.clock.monotonic().saturating_sub(begun);
        self.way.came(came, took);
        self.wait = if came > 0 {
            SHORT_WAIT
        } else {
            WAIT.min(wait * 2)
        };
        self.hand_out(answer, permit, bytes, came);
    }

    /// Hands on what came. While much of the budget is taken, only who has half of the buffer gets a slice of it:
    /// a slow one would keep all of it in flight for the sake of a few bytes.
    fn hand_out(&mut self, answer: FetchResponse, mut permit: Permit, bytes: usize, came: usize) {
        let budget = &self.settings.budget;
        let scarce = budget.free() < budget.total() / 2;
        let mut parts = Vec::new();
        for topic in answer.responses {
            let Some(name) = name_of(&topic, &self.names) else {
                continue;
            };
            for mut data in topic.partitions {
                let partition = TopicPartition::new(&name, data.partition_index);
                let part = size(&data);
                let own = if scarce && part < came / 2 {
                    permit.split(came, part).or_else(|| budget.try_take(part))
                } else {
                    None
                };
                if own.is_some() {
                    data.records = data.records.map(|bytes| Bytes::copy_from_slice(&bytes));
                }
                parts.push((partition, data, own));
            }
        }
        permit.shrink(came);
        // A batch always comes whole (KIP-74). What the budget does not have for it now, it has not for anybody:
        // that keeps all fetchers from going on, so it is one batch for each of them at most.
        let beyond = came.saturating_sub(bytes);
        let buffer = Arc::new(permit.and(budget.take_some(beyond)));
        for (partition, data, own) in parts {
            let permit = own.map_or_else(|| Arc::clone(&buffer), Arc::new);
            self.take(&partition, data, &permit);
        }
    }

    async fn connected(&mut self) -> Result<Arc<Connection>, ClientError> {
        let usable = |known: &Arc<Connection>| !known.is_broken() && known.is_fresh();
        let connection = match self.connection.take().filter(usable) {
            Some(known) => known,
            None => self.settings.client.dial(self.broker).await?,
        };
        self.way.round_trip = connection.round_trip();
        self.connection = Some(Arc::clone(&connection));
        Ok(connection)
    }

    async fn ask(
        &self,
        connection: &Connection,
        request: &FetchRequest,
    ) -> Result<FetchResponse, ClientError> {
        let by_id = self
            .partitions
            .values()
            .all(|p| !p.position.topic_id.is_nil());
        let highest = if by_id { *VERSIONS.end() } else { LAST_BY_NAME };
        connection.call(request, *VERSIONS.start()..=highest).await
    }

    /// Hands on what came for one partition.
    fn take(&mut self, name: &TopicPartition, data: PartitionData, permit: &Arc<Permit>) {
        let Some(partition) = self.partitions.get_mut(name) else {
            return;
        };
        if let Some(failure) = failure(name, partition, &data) {
            return self.fail(name, failure);
        }
        let replica = *data.preferred_read_replica;
        let end = match self.settings.isolation {
            Isolation::ReadUncommitted => data.high_watermark,
            Isolation::ReadCommitted => data.last_stable_offset,
        };
        // The last stable offset is where the first open transaction begins.
        let held = data.high_watermark > end;
        let aborted = data.aborted_transactions.unwrap_or_default();
        let aborted: Vec<_> = aborted
            .iter()
            .map(|one| (one.producer_id.0, one.first_offset))
            .collect();
        let from = partition.position.offset;
        let records = data.records.unwrap_or_default();
        let (cuts, damage) = cut(records, &aborted, self.settings.isolation, from);
        let mut batches: Vec<_> = cuts
            .into_iter()
            .map(|cut| {
                let bytes = match &cut.content {
                    Content::Sealed(view) => view.bytes.len(),
                    Content::Nothing | Content::Open(_) => 0,
                };
                partition.position.offset = cut.next_offset;
                partition.position.last_epoch = cut.epoch;
                Batch {
                    first_offset: cut.first_offset,
                    next_offset: cut.next_offset,
                    epoch: cut.epoch,
                    source_end: end.max(cut.next_offset),
                    held,
                    content: cut.content,
                    permit: Permit::slice(permit, &partition.share, bytes),
                }
            })
            .collect();
        if batches.is_empty() && (end, held) != partition.end {
            // Only news of the end, for the lag.
            batches.push(Batch {
                first_offset: from,
                next_offset: from,
                epoch: partition.position.last_epoch,
                source_end: end.max(from),
                held,
                content: Content::Nothing,
                permit: Permit::default(),
            });
        }
        partition.end = (end, held);
        if !batches.is_empty() {
            // There was room when it was asked for; a reader that went away does not mind.
            partition.sender.try_send(Ok(batches)).ok();
        }
        if let Some(damage) = damage {
            let failure = SourceError::Corrupt {
                partition: name.clone(),
                offset: damage.offset,
                reason: format!(
                    "{damage}; `transport = \"librdkafka\"` reads older record formats"
                ),
            };
            self.fail(name, failure);
        }
        self.prefer(name, replica);
    }

    /// Tells a partition's worker why nothing more comes.
    fn fail(&mut self, name: &TopicPartition, failure: SourceError) {
        if let Some(partition) = self.partitions.remove(name) {
            self.session.leave(name, partition.asked);
            let sender = partition.sender;
            if let Err(mpsc::error::TrySendError::Full(failure)) =
                sender.try_send(Err(Box::new(failure)))
            {
                // Behind what is still in its queue; ends when the reader does.
                tokio::spawn(async move { sender.send(failure).await.ok() });
            }
        }
    }

    /// The broker cannot be used: every worker hears it and asks for the leader again.
    fn give_up(&mut self, error: &ClientError) {
        self.settings.outage.begins(&error.to_string());
        self.disconnect();
        let names: Vec<_> = self.partitions.keys().cloned().collect();
        for partition in names {
            let reason = error.to_string();
            let failure = SourceError::Lost {
                partition: partition.clone(),
                reason,
            };
            self.fail(&partition, failure);
        }
    }

    fn disconnect(&mut self) {
        self.connection = None;
        self.session.reset();
        self.names.clear();
    }
}

#[cfg(test)]
mod tests;
