//! The task that talks to one target broker by one connection: what waits goes out together, answers come back in
//! order.
//!
//! Invariants:
//! * A partition appears once in a request; what else of it waits goes out in the next one, on the same
//!   connection, so that its order holds.
//! * Every batch is answered exactly once. When the connection breaks, everything it carried is answered as lost;
//!   when there is none to be had, so is everything that waits. Nothing is sent again here.
//! * Behind a failed batch of a lane nothing of that lane goes out any more.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use host::Host;
use kafka_protocol::messages::ProduceResponse;
use tokio::sync::mpsc;
use wire::{
    TopicPartition,
    client::Client,
    connection::{Connection, MayGo, PendingProduce},
    error::ClientError,
};

use super::{
    Distance, QUEUE,
    answer::Outcomes,
    item::{Item, Reply},
    slow::SlowLane,
    width::{Close, Width},
};
use crate::{
    base::backoff::Backoff,
    telemetry::{Outage, Throttle},
    worker::Lease,
};

/// Requests on their way to one broker. It works on one at a time, the others hide the round trip.
const REQUESTS: usize = 5;
/// Bytes of one request beyond which nothing is added: answers come often enough to tell that the target goes on.
const REQUEST_BYTES: usize = 2 << 20;
/// How long the broker waits for its replicas (EXACTNESS 9). Those of a partition that is late it names in the
/// answer, and all others wait for that answer.
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(5);
const USUAL_PRODUCE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long this side waits for an answer, from when the one before it came: the connection is muted
/// while the broker works on a request (EXACTNESS 13).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Pauses after the broker closed the connection again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Which of the two connections to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Of all partitions that are well.
    Usual,
    /// Of the others ([`SlowLane`]).
    Second,
}

/// A request that waits for its answer.
struct Request {
    pending: PendingProduce,
    items: Vec<Item>,
}

pub(super) struct Broker {
    id: i32,
    way: Way,
    client: Client,
    host: Host,
    outage: Outage,
    throttle: Throttle,
    /// Asked right before each write (EXACTNESS 7).
    lease: Arc<dyn Lease>,
    slow: Arc<SlowLane>,
    distance: Arc<Distance>,
    width: Width,
    pauses: Backoff,
    connection: Option<Arc<Connection>>,
    /// Not sent yet, in the order of arrival.
    waiting: VecDeque<Item>,
    requests: VecDeque<Request>,
    /// When the oldest request counts as unanswered, on the monotonic clock.
    deadline: Duration,
    /// Until then the broker asked not to be bothered (KIP-219), or closed the connection once too often.
    paused_until: Duration,
}

impl Broker {
    pub(super) fn new(
        (id, way): (i32, Way),
        client: Client,
        host: Host,
        outage: Outage,
        lease: Arc<dyn Lease>,
        slow: Arc<SlowLane>,
        distance: Arc<Distance>,
    ) -> Self {
        Self {
            id,
            way,
            client,
            host,
            throttle: outage.throttle("produce"),
            outage,
            lease,
            slow,
            distance,
            width: Width::default(),
            pauses: Backoff::new(FIRST_PAUSE, LAST_PAUSE),
            connection: None,
            waiting: VecDeque::new(),
            requests: VecDeque::new(),
            deadline: Duration::ZERO,
            paused_until: Duration::ZERO,
        }
    }

    /// Serves until every lane and the sink are gone.
    pub(super) async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        loop {
            self.send_waiting().await;
            let now = self.host.clock.monotonic();
            let (pause, until) = (self.paused_until.saturating_sub(now), self.deadline);
            let unanswered = !self.requests.is_empty();
            let timed = unanswered && self.may_give_up();
            // There is room, and yet nothing was sent: there is a pause, or the lease was missing.
            let room = self.has_room();
            let paused = room && !pause.is_zero();
            let forbidden = room && pause.is_zero();
            tokio::select! {
                biased;
                answer = next_answer(&self.connection, &mut self.requests), if unanswered => {
                    self.take_answer(answer);
                }
                item = items.recv(), if self.waiting.len() < QUEUE => match item {
                    Some(item) => {
                        self.waiting.push_back(item);
                        // Workers that were woken together get their turn, so that they go out together.
                        tokio::task::yield_now().await;
                        while self.waiting.len() < QUEUE && let Ok(item) = items.try_recv() {
                            self.waiting.push_back(item);
                        }
                    }
                    None if unanswered => self.last_answers().await,
                    None => return,
                },
                () = self.lease.granted(), if forbidden => {}
                () = self.host.clock.sleep(pause), if paused => {}
                () = self.host.clock.sleep(until.saturating_sub(now)), if timed => {
                    self.broke("no answer to Produce in time");
                }
            }
        }
    }

    /// Whether another request may go out, as far as this side is concerned.
    fn has_room(&mut self) -> bool {
        let narrow = self.width.limit(self.host.clock.monotonic()).is_some();
        let most = if narrow { 1 } else { REQUESTS };
        !self.waiting.is_empty() && self.requests.len() < most
    }

    /// Sends as many requests as may be on their way.
    async fn send_waiting(&mut self) {
        while self.has_room()
            && self.host.clock.monotonic() >= self.paused_until
            && self.lease.may_write()
        {
            let usable = |known: &Arc<Connection>| {
                // What is on its way keeps it in use.
                !known.is_broken() && (!self.requests.is_empty() || known.is_fresh())
            };
            if !self.connection.as_ref().is_some_and(usable) {
                if !self.requests.is_empty() {
                    self.broke("the connection broke");
                    continue;
                }
                match self.client.dial(self.id).await {
                    Ok(connection) => {
                        self.distance.set(&connection);
                        // Dialling takes time: whether to write is asked again.
                        self.connection = Some(connection);
                        continue;
                    }
                    Err(error) => return self.is_away(&error.to_string()),
                }
            }
            let items = self.next_items();
            if items.is_empty() {
                return;
            }
            self.send(items);
        }
    }

    fn send(&mut self, items: Vec<Item>) {
        let Some(connection) = &self.connection else {
            return;
        };
        let batches: Vec<_> = items.iter().map(|item| item.batch.clone()).collect();
        let timeout = match self.way {
            Way::Usual => USUAL_PRODUCE_TIMEOUT,
            Way::Second => PRODUCE_TIMEOUT,
        };
        match connection.begin_produce(&batches, timeout, self.may_go(&items)) {
            Ok(pending) => {
                if self.requests.is_empty() {
                    self.restart_timer();
                }
                self.requests.push_back(Request { pending, items });
            }
            Err(error) => {
                let reason = error.to_string();
                Self::lose(items.into(), &reason);
                self.broke(&reason);
            }
        }
    }

    /// A slow connection writes long after it was given something: not without the lease, and nothing of a lane
    /// that is gone.
    fn may_go(&self, items: &[Item]) -> MayGo {
        let lease = Arc::clone(&self.lease);
        let lanes: Vec<_> = items.iter().map(|item| item.reply.clone()).collect();
        MayGo::new(move || lease.may_write() && !lanes.iter().any(Reply::is_gone))
    }

    /// The first waiting batch of each partition, topics together, up to the size of a request.
    fn next_items(&mut self) -> Vec<Item> {
        let most = self.width.limit(self.host.clock.monotonic());
        let most = most.unwrap_or(usize::MAX);
        let mut taken: HashSet<Arc<TopicPartition>> = HashSet::new();
        let mut items = Vec::new();
        let mut rest = VecDeque::new();
        let mut bytes = 0;
        while let Some(item) = self.waiting.pop_front() {
            if item.is_broken() {
                let lost = item.lost("a batch before it was lost");
                item.answer(Err(lost));
                continue;
            }
            let fits = items.is_empty()
                || items.len() < most && bytes + item.batch.size() <= REQUEST_BYTES;
            // A batch that does not fit holds back what follows it in its partition.
            if taken.insert(Arc::clone(&item.batch.partition)) && fits {
                bytes += item.batch.size();
                items.push(item);
            } else {
                rest.push_back(item);
            }
        }
        self.waiting = rest;
        items.sort_by(|a, b| a.batch.partition.topic.cmp(&b.batch.partition.topic));
        items
    }

    fn take_answer(&mut self, answer: Result<ProduceResponse, ClientError>) {
        let response = match answer {
            Ok(response) => response,
            Err(error) => return self.broke(&error.to_string()),
        };
        self.pauses.reset();
        if let Some(connection) = &self.connection {
            self.distance.set(connection);
        }
        let Some(request) = self.requests.pop_front() else {
            return;
        };
        self.throttle.asked(response.throttle_time_ms);
        let throttle = u64::try_from(response.throttle_time_ms).unwrap_or(0);
        self.paused_until = self.host.clock.monotonic() + Duration::from_millis(throttle);
        self.restart_timer();
        let outcomes = Outcomes::new(&response);
        for item in request.items {
            if outcomes.is_late(&item) {
                // Known before the worker hears of it, and opens its next lane.
                self.set_aside(&item.batch.partition, "its replicas are late");
            }
            let outcome = outcomes.of(&item);
            item.answer(outcome);
        }
    }

    /// A partition goes by the second connection from its next lane on, or stays there.
    fn set_aside(&self, partition: &Arc<TopicPartition>, why: &str) {
        let stay = self.slow.take(partition, self.host.clock.monotonic());
        if let Some(stay) = stay {
            self.outage.set_aside(partition, why, stay);
        }
    }

    /// Whether all that is on its way may be given up on this side's own clock: what is not guarded could still
    /// be appended after it was sent again.
    fn may_give_up(&self) -> bool {
        let mut items = self.requests.iter().flat_map(|request| &request.items);
        items.all(|item| item.guarded)
    }

    fn restart_timer(&mut self) {
        let from = self.host.clock.monotonic().max(self.paused_until);
        self.deadline = from + ANSWER_TIMEOUT;
    }

    /// The connection is no good any more: everything it carried is in doubt. What waits goes out on the next one.
    fn broke(&mut self, reason: &str) {
        if let Some(connection) = self.connection.take() {
            connection.close(reason);
        }
        self.learn();
        for item in self.requests.drain(..).flat_map(|request| request.items) {
            let lost = item.unanswered(reason);
            item.answer(Err(lost));
        }
        let waiting = std::mem::take(&mut self.waiting);
        let (behind, waiting) = waiting.into_iter().partition(Item::is_broken);
        self.waiting = waiting;
        Self::lose(behind, reason);
    }

    /// These are not sent.
    fn lose(items: VecDeque<Item>, reason: &str) {
        for item in items {
            let lost = item.lost(reason);
            item.answer(Err(lost));
        }
    }

    /// What a connection that broke tells of the request that the broker had before it.
    fn learn(&mut self) {
        let mut items = self.requests.iter().flat_map(|request| &request.items);
        let ours = !self.lease.may_write() || items.any(|item| item.reply.is_gone());
        let Some(request) = self.requests.front().filter(|_| !ours) else {
            return;
        };
        let partitions: Vec<_> = request
            .items
            .iter()
            .map(|one| &one.batch.partition)
            .collect();
        let now = self.host.clock.monotonic();
        let close = self.width.closed(partitions.len(), now);
        if close == Close::First {
            return;
        }
        self.paused_until = now + self.pauses.delay(&*self.host.random);
        if close == Close::Alone {
            self.set_aside(partitions[0], "requests with it end the connection");
            if self.way == Way::Usual {
                self.width.found();
            }
        }
    }

    /// There is no connection to be had: nothing of what waits is sent.
    fn is_away(&mut self, reason: &str) {
        self.outage.begins(reason);
        Self::lose(std::mem::take(&mut self.waiting), reason);
    }

    /// Nobody sends any more; who waits for an answer still gets it.
    async fn last_answers(&mut self) {
        while !self.requests.is_empty() {
            let answer = next_answer(&self.connection, &mut self.requests).await;
            self.take_answer(answer);
        }
    }
}

/// The answer to the oldest request. Cancel-safe.
async fn next_answer(
    connection: &Option<Arc<Connection>>,
    requests: &mut VecDeque<Request>,
) -> Result<ProduceResponse, ClientError> {
    match (connection, requests.front_mut()) {
        (Some(connection), Some(request)) => connection.finish(&mut request.pending).await,
        _ => std::future::pending().await,
    }
}
