//! `strait check --apply`: what a running flow would change about the target's topics, once. Nothing that it takes away
//! holds records: topics whose sources are gone are left to the running flow, which waits.

use std::{collections::BTreeMap, fmt};

use super::{
    Flow,
    apply::{StepError, topic_configs},
    plan::{Rules, SourceTopic, Trouble},
    sync::configs::alter::{Altered, Step, alter},
    topics::{configs::Wishes, portions::MOST_TOPICS},
};
use crate::worker::Unlimited;

/// UNKNOWN_TOPIC_OR_PARTITION
const UNKNOWN_TOPIC: i16 = 3;

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
        let snapshot = self.snapshot(&rules, std::iter::empty()).await?;
        let (mut create, mut grow, mut there) = (Vec::new(), Vec::new(), Vec::new());
        for topic in &snapshot.topics {
            let Some(found) = snapshot.target.get(&topic.target) else {
                continue;
            };
            match &found.error {
                Some(error) if error.code == UNKNOWN_TOPIC => create.push(topic.clone()),
                Some(_) => {}
                None => {
                    if found.partition_count() < topic.partitions {
                        grow.push((topic.target.clone(), topic.partitions));
                    }
                    there.push((topic.clone(), found.least_replicas()));
                }
            }
        }
        let mut applied = Applied::default();
        let mut troubles = self.create(&create, 0).await?;
        troubles.extend(self.grow(&grow).await?);
        for Trouble { topic, text, .. } in troubles {
            applied.refuse(format!("{topic}: {text}"));
        }
        for some in there.chunks(MOST_TOPICS) {
            self.apply_configs(some, &mut applied).await?;
        }
        Ok(applied)
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
