//! Keeps topics out that would form a cycle, through flows of this file or of other processes.
//!
//! What other processes do shows in the groups on the source: a flow that copies our target topic into our
//! source topic. Such a flow must be at work on it, since groups outlive flows, and checkpoints the selection of topics;
//! and a cycle through a third cluster does not show. Where groups cannot be read, nothing is known of other processes,
//! and the flow goes on.

use std::{collections::BTreeSet, time::Duration};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Flow, FlowError,
    boot::Cancelled,
    plan::{Rules, Snapshot, Trouble},
    topics::writers::Writers,
};

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
    /// Topics of the last round.
    topics: BTreeSet<String>,
    young_until: Duration,
    next_look: Duration,
    told: bool,
}

impl<'a> Cycles<'a> {
    pub(super) fn new(flow: &'a Flow, [source, target]: [&str; 2]) -> Self {
        Self {
            flow,
            clusters: [source.to_owned(), target.to_owned()],
            writers: Writers::default(),
            topics: BTreeSet::new(),
            young_until: Duration::ZERO,
            next_look: Duration::ZERO,
            told: false,
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
        let writer = self
            .writers
            .copying(target_id, source)
            .filter(|writer| writer.is_active())?;
        let (from, to, group) = (&config.source, &config.target, &writer.group);
        Some(format!(
            "{from}:{source} → {to}:{target} → {from}:{source}: the flow of group {group} on {from} copies it back; \
             {WAY_OUT}"
        ))
    }

    async fn look_if_due(&mut self, snapshot: &Snapshot) {
        let now = self.flow.host.clock.monotonic();
        let topics: BTreeSet<_> = snapshot
            .topics
            .iter()
            .map(|topic| topic.name.clone())
            .collect();
        if !topics.is_subset(&self.topics) {
            self.young_until = now + YOUNG;
            self.next_look = self.next_look.min(now);
        }
        self.topics = topics;
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
        let [source, target] = &self.clusters;
        let client = self.flow.source.client();
        let read = tokio::select! {
            biased;
            read = Writers::read(client, target, source) => read.map_err(|error| error.to_string()),
            () = self.flow.host.clock.sleep(PATIENCE) => Err("no answer".to_owned()),
        };
        match read {
            Ok(mut writers) => {
                writers.compare(&self.writers, self.flow.host.clock.monotonic());
                self.writers = writers;
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
        if fresh && cycles.writers.has(&group) {
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
