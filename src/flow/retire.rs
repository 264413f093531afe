//! What a round does for topics whose sources are gone: by policy, deletes them from the target.
//!
//! Where the source has another topic of the name, that one is copied once the target is gone. Until then it has a record
//! in the control topic and no target in that ([`before`](super::plan::Rules::before) keeps it from getting the old
//! one), so whoever leads next goes on from where this process ended: the target of the old topic is given up, then
//! deleted, its checkpoints are forgotten, then its record; the new topic goes its way like any other.

use super::{
    apply::StepError,
    deletable::{Standing, has_begun, is_about, policy},
    plan::{Snapshot, Trouble},
    supervisor::Supervisor,
    topics::retire::Gone,
};
use crate::checkpoint::{
    codec,
    control_topic::{TopicKey, TopicRecord},
};

/// Topics that are deleted in one round.
const MOST: usize = 20;

impl Supervisor<'_> {
    /// Remembers what is gone, and deletes what has been for long enough.
    pub(super) async fn retire(
        &mut self,
        snapshot: &Snapshot,
        leader: bool,
    ) -> Result<Vec<Trouble>, StepError> {
        if !leader {
            self.absences.forget();
            return Ok(Vec::new());
        }
        let (flow, clock) = (self.flow, &self.flow.host.clock);
        let now = (clock.monotonic(), clock.wall_ms());
        let records = &self.booted.records;
        let plan = self
            .rules
            .retirement(snapshot, records, &mut self.absences, now);
        flow.bind(&mut self.booted, &plan.mark).await?;
        self.sort_out(&plan.shared).await?;
        let mut troubles = plan.troubles;
        let due: Vec<_> = plan.due.into_iter().take(MOST).collect();
        let Some(first) = due.first() else {
            return Ok(troubles);
        };
        if let Some(reason) = flow.other_cluster(&self.booted).await? {
            troubles.push(self.not_deleted(first, &reason));
            return Ok(troubles);
        }
        let named = flow.named(&due).await?;
        for gone in due {
            let refusal = match flow.not_gone(&named, &gone) {
                None => self.retire_one(&gone).await?,
                refusal => refusal,
            };
            troubles.extend(refusal.map(|reason| self.not_deleted(&gone, &reason)));
        }
        Ok(troubles)
    }

    fn not_deleted(&self, gone: &Gone, reason: &str) -> Trouble {
        let (topic, alias) = (&gone.record.target_topic, self.flow.target.alias());
        Trouble {
            topic: gone.record.source_topic.clone(),
            code: "deletion_refused",
            text: format!(
                "{topic} is not deleted from {alias} ({}): {reason}",
                policy(gone)
            ),
        }
    }

    /// Two topics of one name that are bound to one target: either the new one is copied behind the old one, which is
    /// forgotten then, or it never began, and is to wait.
    async fn sort_out(&mut self, shared: &[Gone]) -> Result<(), StepError> {
        if shared.is_empty() {
            return Ok(());
        }
        let stored = self.booted.store.load().await?;
        for gone in shared {
            if has_begun(&stored, gone) {
                self.forget_record(&gone.key).await?;
            } else if let Some((heir, record)) = gone.heir.as_ref().and_then(|h| self.record(h)) {
                let record = record.without_target();
                self.flow.bind(&mut self.booted, &[(heir, record)]).await?;
            }
        }
        Ok(())
    }

    /// Deletes the target of a topic that is gone, and what is known of it; why not, if it may not be.
    async fn retire_one(&mut self, gone: &Gone) -> Result<Option<String>, StepError> {
        let flow = self.flow;
        if let Some(bound) = gone.record.target_topic_id {
            let standing = flow.standing(&self.booted, gone, bound).await?;
            let there = match standing {
                Standing::Stays(reason) => return Ok(Some(reason)),
                Standing::Another if gone.heir.is_none() => {
                    return Ok(Some("it is not the topic that was copied to".to_owned()));
                }
                Standing::Another | Standing::Missing => false,
                Standing::Ours => true,
            };
            if there && self.workers.write_to(bound) {
                return Ok(Some("its workers have not ended yet".to_owned()));
            }
            if !self.membership.lease().may_write() {
                return Ok(Some("this process may not write at the moment".to_owned()));
            }
            // First: wherever this ends, checkpoints of the old target do not count for the new one.
            if let Some(heir) = &gone.heir {
                let Some((heir, record)) = self.record(heir) else {
                    return Ok(Some("the new topic is not recorded yet".to_owned()));
                };
                let record = record.without(bound);
                flow.bind(&mut self.booted, &[(heir, record)]).await?;
            }
            if there {
                // Once more: what was written in between took its time.
                if !self.membership.lease().may_write() {
                    return Ok(Some("this process may not write at the moment".to_owned()));
                }
                if let Err(error) = flow.delete(bound, gone).await? {
                    return Ok(Some(error.to_string()));
                }
            }
        }
        self.forget(gone).await?;
        Ok(None)
    }

    /// Forgets a topic that is on neither side. Where the group keeps its checkpoints for now, so does the control topic
    /// that they do not count.
    async fn forget(&mut self, gone: &Gone) -> Result<(), StepError> {
        let (flow, Gone { key, record, heir }) = (self.flow, gone);
        let stored = self.booted.store.load().await?.into_iter();
        // Those of its heir are among them if this is late.
        let of_it = stored.filter(|(partition, stored)| {
            let is_its = || codec::decode(stored).is_ok_and(|known| is_about(record, &known));
            partition.topic == record.target_topic && (heir.is_none() || is_its())
        });
        let left: Vec<_> = of_it.map(|(partition, _)| partition).collect();
        if let Err(error) = flow.forget(&left).await {
            tracing::debug!(flow = %flow.config.name, %error, "checkpoints of a deleted topic stay in the group for now");
            if heir.is_none() {
                if record.target_topic_id.is_some() {
                    let record = (key.clone(), record.unbound());
                    flow.bind(&mut self.booted, &[record]).await?;
                }
                return Ok(());
            }
        }
        self.forget_record(key).await
    }

    fn record(&self, key: &TopicKey) -> Option<(TopicKey, TopicRecord)> {
        let (key, record) = self.booted.records.topics.get_key_value(key)?;
        Some((key.clone(), record.clone()))
    }

    async fn forget_record(&mut self, key: &TopicKey) -> Result<(), StepError> {
        let now = self.flow.host.clock.wall_ms();
        let control = &self.booted.control;
        control.forget(std::slice::from_ref(key), now).await?;
        self.booted.records.topics.remove(key);
        Ok(())
    }
}
