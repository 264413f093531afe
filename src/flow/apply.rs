//! Carries out what a plan asks of topics and of the control topic.

use std::collections::BTreeMap;

use wire::{
    TopicPartition,
    client::{ConfigEntry, NewTopic, OffsetSpec},
    error::{ApiError, ClientError},
};

use super::{
    Flow, FlowError, THROTTLING_QUOTA_EXCEEDED,
    boot::Booted,
    plan::{SourceTopic, Trouble},
    topics::{
        create::{Draft, needs_replicas},
        portions::{MOST_TOPICS, Portions},
    },
};
use crate::{
    checkpoint::control_topic::{ControlError, FlowRecord, TopicKey, TopicRecord},
    cluster::Cluster,
    config::Start,
};

pub(super) const TOPIC_ALREADY_EXISTS: i16 = 36;
/// Code of the trouble for that.
pub(super) const WAITS: &str = "creation_waits";

/// A step that is to be tried again with the next plan.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// A cluster failed.
    #[error("cluster {cluster}: {error}")]
    Client {
        /// By alias.
        cluster: String,
        /// What the client said.
        error: ClientError,
    },
    /// The control topic could not be written.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// An offset is not known yet.
    #[error("cluster {cluster}: {partition}: {error}")]
    Offset {
        /// By alias.
        cluster: String,
        /// Of which partition.
        partition: TopicPartition,
        /// What the leader said.
        error: ApiError,
    },
    /// Checkpoints could not be read.
    #[error(transparent)]
    Store(#[from] crate::checkpoint::StoreError),
    /// Trying again cannot help.
    #[error(transparent)]
    Fatal(#[from] FlowError),
}

impl StepError {
    /// For mapping errors of calls on `cluster`.
    pub(super) fn on(cluster: &Cluster) -> impl Fn(ClientError) -> Self {
        let alias = cluster.alias().to_owned();
        move |error| Self::Client {
            cluster: alias.clone(),
            error,
        }
    }
}

/// Topics whose configs are asked for at a time: what is kept of them is little.
const DESCRIBED: usize = 500;

/// Configs of topics, by topic.
type Configs = BTreeMap<String, Result<Vec<ConfigEntry>, ApiError>>;
/// Topics to create, by their names on the target, with their names on the source.
type Drafts = BTreeMap<String, (String, Draft)>;

impl Flow {
    /// Records topics that the flow sees for the first time, and with them the flow's first run.
    pub(super) async fn remember(
        &self,
        booted: &mut Booted,
        topics: &[SourceTopic],
    ) -> Result<(), StepError> {
        if topics.is_empty() && booted.records.flow.is_some() {
            return Ok(());
        }
        let (records, flow) = self.first_seen(booted, topics).await?;
        let now = self.host.clock.wall_ms();
        booted.control.write(&records, flow.as_ref(), now).await?;
        booted.records.topics.extend(records);
        booted.records.flow = booted.records.flow.take().or(flow);
        Ok(())
    }

    /// What is recorded of topics that the flow sees for the first time, and of itself in its first run: whatever
    /// is there then starts where its `start` says. What appears later is not "latest", but starts at its
    /// earliest record (EXACTNESS 11).
    pub(super) async fn first_seen(
        &self,
        booted: &Booted,
        topics: &[SourceTopic],
    ) -> Result<(Vec<(TopicKey, TopicRecord)>, Option<FlowRecord>), StepError> {
        let first_run = booted.records.flow.is_none();
        let now = self.host.clock.wall_ms();
        let mut starts = self.starts(topics, first_run).await?;
        let records = topics.iter().map(|topic| {
            let record = TopicRecord {
                source_topic: topic.name.clone(),
                target_topic: topic.target.clone(),
                target_topic_id: None,
                start: starts.remove(&topic.name),
                created_ms: now,
                given_up: booted.records.given_up(&topic.target),
                ways: Vec::new(),
                gone_since_ms: None,
            };
            (topic.key(), record)
        });
        let flow = first_run.then(|| FlowRecord {
            source_cluster: booted.source_id.clone(),
            target_cluster: booted.target_id.clone(),
            source_alias: self.config.source.clone(),
            created_ms: now,
            provides: Some(booted.provides.clone()),
        });
        Ok((records.collect(), flow))
    }

    /// Records what the flow provides and calls its source, if something else is recorded: who asks from outside shall know.
    pub(super) async fn record_provides(&self, booted: &mut Booted) -> Result<(), StepError> {
        let Some(known) = &booted.records.flow else {
            return Ok(());
        };
        let provides = Some(booted.provides.clone());
        let source_alias = self.config.source.clone();
        if known.provides == provides && known.source_alias == source_alias {
            return Ok(());
        }
        let flow = FlowRecord {
            provides,
            source_alias,
            ..known.clone()
        };
        let now = self.host.clock.wall_ms();
        booted.control.write(&[], Some(&flow), now).await?;
        booted.records.flow = Some(flow);
        Ok(())
    }

    /// Records where topics come from, for flows behind this one.
    pub(super) async fn record_ways(
        &self,
        booted: &mut Booted,
        moved: Vec<(TopicKey, TopicRecord)>,
    ) -> Result<(), StepError> {
        if moved.is_empty() {
            return Ok(());
        }
        let now = self.host.clock.wall_ms();
        booted.control.write(&moved, None, now).await?;
        booted.records.topics.extend(moved);
        Ok(())
    }

    /// Where the partitions of `topics` start, by topic; those that are left out: at their earliest records.
    async fn starts(
        &self,
        topics: &[SourceTopic],
        first_run: bool,
    ) -> Result<BTreeMap<String, BTreeMap<i32, i64>>, StepError> {
        let spec = |topic: &SourceTopic| match self.config.topic(&topic.name).start {
            Start::Latest if first_run => Some(OffsetSpec::Latest),
            Start::Earliest | Start::Latest => None,
            Start::Time(ms) => Some(OffsetSpec::Timestamp(ms)),
        };
        let mut wanted = Vec::new();
        for topic in topics {
            if let Some(spec) = spec(topic) {
                let partitions = 0..topic.partitions;
                let partition = |index| (TopicPartition::new(&topic.name, index), spec);
                wanted.extend(partitions.map(partition));
            }
        }
        let mut starts: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
        if wanted.is_empty() {
            return Ok(starts);
        }
        let latest = |(partition, _): &(TopicPartition, _)| (partition.clone(), OffsetSpec::Latest);
        let ends: Vec<_> = wanted.iter().map(latest).collect();
        // The ends first: a record that is written between the two questions is then not passed over.
        let ends = self.source_offsets(&ends).await?;
        for (partition, offset) in self.source_offsets(&wanted).await? {
            // -1: no record is as young.
            let offset = if offset < 0 {
                ends[&partition]
            } else {
                offset.min(ends[&partition])
            };
            starts
                .entry(partition.topic)
                .or_default()
                .insert(partition.partition, offset);
        }
        Ok(starts)
    }

    pub(super) async fn source_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
    ) -> Result<BTreeMap<TopicPartition, i64>, StepError> {
        let listed = self
            .source
            .client()
            .list_offsets(wanted, self.config.isolation)
            .await;
        let listed = listed.map_err(StepError::on(&self.source))?;
        let offsets = listed.into_iter().map(|(partition, found)| match found {
            Ok(found) => Ok((partition, found.offset)),
            Err(error) => Err(StepError::Offset {
                cluster: self.source.alias().to_owned(),
                partition,
                error,
            }),
        });
        offsets.collect()
    }

    /// Creates topics on the target; those that the target refuses are troubles.
    pub(super) async fn create(
        &self,
        topics: &[SourceTopic],
        replicas: usize,
    ) -> Result<Vec<Trouble>, StepError> {
        let mut troubles = Vec::new();
        if topics.is_empty() {
            return Ok(troubles);
        }
        let (mut drafts, mut unreadable) = self.drafts(topics, replicas).await?;
        troubles.append(&mut unreadable);
        let mut portions = Portions::default();
        // Every round decides topics, takes configs out of their drafts, or makes the portions smaller.
        while !drafts.is_empty() {
            let wanted = portions.next(drafts.values().map(|(_, draft)| &draft.topic));
            let outcomes = self.target.client().create_topics(&wanted, false).await;
            let outcomes = outcomes.map_err(StepError::on(&self.target))?;
            let errors = outcomes.iter().map(|(_, outcome)| outcome.as_ref().err());
            if portions.are_too_large(&errors.collect::<Vec<_>>()) {
                continue;
            }
            let asked = wanted.iter().filter_map(|t| drafts.remove_entry(&t.name));
            let mut asked: BTreeMap<_, _> = asked.collect();
            let mut waiting = Vec::new();
            for (name, outcome) in outcomes {
                let Some((topic, mut draft)) = asked.remove(&name) else {
                    continue;
                };
                match outcome {
                    Ok(()) => self.tell_created(&draft),
                    Err(error) if error.code == TOPIC_ALREADY_EXISTS => {}
                    Err(error) if error.code == THROTTLING_QUOTA_EXCEEDED => waiting.push(topic),
                    Err(error) => {
                        if draft.yield_to(&error) || self.find_refused(&mut draft, &error).await? {
                            drafts.insert(name, (topic, draft));
                        } else {
                            troubles.push(self.refused(&topic, &name, &error));
                        }
                    }
                }
            }
            if !waiting.is_empty() {
                waiting.extend(drafts.into_values().map(|(topic, _)| topic));
                troubles.extend(self.waits(&waiting));
                break;
            }
        }
        Ok(troubles)
    }

    /// How many replicas a new topic, such as `name`, gets by the target's default. That may be another one than
    /// when the control topic was made, which has `control` of them.
    async fn default_replicas(&self, name: &str, control: usize) -> Result<usize, StepError> {
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: 1,
            replication_factor: -1,
            configs: Vec::new(),
        };
        let told = self.target.client().replicas_of_new(&topic).await;
        let reason = match told.map_err(StepError::on(&self.target))? {
            Ok(Some(replicas)) => return Ok(replicas),
            Ok(None) => "it does not tell".to_owned(),
            Err(error) => error.to_string(),
        };
        let (flow, cluster) = (&self.config.name, self.target.alias());
        tracing::warn!(
            %flow, %cluster, %reason, replicas = control,
            "the cluster's default replication factor is not known: taken for that of the control topic"
        );
        Ok(control)
    }

    /// What to create, by target name.
    async fn drafts(
        &self,
        topics: &[SourceTopic],
        replicas: usize,
    ) -> Result<(Drafts, Vec<Trouble>), StepError> {
        let (mut drafts, mut troubles) = (BTreeMap::new(), Vec::new());
        for some in topics.chunks(DESCRIBED) {
            let (more, unreadable) = self.drafts_of(some, replicas).await?;
            drafts.extend(more);
            troubles.extend(unreadable);
        }
        Ok((drafts, troubles))
    }

    async fn drafts_of(
        &self,
        topics: &[SourceTopic],
        replicas: usize,
    ) -> Result<(Drafts, Vec<Trouble>), StepError> {
        let names: Vec<_> = topics.iter().map(|topic| topic.name.clone()).collect();
        let mut configs = topic_configs(&self.source, &names).await?;
        let (mut drafts, mut troubles) = (BTreeMap::new(), Vec::new());
        let factor = |topic: &SourceTopic| self.config.topic(&topic.name).replication_factor;
        let asks = |topic: &&SourceTopic| {
            let configs = configs
                .get(&topic.name)
                .and_then(|found| found.as_ref().ok());
            let rules = &self.config.topic(&topic.name).configs;
            factor(topic) < 0 && configs.is_some_and(|configs| needs_replicas(configs, rules))
        };
        let default = match topics.iter().find(asks) {
            Some(topic) => self.default_replicas(&topic.target, replicas).await?,
            None => replicas,
        };
        for topic in topics {
            match configs.remove(&topic.name) {
                Some(Ok(configs)) => {
                    let factor = factor(topic);
                    let replication = (factor, usize::try_from(factor).unwrap_or(default));
                    let rules = &self.config.topic(&topic.name).configs;
                    let (name, partitions) = (&topic.target, topic.partitions);
                    let draft = Draft::new(name, partitions, replication, &configs, rules);
                    drafts.insert(topic.target.clone(), (topic.name.clone(), draft));
                }
                Some(Err(error)) => {
                    let text = format!(
                        "the configs of {} on {} cannot be read ({error}), so {} is not created: allow \
                         DescribeConfigs, or create it by hand",
                        topic.name,
                        self.source.alias(),
                        topic.target
                    );
                    troubles.push(Trouble {
                        topic: topic.name.clone(),
                        code: "source_configs",
                        text,
                    });
                }
                None => {}
            }
        }
        Ok((drafts, troubles))
    }

    /// Where the target's message names no config: asks for one after the other.
    async fn find_refused(&self, draft: &mut Draft, error: &ApiError) -> Result<bool, StepError> {
        if !Draft::is_about_configs(error) {
            return Ok(false);
        }
        let configs = draft.topic.configs.clone();
        let before = configs.len();
        for (name, value) in configs {
            let alone = NewTopic {
                configs: vec![(name.clone(), value)],
                ..draft.topic.clone()
            };
            let outcomes = self.target.client().create_topics(&[alone], true).await;
            let outcomes = outcomes.map_err(StepError::on(&self.target))?;
            if let Some((_, Err(error))) = outcomes.first()
                && Draft::is_about_configs(error)
            {
                draft.leave_out(&name, &error.to_string());
            }
        }
        Ok(draft.topic.configs.len() < before)
    }

    fn tell_created(&self, draft: &Draft) {
        let (flow, cluster) = (&self.config.name, self.target.alias());
        let NewTopic {
            name, partitions, ..
        } = &draft.topic;
        tracing::info!(%flow, %cluster, topic = %name, partitions, "created a topic");
        for config in &draft.left_out {
            let (key, value, reason) = (&config.name, &config.value, &config.reason);
            tracing::warn!(
                %flow, %cluster, topic = %name, config = %key, %value, %reason,
                "the topic does not have this config of its source"
            );
        }
    }

    /// One for all that wait: there may be thousands.
    fn waits(&self, topics: &[String]) -> Option<Trouble> {
        let (first, others) = topics.split_first()?;
        let more = match others.len() {
            0 => "it waits".to_owned(),
            count => format!("it and {count} more topics wait"),
        };
        let alias = self.target.alias();
        Some(Trouble {
            topic: first.clone(),
            code: WAITS,
            text: format!("{more}: {alias} takes no more at the moment (controller_mutation_rate)"),
        })
    }

    fn refused(&self, topic: &str, name: &str, error: &ApiError) -> Trouble {
        Trouble {
            topic: topic.to_owned(),
            code: "target_topic_refused",
            text: format!("{} refuses topic {name}: {error}", self.target.alias()),
        }
    }

    /// Grows topics on the target; refusals are troubles.
    pub(super) async fn grow(&self, topics: &[(String, i32)]) -> Result<Vec<Trouble>, StepError> {
        let (flow, cluster) = (&self.config.name, self.target.alias());
        let (mut troubles, mut waiting) = (Vec::new(), Vec::new());
        for some in topics.chunks(MOST_TOPICS) {
            let outcomes = self.target.client().create_partitions(some).await;
            for (topic, outcome) in outcomes.map_err(StepError::on(&self.target))? {
                match outcome {
                    Ok(()) => {
                        tracing::info!(%flow, %cluster, %topic, "added partitions to a topic");
                    }
                    Err(error) if error.code == THROTTLING_QUOTA_EXCEEDED => waiting.push(topic),
                    Err(error) => troubles.push(self.refused(&topic, &topic, &error)),
                }
            }
        }
        troubles.extend(self.waits(&waiting));
        Ok(troubles)
    }

    /// Records the ids of the target's topics.
    pub(super) async fn bind(
        &self,
        booted: &mut Booted,
        topics: &[(TopicKey, TopicRecord)],
    ) -> Result<(), StepError> {
        if topics.is_empty() {
            return Ok(());
        }
        let now = self.host.clock.wall_ms();
        booted.control.write(topics, None, now).await?;
        booted.records.topics.extend(topics.iter().cloned());
        Ok(())
    }
}

/// The configs of topics, by name.
pub(super) async fn topic_configs(
    cluster: &Cluster,
    names: &[String],
) -> Result<Configs, StepError> {
    configs_of(cluster, names, &[]).await
}

/// Those of them that are named, or all: a topic has some thirty, and their texts take much room.
pub(super) async fn configs_of(
    cluster: &Cluster,
    topics: &[String],
    configs: &[&str],
) -> Result<Configs, StepError> {
    let mut all = Configs::new();
    for some in topics.chunks(DESCRIBED) {
        let described = cluster.client().some_topic_configs(some, configs).await;
        all.extend(described.map_err(StepError::on(cluster))?);
    }
    Ok(all)
}
