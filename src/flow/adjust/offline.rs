//! For a flow that does not run: what a command writes to its group and control topic itself.

use std::sync::Arc;

use wire::error::ClientError;

use super::{AdjustError, Changes, Draft, Request};
use crate::{
    checkpoint::{
        CheckpointStore,
        control_topic::{ControlRecords, ControlTopic},
        store::GroupStore,
    },
    cluster::guarantee::Probed,
    flow::{Flow, boot::Booted, plan::Rules, provides},
};

/// States of a group in which its offsets may be committed by anyone.
pub(in crate::flow) const NOBODY: [&str; 3] = ["Empty", "Dead", ""];

/// Does what `request` asks for, unless it is a dry run.
///
/// # Errors
/// If it cannot be done, or the flow runs.
pub async fn adjust(flow: &Flow, request: &Request) -> Result<Changes, AdjustError> {
    let booted = flow.inspect().await?;
    let rules = Rules::new(&flow.config);
    let snapshot = flow.snapshot(&rules, std::iter::empty()).await?;
    let draft = flow
        .draft(&booted, &rules, &snapshot, request, true)
        .await?;
    if !request.dry_run {
        flow.nobody_runs_it().await?;
        flow.carry_out(&booted, &draft).await?;
    }
    Ok(draft.changes)
}

impl Flow {
    /// What both sides hold of the flow, without writing anything.
    pub(in crate::flow) async fn inspect(&self) -> Result<Booted, AdjustError> {
        let failed = |alias: &str, error: ClientError| {
            AdjustError::Unavailable(format!("cluster {alias}: {error}"))
        };
        let source_id = self.source.id().await;
        let source_id = source_id.map_err(|error| failed(self.source.alias(), error))?;
        let target_id = self.target.id().await;
        let target_id = target_id.map_err(|error| failed(self.target.alias(), error))?;
        let client = self.target.client().clone();
        let store: Arc<dyn CheckpointStore> =
            Arc::new(GroupStore::new(client.clone(), self.config.group()));
        let unavailable = |error: &dyn ToString| AdjustError::Unavailable(error.to_string());
        let stored = store.load().await.map_err(|error| unavailable(&error))?;
        let refused = |error: &dyn ToString| AdjustError::Refused(error.to_string());
        self.check_foreign(&stored, &source_id, &target_id)
            .map_err(|error| refused(&error))?;
        let control = ControlTopic::new(client, &self.config.name);
        let replicas = control
            .replicas()
            .await
            .map_err(|error| unavailable(&error))?;
        let records = match replicas {
            Some(_) => control.read().await.map_err(|error| unavailable(&error))?,
            None => ControlRecords::default(),
        };
        self.check_control(&control, &records, [&source_id, &target_id])
            .map_err(|error| refused(&error))?;
        let recorded = records
            .flow
            .as_ref()
            .and_then(|flow| flow.provides.as_ref());
        let transport = self.config.transport;
        let provides = provides::still_holds(transport, recorded)
            .cloned()
            .unwrap_or_else(|| provides::provides(transport, &Probed::Not(String::new()), None));
        Ok(Booted {
            source_id,
            target_id,
            store,
            control,
            records,
            replicas: replicas.unwrap_or(1),
            map: None,
            expiration: None,
            provides,
        })
    }

    /// Kafka refuses commits of strangers to a group that has members.
    pub(in crate::flow) async fn nobody_runs_it(&self) -> Result<(), AdjustError> {
        let group = self.config.group();
        let described = self
            .target
            .client()
            .describe_groups(std::slice::from_ref(&group))
            .await;
        let described = described.map_err(|error| {
            AdjustError::Unavailable(format!("cluster {}: {error}", self.target.alias()))
        })?;
        for (_, found) in described {
            let found = found.map_err(|error| {
                AdjustError::Unavailable(format!(
                    "group {group} on {}: {error}",
                    self.target.alias()
                ))
            })?;
            if !found.members.is_empty() || !NOBODY.contains(&found.state.as_str()) {
                let hosts: Vec<_> = found
                    .members
                    .iter()
                    .map(|one| one.client_host.as_str())
                    .collect();
                return Err(AdjustError::Refused(format!(
                    "group {group} has members (at {}): the flow runs, and only it can change its checkpoints; ask \
                     the process that runs the partition with --url http://HOST:PORT, its [http] listen",
                    hosts.join(", ")
                )));
            }
        }
        Ok(())
    }

    async fn carry_out(&self, booted: &Booted, draft: &Draft) -> Result<(), AdjustError> {
        if let Some(record) = &draft.unbind {
            let (records, now) = (std::slice::from_ref(record), self.host.clock.wall_ms());
            let written = booted.control.write(records, None, now).await;
            written.map_err(|error| AdjustError::Unavailable(error.to_string()))?;
        }
        for (partition, outcome) in booted.store.commit(&draft.commits).await {
            outcome.map_err(|error| AdjustError::Unavailable(format!("{partition}: {error}")))?;
        }
        self.forget(&draft.forgotten).await
    }

    /// Takes checkpoints out of the group.
    pub(in crate::flow) async fn forget(
        &self,
        partitions: &[wire::TopicPartition],
    ) -> Result<(), AdjustError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let group = self.config.group();
        let deleted = self
            .target
            .client()
            .delete_group_offsets(&group, partitions)
            .await;
        let deleted =
            deleted.map_err(|error| AdjustError::Unavailable(format!("group {group}: {error}")))?;
        for (partition, outcome) in deleted {
            outcome.map_err(|error| {
                AdjustError::Unavailable(format!("group {group}, {partition}: {error}"))
            })?;
        }
        Ok(())
    }
}
