use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use host::{BoxFuture, sim::SimClock};
use uuid::Uuid;

use super::*;
use crate::{
    checkpoint::{offset_map::Ladder, own_topic::TopicError},
    worker::Stop,
};

/// A store in memory that can be told to fail.
#[derive(Debug, Default)]
struct Memory {
    down: AtomicBool,
    tries: AtomicUsize,
    commits: Mutex<Vec<(TopicPartition, Stored)>>,
}

impl CheckpointStore for Memory {
    fn load(&self) -> BoxFuture<'_, Result<Vec<(TopicPartition, Stored)>, StoreError>> {
        Box::pin(async { Ok(self.commits.lock().unwrap().clone()) })
    }

    fn commit<'a>(
        &'a self,
        entries: &'a [(TopicPartition, Stored)],
    ) -> BoxFuture<'a, Vec<(TopicPartition, Result<(), StoreError>)>> {
        let down = self.down.load(Ordering::Relaxed);
        self.tries.fetch_add(1, Ordering::Relaxed);
        if !down {
            self.commits.lock().unwrap().extend_from_slice(entries);
        }
        let outcome = || {
            let unavailable = StoreError::Unavailable {
                group: "g".to_owned(),
                reason: "down".to_owned(),
            };
            if down { Err(unavailable) } else { Ok(()) }
        };
        let outcomes = entries
            .iter()
            .map(|(target, _)| (target.clone(), outcome()))
            .collect();
        Box::pin(async { outcomes })
    }
}

/// Bytes after which a commit is due.
const BOUND: u64 = 100;

struct Bench {
    store: Arc<Memory>,
    clock: SimClock,
    committer: Committer,
    progress: watch::Sender<Progress>,
    state: watch::Sender<WorkerState>,
}

impl Bench {
    /// With one unit whose first checkpoint is committed already.
    fn new() -> Self {
        let (store, clock) = (Arc::new(Memory::default()), SimClock::new(1_000));
        let host = Host {
            clock: Arc::new(clock.clone()),
            ..Host::real()
        };
        let committer = Committer::new(
            "f",
            "west",
            Arc::clone(&store) as Arc<dyn CheckpointStore>,
            host,
            BOUND,
        );
        let (progress, progress_seen) = watch::channel(Progress::start(5, 0));
        let (state, state_seen) = watch::channel(WorkerState::Running);
        let template = Checkpoint {
            source_cluster: "a".to_owned(),
            source_topic: Uuid::nil(),
            target_cluster: "b".to_owned(),
            target_topic: Uuid::nil(),
            source_offset: 5,
            target_offset: 0,
            last_record: None,
            sequence: 0,
            producer: None,
            fingerprint: 1,
            appends_at: None,
            stopped: None,
            settled: false,
            unmapped: None,
            anchors: Vec::new(),
        };
        committer.watch(
            TopicPartition::new("t", 0),
            Template {
                checkpoint: template,
                known: true,
                told: watch::Sender::new(-1),
                unit: Some(7),
                map_read: true,
            },
            progress_seen,
            state_seen,
        );
        Self {
            store,
            clock,
            committer,
            progress,
            state,
        }
    }

    fn template(&self) -> Checkpoint {
        let units = self.committer.units();
        units.values().next().unwrap().template.clone()
    }

    fn advance_to(&self, source_offset: i64, target_offset: i64) {
        self.progress
            .send_replace(Progress::start(source_offset, target_offset));
    }

    fn stop(&self, reason: StopReason) {
        self.state.send_replace(WorkerState::Stopped(Stop {
            reason,
            source_offset: 9,
            text: String::new(),
        }));
    }

    /// Commits once; what was committed by that.
    async fn commit(&self) -> Vec<Checkpoint> {
        self.committer.commit().await.unwrap();
        let commits = std::mem::take(&mut *self.store.commits.lock().unwrap());
        commits
            .iter()
            .map(|(_, stored)| codec::decode(stored).unwrap())
            .collect()
    }
}

#[tokio::test]
async fn only_what_changed_is_committed() {
    let bench = Bench::new();
    assert!(bench.commit().await.is_empty());
    bench.advance_to(8, 3);
    let commits = bench.commit().await;
    assert_eq!((commits[0].source_offset, commits[0].target_offset), (8, 3));
    assert_eq!((commits[0].fingerprint, commits.len()), (1, 1));
    assert!(bench.commit().await.is_empty());
    // Ranges without records move the source's side alone.
    bench.advance_to(9, 3);
    assert_eq!(bench.commit().await[0].source_offset, 9);
}

#[tokio::test]
async fn what_failed_is_committed_later_with_the_latest_value() {
    let bench = Bench::new();
    bench.store.down.store(true, Ordering::Relaxed);
    bench.advance_to(8, 3);
    let error = bench.committer.commit().await.unwrap_err();
    assert_eq!(
        (error.count, error.partition.to_string()),
        (1, "t-0".to_owned())
    );
    bench.advance_to(9, 4);
    bench.store.down.store(false, Ordering::Relaxed);
    let commits = bench.commit().await;
    assert_eq!((commits[0].source_offset, commits.len()), (9, 1));
}

#[tokio::test]
async fn an_unchanged_checkpoint_is_committed_once_a_day() {
    let bench = Bench::new();
    bench.clock.advance(REFRESH - Duration::from_secs(1));
    assert!(bench.commit().await.is_empty());
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.commit().await.len(), 1);
    assert!(bench.commit().await.is_empty());
}

#[tokio::test]
async fn a_stop_is_committed_with_the_time_it_was_first_seen() {
    let bench = Bench::new();
    bench.stop(StopReason::RecordRefused);
    let stopped = bench.commit().await[0].stopped.clone().unwrap();
    assert_eq!(
        (stopped.reason.as_str(), stopped.source_offset),
        ("record_refused", 9)
    );
    assert_eq!(stopped.since_ms, 1_000);
    bench.clock.advance(Duration::from_secs(60));
    assert!(bench.commit().await.is_empty());
    bench.state.send_replace(WorkerState::Running);
    assert_eq!(bench.commit().await[0].stopped, None);
}

#[tokio::test]
async fn nothing_is_committed_for_a_target_that_is_gone_or_another() {
    let bench = Bench::new();
    bench.advance_to(8, 3);
    bench.stop(StopReason::TargetTopicRecreated);
    assert!(bench.commit().await.is_empty());
    bench.stop(StopReason::TargetTopicMissing);
    assert!(bench.commit().await.is_empty());
}

#[tokio::test]
async fn it_commits_every_interval_until_it_is_stopped() {
    let bench = Bench::new();
    bench.advance_to(8, 3);
    let stop = CancellationToken::new();
    let running = bench.committer.run(Duration::from_secs(1), stop.clone());
    let driver = async {
        while bench.store.commits.lock().unwrap().is_empty() {
            bench.clock.advance(Duration::from_millis(500));
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    tokio::join!(running, driver);
    assert_eq!(bench.store.commits.lock().unwrap().len(), 1);
}

/// Lets all that can go on do so; time stands still.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn it_commits_when_enough_bytes_are_acknowledged() {
    let bench = Bench::new();
    let (stop, acknowledged) = (CancellationToken::new(), bench.committer.acknowledged());
    let running = bench.committer.run(Duration::from_secs(3600), stop.clone());
    let driver = async {
        let count = || bench.store.commits.lock().unwrap().len();
        bench.advance_to(8, 3);
        acknowledged.add(BOUND - 1);
        settle().await;
        assert_eq!(count(), 0);
        acknowledged.add(1);
        settle().await;
        assert_eq!(count(), 1);
        bench.advance_to(9, 4);
        acknowledged.add(BOUND - 1);
        settle().await;
        assert_eq!(count(), 1, "what was committed does not count again");
        acknowledged.add(10 * BOUND);
        settle().await;
        assert_eq!(count(), 2);
        stop.cancel();
    };
    tokio::join!(running, driver);
    let commits = bench.store.commits.lock().unwrap();
    let offsets = commits.iter().map(|(_, stored)| stored.offset);
    assert_eq!(offsets.collect::<Vec<_>>(), [3, 4]);
}

#[tokio::test]
async fn bytes_do_not_hurry_commits_that_fail() {
    let bench = Bench::new();
    let (stop, acknowledged) = (CancellationToken::new(), bench.committer.acknowledged());
    let running = bench.committer.run(Duration::from_secs(3600), stop.clone());
    let driver = async {
        let tries = || bench.store.tries.load(Ordering::Relaxed);
        bench.store.down.store(true, Ordering::Relaxed);
        bench.advance_to(8, 3);
        for _ in 0..5 {
            acknowledged.add(BOUND);
            settle().await;
        }
        assert_eq!(tries(), 1);
        bench.store.down.store(false, Ordering::Relaxed);
        // However long the interval, what failed is tried again soon.
        bench.clock.advance(LAST_PAUSE);
        settle().await;
        assert_eq!((tries(), bench.store.commits.lock().unwrap().len()), (2, 1));
        stop.cancel();
    };
    tokio::join!(running, driver);
}

#[test]
fn the_bound_derives_from_the_memory_limit() {
    assert_eq!(bound(64 << 20), 32 << 20);
    assert_eq!(bound(1 << 20), 4 << 20);
}

/// A map in memory that can be told to fail, and sees what is committed while it is written.
#[derive(Debug)]
struct MapInMemory {
    store: Arc<Memory>,
    down: AtomicBool,
    refuses: AtomicBool,
    /// What somebody else wrote.
    others: Mutex<Ladder>,
    /// Whether that was read.
    read: AtomicBool,
    written: Mutex<Vec<(usize, Entry)>>,
}

impl Anchors for MapInMemory {
    fn write<'a>(
        &'a self,
        entries: &'a [(TopicPartition, Entry)],
        _now_ms: i64,
    ) -> BoxFuture<'a, Result<(), MapError>> {
        let lost = MapError::Lost {
            topic: "map".to_owned(),
        };
        if self.down.load(Ordering::Relaxed) {
            return Box::pin(async { Err(lost) });
        }
        if self.refuses.load(Ordering::Relaxed) {
            let refused = TopicError::Unknown {
                topic: "map".to_owned(),
                offset: 0,
                reason: "no right".to_owned(),
            };
            return Box::pin(async { Err(refused.into()) });
        }
        let commits = self.store.commits.lock().unwrap().len();
        let entries = entries.iter().map(|(_, entry)| (commits, entry.clone()));
        self.written.lock().unwrap().extend(entries);
        Box::pin(async { Ok(()) })
    }

    fn read(&self) -> BoxFuture<'_, Result<(), MapError>> {
        let down = self.down.load(Ordering::Relaxed);
        self.read.store(!down, Ordering::Relaxed);
        let lost = MapError::Lost {
            topic: "map".to_owned(),
        };
        Box::pin(async move { if down { Err(lost) } else { Ok(()) } })
    }

    fn ladder(&self, _target: &TopicPartition) -> Option<Ladder> {
        let read = self.read.load(Ordering::Relaxed);
        read.then(|| self.others.lock().unwrap().clone())
    }
}

fn with_map() -> (Bench, Arc<MapInMemory>) {
    with_map_that_was(true)
}

fn with_map_that_was(map_read: bool) -> (Bench, Arc<MapInMemory>) {
    let mut bench = Bench::new();
    let map = Arc::new(MapInMemory {
        store: Arc::clone(&bench.store),
        down: AtomicBool::new(false),
        refuses: AtomicBool::new(false),
        others: Mutex::default(),
        read: AtomicBool::new(false),
        written: Mutex::default(),
    });
    let unit = bench.committer.units().pop_first().unwrap().1;
    bench.committer.map = Some(Arc::clone(&map) as Arc<dyn Anchors>);
    let template = Template {
        checkpoint: unit.template,
        known: true,
        told: unit.told,
        unit: Some(7),
        map_read,
    };
    let target = TopicPartition::new("t", 0);
    bench
        .committer
        .watch(target, template, unit.progress, unit.state);
    (bench, map)
}

#[tokio::test]
async fn rule_8_the_offset_map_is_written_before_the_checkpoint_that_it_covers() {
    let (bench, map) = with_map();
    let committer = &bench.committer;
    map.down.store(true, Ordering::Relaxed);
    bench.progress.send_replace(Progress::start(8, 3));
    let error = committer.commit().await.unwrap_err();
    assert!(error.to_string().contains("offset map map"), "{error}");
    assert!(bench.store.commits.lock().unwrap().is_empty(), "it waits");
    map.down.store(false, Ordering::Relaxed);
    committer.commit().await.unwrap();
    committer.commit().await.unwrap();
    let places = |entry: &Entry| match entry {
        Entry::Anchor(anchor) => (anchor.number, anchor.source_offset, anchor.target_offset),
        Entry::Cuts { .. } => panic!("nothing was lost"),
    };
    let written = map.written.lock().unwrap();
    let written: Vec<_> = written
        .iter()
        .map(|(at, entry)| (*at, places(entry)))
        .collect();
    assert_eq!(written, [(0, (0, 5, 0)), (0, (1, 8, 3))]);
    assert_eq!(bench.store.commits.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_map_that_cannot_be_written_does_not_hold_up_checkpoints_for_long() {
    let (bench, map) = with_map();
    let commits = || bench.store.commits.lock().unwrap().len();
    // May be written later: for a minute they wait.
    map.down.store(true, Ordering::Relaxed);
    bench.progress.send_replace(Progress::start(8, 3));
    bench.committer.commit().await.unwrap_err();
    bench.clock.advance(MAP_PATIENCE);
    assert_eq!(commits(), 0);
    bench.committer.commit().await.unwrap();
    assert_eq!(commits(), 1);
    // Nothing new, and not tried again at once.
    map.down.store(false, Ordering::Relaxed);
    bench.committer.commit().await.unwrap();
    assert_eq!((commits(), map.written.lock().unwrap().len()), (1, 0));
    bench.progress.send_replace(Progress::start(9, 4));
    bench.clock.advance(MAP_PATIENCE);
    bench.committer.commit().await.unwrap();
    assert_eq!((commits(), map.written.lock().unwrap().len()), (2, 2));
    // Never: they do not wait.
    map.refuses.store(true, Ordering::Relaxed);
    bench.progress.send_replace(Progress::start(10, 5));
    bench.committer.commit().await.unwrap();
    assert_eq!((commits(), map.written.lock().unwrap().len()), (3, 2));
}

/// The unit's owner before wrote more than was seen when it came here; what is written without that would be numbered as
/// if it was older.
#[tokio::test]
async fn a_unit_adds_nothing_to_a_map_that_was_not_read_since_it_came() {
    let (bench, map) = with_map_that_was(false);
    let mut others = Tip::new(7, None, &bench.template());
    for progress in [Progress::start(7, 2), Progress::start(8, 3)] {
        let entries = others.next(&bench.template(), &progress);
        others.wrote(&entries, &progress);
        let mut ladder = map.others.lock().unwrap();
        entries.into_iter().for_each(|entry| ladder.take(entry));
    }
    map.down.store(true, Ordering::Relaxed);
    bench.advance_to(9, 4);
    let error = bench.committer.commit().await.unwrap_err();
    assert!(error.to_string().contains("offset map"), "{error}");
    assert!(bench.store.commits.lock().unwrap().is_empty(), "it waits");
    bench.clock.advance(MAP_PATIENCE);
    assert_eq!(
        bench.commit().await[0].unmapped,
        Some(NO_LOSS),
        "it says so"
    );
    map.down.store(false, Ordering::Relaxed);
    bench.clock.advance(MAP_PATIENCE);
    assert_eq!(bench.commit().await[0].unmapped, None);
    let written = map.written.lock().unwrap();
    let anchor = |entry: &Entry| match entry {
        Entry::Anchor(anchor) => (anchor.number, anchor.source_offset),
        Entry::Cuts { .. } => panic!("nothing was lost"),
    };
    let written: Vec<_> = written.iter().map(|(_, entry)| anchor(entry)).collect();
    assert_eq!(written, [(3, 9)]);
}

#[tokio::test]
async fn a_checkpoint_without_a_map_tells_of_losses_and_its_successor_cuts() {
    let bench = Bench::new();
    bench.advance_to(9, 4);
    assert_eq!(bench.commit().await[0].unmapped, Some(NO_LOSS));
    let mut lost = Progress::start(8, 3);
    lost.lose(2);
    bench.progress.send_replace(lost);
    let last = bench.commit().await.remove(0);
    assert_eq!(last.unmapped, Some(2));
    // Where the map was written before, up to the place that is lost now.
    let mut ladder = Ladder::default();
    let mut tip = Tip::new(7, None, &bench.template());
    for progress in [Progress::start(6, 1), Progress::start(9, 4)] {
        let entries = tip.next(&bench.template(), &progress);
        tip.wrote(&entries, &progress);
        entries.into_iter().for_each(|entry| ladder.take(entry));
    }
    let next = Tip::new(7, Some(&ladder), &last).next(&last, &Progress::start(8, 3));
    next.into_iter().for_each(|entry| ladder.take(entry));
    let anchors = ladder.anchors(7).into_iter();
    let places: Vec<_> = anchors
        .map(|a| (a.source_offset, a.target_offset))
        .collect();
    assert_eq!(places, [(5, 0), (6, 1), (8, 3)]);
}
