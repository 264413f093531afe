//! The member's thread: polls the consumer and answers rebalances.
//!
//! It never waits for a broker. librdkafka forgets its member id when a session times out, and goes on to
//! send heartbeats until the revocation that follows is answered, and commits that had waited for the
//! coordinator; a broker takes a static member without its id for a namesake and answers that it is fenced,
//! which is fatal. So does one that crashed before it wrote down the id that it gave out. So revocations are answered
//! at once, commits are another thread's ([`super::commits`]), and being fenced after a session that timed out, or a
//! broker that went away, means to begin anew with a fresh consumer.

use std::{
    sync::{Arc, TryLockError},
    thread,
    time::Duration,
};

use host::Clock;
use rdkafka::{
    ClientConfig, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;
use wire::TopicPartition;

use super::{
    SESSION, Shared, Wishes,
    commits::{self, Commit, Commits},
    context::{Context, Rebalance, give_up, take_up},
};
use crate::{
    flow::membership::Standing,
    telemetry::{self, Outage},
};

/// Longest wait in librdkafka: how late the thread hears of what the supervisor wants.
const POLL: Duration = Duration::from_millis(20);
/// How long a revocation waits until the workers have ended (3 s) and the last commit is made.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before a fresh consumer.
const PAUSE: Duration = Duration::from_millis(500);
/// Events that are read after a fatal error, to find out what came before it.
const LAST_EVENTS: usize = 1000;

/// A member over all its consumers.
pub(super) struct Member {
    pub(super) config: ClientConfig,
    pub(super) flow: String,
    pub(super) outage: Outage,
    pub(super) control: TopicPartition,
    pub(super) shared: Arc<Shared>,
    pub(super) commits: mpsc::Receiver<Commit>,
    pub(super) wishes: watch::Receiver<Wishes>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) runtime: Handle,
    pub(super) stop: CancellationToken,
}

/// How the time of one consumer ended.
enum End {
    Stopped,
    /// A fresh consumer may go on.
    CutOff,
    Over {
        fenced: bool,
        reason: String,
    },
}

impl Member {
    /// A consumer that has not joined.
    pub(super) fn consumer(&self) -> anyhow::Result<BaseConsumer<Context>> {
        let context = Context::new(self.outage.clone(), Arc::clone(&self.clock));
        Ok(self.config.create_with_context(context)?)
    }

    /// Until it is told to stop, or the group will never take it again.
    pub(super) fn run(mut self, mut consumer: BaseConsumer<Context>) {
        loop {
            let end = self.session(&consumer);
            self.shared.lose_all();
            consumer.context().close();
            // Dropped, the consumer closes; being a static member it does not leave the group by that.
            drop(consumer);
            let (fenced, reason) = match end {
                End::Stopped => return,
                End::Over { fenced, reason } => (fenced, reason),
                End::CutOff => {
                    tracing::warn!(flow = %self.flow, "cut off from the group; joining again");
                    self.runtime
                        .block_on(async { self.clock.sleep(PAUSE).await });
                    match self.consumer() {
                        Ok(fresh) => {
                            consumer = fresh;
                            continue;
                        }
                        Err(error) => (false, format!("{error:#}")),
                    }
                }
            };
            self.shared.publish(Some(Standing::Over { fenced, reason }));
            return;
        }
    }

    /// The time of one consumer.
    fn session(&mut self, consumer: &BaseConsumer<Context>) -> End {
        let ended = self.stop.child_token();
        let commits = Commits {
            consumer,
            shared: &self.shared,
            clock: &*self.clock,
            flow: &self.flow,
            control: &self.control,
            next_renewal: Duration::ZERO,
        };
        self.wishes.mark_changed();
        let mut session = Session {
            consumer,
            shared: &self.shared,
            wishes: &mut self.wishes,
            clock: &*self.clock,
            flow: &self.flow,
            stop: &self.stop,
            revocation: None,
            rejoins: None,
            rejoining: false,
        };
        let (runtime, wanted) = (&self.runtime, &mut self.commits);
        thread::scope(|scope| {
            let (until, thread) = (ended.clone(), thread::Builder::new());
            let thread = thread.name("member-commits".to_owned());
            if let Err(error) = thread.spawn_scoped(scope, || commits.run(wanted, runtime, until)) {
                let (fenced, reason) = (false, error.to_string());
                return End::Over { fenced, reason };
            }
            let end = session.run();
            ended.cancel();
            session.close();
            end
        })
    }
}

/// One consumer at work.
struct Session<'a> {
    consumer: &'a BaseConsumer<Context>,
    shared: &'a Shared,
    wishes: &'a mut watch::Receiver<Wishes>,
    clock: &'a dyn Clock,
    flow: &'a str,
    stop: &'a CancellationToken,
    /// What is being given up, and until when its workers may take.
    revocation: Option<(TopicPartitionList, Duration)>,
    /// As of the last subscription.
    rejoins: Option<u64>,
    /// Told to join again: subscribes once everything is given up.
    rejoining: bool,
}

impl Session<'_> {
    fn run(&mut self) -> End {
        let mut polled = self.clock.monotonic();
        loop {
            if self.stop.is_cancelled() {
                return End::Stopped;
            }
            self.poll(POLL);
            let before = std::mem::replace(&mut polled, self.clock.monotonic());
            if polled.saturating_sub(before) >= SESSION {
                // The process was suspended, and is no member any more, whatever librdkafka hears first.
                self.consumer.context().cut_off();
            }
            if let Some((code, reason)) = self.consumer.client().fatal_error() {
                return self.fatal(code, reason);
            }
            while let Some(rebalance) = self.consumer.context().rebalance() {
                self.rebalance(rebalance);
            }
            self.finish_revocation();
            self.serve_wishes();
        }
    }

    /// Whether there was something.
    fn poll(&self, timeout: Duration) -> bool {
        match self.consumer.poll(timeout) {
            None => false,
            // Fetched between assignment and pause.
            Some(Ok(_)) => true,
            Some(Err(error)) => {
                tracing::debug!(flow = %self.flow, %error, "group");
                true
            }
        }
    }

    fn fatal(&self, code: RDKafkaErrorCode, reason: String) -> End {
        for _ in 0..LAST_EVENTS {
            if !self.poll(Duration::ZERO) {
                break;
            }
        }
        let fenced = code == RDKafkaErrorCode::FencedInstanceId;
        if fenced && self.consumer.context().was_cut_off() {
            return End::CutOff;
        }
        End::Over { fenced, reason }
    }

    fn rebalance(&mut self, rebalance: Rebalance) {
        telemetry::rebalanced(self.flow);
        match rebalance {
            Rebalance::Assign(partitions) => {
                take_up(self.consumer, &partitions);
                let list = commits::partitions(&partitions);
                tracing::debug!(flow = %self.flow, more = list.len(), "partitions are assigned");
                self.shared.holdings().assign(list);
                self.shared.publish(Some(Standing::Member));
            }
            Rebalance::Revoke {
                partitions,
                lost: true,
            } => {
                give_up(self.consumer, &partitions);
                let list = commits::partitions(&partitions);
                let fewer = list.len();
                tracing::warn!(flow = %self.flow, fewer, "the group took partitions away without notice");
                self.shared.lose(list);
            }
            Rebalance::Revoke { partitions, .. } => {
                let list = commits::partitions(&partitions);
                tracing::debug!(flow = %self.flow, fewer = list.len(), "partitions are revoked");
                self.shared.holdings().revoke(list);
                self.shared.publish(None);
                self.revocation = Some((partitions, self.clock.monotonic() + PATIENCE));
            }
        }
    }

    /// Gives up what is revoked, once nothing of it runs here.
    fn finish_revocation(&mut self) {
        let Some((partitions, deadline)) = &self.revocation else {
            return;
        };
        let settled = self.shared.holdings().is_settled();
        if !settled && self.clock.monotonic() < *deadline {
            return;
        }
        // Not while a commit is under way: it is for what is assigned now.
        let mut committed = match self.shared.committed.try_lock() {
            Ok(committed) => committed,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if !settled {
            let flow = self.flow;
            tracing::warn!(%flow, "gave up partitions whose workers had not ended in time");
        }
        let mut holdings = self.shared.holdings();
        holdings.release();
        committed.retain(|partition| holdings.may_commit(partition));
        drop((holdings, committed));
        give_up(self.consumer, partitions);
        self.revocation = None;
    }

    fn serve_wishes(&mut self) {
        if self.rejoining {
            // What was held must be given up first.
            if self.revocation.is_some() || !self.shared.holdings().is_empty() {
                return;
            }
            self.rejoining = false;
        } else if !self.wishes.has_changed().unwrap_or(false) {
            return;
        }
        let wishes = self.wishes.borrow_and_update().clone();
        if wishes.topics.is_empty() {
            return;
        }
        let before = self.rejoins.replace(wishes.rejoins);
        if before.is_some_and(|before| before != wishes.rejoins) {
            self.rejoining = true;
            self.consumer.unsubscribe();
            return;
        }
        if before.is_some() && self.shared.holdings().is_empty() {
            // A member that lost its id with nothing assigned joins anew without a word. librdkafka aborts the process
            // if the list changes then and names a topic it has no metadata of (`rd_kafka_cgrp_modify_subscription`);
            // a list that comes after none does not change one.
            self.consumer.unsubscribe();
        }
        let topics: Vec<&str> = wishes.topics.iter().map(String::as_str).collect();
        if let Err(error) = self.consumer.subscribe(&topics) {
            tracing::error!(flow = %self.flow, %error, "cannot subscribe in the flow's group");
        }
    }

    /// Answers what librdkafka still waits for.
    fn close(&mut self) {
        while let Some(rebalance) = self.consumer.context().rebalance() {
            match rebalance {
                Rebalance::Assign(partitions) => take_up(self.consumer, &partitions),
                Rebalance::Revoke { partitions, .. } => give_up(self.consumer, &partitions),
            }
        }
        if let Some((partitions, _)) = self.revocation.take() {
            give_up(self.consumer, &partitions);
        }
    }
}
