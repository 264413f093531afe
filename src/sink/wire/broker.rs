//! The task that talks to one target broker: what waits goes out together, answers come back in order.
//!
//! Invariants:
//! * A partition appears once in a request; what else of it waits goes out in the next one, on the same
//!   connection, so that its order holds.
//! * Every batch is answered exactly once. When the connection breaks, everything it carried or would have
//!   carried is answered as lost, and nothing is sent again here.
//! * Behind a failed batch of a lane nothing of that lane goes out any more.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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
    produce::ProduceBatch,
};

use super::{QUEUE, answer::Outcomes};
use crate::{
    sink::{Answer, Appended, SinkError},
    telemetry::{Outage, Throttle},
    worker::Lease,
};

/// Requests on their way to one broker. It works on one at a time, the others hide the round trip.
const REQUESTS: usize = 5;
/// Bytes of one request beyond which nothing is added.
const REQUEST_BYTES: usize = 8 << 20;
/// How long the broker waits for its replicas (EXACTNESS 9).
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long this side waits for an answer, from when the one before it came: the connection is muted
/// while the broker works on a request (EXACTNESS 13).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// One batch on its way.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) ticket: u64,
    pub(super) source_offset: i64,
    pub(super) records: i32,
    pub(super) guarded: bool,
    pub(super) batch: ProduceBatch,
    pub(super) reply: Reply,
}

/// Where a lane's answers go, and whether it is broken.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    answers: mpsc::Sender<Answer>,
    broken: Arc<AtomicBool>,
    /// The lane was dropped.
    gone: Arc<AtomicBool>,
}

impl Reply {
    pub(super) fn new(answers: mpsc::Sender<Answer>) -> Self {
        Self {
            answers,
            broken: Arc::default(),
            gone: Arc::default(),
        }
    }

    /// Nobody waits for answers any more.
    pub(super) fn give_up(&self) {
        self.broken.store(true, Ordering::Release);
        self.gone.store(true, Ordering::Release);
    }
}

impl Item {
    /// Answered, but not as hoped.
    pub(super) fn lost(&self, reason: impl ToString) -> SinkError {
        SinkError::Lost {
            partition: (*self.batch.partition).clone(),
            reason: reason.to_string(),
            unanswered: false,
        }
    }

    fn unanswered(&self, reason: &str) -> SinkError {
        SinkError::Lost {
            partition: (*self.batch.partition).clone(),
            reason: reason.to_owned(),
            unanswered: true,
        }
    }

    fn answer(self, outcome: Result<Appended, SinkError>) {
        if outcome.is_err() {
            self.reply.broken.store(true, Ordering::Release);
        }
        let answer = Answer {
            ticket: self.ticket,
            outcome,
        };
        // There is room for all that a worker may have outstanding; a lane that is gone does not mind.
        self.reply.answers.try_send(answer).ok();
    }

    fn is_broken(&self) -> bool {
        self.reply.broken.load(Ordering::Acquire)
    }
}

/// A request that waits for its answer.
struct Request {
    pending: PendingProduce,
    items: Vec<Item>,
}

pub(super) struct Broker {
    id: i32,
    client: Client,
    host: Host,
    outage: Outage,
    throttle: Throttle,
    /// Asked right before each write (EXACTNESS 7).
    lease: Arc<dyn Lease>,
    connection: Option<Arc<Connection>>,
    /// Not sent yet, in the order of arrival.
    waiting: VecDeque<Item>,
    requests: VecDeque<Request>,
    /// When the oldest request counts as unanswered, on the monotonic clock.
    deadline: Duration,
    /// Until then the broker asked not to be bothered (KIP-219).
    throttled_until: Duration,
}

impl Broker {
    pub(super) fn new(
        id: i32,
        client: Client,
        host: Host,
        outage: Outage,
        lease: Arc<dyn Lease>,
    ) -> Self {
        Self {
            id,
            client,
            host,
            throttle: outage.throttle("produce"),
            outage,
            lease,
            connection: None,
            waiting: VecDeque::new(),
            requests: VecDeque::new(),
            deadline: Duration::ZERO,
            throttled_until: Duration::ZERO,
        }
    }

    /// Serves until every lane and the sink are gone.
    pub(super) async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        loop {
            self.send_waiting().await;
            let now = self.host.clock.monotonic();
            let (pause, until) = (self.throttled_until.saturating_sub(now), self.deadline);
            let unanswered = !self.requests.is_empty();
            let timed = unanswered && self.may_give_up();
            // There is room, and yet nothing was sent: the broker asked for a pause, or the lease was missing.
            let room = !self.waiting.is_empty() && self.requests.len() < REQUESTS;
            let throttled = room && !pause.is_zero();
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
                () = self.host.clock.sleep(pause), if throttled => {}
                () = self.host.clock.sleep(until.saturating_sub(now)), if timed => {
                    self.fail("no answer to Produce in time");
                }
            }
        }
    }

    /// Sends as many requests as may be on their way.
    async fn send_waiting(&mut self) {
        while !self.waiting.is_empty()
            && self.requests.len() < REQUESTS
            && self.host.clock.monotonic() >= self.throttled_until
            && self.lease.may_write()
        {
            if self
                .connection
                .as_ref()
                .is_none_or(|known| known.is_broken())
            {
                if !self.requests.is_empty() {
                    return self.fail("the connection broke");
                }
                match self.client.dial(self.id).await {
                    Ok(connection) => {
                        // Dialling takes time: whether to write is asked again.
                        self.connection = Some(connection);
                        continue;
                    }
                    Err(error) => return self.fail(&error.to_string()),
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
        match connection.begin_produce(&batches, PRODUCE_TIMEOUT, self.may_go(&items)) {
            Ok(pending) => {
                if self.requests.is_empty() {
                    self.restart_timer();
                }
                self.requests.push_back(Request { pending, items });
            }
            Err(error) => {
                let reason = error.to_string();
                for item in items {
                    let lost = item.lost(&reason);
                    item.answer(Err(lost));
                }
                self.fail(&reason);
            }
        }
    }

    /// A slow connection writes long after it was given something: not without the lease, and nothing of a lane
    /// that is gone.
    fn may_go(&self, items: &[Item]) -> MayGo {
        let lease = Arc::clone(&self.lease);
        let gone: Vec<_> = items
            .iter()
            .map(|item| Arc::clone(&item.reply.gone))
            .collect();
        MayGo::new(move || {
            lease.may_write() && !gone.iter().any(|gone| gone.load(Ordering::Acquire))
        })
    }

    /// The first waiting batch of each partition, topics together, up to the size of a request.
    fn next_items(&mut self) -> Vec<Item> {
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
            let fits = items.is_empty() || bytes + item.batch.size() <= REQUEST_BYTES;
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
            Err(error) => return self.fail(&error.to_string()),
        };
        let Some(request) = self.requests.pop_front() else {
            return;
        };
        self.throttle.asked(response.throttle_time_ms);
        let throttle = u64::try_from(response.throttle_time_ms).unwrap_or(0);
        self.throttled_until = self.host.clock.monotonic() + Duration::from_millis(throttle);
        self.restart_timer();
        let outcomes = Outcomes::new(&response);
        for item in request.items {
            let outcome = outcomes.of(&item);
            item.answer(outcome);
        }
    }

    /// Whether all that is on its way may be given up on this side's own clock: what is not guarded could still
    /// be appended after it was sent again.
    fn may_give_up(&self) -> bool {
        let mut items = self.requests.iter().flat_map(|request| &request.items);
        items.all(|item| item.guarded)
    }

    fn restart_timer(&mut self) {
        let from = self.host.clock.monotonic().max(self.throttled_until);
        self.deadline = from + ANSWER_TIMEOUT;
    }

    /// The connection is no good any more: everything it carried is in doubt, and what waits is not sent.
    fn fail(&mut self, reason: &str) {
        self.outage.begins(reason);
        if let Some(connection) = self.connection.take() {
            connection.close(reason);
        }
        for item in self.requests.drain(..).flat_map(|request| request.items) {
            let lost = item.unanswered(reason);
            item.answer(Err(lost));
        }
        for item in self.waiting.drain(..) {
            let lost = item.lost(reason);
            item.answer(Err(lost));
        }
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
