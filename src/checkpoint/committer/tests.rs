use std::sync::atomic::{AtomicBool, Ordering};

use host::{BoxFuture, sim::SimClock};
use uuid::Uuid;

use super::*;
use crate::worker::Stop;

/// A store in memory that can be told to fail.
#[derive(Debug, Default)]
struct Memory {
    down: AtomicBool,
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
        let committer = Committer::new("f", Arc::clone(&store) as Arc<dyn CheckpointStore>, host);
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
            stopped: None,
            anchors: Vec::new(),
        };
        committer.watch(
            TopicPartition::new("t", 0),
            Template {
                checkpoint: template,
                known: true,
                told: watch::Sender::new(-1),
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
