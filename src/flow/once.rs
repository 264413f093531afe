//! `strait check --apply`: what a running flow would change about the target's topics, once. Topics whose sources are gone
//! are left to the running flow, which waits; those whose sources were made anew are made anew while nobody runs the
//! flow: who asks for that has seen the new one in the plan.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    Flow,
    adjust::AdjustError,
    apply::{StepError, WAITS, topic_configs},
    boot::Booted,
    deletable::{Standing, has_begun},
    plan::{Rules, SourceTopic, Trouble},
    sync::configs::alter::{Altered, Step, alter},
    topics::{configs::Wishes, portions::MOST_TOPICS, retire::Gone},
};
use crate::worker::Unlimited;

/// UNKNOWN_TOPIC_OR_PARTITION
const UNKNOWN_TOPIC: i16 = 3;

/// How long a target that takes no topic at the moment is asked again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two times.
const PAUSE: Duration = Duration::from_secs(1);

/// Why not all could be done.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ApplyError(#[from] StepError);

/// What was done.
#[derive(Debug, Default)]
pub struct Applied {
    /// Configs that were changed.
    pub configs: usize,
    /// What the target refused.
    pub refused: Vec<String>,
}

/// What is to be done, and what is there.
#[derive(Debug, Default)]
struct Wanted {
    create: Vec<SourceTopic>,
    grow: Vec<(String, i32)>,
    /// With their replicas.
    there: Vec<(SourceTopic, usize)>,
}

impl Applied {
    fn refuse(&mut self, reason: impl fmt::Display) {
        self.refused.push(reason.to_string());
    }
}

impl Flow {
    /// Creates topics, adds partitions, changes configs.
    ///
    /// # Errors
    /// If a cluster cannot be asked; some of it may be done.
    pub async fn apply_once(&self) -> Result<Applied, ApplyError> {
        let rules = Rules::new(&self.config);
        let mut applied = Applied::default();
        if let Err(error) = self.delete_replaced(&rules, &mut applied).await {
            applied.refuse(error);
        }
        let there = self.create_all(&rules, &mut applied).await?;
        for some in there.chunks(MOST_TOPICS) {
            self.apply_configs(some, &mut applied).await?;
        }
        Ok(applied)
    }

    /// Creates topics and adds partitions, for as long as the target takes some in a while; what is there, with its
    /// replicas.
    async fn create_all(
        &self,
        rules: &Rules,
        applied: &mut Applied,
    ) -> Result<Vec<(SourceTopic, usize)>, StepError> {
        let clock = &self.host.clock;
        let (mut least, mut deadline) = (usize::MAX, Duration::ZERO);
        loop {
            let Wanted {
                create,
                grow,
                there,
            } = self.wanted(rules).await?;
            let left = create.len() + grow.len();
            if left < least {
                (least, deadline) = (left, clock.monotonic() + PATIENCE);
            }
            let mut troubles = self.create(&create, 0).await?;
            troubles.extend(self.grow(&grow).await?);
            let waits = troubles.iter().any(|trouble| trouble.code == WAITS);
            if waits && clock.monotonic() < deadline {
                clock.sleep(PAUSE).await;
                continue;
            }
            for Trouble { topic, text, .. } in troubles {
                applied.refuse(format!("{topic}: {text}"));
            }
            return Ok(there);
        }
    }

    async fn wanted(&self, rules: &Rules) -> Result<Wanted, StepError> {
        let snapshot = self.snapshot(rules, std::iter::empty()).await?;
        let mut wanted = Wanted::default();
        for topic in &snapshot.topics {
            let Some(found) = snapshot.target.get(&topic.target) else {
                continue;
            };
            match &found.error {
                Some(error) if error.code == UNKNOWN_TOPIC => wanted.create.push(topic.clone()),
                Some(_) => {}
                None => {
                    if found.partition_count() < topic.partitions {
                        wanted.grow.push((topic.target.clone(), topic.partitions));
                    }
                    wanted.there.push((topic.clone(), found.least_replicas()));
                }
            }
        }
        Ok(wanted)
    }

    /// Deletes topics of the target whose sources were made anew, if that is asked for. What is known of them stays: to
    /// `run` it is as if they had been deleted by hand.
    async fn delete_replaced(
        &self,
        rules: &Rules,
        applied: &mut Applied,
    ) -> Result<(), AdjustError> {
        if !self.config.recreates() {
            return Ok(());
        }
        let booted = self.inspect().await?;
        let snapshot = self.snapshot(rules, std::iter::empty()).await?;
        let stored = booted.store.load().await.map_err(StepError::from)?;
        let mut replaced = rules.replaced(&snapshot, &booted.records);
        replaced.retain(|gone| !has_begun(&stored, gone));
        if replaced.is_empty() {
            return Ok(());
        }
        self.nobody_runs_it().await?;
        let named = self.named(&replaced).await?;
        for gone in replaced {
            let refusal = match self.not_gone(&named, &gone) {
                None => self.delete_one(&booted, &gone).await?,
                refusal => refusal,
            };
            if let Some(reason) = refusal {
                let topic = &gone.record.target_topic;
                applied.refuse(format!("{topic} is not deleted: {reason}"));
            }
        }
        // Brokers hear of a deletion one after the other.
        self.host.clock.sleep(PAUSE).await;
        Ok(())
    }

    async fn delete_one(&self, booted: &Booted, gone: &Gone) -> Result<Option<String>, StepError> {
        let Some(bound) = gone.record.target_topic_id else {
            return Ok(None);
        };
        Ok(match self.standing(booted, gone, bound).await? {
            Standing::Ours => self.delete(bound, gone).await?.err().map(|e| e.to_string()),
            Standing::Stays(reason) => Some(reason),
            Standing::Missing | Standing::Another => None,
        })
    }

    async fn apply_configs(
        &self,
        topics: &[(SourceTopic, usize)],
        applied: &mut Applied,
    ) -> Result<(), StepError> {
        let rules = |topic: &SourceTopic| &self.config.topic(&topic.name).configs;
        let topics: Vec<_> = topics
            .iter()
            .filter(|(topic, _)| rules(topic).follow)
            .collect();
        if topics.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = topics.iter().map(|(topic, _)| topic.name.clone()).collect();
        let mut sources = topic_configs(&self.source, &names).await?;
        let names: Vec<_> = topics
            .iter()
            .map(|(topic, _)| topic.target.clone())
            .collect();
        let mut targets = topic_configs(&self.target, &names).await?;
        let mut steps = BTreeMap::new();
        for (topic, replicas) in topics {
            let both = (sources.remove(&topic.name), targets.remove(&topic.target));
            let (Some(Ok(source)), Some(Ok(target))) = both else {
                applied.refuse(format!("the configs of {} cannot be read", topic.name));
                continue;
            };
            let changes = Wishes::new(rules(topic), &source, *replicas).changes(&target);
            let changes = changes.into_iter().map(|change| Step {
                change,
                sets_back: false,
            });
            steps.insert(topic.target.clone(), changes.collect());
        }
        let altered = alter(self.target.client(), &Unlimited, steps).await;
        for (topic, told) in altered.map_err(StepError::on(&self.target))? {
            let Altered {
                done,
                refused,
                failed,
                ..
            } = told;
            applied.configs += done.len();
            for (step, reason) in refused {
                applied.refuse(format!("{} of {topic}: {reason}", step.change.name));
            }
            if let Some(error) = failed {
                applied.refuse(format!("configs of {topic}: {error}"));
            }
        }
        Ok(())
    }
}
