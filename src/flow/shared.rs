//! What a round does because other processes run the flow as well: say what is shared, find out who leads
//! and what the leader wrote, and look for partitions that are nobody's.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wire::{
    TopicPartition,
    client::{GroupDescription, TopicDescription},
};

use super::{
    apply::StepError,
    membership::View,
    plan::{Snapshot, SourceTopic, Trouble},
    supervisor::Supervisor,
};
use crate::config::Assignment;

/// How long a new leader may take to confirm that it is one.
const CONFIRM: Duration = Duration::from_secs(1);
/// Between two looks at who owns what.
const LOOK: Duration = Duration::from_secs(10);
/// The same while something is nobody's.
const LOOK_CLOSELY: Duration = Duration::from_secs(1);
/// UNKNOWN_TOPIC_OR_PARTITION: how metadata says that a topic does not exist.
const UNKNOWN_TOPIC: i16 = 3;
/// A group that hands out nothing at the moment.
const STABLE: &str = "Stable";

impl Supervisor<'_> {
    /// Target topics of the flow that the control topic knows, whether or not their sources are there.
    pub(super) fn recorded_targets(&self) -> impl Iterator<Item = String> {
        let records = self.booted.records.topics.values();
        let ours = records.filter(|record| self.rules.owns(record));
        ours.map(|record| record.target_topic.clone())
    }

    /// The topics whose partitions are shared out, each with how many it has: the control topic, and what exists on the
    /// target.
    pub(super) fn shared_topics(&self, snapshot: &Snapshot) -> BTreeMap<String, i32> {
        let exists = |topic: &&TopicDescription| {
            let error = topic.error.as_ref();
            error.is_none_or(|error| error.code != UNKNOWN_TOPIC)
        };
        let found = snapshot.target.values().filter(exists);
        let counted = found.map(|topic| (topic.name.clone(), topic.partition_count()));
        let mut topics: BTreeMap<_, _> = counted.collect();
        topics.insert(self.booted.control.name().to_owned(), 1);
        topics
    }

    /// Whether this process leads in this round: it owns the control topic and may write. Reads again
    /// what the control topic holds where another process may have written it.
    pub(super) async fn lead(
        &mut self,
        view: &View,
        snapshot: &Snapshot,
    ) -> Result<bool, StepError> {
        let owner = view.assignment.holds(self.booted.control.partition());
        let lease = self.membership.lease();
        let leader = owner
            && tokio::select! {
                biased;
                () = lease.granted() => true,
                () = self.flow.host.clock.sleep(CONFIRM) => false,
            };
        let records = &self.booted.records;
        let unbound = |key| {
            let record = records.topics.get(&key);
            record.is_none_or(|record| record.target_topic_id.is_none())
        };
        // A target topic that is another one now may have been bound by the leader.
        let other = |topic: &SourceTopic| {
            let record = records.topics.get(&topic.key());
            let found = snapshot.target.get(&topic.target);
            let bound = record.and_then(|record| record.target_topic_id);
            found.is_some_and(|found| found.error.is_none() && Some(found.id) != bound)
        };
        let waits = records.flow.is_none()
            || snapshot
                .topics
                .iter()
                .any(|topic| unbound(topic.key()) || other(topic));
        if leader != self.leads || (!leader && waits) {
            self.booted.records = self.booted.control.read().await?;
        }
        if leader && !self.leads {
            tracing::info!(flow = %self.flow.config.name, "this process leads the flow");
        }
        self.leads = leader;
        self.flow.board.is(self.membership.name(), leader);
        Ok(leader)
    }

    /// Compares what the group has handed out with what there is. What is nobody's for too long is told,
    /// and the leader joins again; where nobody leads, the member whose name comes first.
    pub(super) async fn look_for_orphans(
        &mut self,
        snapshot: &Snapshot,
        leader: bool,
    ) -> Vec<Trouble> {
        let flow = self.flow;
        let now = flow.host.clock.monotonic();
        if flow.config.assignment == Assignment::Solo || now < self.next_look {
            return Vec::new();
        }
        self.next_look = now + LOOK;
        let group = flow.config.group();
        // Where it may not be asked, the flow runs on without this.
        let described = flow.target.client().describe_groups(&[group]).await;
        let described = described.unwrap_or_default().into_iter().next();
        let Some((_, Ok(described))) = described else {
            return Vec::new();
        };
        if described.state != STABLE {
            return Vec::new();
        }
        let control = self.booted.control.partition();
        let mut wanted = BTreeSet::from([control.clone()]);
        for topic in snapshot
            .target
            .values()
            .filter(|topic| topic.error.is_none())
        {
            let indexes = topic.partitions.iter().map(|partition| partition.index);
            wanted.extend(indexes.map(|index| TopicPartition::new(&topic.name, index)));
        }
        let members = described.members.iter();
        let owned: BTreeSet<_> = members.flat_map(|m| m.assignment.iter().cloned()).collect();
        let found = self.orphans.look(wanted, &owned, now);
        if self.orphans.any() {
            self.next_look = now + LOOK_CLOSELY;
        }
        let acts = leader || (!owned.contains(control) && self.is_first(&described));
        if acts && self.orphans.rejoin(now) {
            tracing::info!(
                flow = %flow.config.name, partitions = found.len(),
                "partitions of the flow are no process's; joining its group again"
            );
            self.membership.rejoin();
        }
        found.iter().map(orphaned).collect()
    }

    fn is_first(&self, group: &GroupDescription) -> bool {
        let names = group
            .members
            .iter()
            .filter_map(|member| member.instance_id.as_deref());
        names.min() == self.membership.name()
    }
}

fn orphaned(partition: &TopicPartition) -> Trouble {
    Trouble {
        topic: partition.topic.clone(),
        code: "no_owner",
        text: format!("{partition} on the target is no process's at the moment"),
    }
}
