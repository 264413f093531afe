//! Where each partition would start, by the rules of `run`.

use super::FlowReport;
use crate::{
    config::OnRecreate,
    survey::{Offsets, Partition, Survey, Topic, stops::at_start},
    worker::{Stop, StopReason},
};

impl FlowReport {
    pub(super) fn look_at_topic(&mut self, survey: &Survey, topic: &Topic) {
        let (count, target) = (topic.partitions.len(), &topic.target);
        match &topic.existing {
            None => self.look_at_creation(survey, topic),
            Some(existing) if existing.partitions.len() < count => {
                let has = existing.partitions.len();
                let message = format!("{target} has {has} partitions and will be given {count}");
                self.warn("fewer_partitions", message);
            }
            Some(existing) if existing.partitions.len() > count => {
                let has = existing.partitions.len();
                let message = format!("{target} has {has} partitions, its source {count}");
                self.warn("more_partitions", message);
            }
            Some(_) => {}
        }
        self.look_at_replicas(survey, topic);
        for partition in &topic.partitions {
            match &partition.offsets {
                // Without the checkpoints there is no telling.
                Ok(_) if survey.group_denied.is_some() => {}
                Ok(offsets) => self.look_at_partition(survey, topic, partition, *offsets),
                Err(reason) => {
                    let (alias, name) = (&survey.source.alias, &topic.source);
                    let message = format!("{alias} {name}-{}: {reason}", partition.index);
                    self.problem("offsets", message);
                }
            }
        }
    }

    fn look_at_replicas(&mut self, survey: &Survey, topic: &Topic) {
        let there = topic.existing.as_ref().map_or(0, |found| found.replicas);
        let wanted = usize::try_from(topic.config.replication_factor).ok();
        if let Some(wanted) = wanted.filter(|wanted| there > 0 && *wanted != there) {
            let (target, alias) = (&topic.target, &survey.target.alias);
            let message = format!(
                "{target} has {there} replicas on {alias}, replication_factor is {wanted}: strait does not change that"
            );
            self.warn("replicas_differ", message);
        }
    }

    fn look_at_creation(&mut self, survey: &Survey, topic: &Topic) {
        let (target, factor) = (&survey.target, topic.config.replication_factor);
        if usize::try_from(factor).is_ok_and(|factor| factor > target.brokers) {
            let message = format!(
                "{} cannot be created with replication factor {factor}: {} has {} brokers",
                topic.target, target.alias, target.brokers
            );
            self.problem("replication_factor", message);
        }
        if topic
            .partitions
            .iter()
            .any(|partition| partition.stored.is_some())
        {
            let message = format!(
                "{} was replicated and is gone from {}",
                topic.target, target.alias
            );
            self.problem("target_topic_missing", message);
        }
    }

    /// A worker stopped there; it is tried again at the next start.
    fn look_at_last_stop(&mut self, name: &str, partition: &Partition) {
        if let Some(Ok(checkpoint)) = partition.checkpoint()
            && let Some(stopped) = &checkpoint.stopped
        {
            let (reason, at) = (&stopped.reason, stopped.source_offset);
            let message = format!("{name} is stopped at source offset {at}: {reason}");
            self.warn("stopped", message);
        }
    }

    /// Where `run` would start the partition, by the same rules; whether the source still has the
    /// last copied record is left to `run`.
    fn look_at_partition(
        &mut self,
        survey: &Survey,
        topic: &Topic,
        partition: &Partition,
        offsets: Offsets,
    ) {
        let existing = topic.existing.as_ref();
        let Some(target) = existing.and_then(|found| found.partitions.get(&partition.index)) else {
            return;
        };
        let name = format!(
            "{} {}-{}",
            survey.target.alias, topic.target, partition.index
        );
        let target = match target {
            Ok(extent) => *extent,
            Err(reason) => return self.problem("offsets", format!("{name}: {reason}")),
        };
        if let Some(Ok(checkpoint)) = partition.checkpoint() {
            for (side, id) in [
                (&survey.source, &checkpoint.source_cluster),
                (&survey.target, &checkpoint.target_cluster),
            ] {
                if *id != side.cluster_id {
                    let (alias, now) = (&side.alias, &side.cluster_id);
                    let message = format!(
                        "the checkpoint of {name} is about cluster {id}, but {alias} is cluster {now}"
                    );
                    return self.problem("foreign_cluster", message);
                }
            }
        }
        self.look_at_last_stop(&name, partition);
        let stop = at_start(survey, topic, partition, offsets, target);
        // Where the target topic is made anew for that, it is in the plan.
        let follows = |stop: &Stop| {
            stop.reason == StopReason::SourceTopicRecreated
                && topic.config.on_recreate == OnRecreate::Recreate
        };
        if let Some(stop) = stop.filter(|stop| !follows(stop)) {
            self.problem(stop.reason.code(), stop.text);
        }
    }
}
