//! Which topics of the target are to go because their sources are gone. Pure.
//!
//! A topic counts as gone when the whole list of the source's topics was read and it is not in it, or when another one
//! has its name there. How that looks at the end of the time of grace is asked again by name, right before its target
//! is deleted ([`retire`](super::super::retire)).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use uuid::Uuid;

use crate::{
    checkpoint::{
        Checkpoint,
        control_topic::{ControlRecords, TopicKey, TopicRecord},
    },
    config::{OnDelete, OnRecreate},
    flow::plan::{Rules, Snapshot, SourceTopic, Trouble, is_another},
    worker::wrap,
};

/// A process that sees a topic gone for less does not delete its target, whoever saw it before: clocks of hosts differ.
const LEAST_SEEN: Duration = Duration::from_secs(60);

/// A topic that is gone from the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// It.
    pub key: TopicKey,
    /// What is known of it.
    pub record: TopicRecord,
    /// The topic that the source has under its name now, which is copied once this one's target is gone.
    pub heir: Option<TopicKey>,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Retirement {
    /// Records to be written: gone as of now, or back.
    pub mark: Vec<(TopicKey, TopicRecord)>,
    /// Topics whose time of grace is over, or that have no target any more.
    pub due: Vec<Gone>,
    /// Topics that share their target with their heirs, as when that was copied behind them before the policy was
    /// another one: what the target holds tells whose it is.
    pub shared: Vec<Gone>,
    /// What is told.
    pub troubles: Vec<Trouble>,
}

/// Since when this process has seen topics gone.
#[derive(Debug, Default)]
pub struct Absences(BTreeMap<TopicKey, Duration>);

impl Absences {
    /// Takes in what is gone at `now`, on the monotonic clock.
    fn see(&mut self, gone: &[Gone], now: Duration) {
        let keys: BTreeSet<_> = gone.iter().map(|one| &one.key).collect();
        self.0.retain(|key, _| keys.contains(key));
        for key in keys {
            self.0.entry(key.clone()).or_insert(now);
        }
    }

    /// Nothing is known any more: another process leads.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

impl Rules {
    /// Whether the flow as it is now would copy what `record` is about, and to where it did.
    pub fn owns(&self, record: &TopicRecord) -> bool {
        let target = self.naming.target(&record.source_topic);
        self.selection.selects(&record.source_topic, false)
            && target.is_ok_and(|target| target == record.target_topic)
    }

    /// What is recorded of a topic that the source had before the one with this name and id, and that was copied to
    /// the topic with id `target`, if that is to be deleted for it.
    pub fn before<'a>(
        &self,
        records: &'a ControlRecords,
        (name, id): (&str, Uuid),
        target: Uuid,
    ) -> Option<&'a TopicRecord> {
        let replaces = self.config.topic(name).on_recreate == OnRecreate::Recreate;
        let mut all = records.topics.iter().filter(|_| replaces);
        let found = all.find(|(key, record)| {
            is_before(key, record, name, id)
                && record.target_topic_id == Some(target)
                && self.owns(record)
        });
        found.map(|(_, record)| record)
    }

    /// Topics of which the source has another one now, if their targets are to be deleted for that.
    pub fn replaced(&self, snapshot: &Snapshot, records: &ControlRecords) -> Vec<Gone> {
        let ours = records.topics.iter().filter(|(_, one)| self.owns(one));
        let gone = ours.filter_map(|(key, record)| self.gone(snapshot, key, record));
        gone.filter(|gone| gone.heir.is_some()).collect()
    }

    /// What is to go, at `now` on the monotonic and `now_ms` on the wall clock.
    pub fn retirement(
        &self,
        snapshot: &Snapshot,
        records: &ControlRecords,
        absences: &mut Absences,
        (now, now_ms): (Duration, i64),
    ) -> Retirement {
        let mut plan = Retirement::default();
        let mut going = Vec::new();
        for (key, record) in records.topics.iter().filter(|(_, one)| self.owns(one)) {
            match self.gone(snapshot, key, record) {
                Some(gone) => going.push(gone),
                None if record.gone_since_ms.is_some() => {
                    plan.mark.push((key.clone(), gone_since(record, None)));
                }
                None => {}
            }
        }
        absences.see(&going, now);
        if snapshot.seen.is_empty() {
            plan.troubles
                .extend(going.first().map(|gone| self.all_gone(&gone.record)));
            return plan;
        }
        for gone in going {
            let seen = now.saturating_sub(absences.0[&gone.key]);
            self.weigh(&mut plan, snapshot, records, gone, (seen, now_ms));
        }
        plan
    }

    /// Whether a topic is gone, in a way that its target is to be deleted for.
    fn gone(&self, snapshot: &Snapshot, key: &TopicKey, record: &TopicRecord) -> Option<Gone> {
        let name = &record.source_topic;
        let config = self.config.topic(name);
        let heir = snapshot
            .topic(name)
            .filter(|topic| is_before(key, record, name, topic.id));
        let goes = match heir {
            Some(_) => config.on_recreate == OnRecreate::Recreate,
            None => config.on_delete == OnDelete::Delete && !snapshot.seen.contains(name),
        };
        goes.then(|| Gone {
            key: key.clone(),
            record: record.clone(),
            heir: heir.map(SourceTopic::key),
        })
    }

    fn weigh(
        &self,
        plan: &mut Retirement,
        snapshot: &Snapshot,
        records: &ControlRecords,
        mut gone: Gone,
        (seen, now_ms): (Duration, i64),
    ) {
        let record = &gone.record;
        if let Some(heir) = &gone.heir {
            let heir = records.topics.get(heir);
            let target = heir.and_then(|heir| heir.target_topic_id);
            if target.is_some() && target == record.target_topic_id {
                return plan.shared.push(gone);
            }
            let found = snapshot.target.get(&record.target_topic);
            let bound = record.target_topic_id;
            if bound.is_none_or(|bound| is_another(found, bound) == Some(true)) {
                return plan.due.push(gone);
            }
        }
        let grace = self.config.topic(&record.source_topic).delete_grace;
        let Some(since) = record.gone_since_ms else {
            gone.record = gone_since(record, Some(now_ms));
            plan.troubles.extend(self.pending(&gone, grace));
            return plan.mark.push((gone.key, gone.record));
        };
        let over = since.saturating_add(ms(grace)) <= now_ms && seen >= grace.min(LEAST_SEEN);
        if over {
            plan.due.push(gone);
        } else {
            plan.troubles.extend(self.pending(&gone, grace));
        }
    }

    fn pending(&self, gone: &Gone, grace: Duration) -> Option<Trouble> {
        let record = &gone.record;
        let at = record.gone_since_ms?.saturating_add(ms(grace));
        let at = jiff::Timestamp::from_millisecond(at).ok()?;
        record.target_topic_id?;
        let (topic, source, target) = (&record.target_topic, &self.source, &self.target);
        let (code, text) = match gone.heir {
            None => (
                "deletion_pending",
                format!(
                    "it is gone from {source}: {topic} on {target} will be deleted at {at:.0} (on_delete, delete_grace)"
                ),
            ),
            Some(_) => (
                "recreation_pending",
                format!(
                    "it was made anew on {source}: {topic} on {target} will be deleted at {at:.0}, and the new one be \
                     copied to another one of its name (on_recreate, delete_grace)"
                ),
            ),
        };
        Some(Trouble {
            topic: record.source_topic.clone(),
            code,
            text,
        })
    }

    fn all_gone(&self, record: &TopicRecord) -> Trouble {
        Trouble {
            topic: record.source_topic.clone(),
            code: "all_topics_gone",
            text: format!(
                "{} shows none of the flow's topics any more: nothing is deleted from {} for that (on_delete)",
                self.source, self.target
            ),
        }
    }
}

/// Whether `record` is about a topic that the source had before the one with this name and id. Topics without ids
/// cannot be told apart.
fn is_before(key: &TopicKey, record: &TopicRecord, name: &str, id: Uuid) -> bool {
    let is_other = matches!(key, TopicKey::Id(known) if *known != id && !id.is_nil());
    is_other && record.source_topic == name
}

fn gone_since(record: &TopicRecord, gone_since_ms: Option<i64>) -> TopicRecord {
    TopicRecord {
        gone_since_ms,
        ..record.clone()
    }
}

/// Why not all that a partition of the topic with id `target` holds, up to the offset `end`, is surely what this flow
/// copied there of a topic that is gone: `known` is its checkpoint. A flow writes records only, so in a
/// topic that nobody else ever wrote to there are as many offsets as records that it appended.
pub fn not_only_ours(
    end: i64,
    target: Uuid,
    known: Option<&Checkpoint>,
    heir: Option<&TopicKey>,
) -> Option<String> {
    let known = known.filter(|known| known.target_topic == target);
    let ours = known.map_or(0, |known| known.target_offset);
    if end > ours {
        return Some(format!(
            "ends at offset {end}, and what this flow wrote at {ours}: others write to it"
        ));
    }
    let known = known?;
    if heir == Some(&TopicKey::Id(known.source_topic)) {
        return Some("holds records of the topic that the source has now".to_owned());
    }
    let base = known.producer.map_or(0, |producer| producer.epoch_base);
    let count = base + i64::from(known.sequence);
    // The count of one epoch is a sequence, mod 2^31.
    (wrap(end - count) != 0).then(|| {
        format!(
            "ends at offset {end}, and {count} records are known to be this flow's: others wrote to it too, before the flow or \
             meanwhile"
        )
    })
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
