//! The group's coordinator, as one member reaches it.
//!
//! Two connections of its own: JoinGroup and SyncGroup are answered when all other members did the same, and a broker
//! works on one request of a connection at a time, while heartbeats must go on.

use std::{collections::BTreeMap, future::Future, mem::replace, sync::Arc, time::Duration};

use host::Clock;
use wire::{
    client::{
        Client,
        consumer_protocol::{Assignment, Subscription},
        member::{self, Identity, Joined, Place},
    },
    connection::Connection,
    error::ClientError,
};

pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
/// For a heartbeat's answer.
const ANSWER: Duration = Duration::from_secs(3);
/// How long a coordinator may take to be itself again after it went away.
const OF_LATE: Duration = Duration::from_secs(60);

pub(super) struct Coordinator {
    client: Client,
    identity: Identity,
    clock: Arc<dyn Clock>,
    joins: Option<Arc<Connection>>,
    beats: Option<Arc<Connection>>,
    /// When this process was last seen running.
    awake: Duration,
    /// When the coordinator last went away, or this process was suspended for longer than a session.
    cut_off: Option<Duration>,
}

impl Coordinator {
    /// Of `identity`'s group; reached when it is needed.
    pub(super) fn new(client: Client, identity: Identity, clock: Arc<dyn Clock>) -> Self {
        Self {
            awake: clock.monotonic(),
            client,
            identity,
            clock,
            joins: None,
            beats: None,
            cut_off: None,
        }
    }

    /// Joins; with `place`, as the member that has it.
    pub(super) async fn join(
        &mut self,
        place: Option<&Place>,
        member_id: &str,
        subscription: &Subscription,
    ) -> Result<Joined, ClientError> {
        let group = &self.identity.group;
        let connection = connection(&mut self.joins, &self.client, group).await?;
        let identity = self.identity.clone();
        let answer = member::join(&connection, &identity, member_id, subscription);
        // Members that do not come are waited for.
        let most = identity.rebalance_timeout + ANSWER;
        self.alive_until("JoinGroup", place, answer, most).await
    }

    /// Says what all get, if it is this member's to say, and hears what it gets.
    pub(super) async fn sync(
        &mut self,
        place: &Place,
        assignments: &BTreeMap<String, Assignment>,
    ) -> Result<Assignment, ClientError> {
        let group = &self.identity.group;
        let connection = connection(&mut self.joins, &self.client, group).await?;
        let identity = self.identity.clone();
        let answer = member::sync(&connection, &identity, place, assignments);
        // A leader that is gone is known to be after its session.
        let most = identity.session_timeout + ANSWER;
        self.alive_until("SyncGroup", Some(place), answer, most)
            .await
    }

    /// A sign of life.
    pub(super) async fn beat(&mut self, place: &Place) -> Result<(), ClientError> {
        let late = self.no_answer("Heartbeat", ANSWER);
        let group = &self.identity.group;
        let beat = async {
            let connection = connection(&mut self.beats, &self.client, group).await?;
            member::heartbeat(&connection, group, place).await
        };
        tokio::select! {
            biased;
            answer = beat => answer,
            () = self.clock.sleep(ANSWER) => Err(late),
        }
    }

    /// Waits for an answer that other members hold up, `most` long, and gives signs of life meanwhile.
    async fn alive_until<T>(
        &mut self,
        api: &'static str,
        place: Option<&Place>,
        answer: impl Future<Output = Result<T, ClientError>>,
        most: Duration,
    ) -> Result<T, ClientError> {
        let deadline = self.clock.monotonic() + most;
        let mut silent = false;
        tokio::pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = self.clock.sleep(HEARTBEAT) => {}
            }
            self.look_awake();
            if self.clock.monotonic() >= deadline {
                return Err(self.no_answer(api, most));
            }
            let Some(place) = place else { continue };
            // What a refusal says, the answer says too; two silences mean that the coordinator is away.
            let beat = self.beat(place).await;
            let late = beat.err().filter(|error| error.api_error().is_none());
            let was_silent = replace(&mut silent, late.is_some());
            if let Some(error) = late.filter(|_| was_silent) {
                return Err(error);
            }
        }
    }

    /// It is away: another broker may be the coordinator now.
    pub(super) fn lost(&mut self) {
        (self.joins, self.beats) = (None, None);
        self.client.forget_coordinator(&self.identity.group);
        self.cut_off = Some(self.clock.monotonic());
    }

    /// A process that was suspended for longer than a session is no member any more, whatever it hears first.
    pub(super) fn look_awake(&mut self) {
        let now = self.clock.monotonic();
        let before = replace(&mut self.awake, now);
        if now.saturating_sub(before) >= self.identity.session_timeout {
            self.cut_off = Some(now);
        }
    }

    /// Whether it was away of late, or this process was suspended, so that one may not know the other any more; asked
    /// again, it was not.
    pub(super) fn take_cut_off(&mut self) -> bool {
        let now = self.clock.monotonic();
        let cut_off = self.cut_off.take();
        cut_off.is_some_and(|at| now.saturating_sub(at) < OF_LATE)
    }

    fn no_answer(&self, api: &'static str, after: Duration) -> ClientError {
        ClientError::Timeout {
            broker: format!("the coordinator of group {}", self.identity.group),
            api,
            seconds: after.as_secs(),
        }
    }
}

/// The connection in `slot`, or a new one to the coordinator of now.
async fn connection(
    slot: &mut Option<Arc<Connection>>,
    client: &Client,
    group: &str,
) -> Result<Arc<Connection>, ClientError> {
    let usable = |connection: &&Arc<Connection>| !connection.is_broken() && connection.is_fresh();
    if let Some(connection) = slot.as_ref().filter(usable) {
        return Ok(Arc::clone(connection));
    }
    let connection = client.dial_coordinator(group).await?;
    Ok(Arc::clone(slot.insert(connection)))
}
