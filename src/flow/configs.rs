//! What a round does for the configs of topics.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    plan::Snapshot,
    supervisor::Supervisor,
    sync::{
        configs::{self, AllFollowed, ConfigSync, Followed},
        spawn, tell,
    },
};

impl Supervisor<'_> {
    /// The job for configs.
    pub(super) fn start_configs(&self, stop: &CancellationToken) -> JoinHandle<()> {
        let flow = self.flow;
        let side = |cluster: &crate::cluster::Cluster| {
            (cluster.client().clone(), cluster.alias().to_owned())
        };
        let sync = ConfigSync::new(configs::Settings {
            flow: flow.config.name.clone(),
            source: side(&flow.source),
            target: side(&flow.target),
            lease: self.membership.lease(),
            clock: Arc::clone(&flow.host.clock),
            board: Arc::clone(&flow.board),
            followed: self.followed.subscribe(),
        });
        spawn(sync.run(), stop)
    }

    /// Tells that job which topics there are, while this process leads.
    pub(super) fn tell_configs(&self, snapshot: &Snapshot, leader: bool) {
        let followed = leader.then(|| self.all_followed(snapshot));
        tell(&self.followed, followed.map(Arc::new));
    }

    /// Topics whose targets are the ones that the control topic knows.
    fn all_followed(&self, snapshot: &Snapshot) -> AllFollowed {
        let config = &self.flow.config;
        let followed = snapshot.topics.iter().filter_map(|topic| {
            let found = snapshot.bound(topic, &self.booted.records)?;
            let rules = config.topic(&topic.name);
            let followed = Followed {
                target: topic.target.clone(),
                replicas: found.least_replicas(),
                replication_factor: rules.replication_factor,
                rules: Arc::clone(&rules.configs),
            };
            Some((topic.name.clone(), followed))
        });
        followed.collect()
    }
}
