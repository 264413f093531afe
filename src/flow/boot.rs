//! Before the first plan: reach both sides, and make sure that they are the right ones.
//!
//! Read first: cluster ids, the group's checkpoints, the control topic. Only when all of it is about
//! these two clusters, the control topic is created, the target probed, and the flow's first run recorded.

use std::{fmt::Display, future::Future, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use wire::TopicPartition;

use super::{Flow, FlowError, provides, status::Phase};
use crate::{
    base::backoff::Backoff,
    checkpoint::{
        CheckpointStore, Stored, codec,
        control_topic::{ControlError, ControlRecords, ControlTopic},
        offset_map::OffsetMap,
        store::GroupStore,
    },
    cluster::{
        Cluster,
        guarantee::{self, Probed},
    },
    config::{Require, Transport},
    status::{Groups, Provides},
    telemetry,
};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// For so long the start of a flow waits for its offset map, and units that start for what others wrote there.
pub(super) const MAP_PATIENCE: Duration = Duration::from_secs(5);
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
    /// Which offset is which; none if the flow keeps no map.
    pub(super) map: Option<Arc<OffsetMap>>,
    /// How long the target's leaders remember a producer without news; none: it does not say.
    pub(super) expiration: Option<Duration>,
    /// Over which transport the flow runs, and what that gives.
    pub(super) provides: Provides,
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
        let opened = self
            .open_control(&control, stop, [&source_id, &target_id])
            .await?;
        let (records, replicas) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        let map = self.open_map(stop, replicas).await?;
        let expiration = self.producer_expiration(stop).await?;
        let provides = self.find_out(stop, expiration).await?;
        Ok(provides.map(|provides| Booted {
            source_id,
            target_id,
            store,
            control,
            records,
            replicas,
            map,
            expiration,
            provides,
        }))
    }

    /// The offset map, with so many replicas if it has to be made. Without one the flow copies all the same, and one that
    /// cannot be used now, as while its partition has no leader, is used when it can be.
    async fn open_map(
        &self,
        stop: &CancellationToken,
        replicas: usize,
    ) -> Result<Option<Arc<OffsetMap>>, Cancelled> {
        if !self.config.keeps_map() {
            return Ok(None);
        }
        let (name, replicas) = (&self.config.name, i16::try_from(replicas).unwrap_or(-1));
        let map = OffsetMap::new(self.target.client().clone(), name, replicas);
        let open = || async {
            if map.create().await? {
                // Brokers hear of a new topic one after the other.
                self.host.clock.sleep(FIRST_PAUSE).await;
            }
            map.refresh().await.map(drop)
        };
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Cancelled),
            opened = open() => opened.map_err(|error| (error.is_passing(), error.to_string())),
            () = self.host.clock.sleep(MAP_PATIENCE) => {
                let target = self.target.alias();
                Err((true, format!("{target} does not answer for the offset map")))
            }
        };
        let Err((passes, error)) = opened else {
            return Ok(Some(Arc::new(map)));
        };
        if passes {
            tracing::warn!(flow = %name, %error, "group offsets wait for the offset map; records do not");
            return Ok(Some(Arc::new(map)));
        }
        tracing::warn!(flow = %name, %error, "group offsets are not synced");
        self.board.groups(Some(Groups::off(error)));
        Ok(None)
    }

    /// For how long the target remembers a producer: by its own word, else the operator's; none if nobody says, which
    /// costs speed and not exactness (EXACTNESS 2).
    async fn producer_expiration(
        &self,
        stop: &CancellationToken,
    ) -> Result<Option<Duration>, Cancelled> {
        if self.config.transport == Transport::Librdkafka {
            return Ok(None);
        }
        let clock = &self.host.clock;
        let deadline = clock.monotonic() + GOING;
        loop {
            let error = match guarantee::expiration(self.target.client()).await {
                Ok(expiration) => return Ok(Some(expiration)),
                Err(error) => error,
            };
            if !error.passes() || clock.monotonic() > deadline {
                if let Some(set) = self.target.producer_id_expiration() {
                    return Ok(Some(set));
                }
                let (flow, cluster) = (&self.config.name, self.target.alias());
                tracing::warn!(%flow, %cluster, %error, "producer.id.expiration.ms is not known: batches are \
                    written one at a time");
                return Ok(None);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Cancelled),
                () = clock.sleep(FIRST_PAUSE) => {}
            }
        }
    }

    /// Probes the target, decides on the transport, and says what that gives (EXACTNESS 12).
    async fn find_out(
        &self,
        stop: &CancellationToken,
        expiration: Option<Duration>,
    ) -> Result<Result<Provides, FlowError>, Cancelled> {
        let config = &self.config;
        let probed = match config.transport {
            Transport::Librdkafka => Probed::Not("nothing rests on it".to_owned()),
            Transport::Auto | Transport::Wire => self.probed(stop).await?,
        };
        let provides = provides::provides(config.transport, &probed, expiration);
        if let Some(refusal) = provides::refusal(config, &probed, &provides) {
            return Ok(Err(FlowError::Guarantee(refusal)));
        }
        telemetry::provides(&config.name, &provides, config.transport);
        self.board.provides(provides.clone());
        Ok(Ok(provides))
    }

    /// What the target does. Where that cannot be found out for the moment, a flow that insists on it waits.
    async fn probed(&self, stop: &CancellationToken) -> Result<Probed, Cancelled> {
        let (client, factor) = (
            self.target.client(),
            self.config.defaults.replication_factor,
        );
        let found = || async {
            let found = self.probe.get(client, &self.host, factor).await;
            found.cloned()
        };
        if self.config.require == Require::ExactlyOnce {
            return self.persist(&self.target, stop, found).await;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Cancelled),
            found = found() => Ok(found.unwrap_or_else(Probed::Not)),
        }
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
