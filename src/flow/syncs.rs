//! What a round does for the offset map, and for what follows on the target beside the records.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::TopicPartition;

use super::{
    Flow,
    boot::{Booted, MAP_PATIENCE},
    plan::{Snapshot, Unit},
    supervisor::Supervisor,
    sync::{
        groups::{self, Copied, GroupSelection, GroupSync},
        internal_topics::{self, Translations},
        rules::{self, Follower, Kind, acls::Acls, quotas::Quotas, users::Users},
        spawn, tell,
    },
};
use crate::{base::ids::Route, config::AclMode};

impl Supervisor<'_> {
    /// The jobs that the flow asks for.
    pub(super) fn start_syncs(&self, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
        let config = &self.flow.config;
        let acls = (config.acls != AclMode::Off).then(|| self.start(Acls::new(config), stop));
        let quotas = config.quotas.then(|| self.start(Quotas, stop));
        let users = config.scram_users.clone();
        let users = users.map(|passwords| self.start(Users(passwords), stop));
        let configs = Some(self.start_configs(stop));
        let translations = Arc::default();
        let mut jobs = self.start_internal_topics(&translations, stop);
        let groups = self.start_groups(translations, stop);
        jobs.extend([groups, acls, quotas, users, configs].into_iter().flatten());
        jobs
    }

    fn start(&self, kind: impl Kind, stop: &CancellationToken) -> JoinHandle<()> {
        let flow = self.flow;
        let settings = rules::Settings {
            flow: flow.config.name.clone(),
            source: flow.source.client().clone(),
            target: flow.target.client().clone(),
            replication_factor: flow.config.defaults.replication_factor,
            lease: self.membership.lease(),
            clock: Arc::clone(&flow.host.clock),
            board: Arc::clone(&flow.board),
            copied: self.copied.subscribe(),
        };
        spawn(Follower::new(kind, settings).run(), stop)
    }

    fn start_internal_topics(
        &self,
        translations: &Arc<Translations>,
        stop: &CancellationToken,
    ) -> Vec<JoinHandle<()>> {
        let flow = self.flow;
        let settings = internal_topics::Settings {
            target: flow.target.client().clone(),
            source: flow.outages.source.clone(),
            map: self.booted.map.clone(),
            replicas: i16::try_from(self.booted.replicas).unwrap_or(-1),
            lease: self.membership.lease(),
            host: flow.host.clone(),
            copied: self.copied.subscribe(),
        };
        internal_topics::start(&flow.config, &settings, translations, stop)
    }

    fn start_groups(
        &self,
        translations: Arc<Translations>,
        stop: &CancellationToken,
    ) -> Option<JoinHandle<()>> {
        let flow = self.flow;
        let (commits, checkpoints) = (flow.config.group_offsets, flow.config.mm2.checkpoints);
        let map = Arc::clone(self.booted.map.as_ref()?);
        if !commits && !checkpoints {
            return None;
        }
        let sync = GroupSync::new(groups::Settings {
            flow: flow.config.name.clone(),
            checkpoints: flow.config.group(),
            file: flow.file.clone(),
            selection: GroupSelection::new(&flow.config),
            isolation: flow.config.isolation,
            source: flow.source.client().clone(),
            target: flow.target.client().clone(),
            map,
            lease: self.membership.lease(),
            clock: Arc::clone(&flow.host.clock),
            board: Arc::clone(&flow.board),
            translations: checkpoints.then_some(translations),
            commits,
            copied: self.copied.subscribe(),
        });
        Some(spawn(sync.run(), stop))
    }

    /// Tells them what the flow copies, whoever runs the workers.
    pub(super) fn tell_syncs(&self, snapshot: &Snapshot, leader: bool) {
        self.tell_configs(snapshot, leader);
        let config = &self.flow.config;
        let rules = config.acls != AclMode::Off || config.quotas || config.scram_users.is_some();
        let asked = self.booted.map.is_some() || rules;
        // Heartbeats only ask whether this process leads.
        let copied = leader.then(|| match asked {
            true => {
                let before = self.copied.borrow().clone().unwrap_or_default();
                self.flow.copied(&self.booted, snapshot, &before)
            }
            false => Copied::new(),
        });
        tell(&self.copied, copied.map(Arc::new));
    }

    /// Reads what other processes wrote about units that start here; whether that could be read soon. If not, the committer
    /// reads it before it writes anything about them.
    pub(super) async fn read_map(&self) -> bool {
        let Some(map) = &self.booted.map else {
            return true;
        };
        let read = tokio::select! {
            biased;
            read = map.refresh() => read.map_err(|error| error.to_string()),
            () = self.flow.host.clock.sleep(MAP_PATIENCE) => Err("no answer".to_owned()),
        };
        if let Err(error) = &read {
            tracing::warn!(flow = %self.flow.config.name, %error, "the offset map cannot be read now");
        }
        read.is_ok()
    }
}

impl Flow {
    /// What it copies, whoever runs the workers; much of that is known from `before`.
    pub(super) fn copied(&self, booted: &Booted, snapshot: &Snapshot, before: &Copied) -> Copied {
        let mut copied = Copied::new();
        for topic in &snapshot.topics {
            let records = &booted.records;
            let Some(target) = snapshot.bound(topic, records) else {
                continue;
            };
            let record = records.topics.get(&topic.key());
            let starts = record.and_then(|record| record.start.as_ref());
            for index in 0..topic.partitions.min(target.partition_count()) {
                let source = TopicPartition::new(&topic.name, index);
                let target_partition = TopicPartition::new(&topic.target, index);
                let topics = [topic.id, target.id];
                let is_same = |known: &&groups::Unit| {
                    known.target == target_partition && known.topics == topics
                };
                let in_map = match before.get(&source).filter(is_same) {
                    Some(known) => known.in_map,
                    None => self.in_map(booted, &source, &target_partition, topics),
                };
                let unit = groups::Unit {
                    source: source.clone(),
                    target: target_partition,
                    in_map,
                    begins_late: starts.is_some_and(|starts| starts.contains_key(&index)),
                    topics,
                };
                copied.insert(source, unit);
            }
        }
        copied
    }

    /// Who a unit is in the offset map.
    fn in_map(
        &self,
        booted: &Booted,
        source: &TopicPartition,
        target: &TopicPartition,
        [source_topic, target_topic]: [Uuid; 2],
    ) -> u64 {
        let unit = Unit {
            route: Route {
                source: source.clone(),
                target: target.clone(),
            },
            source_topic,
            target_topic,
        };
        self.identity(booted, &unit).in_map()
    }
}
