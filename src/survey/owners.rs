//! Who runs what, as the flow's group says. Pure.

use std::collections::BTreeMap;

use wire::TopicPartition;

use super::{Survey, detail::Detail};
use crate::{
    checkpoint::control_topic,
    status::{Member, Trouble},
};

/// See the module.
pub(super) struct Owners<'a> {
    by_partition: BTreeMap<&'a TopicPartition, &'a str>,
    pub(super) members: Option<Vec<Member>>,
    /// Whether the group hands out nothing at the moment, so that what has no owner is nobody's.
    settled: bool,
}

impl<'a> Owners<'a> {
    pub(super) fn new(survey: &Survey, detail: &'a Detail) -> Self {
        let Some(group) = &detail.group else {
            return Self {
                by_partition: BTreeMap::new(),
                members: None,
                settled: false,
            };
        };
        let control = TopicPartition::new(control_topic::name(&survey.flow), 0);
        let mut by_partition = BTreeMap::new();
        let mut members = Vec::new();
        for member in &group.members {
            let name = member.instance_id.as_ref().unwrap_or(&member.member_id);
            let (led, run): (Vec<_>, Vec<_>) =
                member.assignment.iter().partition(|one| **one == control);
            members.push(Member {
                name: name.clone(),
                host: member.client_host.trim_start_matches('/').to_owned(),
                partitions: run.len(),
                leader: !led.is_empty(),
            });
            by_partition.extend(run.into_iter().map(|one| (one, name.as_str())));
        }
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            by_partition,
            settled: group.state == "Stable" && !members.is_empty(),
            members: Some(members),
        }
    }

    pub(super) fn of(&self, target: &TopicPartition) -> Option<String> {
        self.by_partition
            .get(target)
            .map(|owner| (*owner).to_owned())
    }

    /// One for each topic that the target has and whose partitions are not all some process's.
    pub(super) fn troubles(&self, survey: &Survey) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for topic in survey.topics.iter().filter(|_| self.settled) {
            let existing = topic
                .existing
                .iter()
                .flat_map(|found| found.partitions.keys());
            let nobodys: Vec<_> = existing
                .filter(|index| {
                    self.of(&TopicPartition::new(&topic.target, **index))
                        .is_none()
                })
                .map(ToString::to_string)
                .collect();
            if !nobodys.is_empty() {
                troubles.push(Trouble {
                    topic: topic.source.clone(),
                    code: "no_owner".to_owned(),
                    text: format!(
                        "no process runs what goes to partitions {} of {}",
                        nobodys.join(", "),
                        topic.target
                    ),
                });
            }
        }
        troubles
    }
}
