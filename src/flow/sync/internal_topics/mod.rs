//! Keeps MirrorMaker 2's internal topics on the target ([`crate::mm2::internal`]), so that its Java clients find clusters,
//! topics and offsets there. Only the flow's leader writes, under its lease; the source is not written to.
//!
//! A topic that is missing is made, one that is there is used as it is. One that fails holds up no other. After a change of
//! leaders all is written once more: the last record of a key counts.

mod checkpoints;
mod heartbeats;
mod keeper;
mod offset_syncs;

use std::sync::Arc;

pub use checkpoints::{Translated, Translations};
use host::Host;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use wire::client::Client;

use self::{
    checkpoints::Checkpoints,
    heartbeats::Heartbeats,
    keeper::{Content, Keeper},
    offset_syncs::OffsetSyncs,
};
use super::{groups::Copied, spawn};
use crate::{
    checkpoint::{offset_map::OffsetMap, own_topic::OwnTopic},
    config::FlowConfig,
    mm2::internal::Names,
    telemetry::Outage,
    worker::Lease,
};

/// What the jobs need.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The side that is written to.
    pub target: Client,
    /// Whether the source answers.
    pub source: Outage,
    /// Which offset is which, if the flow knows that.
    pub map: Option<Arc<OffsetMap>>,
    /// Replicas of topics of strait's own.
    pub replicas: i16,
    /// Asked before each write.
    pub lease: Arc<dyn Lease>,
    /// Time and chance.
    pub host: Host,
    /// What the flow copies, while this process leads it.
    pub copied: watch::Receiver<Option<Arc<Copied>>>,
}

/// The topics that `flow` keeps.
pub fn topics(flow: &FlowConfig) -> Vec<String> {
    let (names, source, mm2) = (Names::new(&flow.naming), &flow.source, &flow.mm2);
    let beats = mm2.heartbeats.is_some();
    let kept = [
        beats.then(|| names.heartbeats()),
        beats.then(|| names.heartbeats_of(source)),
        mm2.checkpoints.then(|| names.checkpoints(source)),
        mm2.offset_syncs.then(|| names.offset_syncs(source)),
    ];
    kept.into_iter().flatten().collect()
}

/// Starts what `flow` asks for; `translations` is told where groups are.
pub fn start(
    flow: &FlowConfig,
    settings: &Settings,
    translations: &Arc<Translations>,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let names = Names::new(&flow.naming);
    let mut jobs = Vec::new();
    let mut start = |name: String, content: Box<dyn Content>| {
        let replicas = match flow.mm2.replication_factor {
            -1 => settings.replicas,
            replicas => replicas,
        };
        let topic = OwnTopic::new(settings.target.clone(), name);
        let keeper = Keeper::new(&flow.name, topic, replicas, settings.clone(), content);
        jobs.push(spawn(keeper.run(), stop));
    };
    if let Some(period) = flow.mm2.heartbeats {
        let beats = |source| Box::new(Heartbeats::new(flow, period, source));
        start(names.heartbeats(), beats(None));
        // As its copy would tell: that the source answers.
        let source = Some(settings.source.clone());
        start(names.heartbeats_of(&flow.source), beats(source));
    }
    if let Some(map) = &settings.map {
        if flow.mm2.checkpoints {
            let content = Checkpoints::new(Arc::clone(translations));
            start(names.checkpoints(&flow.source), Box::new(content));
        }
        if flow.mm2.offset_syncs {
            let content = OffsetSyncs::new(Arc::clone(map));
            start(names.offset_syncs(&flow.source), Box::new(content));
        }
    }
    jobs
}
