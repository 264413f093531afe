//! Whether what the flow remembers on the target is about these clusters and topics.

use super::{FlowReport, facts::Facts};
use crate::{
    checkpoint::{
        codec,
        control_topic::{ControlRecords, TopicKey},
        text::topic_id,
    },
    survey::{Side, Survey},
};

impl FlowReport {
    pub(super) fn look_at_memory(&mut self, survey: &Survey, facts: &Facts) {
        let control = format!("{}.control", survey.group);
        match &facts.control {
            Ok(records) => {
                if let Some(flow) = &records.flow {
                    let ids = [&flow.source_cluster, &flow.target_cluster];
                    self.look_at_clusters(survey, &format!("control topic {control}"), ids);
                }
                self.look_at_bindings(survey, records);
            }
            Err(reason) => self.problem("control_topic", reason.clone()),
        }
        for (partition, stored) in &facts.held {
            if self
                .problems
                .iter()
                .any(|found| found.code == "foreign_cluster")
            {
                return;
            }
            if let Ok(checkpoint) = codec::decode(stored) {
                let ids = [&checkpoint.source_cluster, &checkpoint.target_cluster];
                let group = &survey.group;
                self.look_at_clusters(
                    survey,
                    &format!("the checkpoint of {partition} in group {group}"),
                    ids,
                );
            }
        }
    }

    /// Said once: what is foreign is so in every place.
    fn look_at_clusters(&mut self, survey: &Survey, what: &str, ids: [&String; 2]) {
        let foreign = |(side, id): &(&Side, &String)| side.cluster_id != **id;
        let mut sides = [&survey.source, &survey.target].into_iter().zip(ids);
        let Some((side, id)) = sides.find(foreign) else {
            return;
        };
        if self
            .problems
            .iter()
            .any(|found| found.code == "foreign_cluster")
        {
            return;
        }
        let (alias, now) = (&side.alias, &side.cluster_id);
        let message = format!(
            "{what} is about cluster {id}, but {alias} is cluster {now}: two files with one flow name, or an alias that \
             points elsewhere; give this flow another `name`, or correct the alias"
        );
        self.problem("foreign_cluster", message);
    }

    fn look_at_bindings(&mut self, survey: &Survey, records: &ControlRecords) {
        for topic in &survey.topics {
            let record = records
                .topics
                .get(&TopicKey::new(topic.source_id, &topic.source));
            let Some(bound) = record.and_then(|record| record.target_topic_id) else {
                continue;
            };
            let (target, alias) = (&topic.target, &survey.target.alias);
            let told = |code| {
                self.problems
                    .iter()
                    .any(|one| one.code == code && one.message.contains(target))
            };
            match &topic.existing {
                None if !told("target_topic_missing") => {
                    let message = format!("{target} was replicated and is gone from {alias}");
                    self.problem("target_topic_missing", message);
                }
                Some(found) if found.id != bound && !told("target_topic_recreated") => {
                    let message = format!(
                        "{target} on {alias} has id {}, what was copied went to id {}: it was created anew",
                        topic_id(found.id),
                        topic_id(bound)
                    );
                    self.problem("target_topic_recreated", message);
                }
                _ => {}
            }
        }
    }
}
