//! The group coordinator: all groups and their committed offsets, as this one broker owns them.
//!
//! [`Groups`] holds the lock, the journal and the timer around two parts without I/O: the state
//! machine of a group (`group.rs` and its neighbours) and the committed offsets (`offsets.rs`).
//!
//! Invariants:
//! * what a client has been told of a finished generation or an accepted commit is in the journal
//!   before the answer leaves;
//! * nothing else is locked while the groups are, except the topics that a commit asks about.
//!
//! On disk: `groups.journal`, entries of [`GroupEntry`] as JSON.

mod expiry;
pub(crate) mod group;
mod hex;
mod image;
pub(crate) mod join;
pub(crate) mod member;
mod offsets;
mod subscription;
pub(crate) mod sync;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use host::Host;
use kafka_protocol::error::ResponseError;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use self::group::GroupSettings;
pub(crate) use self::offsets::{Committer, Fetched, NewOffset};
use self::{
    group::{Group, Moment},
    image::{GroupEntry, GroupImage},
    join::Join,
    member::{Joined, Synced},
    sync::{Leaving, Sync},
};
use super::{entries::Entries, offsets::Offsets};

/// Groups that have neither members nor offsets are forgotten this often
/// (`offsets.retention.check.interval.ms`).
const SWEEP: Duration = Duration::from_secs(600);

/// Offsets per journal entry when the journal is rewritten.
const ROWS: usize = 1000;

/// All groups of the broker.
#[derive(Debug)]
pub(crate) struct Groups {
    host: Host,
    settings: GroupSettings,
    inner: Mutex<Inner>,
    /// A deadline came up that is earlier than the one that [`Groups::run`] sleeps for.
    wake: Notify,
}

#[derive(Debug)]
struct Inner {
    groups: BTreeMap<String, Group>,
    offsets: Offsets,
    entries: Entries<GroupEntry>,
    /// What the timer waits for.
    earliest: Duration,
    next_sweep: Duration,
}

impl Groups {
    /// Reads the journal in `folder`, which exists.
    pub(crate) fn open(host: Host, folder: &Path, settings: GroupSettings) -> io::Result<Self> {
        let now = host.clock.monotonic();
        let mut groups = BTreeMap::new();
        let mut offsets = Offsets::default();
        let path = folder.join("groups.journal");
        let entries = Entries::open(&host, &path, |entry| match entry {
            GroupEntry::Group(image) => {
                groups.insert(image.group.clone(), image.into_group(now));
            }
            GroupEntry::Removed { group } => {
                groups.remove(&group);
            }
            GroupEntry::Offsets(entry) => offsets.apply(entry),
        })?;
        let entries = entries.flushing(settings.flush);
        for name in offsets.groups() {
            groups
                .entry(name.clone())
                .or_insert_with(|| Group::new(name));
        }
        let inner = Inner {
            groups,
            offsets,
            entries,
            earliest: now,
            next_sweep: now + SWEEP,
        };
        Ok(Self {
            host,
            settings,
            inner: Mutex::new(inner),
            wake: Notify::new(),
        })
    }

    /// Lets time pass for all groups until `stop`.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        loop {
            let next = self.expire();
            let now = self.host.clock.monotonic();
            let sleep = self.host.clock.sleep(next.saturating_sub(now));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = sleep => {}
            }
        }
    }

    /// JoinGroup. Ends when the member is let in or refused; a drop gives up waiting, not joining.
    pub(crate) async fn join(&self, name: &str, join: Join) -> Joined {
        let id = join.member_id.clone();
        if let Err(error) = self.validate_join(name, &join) {
            return Joined::error(error, id);
        }
        let (to, from) = oneshot::channel();
        let may_create = id.is_empty();
        let known = self.step(name, may_create, |group, at| group.join(join, to, at));
        if known.is_none() {
            return Joined::error(ResponseError::UnknownMemberId, id);
        }
        from.await
            .unwrap_or_else(|_| Joined::error(ResponseError::CoordinatorNotAvailable, id))
    }

    fn validate_join(&self, name: &str, join: &Join) -> Result<(), ResponseError> {
        if name.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let allowed = self.settings.min_session_timeout..=self.settings.max_session_timeout;
        if allowed.contains(&join.session_timeout) {
            Ok(())
        } else {
            Err(ResponseError::InvalidSessionTimeout)
        }
    }

    /// SyncGroup. Ends when the leader has sent the assignments.
    pub(crate) async fn sync(&self, name: &str, sync: Sync) -> Synced {
        if name.is_empty() {
            return Synced::error(ResponseError::InvalidGroupId);
        }
        let (to, from) = oneshot::channel();
        let known = self.step(name, false, |group, at| group.sync(sync, to, at));
        if known.is_none() {
            return Synced::error(ResponseError::UnknownMemberId);
        }
        from.await
            .unwrap_or_else(|_| Synced::error(ResponseError::CoordinatorNotAvailable))
    }

    /// Heartbeat.
    pub(crate) fn heartbeat(
        &self,
        name: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        if name.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let beat = |group: &mut Group, at: &Moment<'_>| {
            group.heartbeat(member_id, instance_id, generation, at)
        };
        let known = self.step(name, false, beat);
        known.unwrap_or(Err(ResponseError::UnknownMemberId))
    }

    /// LeaveGroup: one result per member, or one error for all.
    pub(crate) fn leave(
        &self,
        name: &str,
        leaving: &[Leaving],
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        if name.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let known = self.step(name, false, |group, at| group.leave(leaving, at));
        let unknown = || vec![Err(ResponseError::UnknownMemberId); leaving.len()];
        Ok(known.unwrap_or_else(unknown))
    }

    /// Looks at one group.
    pub(crate) fn with<T>(&self, name: &str, look: impl FnOnce(Option<&Group>) -> T) -> T {
        look(self.inner().groups.get(name))
    }

    /// Looks at all groups, by name.
    pub(crate) fn with_all<T>(&self, look: impl FnOnce(&BTreeMap<String, Group>) -> T) -> T {
        look(&self.inner().groups)
    }

    /// DeleteGroups, one group: only an empty one, with its offsets.
    pub(crate) fn delete(&self, name: &str) -> Result<(), ResponseError> {
        let mut inner = self.inner();
        let group = inner
            .groups
            .get(name)
            .ok_or(ResponseError::GroupIdNotFound)?;
        if group.state != group::GroupState::Empty {
            return Err(ResponseError::NonEmptyGroup);
        }
        inner.remove(name).map_err(|error| failed(&error))
    }

    /// Makes everything survive the machine.
    pub(crate) fn make_durable(&self) -> io::Result<()> {
        self.inner().entries.sync()
    }

    /// One step of the group `name`; `None` if it is not there and must not be made.
    fn step<T>(
        &self,
        name: &str,
        may_create: bool,
        step: impl FnOnce(&mut Group, &Moment<'_>) -> T,
    ) -> Option<T> {
        let mut inner = self.inner();
        let inner = &mut *inner;
        if may_create && !inner.groups.contains_key(name) {
            inner.groups.insert(name.to_owned(), Group::new(name));
        }
        let group = inner.groups.get_mut(name)?;
        let at = self.moment();
        let result = step(group, &at);
        settle(group, &mut inner.entries);
        if let Some(next) = group.next_deadline().filter(|&d| d < inner.earliest) {
            inner.earliest = next;
            self.wake.notify_one();
        }
        inner.compact();
        Some(result)
    }

    /// Does what is due in any group; tells when to come back.
    fn expire(&self) -> Duration {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let at = self.moment();
        let mut next = inner.next_sweep;
        for group in inner.groups.values_mut() {
            if group.next_deadline().is_some_and(|d| d <= at.now) {
                group.expire(&at);
                settle(group, &mut inner.entries);
            }
            next = group.next_deadline().map_or(next, |d| d.min(next));
        }
        if inner.next_sweep <= at.now {
            inner.next_sweep = at.now + SWEEP;
            next = next.max(at.now);
            inner.sweep();
        }
        inner.compact();
        inner.earliest = next;
        next
    }

    fn moment(&self) -> Moment<'_> {
        Moment {
            now: self.host.clock.monotonic(),
            settings: &self.settings,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what changed in a group, then answers.
fn settle(group: &mut Group, entries: &mut Entries<GroupEntry>) {
    if group.take_unsaved() {
        let image = GroupImage::of(group);
        if let Err(error) = entries.append(&GroupEntry::Group(image)) {
            // The members can work; after a restart they are told to join again.
            tracing::error!(group = %group.name, %error, "cannot write the group to its journal");
        }
    }
    for reply in group.take_outbox() {
        reply.deliver();
    }
}

/// The answer when the journal cannot be written.
fn failed(error: &io::Error) -> ResponseError {
    tracing::error!(%error, "cannot write to the groups' journal");
    // As in Kafka, where the log of groups cannot be written (`GroupCoordinatorService`): try again.
    ResponseError::NotCoordinator
}

impl Inner {
    fn sweep(&mut self) {
        let idle = |(name, group): (&String, &Group)| {
            let idle = group.is_deserted() && !self.offsets.has_group(name);
            idle.then(|| name.clone())
        };
        let idle: Vec<String> = self.groups.iter().filter_map(idle).collect();
        for name in idle {
            if let Err(error) = self.remove(&name) {
                failed(&error);
            }
        }
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let group = name.to_owned();
        if self.offsets.has_group(name) {
            let entry = super::offsets::OffsetEntry::RemoveGroup {
                group: group.clone(),
            };
            self.entries.append(&GroupEntry::Offsets(entry.clone()))?;
            self.offsets.apply(entry);
        }
        self.entries.append(&GroupEntry::Removed { group })?;
        self.groups.remove(name);
        Ok(())
    }

    /// Rewrites the journal once it is mostly history.
    fn compact(&mut self) {
        let (groups, offsets) = (&self.groups, &self.offsets);
        let snapshot = || {
            let images = groups
                .values()
                .map(|g| GroupEntry::Group(GroupImage::of(g)));
            let offsets = offsets.snapshot(ROWS).into_iter().map(GroupEntry::Offsets);
            images.chain(offsets).collect()
        };
        if let Err(error) = self.entries.compact_if_large(snapshot) {
            tracing::error!(%error, "cannot rewrite the groups' journal");
        }
    }
}
