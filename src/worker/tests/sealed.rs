//! Sealed batches: what goes alone and what goes together, by how far away the target is.

use bytes::Bytes;
use wire::{batch::BatchView, record::BatchBuilder};

use super::*;
use crate::{
    checkpoint::ProducerState,
    sink::Sealed,
    worker::reconcile::{Evidence, Reconciler},
};

/// How many small batches wait at once.
const SMALL: i64 = 20;

/// A source of sealed batches of one record each, and its last one damaged where it has to be opened.
#[derive(Debug)]
struct Sealing {
    codec: Codec,
    damaged: bool,
}

impl Source for Sealing {
    fn open<'a>(
        &'a self,
        _partition: &'a TopicPartition,
        _topic: Uuid,
        offset: i64,
        _epoch: i32,
        _most: usize,
    ) -> BoxFuture<'a, Result<PartitionReader, SourceError>> {
        let (sender, events) = mpsc::channel(16);
        let mut all: Vec<_> = (offset..SMALL)
            .map(|at| sealed(self.codec, at, false))
            .collect();
        if self.damaged {
            all.push(sealed(self.codec, SMALL, true));
        }
        sender.try_send(Ok(all)).unwrap();
        tokio::spawn(async move { sender.closed().await });
        Box::pin(async move { Ok(PartitionReader::new(events, Looks::default())) })
    }
}

/// One record at `offset`; damaged, it spans more offsets than it has records.
fn sealed(codec: Codec, offset: i64, damaged: bool) -> Batch {
    let mut builder = BatchBuilder::new(codec);
    builder.push_at(i32::from(damaged), 1, None, Some(&[7; 100]), &[]);
    let mut bytes = builder.build(offset).unwrap().to_vec();
    *bytes.last_mut().unwrap() ^= u8::from(damaged);
    let view = BatchView::read(&Bytes::from(bytes)).unwrap().unwrap();
    Batch {
        content: Content::Sealed(view),
        ..batch(offset, offset + 1)
    }
}

/// A target that answers when it is told to, and remembers what it was sent.
#[derive(Clone, Debug, Default)]
struct Slow {
    sent: Arc<Mutex<Vec<Sealed>>>,
    answers: Arc<watch::Sender<usize>>,
    round_trip: Option<Duration>,
}

impl Slow {
    /// How many records each batch had that was sent.
    fn sizes(&self) -> Vec<i32> {
        lock(&self.sent)
            .iter()
            .map(|sealed| sealed.records)
            .collect()
    }

    /// Waits until so many batches were sent, and no more are.
    async fn await_sent(&self, count: usize) {
        settle().await;
        assert_eq!(self.sizes().len(), count, "{:?}", self.sizes());
    }

    fn answer(&self, count: usize) {
        self.answers.send_modify(|answers| *answers += count);
    }
}

/// Everybody does what there is to do without time.
async fn settle() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

impl Sink for Slow {
    fn form(&self) -> Form {
        Form::Sealed
    }

    fn open<'a>(
        &'a self,
        _partition: &'a TopicPartition,
        _limits: &'a Limits,
    ) -> BoxFuture<'a, Result<Box<dyn Lane>, SinkError>> {
        let lane = SlowLane {
            target: self.clone(),
            answered: 0,
            end: 0,
        };
        Box::pin(async move { Ok(Box::new(lane) as Box<dyn Lane>) })
    }
}

#[derive(Debug)]
struct SlowLane {
    target: Slow,
    answered: usize,
    end: i64,
}

impl Lane for SlowLane {
    fn send<'a>(
        &'a mut self,
        _ticket: u64,
        batch: Outgoing,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        let Outgoing::Sealed(batch) = batch else {
            panic!("{batch:?}");
        };
        lock(&self.target.sent).push(batch);
        Box::pin(async { Ok(()) })
    }

    fn answer(&mut self) -> BoxFuture<'_, Answer> {
        let mut answers = self.target.answers.subscribe();
        Box::pin(async move {
            let answered = self.answered;
            answers.wait_for(|count| *count > answered).await.unwrap();
            let records = i64::from(lock(&self.target.sent)[answered].records);
            let first_offset = self.end;
            self.answered += 1;
            self.end += records;
            Answer {
                ticket: answered as u64,
                outcome: Ok(Appended {
                    first_offset,
                    last_offset: self.end - 1,
                }),
            }
        })
    }

    fn round_trip(&self) -> Option<Duration> {
        self.target.round_trip
    }
}

impl Reconciler for Slow {
    fn look<'a>(
        &'a self,
        _target: &'a TopicPartition,
        _from: i64,
        _producer_id: i64,
    ) -> BoxFuture<'a, Result<Evidence, String>> {
        let nothing = Evidence {
            end: 0,
            memory: None,
            tail: None,
            newest: None,
        };
        Box::pin(async move { Ok(nothing) })
    }

    fn read_back<'a>(
        &'a self,
        _target: &'a TopicPartition,
        _offset: i64,
    ) -> BoxFuture<'a, Result<Option<BatchView>, String>> {
        let first = lock(&self.sent)[0].clone();
        let bytes = Bytes::from([&first.header[..], &first.payload].concat());
        Box::pin(async move { Ok(BatchView::read(&bytes).unwrap()) })
    }
}

const NEAR: Duration = Duration::from_millis(1);
const FAR: Duration = Duration::from_millis(20);

/// What a worker finds.
struct Case {
    round_trip: Duration,
    /// The leader remembers producers.
    guarded: bool,
    codec: Codec,
    damaged: bool,
    rate: Rate,
}

/// A far target and batches that are sound.
impl Default for Case {
    fn default() -> Self {
        Self {
            round_trip: FAR,
            guarded: true,
            codec: Codec::Lz4,
            damaged: false,
            rate: Rate::default(),
        }
    }
}

/// A worker on a clock that only moves when it is told to.
fn start_sealed(case: Case) -> (Worker, Slow, SimClock) {
    let Case {
        round_trip,
        guarded,
        codec,
        damaged,
        rate,
    } = case;
    let clock = SimClock::new(0);
    let host = Host {
        clock: Arc::new(clock.clone()),
        ..Host::real()
    };
    let target = Slow {
        round_trip: Some(round_trip),
        ..Slow::default()
    };
    let partition = TopicPartition::new("t", 0);
    let route = Route {
        source: partition.clone(),
        target: partition,
    };
    let producer = ProducerState {
        id: 1 << 62,
        generation: 0,
        epoch: 0,
        epoch_base: 0,
    };
    let exactness = Exactness {
        reconciler: Arc::new(target.clone()),
        expiration: guarded.then_some(Duration::from_secs(86_400)),
        committed: watch::channel(0).1,
    };
    let worker = Worker::spawn(Settings {
        source_topic: Uuid::nil(),
        events: WorkerEvents::new("f", ["east", "west"], &route),
        on_poison: OnPoison::Stop,
        advice: Advice::new("FILE", "f", &route.source),
        route,
        start: Progress {
            producer: Some(producer),
            ..Progress::start(0, 0)
        },
        limits: Limits {
            codec: Codec::None,
            max_batch_bytes: 1 << 20,
            log_append_time: false,
        },
        exactness: Some(exactness),
        throttle: Throttles::new(Arc::clone(&host.clock), rate).of("t", Rate::default()),
        drain_timeout: Duration::from_millis(300),
        source: Arc::new(Sealing { codec, damaged }),
        sink: Arc::new(target.clone()),
        acknowledged: Meter::new(u64::MAX),
        lease: Arc::new(Unlimited),
        host,
    });
    (worker, target, clock)
}

#[tokio::test]
async fn behind_a_long_round_trip_what_is_there_goes_as_one_batch() {
    let (mut worker, target, clock) = start_sealed(Case::default());
    target.await_sent(1).await;
    clock.advance(Duration::from_millis(20));
    target.answer(1);
    target.await_sent(2).await;
    assert_eq!(target.sizes(), [1, SMALL as i32 - 1]);
    target.answer(1);
    reaches(&mut worker, SMALL).await;
    let progress = worker.progress.borrow().clone();
    assert_eq!((progress.target_offset, progress.sequence), (SMALL, SMALL));
    let last = progress.last_record.unwrap();
    assert_eq!((last.source_offset, last.payload_crc), (SMALL - 1, None));
}

#[tokio::test]
async fn rule_3_where_the_target_is_near_and_busy_batches_stay_sealed_five_at_a_time() {
    let (mut worker, target, clock) = start_sealed(Case {
        round_trip: NEAR,
        ..Case::default()
    });
    target.await_sent(1).await;
    clock.advance(Duration::from_millis(60));
    target.answer(1);
    target.await_sent(6).await;
    target.answer(2);
    target.await_sent(8).await;
    target.answer(SMALL as usize);
    reaches(&mut worker, SMALL).await;
    assert_eq!(target.sizes(), vec![1; SMALL as usize]);
}

#[tokio::test]
async fn small_batches_that_are_not_compressed_go_together_wherever_the_target_is() {
    let (mut worker, target, _clock) = start_sealed(Case {
        round_trip: NEAR,
        codec: Codec::None,
        ..Case::default()
    });
    target.await_sent(1).await;
    target.answer(1);
    reaches(&mut worker, SMALL).await;
    assert_eq!(target.sizes(), [SMALL as i32]);
}

#[tokio::test]
async fn rule_2_an_unguarded_unit_sends_one_batch_at_a_time_made_of_all_that_is_there() {
    let (mut worker, target, clock) = start_sealed(Case {
        round_trip: NEAR,
        guarded: false,
        ..Case::default()
    });
    target.await_sent(1).await;
    clock.advance(Duration::from_millis(2));
    target.answer(1);
    target.await_sent(2).await;
    target.answer(1);
    reaches(&mut worker, SMALL).await;
    assert_eq!(target.sizes(), [1, SMALL as i32 - 1]);
}

/// It has to be opened, unlike those before it, which are not lost by that.
#[tokio::test]
async fn what_is_ready_arrives_before_a_damaged_batch_stops_the_worker() {
    let (mut worker, target, clock) = start_sealed(Case {
        damaged: true,
        ..Case::default()
    });
    target.await_sent(1).await;
    clock.advance(Duration::from_millis(20));
    target.answer(10);
    let stop = stops(&mut worker).await;
    assert_eq!(
        (stop.reason, stop.source_offset),
        (StopReason::SourceCorrupt, SMALL)
    );
    assert_eq!(target.sizes(), [1, SMALL as i32 - 1]);
    assert_eq!(worker.progress.borrow().source_offset, SMALL);
}

#[tokio::test]
async fn what_is_paid_for_does_not_wait_for_what_would_go_with_it() {
    let rate = Rate {
        bytes: None,
        records: NonZeroU64::new(2),
    };
    let (mut worker, target, clock) = start_sealed(Case {
        rate,
        ..Case::default()
    });
    // A second's worth is there at once; each batch is sent when it is paid for.
    target.await_sent(1).await;
    clock.advance(Duration::from_millis(20));
    target.answer(1);
    target.await_sent(2).await;
    clock.advance(Duration::from_millis(500));
    target.await_sent(3).await;
    assert_eq!(target.sizes(), [1, 1, 1]);
    // While the window is full, what was paid for meanwhile gathers.
    for _ in 0..20 {
        clock.advance(Duration::from_millis(500));
        settle().await;
    }
    assert_eq!(target.sizes(), [1; 6]);
    target.answer(5);
    target.await_sent(7).await;
    assert_eq!(target.sizes()[6], SMALL as i32 - 6);
    target.answer(1);
    reaches(&mut worker, SMALL).await;
}
