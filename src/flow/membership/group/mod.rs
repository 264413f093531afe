//! Processes share a flow as members of its consumer group `strait.<flow>` on the target.
//!
//! The group's topics are the flow's target topics and its control topic. Owning partition p of a target
//! topic means running the worker of partition p of its source; owning the control topic means leading.
//! A librdkafka consumer is the member; it fetches nothing. Its thread is [`member`], the one of commits
//! [`commits`]; what is assigned, held and revoked is [`holdings`].
//!
//! The classic protocol is pinned: the newer one (KIP-848) keeps a killed static member's name until its
//! session ends (EXACTNESS 9).

mod commits;
mod context;
mod holdings;
mod member;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use commits::{Committed, MemberOffsets};
use holdings::Holdings;
use host::{BoxFuture, Clock};
use member::Member;
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use wire::{TopicPartition, client::Client};

use super::{Assignment, Membership, Standing, View, lease::SessionLease, name::Name};
use crate::{
    checkpoint::{CheckpointStore, store::GroupStore},
    telemetry::Outage,
    worker::Lease,
};

/// Brokers refuse less unless set otherwise (`group.min.session.timeout.ms`).
const SESSION: Duration = Duration::from_secs(6);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A thread that does not poll for so long has lost its partitions.
const POLL_INTERVAL: Duration = Duration::from_secs(15);
/// How much earlier than the session a lease ends: for a write that is on its way, and for clocks.
const MARGIN: Duration = Duration::from_secs(1);
/// Partitions that are added to a target topic are noticed so late.
const METADATA: Duration = Duration::from_secs(2);
/// Commits that wait for the thread.
const COMMITS: usize = 16;
/// For the consumer to close, and for the group to hear of it.
const LEAVE: Duration = Duration::from_secs(5);

/// What a member needs.
#[derive(Debug)]
pub struct Settings {
    /// The operator's properties of the target.
    pub properties: ClientConfig,
    /// Reads checkpoints, and takes the member out at the end.
    pub client: Client,
    /// The flow, for logs.
    pub flow: String,
    /// Whether the target is away.
    pub outage: Outage,
    /// The flow's group.
    pub group: String,
    /// Partition 0 of the flow's control topic.
    pub control: TopicPartition,
    /// What this process is called.
    pub name: Name,
    /// Counts the lease.
    pub clock: Arc<dyn Clock>,
}

/// A member of the flow's group.
#[derive(Debug)]
pub struct Group {
    name: Name,
    group: String,
    client: Client,
    shared: Arc<Shared>,
    checkpoints: Arc<dyn CheckpointStore>,
    wishes: watch::Sender<Wishes>,
    clock: Arc<dyn Clock>,
    /// Cancelled by the thread when it has ended.
    ended: CancellationToken,
    stop: CancellationToken,
    _stops: DropGuard,
}

/// Between the thread and the rest.
#[derive(Debug)]
struct Shared {
    holdings: Mutex<Holdings>,
    /// Locked while a commit is under way, and while partitions are given up.
    committed: Mutex<Committed>,
    /// How often partitions were taken away without notice.
    losses: AtomicU64,
    /// Which, since this was last taken.
    lost: Mutex<Lost>,
    view: watch::Sender<View>,
    lease: Arc<SessionLease>,
}

/// Partitions that were taken away without notice.
#[derive(Debug, Default)]
struct Lost {
    partitions: BTreeSet<TopicPartition>,
    /// All that there were.
    all: bool,
}

/// What the supervisor wants of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wishes {
    topics: BTreeSet<String>,
    /// How often it wanted to join again.
    rejoins: u64,
}

impl Shared {
    fn holdings(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn committed(&self) -> MutexGuard<'_, Committed> {
        self.committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> MutexGuard<'_, Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// These are gone already: their topic is, or the session ended and all are.
    fn lose(&self, partitions: Vec<TopicPartition>) {
        // Before it is counted, so that who sees the count finds them.
        self.lost().partitions.extend(partitions.iter().cloned());
        self.losses.fetch_add(1, Ordering::AcqRel);
        let mut holdings = self.holdings();
        holdings.lose(partitions);
        let all = holdings.is_empty();
        drop(holdings);
        if all {
            self.lease.end();
        }
        self.publish(all.then_some(Standing::Joining));
    }

    /// All are gone already.
    fn lose_all(&self) {
        self.lost().all = true;
        self.losses.fetch_add(1, Ordering::AcqRel);
        self.holdings().lose_all();
        self.lease.end();
        self.publish(Some(Standing::Joining));
    }

    /// Tells what is offered now, and the standing if it changes. What is over stays so.
    fn publish(&self, standing: Option<Standing>) {
        let offered = Assignment::Partitions(self.holdings().offered());
        self.view.send_if_modified(|view| {
            let over = matches!(view.standing, Standing::Over { .. });
            let standing = standing
                .filter(|_| !over)
                .unwrap_or_else(|| view.standing.clone());
            let now = View {
                standing,
                assignment: offered,
            };
            let changed = *view != now;
            *view = now;
            changed
        });
    }
}

impl Group {
    /// Starts the member's thread; joins once it is told what to share, for as long as it takes.
    ///
    /// # Errors
    /// If librdkafka refuses a property.
    pub fn start(settings: Settings) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            holdings: Mutex::default(),
            committed: Mutex::default(),
            losses: AtomicU64::new(0),
            lost: Mutex::default(),
            view: watch::Sender::new(View {
                standing: Standing::Joining,
                assignment: Assignment::Partitions(BTreeSet::new()),
            }),
            lease: Arc::new(SessionLease::new(
                Arc::clone(&settings.clock),
                SESSION.saturating_sub(MARGIN),
            )),
        });
        let (commits, wanted_commits) = mpsc::channel(COMMITS);
        let (wishes, wanted) = watch::channel(Wishes::default());
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let member = Member {
            config: configure(&settings),
            flow: settings.flow,
            outage: settings.outage,
            control: settings.control,
            shared: Arc::clone(&shared),
            commits: wanted_commits,
            wishes: wanted,
            clock: Arc::clone(&settings.clock),
            runtime: Handle::current(),
            stop: stop.clone(),
        };
        let consumer = member.consumer()?;
        let ends = ended.clone().drop_guard();
        thread::Builder::new()
            .name("member".to_owned())
            .spawn(move || {
                member.run(consumer);
                drop(ends);
            })?;
        let offsets = MemberOffsets {
            client: settings.client.clone(),
            commits,
        };
        Ok(Self {
            name: settings.name,
            checkpoints: Arc::new(GroupStore::new(offsets, settings.group.clone())),
            group: settings.group,
            client: settings.client,
            shared,
            wishes,
            clock: settings.clock,
            ended,
            _stops: stop.clone().drop_guard(),
            stop,
        })
    }

    /// A static member that closes stays in the group until its session ends (KIP-345).
    async fn remove(&self) {
        let (group, member) = (&self.group, self.name.as_str());
        match self.client.remove_member(group, member).await {
            Ok(()) => tracing::debug!(%group, %member, "left the group"),
            Err(error) => tracing::warn!(
                %group, %member, %error,
                "could not leave the group: its partitions go to others when the session ends"
            ),
        }
    }
}

impl Membership for Group {
    fn view(&self) -> watch::Receiver<View> {
        self.shared.view.subscribe()
    }

    fn hold(&self) -> View {
        let held = self.shared.holdings().hold();
        let standing = self.shared.view.borrow().standing.clone();
        View {
            standing,
            assignment: Assignment::Partitions(held),
        }
    }

    fn settled(&self, kept: &Assignment) {
        let offers_more = self
            .shared
            .holdings()
            .settle(|partition| kept.holds(partition));
        if offers_more {
            self.shared.publish(None);
        }
    }

    fn checkpoints(&self) -> Arc<dyn CheckpointStore> {
        Arc::clone(&self.checkpoints)
    }

    fn lease(&self) -> Arc<dyn Lease> {
        Arc::clone(&self.shared.lease) as Arc<dyn Lease>
    }

    fn share(&self, topics: BTreeSet<String>) {
        self.wishes.send_if_modified(|wishes| {
            let changed = wishes.topics != topics;
            wishes.topics = topics;
            changed
        });
    }

    fn name(&self) -> Option<&str> {
        Some(self.name.as_str())
    }

    fn rejoin(&self) {
        self.wishes.send_modify(|wishes| wishes.rejoins += 1);
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.stop.cancel();
            tokio::select! {
                biased;
                () = self.ended.cancelled() => {}
                () = self.clock.sleep(LEAVE) => {
                    tracing::warn!(group = %self.group, "the group's consumer was late for the stop");
                }
            }
            let over = matches!(self.shared.view.borrow().standing, Standing::Over { .. });
            // The name is another process's now, or was never this one's.
            if over {
                return;
            }
            tokio::select! {
                biased;
                () = self.remove() => {}
                () = self.clock.sleep(LEAVE) => {
                    tracing::warn!(group = %self.group, "could not leave the group: no answer");
                }
            }
        })
    }
}

/// The operator's properties, and what EXACTNESS 9 asks for. Nothing is ever fetched, so the queue is
/// as small as it can be.
fn configure(settings: &Settings) -> ClientConfig {
    let milliseconds = |duration: Duration| duration.as_millis().to_string();
    let mut config = settings.properties.clone();
    // Also when the process's own log shows less: what librdkafka says of its session is read.
    config.set_log_level(RDKafkaLogLevel::Info);
    config
        .set("group.id", &settings.group)
        .set("group.instance.id", settings.name.as_str())
        .set("group.protocol", "classic")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", milliseconds(SESSION))
        .set("heartbeat.interval.ms", milliseconds(HEARTBEAT))
        .set("max.poll.interval.ms", milliseconds(POLL_INTERVAL))
        .set("topic.metadata.refresh.interval.ms", milliseconds(METADATA))
        .set("auto.offset.reset", "latest")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("allow.auto.create.topics", "false")
        .set("queued.min.messages", "1")
        .set("queued.max.messages.kbytes", "64")
        .set("socket.timeout.ms", milliseconds(SESSION))
        .set("reconnect.backoff.max.ms", "1000");
    config
}

#[cfg(test)]
mod tests;
