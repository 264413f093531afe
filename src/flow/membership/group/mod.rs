//! Processes share a flow as members of its consumer group `strait.<flow>` on the target.
//!
//! The group's topics are the flow's target topics and its control topic. Owning partition p of a target
//! topic means running the worker of partition p of its source; owning the control topic means leading.
//! [`member`] goes through the group's generations at its [`coordinator`], [`assign`] hands out the partitions where this one is to,
//! [`commits`] commits as the member; what is assigned, held and revoked is [`holdings`].
//!
//! The classic protocol, spoken by the wire client: the newer one (KIP-848) keeps a killed static member's name until
//! its session ends (EXACTNESS 9), and librdkafka's consumer, which can be a member too, loses its sessions over ten
//! thousand partitions (docs/decisions/0014).

mod assign;
mod commits;
mod coordinator;
mod holdings;
mod member;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use commits::{Commits, MemberOffsets};
use coordinator::Coordinator;
use holdings::Holdings;
use host::{BoxFuture, Clock};
use member::Member;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use wire::{
    TopicPartition,
    client::{
        Client,
        member::{Identity, Place},
    },
};

use super::{Assignment, Membership, Standing, View, lease::SessionLease, name::Name};
use crate::{
    checkpoint::{CheckpointStore, store::GroupStore},
    worker::Lease,
};

/// Brokers refuse less unless set otherwise (`group.min.session.timeout.ms`).
const SESSION: Duration = Duration::from_secs(6);
/// How long a rebalance waits for a member that does not join again.
const REBALANCE: Duration = Duration::from_secs(15);
/// How much earlier than the session a lease ends: for a write that is on its way, and for clocks.
const MARGIN: Duration = Duration::from_secs(1);
/// For the member to end, and for the group to hear of it.
const LEAVE: Duration = Duration::from_secs(4);
/// How partitions are handed out, by the name that librdkafka and Kafka's clients have for it: each keeps what it has
/// and gives up what others shall get before they do (KIP-429).
const ASSIGNOR: &str = "cooperative-sticky";

/// Errors of a coordinator, as Kafka numbers them.
mod code {
    pub(super) const LOADING: i16 = 14;
    pub(super) const NOT_AVAILABLE: i16 = 15;
    pub(super) const NOT_COORDINATOR: i16 = 16;
    pub(super) const ILLEGAL_GENERATION: i16 = 22;
    pub(super) const UNKNOWN_MEMBER_ID: i16 = 25;
    pub(super) const REBALANCE_IN_PROGRESS: i16 = 27;
    pub(super) const FENCED_INSTANCE_ID: i16 = 82;
}

/// What a member needs.
#[derive(Debug)]
pub struct Settings {
    /// Of the target.
    pub client: Client,
    /// The flow, for logs.
    pub flow: String,
    /// The flow's group.
    pub group: String,
    /// Partition 0 of the flow's control topic.
    pub control: TopicPartition,
    /// What this process is called.
    pub name: Name,
    /// Stands for the rules by which the flow chooses and names topics: equal for members whose topics come to be the
    /// same.
    pub rules: u64,
    /// Counts sessions and the lease.
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
    /// Cancelled when the member has ended.
    ended: CancellationToken,
    stop: CancellationToken,
    _stops: DropGuard,
}

/// Between the member and the rest.
#[derive(Debug)]
struct Shared {
    holdings: Mutex<Holdings>,
    /// The member's place now.
    place: watch::Sender<Option<Place>>,
    /// Rung when the supervisor has settled.
    settled: Notify,
    view: watch::Sender<View>,
    lease: Arc<SessionLease>,
}

/// What the supervisor wants of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wishes {
    /// Topics, and how many partitions each has.
    topics: BTreeMap<String, i32>,
    /// How often it wanted to join again.
    rejoins: u64,
}

impl Shared {
    fn holdings(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was assigned is gone already; how much that was.
    fn lose_all(&self) -> usize {
        self.place.send_replace(None);
        let lost = self.holdings().lose_all();
        self.lease.end();
        self.publish(Some(Standing::Joining));
        lost
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
    /// Joins once it is told what to share, for as long as it takes.
    pub fn start(settings: Settings) -> Self {
        let clock = Arc::clone(&settings.clock);
        let shared = Arc::new(Shared {
            holdings: Mutex::default(),
            place: watch::Sender::new(None),
            settled: Notify::new(),
            view: watch::Sender::new(View {
                standing: Standing::Joining,
                assignment: Assignment::Partitions(BTreeSet::new()),
            }),
            lease: Arc::new(SessionLease::new(
                Arc::clone(&clock),
                SESSION.saturating_sub(MARGIN),
            )),
        });
        let commits = Arc::new(Commits::new(
            settings.client.clone(),
            settings.group.clone(),
            Arc::clone(&shared),
            Arc::clone(&clock),
        ));
        let (wishes, wanted) = watch::channel(Wishes::default());
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let identity = Identity {
            group: settings.group.clone(),
            instance_id: settings.name.as_str().to_owned(),
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            assignor: ASSIGNOR.to_owned(),
        };
        let member = Member::new(
            settings.client.clone(),
            Coordinator::new(settings.client.clone(), identity, Arc::clone(&clock)),
            settings.flow,
            Bytes::copy_from_slice(&settings.rules.to_be_bytes()),
            Arc::clone(&shared),
            wanted,
            Arc::clone(&clock),
        );
        let (ends, stopped) = (ended.clone().drop_guard(), stop.clone());
        let (renewed, control) = (Arc::clone(&commits), settings.control);
        tokio::spawn(async move {
            let _ends = ends;
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = member.run() => {}
                () = renewed.keep_lease(&control) => {}
            }
        });
        let offsets = MemberOffsets(commits);
        Self {
            name: settings.name,
            checkpoints: Arc::new(GroupStore::new(offsets, settings.group.clone())),
            group: settings.group,
            client: settings.client,
            shared,
            wishes,
            clock,
            ended,
            _stops: stop.clone().drop_guard(),
            stop,
        }
    }

    /// A static member stays in the group until its session ends (KIP-345), unless it is taken out by name.
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
        self.shared.settled.notify_one();
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

    fn share(&self, topics: BTreeMap<String, i32>) {
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
            let leave = async {
                self.ended.cancelled().await;
                // If so, the name is another process's now, or was never this one's.
                let over = matches!(self.shared.view.borrow().standing, Standing::Over { .. });
                if !over {
                    self.remove().await;
                }
            };
            tokio::select! {
                biased;
                () = leave => {}
                () = self.clock.sleep(LEAVE) => {
                    tracing::warn!(group = %self.group, "could not leave the group: no answer");
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
