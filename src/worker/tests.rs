//! Workers between a scripted source and a scripted sink.

mod sealed;

use std::{
    collections::VecDeque,
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError},
};

use host::{BoxFuture, Host, sim::SimClock};
use tokio::sync::mpsc;
use uuid::Uuid;
use wire::{
    TopicPartition,
    record::{Codec, Record},
};

use super::{
    reconcile::{Evidence, Reconciler},
    *,
};
use crate::{
    base::budget::Permit,
    checkpoint::ProducerState,
    config::Rate,
    sink::{Answer, Appended, Form, Lane, Outgoing, SinkError},
    source::{Batch, Content, Looks, PartitionReader, SourceError},
};

/// A source partition: ten records in batches of two, then 5 offsets without records.
#[derive(Debug, Default)]
struct Script {
    /// Offsets at which it was opened.
    opened: Mutex<Vec<i64>>,
}

impl Source for Script {
    fn open<'a>(
        &'a self,
        _partition: &'a TopicPartition,
        _topic: Uuid,
        offset: i64,
        _epoch: i32,
        _most: usize,
    ) -> BoxFuture<'a, Result<PartitionReader, SourceError>> {
        lock(&self.opened).push(offset);
        let (sender, events) = mpsc::channel(16);
        for first in (offset..10).step_by(2) {
            sender
                .try_send(Ok(vec![batch(first, (first + 2).min(10))]))
                .unwrap();
        }
        sender
            .try_send(Ok(vec![Batch {
                content: Content::Nothing,
                ..batch(10, 15)
            }]))
            .unwrap();
        // More may come: the reader must not see an end.
        tokio::spawn(async move { sender.closed().await });
        Box::pin(async move { Ok(PartitionReader::new(events, Looks::default())) })
    }
}

fn batch(first: i64, next: i64) -> Batch {
    let record = |offset| Record {
        offset,
        timestamp: 1,
        key: None,
        value: Some(vec![7].into()),
        headers: Vec::new(),
    };
    Batch {
        first_offset: first,
        next_offset: next,
        epoch: -1,
        source_end: 15,
        held: false,
        content: Content::Open((first..next).map(record).collect()),
        permit: Permit::default(),
    }
}

/// What happens to the record of a source offset, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Lost,
    Refused,
    /// It is acknowledged at target offset 0.
    WentBack,
    /// It is never answered.
    Silent,
}

/// A target partition that takes what it is given, save for its faults.
#[derive(Clone, Debug, Default)]
struct Target {
    /// Source offsets in the order in which they were appended.
    log: Arc<Mutex<Vec<i64>>>,
    faults: Arc<Mutex<Vec<(i64, Fault)>>>,
    /// Answers wait while this is true.
    holds_answers: Arc<watch::Sender<bool>>,
    /// Cancelled together with the next answer.
    stops: Arc<Mutex<Option<CancellationToken>>>,
}

impl Sink for Target {
    fn form(&self) -> Form {
        Form::Open
    }

    fn open<'a>(
        &'a self,
        _partition: &'a TopicPartition,
        _limits: &'a Limits,
    ) -> BoxFuture<'a, Result<Box<dyn Lane>, SinkError>> {
        let lane = TargetLane {
            target: self.clone(),
            answers: VecDeque::new(),
            broken: false,
        };
        Box::pin(async move { Ok(Box::new(lane) as Box<dyn Lane>) })
    }
}

#[derive(Debug)]
struct TargetLane {
    target: Target,
    answers: VecDeque<Answer>,
    broken: bool,
}

impl TargetLane {
    fn outcome(&mut self, records: &[Record]) -> Option<Result<Appended, SinkError>> {
        let partition = TopicPartition::new("t", 0);
        let lost = SinkError::Lost {
            partition: partition.clone(),
            reason: "scripted".to_owned(),
            unanswered: true,
        };
        if self.broken {
            return Some(Err(lost));
        }
        let mut faults = lock(&self.target.faults);
        let at = faults
            .iter()
            .position(|(at, _)| records.iter().any(|r| r.offset == *at));
        let fault = at.map(|at| faults.remove(at));
        if let Some((source_offset, fault)) = fault {
            self.broken = true;
            return match fault {
                Fault::Lost => Some(Err(lost)),
                Fault::Refused => {
                    let reason = "too large".to_owned();
                    Some(Err(SinkError::Refused {
                        partition,
                        source_offset,
                        reason,
                    }))
                }
                Fault::WentBack => Some(Ok(Appended {
                    first_offset: 0,
                    last_offset: 1,
                })),
                Fault::Silent => None,
            };
        }
        let mut log = lock(&self.target.log);
        let first_offset = log.len() as i64;
        log.extend(records.iter().map(|record| record.offset));
        Some(Ok(Appended {
            first_offset,
            last_offset: log.len() as i64 - 1,
        }))
    }
}

impl Lane for TargetLane {
    fn send<'a>(
        &'a mut self,
        ticket: u64,
        batch: Outgoing,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        let Outgoing::Open(records) = batch else {
            panic!("{batch:?}");
        };
        let outcome = self.outcome(&records);
        self.answers.extend(outcome.map(|outcome| Answer {
            ticket,
            outcome: outcome.map_err(Box::new),
        }));
        Box::pin(async { Ok(()) })
    }

    fn answer(&mut self) -> BoxFuture<'_, Answer> {
        let mut held = self.target.holds_answers.subscribe();
        Box::pin(async move {
            held.wait_for(|held| !held).await.unwrap();
            let Some(answer) = self.answers.pop_front() else {
                return std::future::pending().await;
            };
            if let Some(stop) = lock(&self.target.stops).take() {
                stop.cancel();
            }
            answer
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker at source offset 0, its source and its target.
fn start(faults: &[(i64, Fault)]) -> (Worker, Arc<Script>, Target) {
    start_with(faults, &Meter::new(u64::MAX), Arc::new(Unlimited))
}

fn start_under(lease: Arc<dyn Lease>, faults: &[(i64, Fault)]) -> (Worker, Arc<Script>, Target) {
    start_with(faults, &Meter::new(u64::MAX), lease)
}

/// The same, with `acknowledged` to count, and a lease.
fn start_with(
    faults: &[(i64, Fault)],
    acknowledged: &Meter,
    lease: Arc<dyn Lease>,
) -> (Worker, Arc<Script>, Target) {
    start_on(
        Host::real(),
        Rate::default(),
        faults,
        acknowledged,
        lease,
        (Progress::start(0, 0), None),
    )
}

/// The same, on a host and with a rate, from where it left off.
fn start_on(
    host: Host,
    rate: Rate,
    faults: &[(i64, Fault)],
    acknowledged: &Meter,
    lease: Arc<dyn Lease>,
    (start, exactness): (Progress, Option<Exactness>),
) -> (Worker, Arc<Script>, Target) {
    let throttle = Throttles::new(Arc::clone(&host.clock), rate).of("t", Rate::default());
    let (source, target) = (Arc::new(Script::default()), Target::default());
    lock(&target.faults).extend_from_slice(faults);
    let partition = TopicPartition::new("t", 0);
    let route = Route {
        source: partition.clone(),
        target: partition,
    };
    let worker = Worker::spawn(Settings {
        source_topic: Uuid::nil(),
        events: WorkerEvents::new("f", ["east", "west"], &route),
        on_poison: OnPoison::Stop,
        advice: Advice::new("FILE", "f", &route.source),
        route,
        start,
        limits: Limits {
            codec: Codec::None,
            max_batch_bytes: 1 << 20,
            log_append_time: false,
        },
        exactness,
        throttle,
        drain_timeout: Duration::from_millis(300),
        source: Arc::clone(&source) as Arc<dyn Source>,
        sink: Arc::new(target.clone()),
        acknowledged: acknowledged.clone(),
        lease,
        host,
    });
    (worker, source, target)
}

/// A worker that may send two records a second, on a clock that only moves when it is told to.
fn start_throttled() -> (Worker, Arc<Script>, Target, SimClock) {
    let clock = SimClock::new(0);
    let host = Host {
        clock: Arc::new(clock.clone()),
        ..Host::real()
    };
    let rate = Rate {
        bytes: None,
        records: NonZeroU64::new(2),
    };
    let (worker, source, target) = start_on(
        host,
        rate,
        &[],
        &Meter::new(u64::MAX),
        Arc::new(Unlimited),
        (Progress::start(0, 0), None),
    );
    (worker, source, target, clock)
}

async fn reaches(worker: &mut Worker, source_offset: i64) {
    let there = worker
        .progress
        .wait_for(|progress| progress.source_offset == source_offset);
    tokio::time::timeout(Duration::from_secs(10), there)
        .await
        .unwrap()
        .unwrap();
}

async fn stops(worker: &mut Worker) -> Stop {
    let stopped = worker
        .state
        .wait_for(|state| matches!(state, WorkerState::Stopped(_)));
    let state = tokio::time::timeout(Duration::from_secs(10), stopped)
        .await
        .unwrap()
        .unwrap();
    match &*state {
        WorkerState::Stopped(stop) => stop.clone(),
        other => panic!("{other:?}"),
    }
}

/// A lease that a test grants.
#[derive(Debug, Default)]
struct Gate(watch::Sender<bool>);

impl Lease for Gate {
    fn may_write(&self) -> bool {
        *self.0.borrow()
    }

    fn granted(&self) -> BoxFuture<'_, ()> {
        let mut open = self.0.subscribe();
        Box::pin(async move { drop(open.wait_for(|open| *open).await) })
    }

    fn age(&self) -> Option<Duration> {
        None
    }
}

#[tokio::test]
async fn nothing_is_written_without_a_lease() {
    let gate = Arc::new(Gate::default());
    let (mut worker, source, target) = start_under(Arc::clone(&gate) as Arc<dyn Lease>, &[]);
    let running = worker
        .state
        .wait_for(|state| *state == WorkerState::Running);
    running.await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*lock(&source.opened), [0]);
    assert!(lock(&target.log).is_empty());
    gate.0.send_replace(true);
    reaches(&mut worker, 15).await;
    assert_eq!(*lock(&target.log), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_lease() {
    let (mut worker, _, target) = start_under(Arc::new(Gate::default()), &[]);
    let running = worker
        .state
        .wait_for(|state| *state == WorkerState::Running);
    running.await.unwrap();
    worker.stop();
    let ended = tokio::time::timeout(Duration::from_secs(10), worker.ended());
    ended.await.unwrap();
    assert!(lock(&target.log).is_empty());
}

#[tokio::test]
async fn records_arrive_in_order_and_empty_ranges_advance() {
    let (mut worker, source, target) = start(&[]);
    reaches(&mut worker, 15).await;
    assert_eq!(*lock(&target.log), (0..10).collect::<Vec<_>>());
    assert_eq!(*lock(&source.opened), [0]);
    let progress = worker.progress.borrow().clone();
    assert_eq!(
        (progress.target_offset, progress.records, progress.sequence),
        (10, 10, 10)
    );
    assert_eq!(progress.last_record.unwrap().source_offset, 9);
    worker.stop();
    worker.ended().await;
    assert_eq!(*worker.state.borrow(), WorkerState::Ended);
}

/// Ten records of a byte: the lost batch counts once.
#[tokio::test]
async fn acknowledged_bytes_are_counted_once() {
    let acknowledged = Meter::new(10);
    let (_worker, ..) = start_with(&[(4, Fault::Lost)], &acknowledged, Arc::new(Unlimited));
    let full = tokio::time::timeout(Duration::from_secs(10), acknowledged.full());
    full.await.unwrap();
    let acknowledged = Meter::new(11);
    let (mut worker, ..) = start_with(&[(4, Fault::Lost)], &acknowledged, Arc::new(Unlimited));
    reaches(&mut worker, 15).await;
    let full = tokio::time::timeout(Duration::from_millis(50), acknowledged.full());
    assert!(full.await.is_err());
}

#[tokio::test]
async fn a_lost_batch_is_read_and_sent_again_from_the_acknowledged_prefix() {
    let (mut worker, source, target) = start(&[(4, Fault::Lost), (8, Fault::Lost)]);
    reaches(&mut worker, 15).await;
    assert_eq!(*lock(&source.opened), [0, 4, 8]);
    assert_eq!(*lock(&target.log), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn tries_again_are_counted_by_what_failed_and_backfill_has_no_latency() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _here = metrics::set_default_local_recorder(&recorder);
    let (mut worker, ..) = start(&[(4, Fault::Lost), (8, Fault::Lost)]);
    reaches(&mut worker, 15).await;
    // Nothing waits any more: what is left of the lag is the time since the source was looked at.
    assert!(worker.lag.ms(Host::real().clock.wall_ms()) < 60_000);
    let text = recorder.handle().render();
    let sample = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    let retries = r#"strait_retries_total{flow="f",cluster="west",kind="produce"}"#;
    assert_eq!(sample(retries), Some(2), "{text}");
    assert_eq!(sample(r#"strait_records_total{flow="f"}"#), Some(10));
    assert_eq!(sample(r#"strait_batches_total{flow="f"}"#), Some(5));
    // The records are from 1970.
    let latency = sample(r#"strait_latency_seconds_count{flow="f"}"#);
    assert_eq!(latency.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_refused_record_stops_the_worker_at_its_offset() {
    let (mut worker, _, target) = start(&[(5, Fault::Refused)]);
    let stop = stops(&mut worker).await;
    assert_eq!(
        (stop.reason, stop.source_offset),
        (StopReason::RecordRefused, 5)
    );
    // What is before it in its batch arrives.
    assert_eq!(worker.progress.borrow().source_offset, 5);
    assert_eq!(*lock(&target.log), [0, 1, 2, 3, 4]);
    let command = "to go on: strait checkpoint set FILE --flow f --topic t --partition 0 --to 6";
    assert!(stop.text.ends_with(command), "{}", stop.text);
}

#[tokio::test]
async fn a_target_whose_offsets_go_back_stops_the_worker_before_its_checkpoint_moves() {
    let (mut worker, ..) = start(&[(6, Fault::WentBack)]);
    let stop = stops(&mut worker).await;
    assert_eq!(stop.reason, StopReason::TargetTopicRecreated);
    assert_eq!(worker.progress.borrow().source_offset, 6);
}

#[tokio::test]
async fn a_stop_in_the_middle_takes_every_answer_that_is_still_to_come() {
    let (mut worker, _, target) = start(&[]);
    target.holds_answers.send_replace(true);
    let sent = tokio::time::timeout(Duration::from_secs(10), async {
        while lock(&target.log).len() < 10 {
            tokio::task::yield_now().await;
        }
    });
    sent.await.unwrap();
    *lock(&target.stops) = Some(worker.stop.clone());
    target.holds_answers.send_replace(false);
    worker.ended().await;
    let progress = worker.progress.borrow().clone();
    assert_eq!((progress.source_offset, progress.target_offset), (15, 10));
}

#[tokio::test]
async fn a_stop_waits_for_answers_no_longer_than_it_may() {
    let (mut worker, ..) = start(&[(2, Fault::Silent)]);
    reaches(&mut worker, 2).await;
    worker.stop();
    tokio::time::timeout(Duration::from_secs(5), worker.ended())
        .await
        .unwrap();
    assert_eq!(*worker.state.borrow(), WorkerState::Ended);
    assert_eq!(worker.progress.borrow().source_offset, 2);
}

#[tokio::test]
async fn a_throttled_worker_sends_no_more_than_its_rate_and_still_takes_answers() {
    let (mut worker, _, target, clock) = start_throttled();
    for second in 1..=4 {
        reaches(&mut worker, second * 2).await;
        assert_eq!(*lock(&target.log), (0..second * 2).collect::<Vec<_>>());
        clock.advance(Duration::from_secs(1));
    }
    // What holds no records, at the end, costs nothing.
    reaches(&mut worker, 15).await;
    assert_eq!(*lock(&target.log), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_rate() {
    let (mut worker, _, target, _clock) = start_throttled();
    reaches(&mut worker, 2).await;
    worker.stop();
    tokio::time::timeout(Duration::from_secs(5), worker.ended())
        .await
        .unwrap();
    assert_eq!(*worker.state.borrow(), WorkerState::Ended);
    assert_eq!(*lock(&target.log), [0, 1]);
}

/// A target whose first answer comes from a leader that was suspended and has a successor.
#[derive(Debug, Default)]
struct Suspended {
    looks: Mutex<usize>,
}

impl Reconciler for Suspended {
    fn look<'a>(
        &'a self,
        _target: &'a TopicPartition,
        from: i64,
        _producer_id: i64,
    ) -> BoxFuture<'a, Result<Evidence, String>> {
        *lock(&self.looks) += 1;
        let end = if *lock(&self.looks) == 1 {
            from - 1
        } else {
            from
        };
        Box::pin(std::future::ready(Ok(Evidence {
            end,
            memory: None,
            tail: None,
            newest: None,
        })))
    }

    fn read_back<'a>(
        &'a self,
        _target: &'a TopicPartition,
        _offset: i64,
    ) -> BoxFuture<'a, Result<Option<wire::batch::BatchView>, String>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

#[tokio::test]
async fn rule_10_a_leader_that_answers_from_its_past_is_asked_again() {
    let start = Progress {
        producer: Some(ProducerState {
            id: 1 << 62,
            generation: 0,
            epoch: 0,
            epoch_base: 0,
        }),
        ..Progress::start(0, 0)
    };
    let exactness = Exactness {
        reconciler: Arc::new(Suspended::default()),
        expiration: None,
        committed: watch::channel(-1).1,
    };
    let (mut worker, ..) = start_on(
        Host::real(),
        Rate::default(),
        &[],
        &Meter::new(u64::MAX),
        Arc::new(Unlimited),
        (start, Some(exactness)),
    );
    reaches(&mut worker, 15).await;
}
