//! For a flow that runs: its own process commits, as a member of its group.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use wire::TopicPartition;

use super::{AdjustError, Changes, Draft, Job, desk::PATIENCE};
use crate::{flow::supervisor::Supervisor, telemetry};

/// How long a commit that is on its way is waited for.
const LAST_COMMIT: Duration = Duration::from_secs(2);

impl Supervisor<'_> {
    /// Serves one request, within the time that its sender waits: while clusters do not answer, the flow has other
    /// things to see to. What was cut short is as it was, or stopped and started again by the next round.
    pub(in crate::flow) async fn serve(&mut self, job: Job) {
        if job.is_given_up() {
            return;
        }
        let clock = Arc::clone(&self.flow.host.clock);
        let mut changes = self.membership.view();
        let outcome = tokio::select! {
            biased;
            // A partition that goes to another process is not kept waiting.
            _ = changes.changed() => {
                let text = "the flow's group hands out partitions anew; try again";
                Err(AdjustError::Unavailable(text.to_owned()))
            }
            outcome = self.adjust(&job) => outcome,
            () = clock.sleep(PATIENCE) => {
                let text = "a cluster does not answer; look at `strait checkpoint list`";
                Err(AdjustError::Unavailable(text.to_owned()))
            }
        };
        // Who asked may have gone.
        job.reply.send(outcome).ok();
    }

    /// Stops what `job` is about, changes its checkpoints, and leaves it to the next round to start.
    async fn adjust(&mut self, job: &Job) -> Result<Changes, AdjustError> {
        let (flow, request) = (self.flow, &job.request);
        let targets: Vec<_> = self.recorded_targets().collect();
        let snapshot = flow.snapshot(&self.rules, targets.into_iter()).await?;
        let draft = flow
            .draft(&self.booted, &self.rules, &snapshot, request, false)
            .await?;
        if request.dry_run {
            return Ok(draft.changes);
        }
        self.may_change(&draft)?;
        let concerned = |source: &TopicPartition| {
            source.topic == request.topic && request.is_about(source.partition)
        };
        let routes = self.workers.routes(concerned);
        self.workers.release(routes).await;
        tokio::select! {
            biased;
            () = self.committer.idle() => {}
            () = flow.host.clock.sleep(LAST_COMMIT) => {
                let text = format!("{} takes no checkpoints now", flow.target.alias());
                return Err(AdjustError::Unavailable(text));
            }
        }
        // Again, now that nothing moves any more.
        let draft = flow
            .draft(&self.booted, &self.rules, &snapshot, request, true)
            .await?;
        if job.is_given_up() {
            let text = "nobody waits for it any more".to_owned();
            return Err(AdjustError::Unavailable(text));
        }
        if let Some(record) = &draft.unbind {
            flow.bind(&mut self.booted, std::slice::from_ref(record))
                .await?;
        }
        let outcomes = self.membership.checkpoints().commit(&draft.commits).await;
        for (partition, outcome) in outcomes {
            outcome.map_err(|error| AdjustError::Unavailable(format!("{partition}: {error}")))?;
            // What was reset before has a checkpoint that counts again.
            self.anew.remove(&partition);
        }
        if let Err(error) = flow.forget(&draft.forgotten).await {
            // A group with members keeps them; until they are overwritten they do not count.
            tracing::debug!(flow = %flow.config.name, %error, "reset checkpoints stay in the group for now");
        }
        self.anew.extend(draft.forgotten);
        telemetry::adjusted(&draft.changes);
        Ok(draft.changes)
    }

    /// What other processes run is theirs to change. A topic that is to be bound anew is the leader's.
    fn may_change(&self, draft: &Draft) -> Result<(), AdjustError> {
        let flow = &self.flow.config.name;
        if draft.unbind.is_some() {
            return match self.leads {
                true => Ok(()),
                false => Err(AdjustError::Refused(format!(
                    "another process leads flow {flow} and keeps its control topic: ask that one"
                ))),
            };
        }
        let view = self.membership.view().borrow().clone();
        let elsewhere = draft.changes.changes.iter().filter(|change| {
            let target = TopicPartition::new(&change.target_topic, change.partition);
            !view.assignment.holds(&target)
        });
        let elsewhere: BTreeSet<_> = elsewhere.map(|change| change.partition).collect();
        match elsewhere.first() {
            None => Ok(()),
            Some(partition) => Err(AdjustError::Refused(format!(
                "another process of flow {flow} runs partition {partition} ({} of {} asked for): ask each process for \
                 its own with --partition",
                elsewhere.len(),
                draft.changes.changes.len()
            ))),
        }
    }
}
