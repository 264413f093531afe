//! Members of one group on a broker-lite in this process.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use broker_lite::faults::{ApiKey, Fault, ResponseError, What};
use host::Host;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};

use super::*;
use crate::{
    checkpoint::{StoreError, Stored},
    testing::Cluster,
};

/// Anything takes less.
const DEADLINE: Duration = Duration::from_secs(30);
const CONTROL: &str = "strait.f.control";

/// Topic `t` of four partitions, and the flow's control topic.
async fn start() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.create_topic("t", 4, &[]).await;
    cluster.create_topic(CONTROL, 1, &[]).await;
    cluster
}

/// The machine's clock, which jumps as for a process that was suspended.
#[derive(Debug)]
struct Jumping(Arc<dyn Clock>, AtomicU64);

impl Clock for Jumping {
    fn wall_ms(&self) -> i64 {
        self.0.wall_ms()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic() + Duration::from_secs(self.1.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }
}

impl Cluster {
    fn member(&self, name: &str) -> Group {
        self.member_by(name, Host::real().clock)
    }

    fn member_by(&self, name: &str, clock: Arc<dyn Clock>) -> Group {
        let group = Group::start(Settings {
            client: self.client.clone(),
            flow: "f".to_owned(),
            group: "strait.f".to_owned(),
            control: TopicPartition::new(CONTROL, 0),
            name: Name::choose(&Host::real(), "f", Some(name), None),
            rules: 7,
            clock,
        });
        group.share(topics(&[("t", 4)]));
        group
    }
}

/// These and the control topic.
fn topics(topics: &[(&str, i32)]) -> BTreeMap<String, i32> {
    let topics = topics.iter().chain(&[(CONTROL, 1)]);
    topics.map(|(topic, n)| ((*topic).to_owned(), *n)).collect()
}

/// Waits until what is offered satisfies `enough`.
async fn offered(
    group: &Group,
    enough: impl Fn(&BTreeSet<TopicPartition>) -> bool,
) -> BTreeSet<TopicPartition> {
    let mut view = group.view();
    let seen = view.wait_for(|view| match &view.assignment {
        Assignment::Partitions(partitions) => enough(partitions),
        Assignment::All => false,
    });
    let seen = tokio::time::timeout(DEADLINE, seen).await;
    match seen
        .expect("it is offered in time")
        .unwrap()
        .assignment
        .clone()
    {
        Assignment::Partitions(partitions) => partitions,
        Assignment::All => unreachable!("a member never has all"),
    }
}

/// Holds what is offered as a supervisor without workers: all is settled at once.
fn turn(group: &Group) {
    let view = group.hold();
    group.settled(&view.assignment);
}

async fn commit(
    group: &Group,
    entries: &[(TopicPartition, &str)],
) -> Vec<(i32, Result<(), StoreError>)> {
    let entries: Vec<_> = entries
        .iter()
        .map(|(partition, metadata)| {
            let stored = Stored {
                offset: 1,
                metadata: (*metadata).to_owned(),
            };
            (partition.clone(), stored)
        })
        .collect();
    let outcomes = group.checkpoints().commit(&entries).await;
    let mut outcomes: Vec<_> = outcomes
        .into_iter()
        .map(|(partition, outcome)| (partition.partition, outcome))
        .collect();
    outcomes.sort_by_key(|(partition, _)| *partition);
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_is_handed_over_once_it_is_settled_and_committed_for_until_then() {
    let bench = start().await;
    let first = bench.member("a");
    let all = offered(&first, |partitions| partitions.len() == 5).await;
    first.hold();
    let second = bench.member("b");
    let kept = offered(&first, |partitions| partitions.len() < 5).await;
    let moving: Vec<_> = all.difference(&kept).cloned().collect();
    // The last checkpoint of what moves is still this member's to commit.
    let outcomes = commit(&first, &[(moving[0].clone(), "last")]).await;
    assert!(outcomes[0].1.is_ok(), "{outcomes:?}");
    // Several heartbeats pass, and nothing moves.
    let waits = offered(&second, |partitions| !partitions.is_empty());
    let early = tokio::time::timeout(Duration::from_secs(2), waits).await;
    assert!(early.is_err(), "handed over while it was held: {early:?}");
    turn(&first);
    let moved = offered(&second, |partitions| !partitions.is_empty()).await;
    assert!(moving.iter().all(|partition| moved.contains(partition)));
    let outcomes = commit(&first, &[(moving[0].clone(), "late")]).await;
    let refusal = outcomes[0].1.as_ref().unwrap_err().to_string();
    assert!(
        refusal.contains("not assigned to this process"),
        "{refusal}"
    );
    let committed = bench.client.group_offsets("strait.f").await.unwrap();
    let found = committed
        .iter()
        .find(|(partition, _)| *partition == moving[0]);
    assert_eq!(found.unwrap().1.metadata, "last");
    first.leave().await;
    second.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_does_not_wait_for_ever() {
    let bench = start().await;
    let first = bench.member("a");
    offered(&first, |partitions| partitions.len() == 5).await;
    let held = first.hold();
    let second = bench.member("b");
    offered(&second, |partitions| !partitions.is_empty()).await;
    // What went like that is offered to the first one again only after it has noticed.
    second.leave().await;
    let before = first.hold().assignment;
    assert_ne!(before, held.assignment);
    turn(&first);
    let again = offered(&first, |partitions| partitions.len() == 5).await;
    assert_eq!(Assignment::Partitions(again), held.assignment);
    first.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_partition_that_is_refused_does_not_fail_the_others() {
    let bench = start().await;
    let member = bench.member("a");
    offered(&member, |partitions| partitions.len() == 5).await;
    let long = "x".repeat(5000);
    let entries: Vec<_> = (0..4)
        .map(|index| {
            let text = if index == 2 { long.as_str() } else { "ok" };
            (TopicPartition::new("t", index), text)
        })
        .collect();
    let outcomes = commit(&member, &entries).await;
    let done: Vec<_> = outcomes
        .iter()
        .map(|(_, outcome)| outcome.is_ok())
        .collect();
    assert_eq!(done, [true, true, false, true], "{outcomes:?}");
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_of_an_idle_leader_is_kept_and_ends_with_its_target() {
    let bench = start().await;
    let member = bench.member("a");
    let lease = member.lease();
    assert!(!lease.may_write());
    tokio::time::timeout(DEADLINE, lease.granted())
        .await
        .unwrap();
    // Longer than a lease lasts without being renewed.
    let until = Instant::now() + SESSION;
    while Instant::now() < until {
        assert!(lease.may_write());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bench.broker.kill().await;
    tokio::time::sleep(SESSION).await;
    assert!(!lease.may_write());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_may_change_while_a_member_that_lost_its_place_joins_anew() {
    let bench = start().await;
    let member = bench.member("a");
    offered(&member, |partitions| partitions.len() == 5).await;
    let faults = bench.broker.faults();
    let late = What::Delay(Duration::from_secs(2));
    faults.set(Fault::new(ApiKey::JoinGroup, late)).unwrap();
    let forgotten = What::Refuse(ResponseError::UnknownMemberId);
    faults
        .set(Fault::new(ApiKey::Heartbeat, forgotten))
        .unwrap();
    offered(&member, BTreeSet::is_empty).await;
    bench.create_topic("new", 1, &[]).await;
    // The request to join is on its way, under no member id.
    tokio::time::sleep(Duration::from_millis(500)).await;
    member.share(topics(&[("t", 4), ("new", 1)]));
    let new = TopicPartition::new("new", 0);
    let all = offered(&member, |partitions| partitions.contains(&new)).await;
    assert_eq!(all.len(), 6, "{all:?}");
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_again_keeps_what_it_has() {
    let bench = start().await;
    let (first, second) = (bench.member("a"), bench.member("b"));
    for member in [&first, &second] {
        offered(member, |partitions| !partitions.is_empty()).await;
        turn(member);
    }
    let (mut moved, has) = (first.view(), first.hold().assignment);
    let generation = |member: &Group| member.shared.place.borrow().as_ref().unwrap().generation;
    let before = generation(&second);
    second.rejoin();
    let mut places = first.shared.place.subscribe();
    let next = places.wait_for(|place| place.as_ref().is_some_and(|p| p.generation > before));
    drop(tokio::time::timeout(DEADLINE, next).await.unwrap().unwrap());
    moved.mark_unchanged();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(first.hold().assignment, has);
    assert!(!moved.has_changed().unwrap());
    first.leave().await;
    second.leave().await;
}

/// A rebalance waits for a process that was killed until its session ends; whoever is there works on meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_and_the_lease_go_on_while_a_rebalance_waits() {
    let bench = start().await;
    let member = bench.member("a");
    offered(&member, |partitions| partitions.len() == 5).await;
    turn(&member);
    let gone = bench.member("gone");
    offered(&member, |partitions| partitions.len() < 5).await;
    turn(&member);
    offered(&gone, |partitions| !partitions.is_empty()).await;
    // Dropped without a word, as if killed.
    drop(gone);
    let third = bench.member("b");
    let begun = Instant::now();
    let kept = member.hold().assignment;
    let Assignment::Partitions(kept) = kept else {
        unreachable!("a member never has all")
    };
    let mine = kept.first().unwrap().clone();
    let mut number = 0;
    while !matches!(third.view().borrow().standing, Standing::Member) {
        assert!(begun.elapsed() < DEADLINE);
        let text = number.to_string();
        let outcomes = commit(&member, &[(mine.clone(), &text)]).await;
        assert!(outcomes[0].1.is_ok(), "{outcomes:?}");
        assert!(member.lease().may_write(), "after {:?}", begun.elapsed());
        number += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() > SESSION / 2, "it did not wait");
    member.leave().await;
    third.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_suspended_and_is_taken_for_a_namesake_joins_anew() {
    for suspended in [true, false] {
        let bench = start().await;
        let clock = Arc::new(Jumping(Host::real().clock, AtomicU64::new(0)));
        let member = bench.member_by("a", Arc::clone(&clock) as Arc<dyn Clock>);
        let all = offered(&member, |partitions| partitions.len() == 5).await;
        turn(&member);
        if suspended {
            clock.1.store(SESSION.as_secs(), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let fenced = What::Refuse(ResponseError::FencedInstanceId);
        let fenced = Fault::new(ApiKey::Heartbeat, fenced);
        bench.broker.faults().set(fenced).unwrap();
        if suspended {
            offered(&member, BTreeSet::is_empty).await;
            turn(&member);
            assert_eq!(
                offered(&member, |partitions| partitions.len() == 5).await,
                all
            );
        } else {
            let mut view = member.view();
            let over = view.wait_for(|view| matches!(view.standing, Standing::Over { .. }));
            tokio::time::timeout(DEADLINE, over).await.unwrap().unwrap();
        }
        member.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_is_succeeded_before_its_session_ends() {
    let bench = start().await;
    let first = bench.member("a");
    offered(&first, |partitions| partitions.len() == 5).await;
    let second = bench.member("b");
    offered(&second, |partitions| !partitions.is_empty()).await;
    let begun = Instant::now();
    first.leave().await;
    offered(&second, |partitions| partitions.len() == 5).await;
    assert!(begun.elapsed() < SESSION / 2, "{:?}", begun.elapsed());
    second.leave().await;
}

/// Another process may have committed in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_8_a_commit_does_not_outlive_the_assignment_that_it_was_made_in() {
    let bench = start().await;
    let member = bench.member("a");
    offered(&member, |partitions| partitions.len() == 5).await;
    let mut places = member.shared.place.subscribe();
    let before = places.borrow_and_update().clone();
    let faults = bench.broker.faults();
    let waits = What::Refuse(ResponseError::RebalanceInProgress);
    let waits = faults.set(Fault::new(ApiKey::OffsetCommit, waits).always());
    let waits = waits.unwrap();
    let entry = [(TopicPartition::new("t", 0), "late")];
    let commit_late = commit(&member, &entry);
    let comes_back = async {
        waits.wait(1).await;
        let forgotten = What::Refuse(ResponseError::UnknownMemberId);
        faults
            .set(Fault::new(ApiKey::Heartbeat, forgotten))
            .unwrap();
        let again = places.wait_for(|place| place.is_some() && *place != before);
        drop(again.await.unwrap());
        offered(&member, |partitions| partitions.len() == 5).await;
        waits.remove();
    };
    let (outcomes, ()) = tokio::join!(commit_late, comes_back);
    let refusal = outcomes[0].1.as_ref().unwrap_err().to_string();
    assert!(
        refusal.contains("not assigned to this process"),
        "{refusal}"
    );
    let committed = bench.client.group_offsets("strait.f").await.unwrap();
    assert!(committed.iter().all(|(p, _)| *p != entry[0].0));
    member.leave().await;
}

/// As strait's own members were once, and a rolling update meets them.
struct Other {
    owned: Arc<Mutex<BTreeSet<TopicPartition>>>,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Other {
    fn start(bench: &Cluster) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bench.broker.address().to_string())
            .set("group.id", "strait.f")
            .set("group.instance.id", "other")
            .set("partition.assignment.strategy", ASSIGNOR)
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "500")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        consumer.subscribe(&["t", CONTROL]).unwrap();
        let owned: Arc<Mutex<BTreeSet<TopicPartition>>> = Arc::default();
        let stop = CancellationToken::new();
        let (seen, stopped) = (Arc::clone(&owned), stop.clone());
        let thread = thread::spawn(move || {
            while !stopped.is_cancelled() {
                drop(consumer.poll(Duration::from_millis(50)));
                let assigned = consumer.assignment().unwrap();
                let elements = assigned.elements();
                let assigned = elements
                    .iter()
                    .map(|element| TopicPartition::new(element.topic(), element.partition()));
                *seen.lock().unwrap() = assigned.collect();
            }
        });
        Self {
            owned,
            stop,
            thread: Some(thread),
        }
    }

    /// Waits until it has so many.
    async fn owns(&self, count: usize) -> BTreeSet<TopicPartition> {
        let begun = Instant::now();
        loop {
            let owned = self.owned.lock().unwrap().clone();
            if owned.len() == count {
                return owned;
            }
            assert!(begun.elapsed() < DEADLINE, "it has {owned:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.stop.cancel();
        drop(self.thread.take().map(thread::JoinHandle::join));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_librdkafka_share_with_ours_whoever_leads() {
    for ours_first in [true, false] {
        let bench = start().await;
        let (member, other);
        if ours_first {
            member = bench.member("a");
            offered(&member, |partitions| partitions.len() == 5).await;
            other = Other::start(&bench);
        } else {
            other = Other::start(&bench);
            other.owns(5).await;
            member = bench.member("a");
        }
        let settling = async {
            loop {
                turn(&member);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let shares = async {
            let theirs = other.owns(if ours_first { 2 } else { 3 }).await;
            let ours = offered(&member, |partitions| partitions.len() + theirs.len() == 5).await;
            (ours, theirs)
        };
        let (ours, theirs) = tokio::select! {
            shares = shares => shares,
            () = settling => unreachable!("it goes on for ever"),
        };
        assert!(ours.is_disjoint(&theirs), "{ours:?} and {theirs:?}");
        member.leave().await;
        other.owns(5).await;
    }
}
