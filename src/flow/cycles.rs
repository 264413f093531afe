//! Keeps topics out that would form a cycle, through flows of this file or of other processes.
//!
//! What other processes do shows on the source: in groups of flows that copy our target topic into our source topic, and, over
//! further clusters, in what the control topics of flows into the source say of where its topics come from ([`origins`]).
//! Such flows must be at work, since groups outlive flows, and checkpoints the selection of topics. Where groups
//! cannot be read, nothing is known of other processes, and the flow goes on.
//!
//! [`origins`]: super::topics::origins

use std::{collections::BTreeSet, time::Duration};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Flow, FlowError,
    boot::Cancelled,
    plan::{Rules, Snapshot, Trouble},
    topics::{
        origins::{Known, Origins, Step},
        writers::Writers,
    },
};
use crate::checkpoint::control_topic::{ControlRecords, TopicKey, TopicRecord};

/// Between two looks at the groups on the source.
const PERIOD: Duration = Duration::from_secs(30);
/// For so long after topics are new every round looks: whoever copies them back begins now.
const YOUNG: Duration = Duration::from_secs(10);
/// A look that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a flow knows of others that write to its source.
pub(super) struct Cycles<'a> {
    flow: &'a Flow,
    /// Ids of source and target.
    clusters: [String; 2],
    writers: Writers,
    /// Where topics of the source come from; none: not read yet.
    origins: Option<Origins>,
    known: Known,
    /// Topics of the last round.
    topics: BTreeSet<String>,
    young_until: Duration,
    next_look: Duration,
    told: bool,
    told_unread: bool,
}

impl<'a> Cycles<'a> {
    pub(super) fn new(flow: &'a Flow, [source, target]: [&str; 2]) -> Self {
        Self {
            flow,
            clusters: [source.to_owned(), target.to_owned()],
            writers: Writers::default(),
            origins: None,
            known: Known::default(),
            topics: BTreeSet::new(),
            young_until: Duration::ZERO,
            next_look: Duration::ZERO,
            told: false,
            told_unread: false,
        }
    }

    /// Takes topics that form a cycle out of `snapshot`, which knows the target's topics: they become troubles.
    pub(super) async fn cut(&mut self, snapshot: &mut Snapshot) {
        self.look_if_due(snapshot).await;
        let topics = std::mem::take(&mut snapshot.topics);
        for topic in topics {
            let target = snapshot.target.get(&topic.target).map(|found| found.id);
            match self.cycle(&topic.name, &topic.target, target.unwrap_or_default()) {
                None => snapshot.topics.push(topic),
                Some(text) => {
                    snapshot.cyclic.insert(topic.name.clone(), text.clone());
                    snapshot.troubles.push(Trouble {
                        topic: topic.name,
                        code: "cycle",
                        text,
                    });
                }
            }
        }
    }

    fn cycle(&self, source: &str, target: &str, target_id: Uuid) -> Option<String> {
        let config = &self.flow.config;
        if let Some(cycle) = self.flow.web.through(&config.name, source) {
            return Some(format!("{cycle}: {WAY_OUT}"));
        }
        let writer = self.writers.copying(target_id, source);
        if let Some(writer) = writer.filter(|writer| writer.is_active()) {
            let (from, to, group) = (&config.source, &config.target, &writer.group);
            return Some(format!(
                "{from}:{source} → {to}:{target} → {from}:{source}: the flow of group {group} on {from} copies it back; \
                 {WAY_OUT}"
            ));
        }
        let cycle = self.origins.as_ref()?.cycle(self.step(source, target))?;
        Some(format!("{cycle}: {WAY_OUT}"))
    }

    fn step<'b>(&'b self, source: &'b str, target: &'b str) -> Step<'b> {
        let (config, [source_id, target_id]) = (&self.flow.config, &self.clusters);
        Step {
            flow: &config.name,
            source: (source_id, &config.source, source),
            target: (target_id, &config.target, target),
        }
    }

    /// Records whose topics come from elsewhere than they say.
    pub(super) fn moved(&self, records: &ControlRecords) -> Vec<(TopicKey, TopicRecord)> {
        let Some(origins) = &self.origins else {
            return Vec::new();
        };
        let records = records.topics.iter().filter_map(|(key, record)| {
            let ways = origins.open(self.step(&record.source_topic, &record.target_topic));
            let moved = || TopicRecord {
                ways: ways.clone(),
                ..record.clone()
            };
            (ways != record.ways).then(|| (key.clone(), moved()))
        });
        records.collect()
    }

    async fn look_if_due(&mut self, snapshot: &Snapshot) {
        let now = self.flow.host.clock.monotonic();
        let mut names = snapshot.topics.iter().map(|topic| &topic.name);
        if names.any(|name| !self.topics.contains(name)) {
            self.young_until = now + YOUNG;
            self.next_look = self.next_look.min(now);
        }
        if !self
            .topics
            .iter()
            .eq(snapshot.topics.iter().map(|topic| &topic.name))
        {
            let names = snapshot.topics.iter().map(|topic| topic.name.clone());
            self.topics = names.collect();
        }
        if now < self.next_look {
            return;
        }
        let found = self.look().await;
        let now = self.flow.host.clock.monotonic();
        self.next_look = if found && now < self.young_until {
            now
        } else {
            now + PERIOD
        };
    }

    /// Reads the groups on the source; whether they could be read.
    async fn look(&mut self) -> bool {
        let client = self.flow.source.client();
        let clock = &self.flow.host.clock;
        let read = async {
            let writers = Writers::read(client, &self.clusters[0]).await;
            let mut writers = writers.map_err(|error| error.to_string())?;
            writers.compare(&self.writers, clock.monotonic());
            let origins = Origins::read(client, &writers, &mut self.known).await;
            Ok((writers, origins.map_err(|error| error.to_string())?))
        };
        let read = tokio::select! {
            biased;
            read = read => read,
            () = clock.sleep(PATIENCE) => Err("no answer".to_owned()),
        };
        match read {
            Ok((writers, origins)) => {
                self.tell_unread(&origins);
                self.writers = writers;
                self.origins = Some(origins);
                self.told = false;
                true
            }
            Err(reason) => {
                if !std::mem::replace(&mut self.told, true) {
                    let (flow, cluster) = (&self.flow.config.name, self.flow.source.alias());
                    tracing::warn!(%flow, %cluster, %reason, "the groups of other flows cannot be read: one that \
                        copies topics back would not be noticed");
                }
                false
            }
        }
    }

    fn tell_unread(&mut self, origins: &Origins) {
        let told = std::mem::replace(&mut self.told_unread, origins.unread.is_some());
        if let (false, Some((other, reason))) = (told, &origins.unread) {
            let (flow, cluster) = (&self.flow.config.name, self.flow.source.alias());
            tracing::warn!(%flow, %cluster, %other, %reason, "where a flow takes its topics from cannot be read: a cycle \
                through further clusters would not be noticed");
        }
    }
}

const WAY_OUT: &str =
    "leave the topic out of one of the flows (`exclude`), or give one of them another `naming`";

impl Flow {
    /// Before anything is written: refuses a flow whose topics form a cycle, or whose clusters changed places.
    /// `fresh`: its group holds nothing on the target.
    pub(super) async fn refuse_cycles(
        &self,
        stop: &CancellationToken,
        ids: [&str; 2],
        fresh: bool,
    ) -> Result<Result<(), FlowError>, Cancelled> {
        let rules = Rules::new(&self.config);
        let all = self
            .persist(&self.source, stop, || self.source.client().topics(None))
            .await?;
        let mut snapshot = rules.select(all);
        let all = self
            .persist(&self.target, stop, || self.target.client().topics(None))
            .await?;
        snapshot.target = all
            .into_iter()
            .map(|topic| (topic.name.clone(), topic))
            .collect();
        snapshot.troubles.clear();
        let mut cycles = Cycles::new(self, ids);
        cycles.cut(&mut snapshot).await;
        let group = self.config.group();
        if fresh && cycles.writers.has(&group, ids[1]) {
            return Ok(Err(FlowError::Swapped {
                source_alias: self.config.source.clone(),
                target_alias: self.config.target.clone(),
                group,
            }));
        }
        let cycle = snapshot.troubles.pop();
        Ok(cycle.map_or(Ok(()), |cycle| Err(FlowError::Cycle(cycle.text))))
    }
}
