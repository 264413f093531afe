//! Before the first plan: reach both sides, and make sure that they are the right ones.
//!
//! Read first: cluster ids, the group's checkpoints, the control topic. Only when all of it is about
//! these two clusters, the control topic is created, and the flow's first run is recorded in it.

use std::{fmt::Display, future::Future, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use wire::{Class, TopicPartition, error::ClientError};

use super::{Flow, FlowError, status::Phase};
use crate::{
    base::backoff::Backoff,
    checkpoint::{
        CheckpointStore, Stored, codec,
        control_topic::{ControlError, ControlRecords, ControlTopic},
        store::GroupStore,
    },
    cluster::Cluster,
};

const EXPIRATION: &str = "producer.id.expiration.ms";
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// How long a broker that does not answer is asked again: one that has just gone is named by the others until its
/// session ends (`broker.session.timeout.ms`, 9 s by default).
const GOING: Duration = Duration::from_secs(30);

/// What is known once both sides were reached.
#[derive(Debug)]
pub(super) struct Booted {
    pub(super) source_id: String,
    pub(super) target_id: String,
    pub(super) store: Arc<dyn CheckpointStore>,
    pub(super) control: ControlTopic,
    pub(super) records: ControlRecords,
    /// Replicas of the control topic: what the flow's replication factor came to when that was made.
    pub(super) replicas: usize,
    /// How long the target's leaders remember a producer without news; none: it does not say.
    pub(super) expiration: Option<Duration>,
}

/// The flow was asked to stop meanwhile.
#[derive(Debug)]
pub(super) struct Cancelled;

impl Flow {
    /// Reaches both sides, for as long as it takes.
    pub(super) async fn boot(
        &self,
        stop: &CancellationToken,
    ) -> Result<Result<Booted, FlowError>, Cancelled> {
        let source_id = self
            .persist(&self.source, stop, || self.source.id())
            .await?;
        let target_id = self
            .persist(&self.target, stop, || self.target.id())
            .await?;
        if source_id == target_id {
            return Ok(Err(FlowError::SameCluster {
                source_alias: self.source.alias().to_owned(),
                target_alias: self.target.alias().to_owned(),
                id: source_id,
            }));
        }
        let store: Arc<dyn CheckpointStore> = Arc::new(GroupStore::new(
            self.target.client().clone(),
            self.config.group(),
        ));
        let stored = self.persist(&self.target, stop, || store.load()).await?;
        if let Err(error) = self.check_foreign(&stored, &source_id, &target_id) {
            return Ok(Err(error));
        }
        let ids = [source_id.as_str(), target_id.as_str()];
        let cycles = self.refuse_cycles(stop, ids, stored.is_empty()).await?;
        if let Err(error) = cycles {
            return Ok(Err(error));
        }
        let control = ControlTopic::new(self.target.client().clone(), &self.config.name);
        let expiration = self.producer_expiration(stop).await?;
        let opened = self
            .open_control(&control, stop, [&source_id, &target_id])
            .await?;
        Ok(opened.map(|(records, replicas)| Booted {
            source_id,
            target_id,
            store,
            control,
            records,
            replicas,
            expiration,
        }))
    }

    /// The shortest time for which a broker of the target remembers a producer; none if one of them does not
    /// say, which costs speed and not exactness (EXACTNESS 2).
    async fn producer_expiration(
        &self,
        stop: &CancellationToken,
    ) -> Result<Option<Duration>, Cancelled> {
        let clock = &self.host.clock;
        let deadline = clock.monotonic() + GOING;
        loop {
            let (broker, error) = match self.shortest_expiration().await {
                Ok(shortest) => return Ok(shortest),
                Err(failed) => failed,
            };
            if error.class() != Class::Retriable || clock.monotonic() > deadline {
                let (flow, cluster) = (&self.config.name, self.target.alias());
                tracing::warn!(%flow, %cluster, broker, %error, "cannot read {EXPIRATION}: batches are written \
                    one at a time");
                return Ok(None);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Cancelled),
                () = clock.sleep(FIRST_PAUSE) => {}
            }
        }
    }

    /// Of all brokers that are named now; an error names the one that did not answer.
    async fn shortest_expiration(&self) -> Result<Option<Duration>, (Option<i32>, ClientError)> {
        let client = self.target.client();
        let mut shortest = None;
        let cluster = client.describe_cluster().await;
        for broker in cluster.map_err(|error| (None, error))?.brokers {
            let configs = client
                .describe_broker_configs(broker.id, &[EXPIRATION])
                .await
                .map_err(|error| (Some(broker.id), error))?;
            let mut configs = configs.into_iter();
            let found = configs.find(|config| config.name == EXPIRATION);
            let Some(Ok(milliseconds)) = found.and_then(|c| c.value).map(|text| text.parse())
            else {
                return Ok(None);
            };
            let found = Duration::from_millis(milliseconds);
            shortest = Some(shortest.map_or(found, |known: Duration| known.min(found)));
        }
        Ok(shortest)
    }

    /// Reads the control topic and checks it, or creates it.
    async fn open_control(
        &self,
        control: &ControlTopic,
        stop: &CancellationToken,
        ids: [&str; 2],
    ) -> Result<Result<(ControlRecords, usize), FlowError>, Cancelled> {
        loop {
            let found = || async { passing(control.replicas().await) };
            match self.persist(&self.target, stop, found).await? {
                Ok(Some(replicas)) => {
                    let read = || async { passing(control.read().await) };
                    let read = self.persist(&self.target, stop, read).await?;
                    return Ok(read.map_err(FlowError::from).and_then(|records| {
                        self.check_control(control, &records, ids)?;
                        Ok((records, replicas))
                    }));
                }
                Ok(None) => {
                    let create = || control.create(self.config.defaults.replication_factor);
                    self.persist(&self.target, stop, create).await?;
                    // Brokers hear of a new topic one after the other.
                    self.host.clock.sleep(FIRST_PAUSE).await;
                }
                Err(error) => return Ok(Err(error.into())),
            }
        }
    }

    /// Refuses checkpoints that are about other clusters. What is no checkpoint is its worker's matter.
    pub(super) fn check_foreign(
        &self,
        stored: &[(TopicPartition, Stored)],
        source_id: &str,
        target_id: &str,
    ) -> Result<(), FlowError> {
        for (partition, stored) in stored {
            let Ok(checkpoint) = codec::decode(stored) else {
                continue;
            };
            let what = || {
                format!(
                    "the checkpoint of {partition} in group {}",
                    self.config.group()
                )
            };
            self.check_id(&self.source, source_id, &checkpoint.source_cluster, what)?;
            self.check_id(&self.target, target_id, &checkpoint.target_cluster, what)?;
        }
        Ok(())
    }

    pub(super) fn check_control(
        &self,
        control: &ControlTopic,
        records: &ControlRecords,
        [source_id, target_id]: [&str; 2],
    ) -> Result<(), FlowError> {
        let Some(flow) = &records.flow else {
            return Ok(());
        };
        let what = || format!("control topic {}", control.name());
        self.check_id(&self.source, source_id, &flow.source_cluster, what)?;
        self.check_id(&self.target, target_id, &flow.target_cluster, what)
    }

    fn check_id(
        &self,
        cluster: &Cluster,
        found: &str,
        known: &str,
        what: impl Fn() -> String,
    ) -> Result<(), FlowError> {
        if found == known {
            return Ok(());
        }
        Err(FlowError::ForeignCluster {
            what: what(),
            known: known.to_owned(),
            alias: cluster.alias().to_owned(),
            found: found.to_owned(),
        })
    }

    /// Does it until it succeeds, and says so while it waits.
    pub(super) async fn persist<T, E: Display, F: Future<Output = Result<T, E>>>(
        &self,
        cluster: &Cluster,
        stop: &CancellationToken,
        what: impl Fn() -> F,
    ) -> Result<T, Cancelled> {
        let outage = self.outages.of(cluster.alias());
        let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
        loop {
            let attempt = outage.attempt();
            let done = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Cancelled),
                done = what() => done,
            };
            let reason = match done {
                Ok(done) => {
                    outage.succeeded(attempt);
                    return Ok(done);
                }
                Err(error) => {
                    format!(
                        "waiting for cluster {} at {}: {error}",
                        cluster.alias(),
                        cluster.bootstrap()
                    )
                }
            };
            outage.begins(&reason);
            let cluster = cluster.alias().to_owned();
            self.board.enter(Phase::Waiting { cluster, reason });
            let pause = backoff.delay(&*self.host.random);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Cancelled),
                () = self.host.clock.sleep(pause) => {}
            }
        }
    }
}

/// Errors that a later try may mend stay errors; others are a result.
fn passing<T>(done: Result<T, ControlError>) -> Result<Result<T, ControlError>, ControlError> {
    match done {
        Err(error) if error.is_passing() => Err(error),
        other => Ok(other),
    }
}
