//! What only `status` asks for beside the survey: how old the next record of each partition is, and which
//! processes run the flow.

use std::collections::BTreeMap;

use tokio::task::JoinSet;
use uuid::Uuid;
use wire::{
    TopicPartition,
    batch::batches,
    client::{Client, FetchRequest, GroupDescription},
};

use super::{Survey, collect::Pair};
use crate::{
    checkpoint::control_topic::{ControlTopic, TopicKey},
    config::Assignment,
    status::Provides,
};

/// One batch is read of so many partitions at most: of those with the most records to copy.
const MOST: usize = 200;
/// How many of them at a time.
const AT_A_TIME: usize = 16;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// When the clusters were asked, in milliseconds since 1970.
    pub now_ms: i64,
    /// Time of the first batch that is not copied, by source partition, where it could be read.
    pub oldest: BTreeMap<TopicPartition, i64>,
    /// The flow's group; none if it may not be asked, or is not used.
    pub group: Option<GroupDescription>,
    /// Ids of the target topics that the control topic knows, by source topic.
    pub bound: BTreeMap<TopicKey, Uuid>,
    /// What the flow's process recorded that it provides.
    pub provides: Option<Provides>,
    /// The configuration's file, for the commands that continue a stopped partition.
    pub file: String,
}

impl Pair<'_> {
    /// Asks for the details of `survey`. What cannot be found out is left out.
    pub async fn detail(&self, survey: &Survey) -> Detail {
        let shared = self.flow.assignment == Assignment::Shared;
        let (oldest, group, (bound, provides)) = tokio::join!(
            self.oldest(survey),
            async {
                if shared {
                    self.group(&survey.group).await
                } else {
                    None
                }
            },
            self.recorded(survey),
        );
        Detail {
            now_ms: self.clock.wall_ms(),
            oldest,
            group,
            bound,
            provides,
            file: self.file.clone(),
        }
    }

    /// What the control topic says of targets and of the flow; nothing where it cannot be read.
    async fn recorded(&self, survey: &Survey) -> (BTreeMap<TopicKey, Uuid>, Option<Provides>) {
        if !survey.control_exists {
            return (BTreeMap::new(), None);
        }
        let control = ControlTopic::new(self.target.client.clone(), &survey.flow);
        let records = control.read().await.unwrap_or_default();
        let topics = records.topics.into_iter();
        let bound = topics.filter_map(|(key, record)| Some((key, record.target_topic_id?)));
        (bound.collect(), records.flow.and_then(|flow| flow.provides))
    }

    async fn oldest(&self, survey: &Survey) -> BTreeMap<TopicPartition, i64> {
        let mut behind: Vec<_> = survey
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(move |p| (topic, p)))
            .filter_map(|(topic, partition)| {
                let position = partition.position(topic.config.start)?;
                let lag = partition.lag(topic.config.start).filter(|lag| *lag > 0)?;
                Some((
                    lag,
                    TopicPartition::new(&topic.source, partition.index),
                    position,
                ))
            })
            .collect();
        behind.sort_by_key(|(lag, ..)| std::cmp::Reverse(*lag));
        behind.truncate(MOST);
        let (mut behind, mut reads) = (behind.into_iter(), JoinSet::new());
        let mut oldest = BTreeMap::new();
        loop {
            while reads.len() < AT_A_TIME
                && let Some((_, partition, offset)) = behind.next()
            {
                let request = FetchRequest {
                    partition,
                    offset,
                    // The broker sends one batch all the same.
                    max_bytes: 1,
                    max_wait: std::time::Duration::ZERO,
                    isolation: self.flow.isolation,
                };
                reads.spawn(first_time(self.source.client.clone(), request));
            }
            match reads.join_next().await {
                Some(read) => oldest.extend(read.ok().flatten()),
                None => return oldest,
            }
        }
    }

    async fn group(&self, group: &str) -> Option<GroupDescription> {
        let client = &self.target.client;
        let described = client.describe_groups(&[group.to_owned()]).await.ok()?;
        described.into_iter().next()?.1.ok()
    }
}

/// The time of the batch at an offset.
async fn first_time(client: Client, request: FetchRequest) -> Option<(TopicPartition, i64)> {
    let fetched = client.fetch(request).await.ok()?;
    let batch = batches(fetched.records).next()?.ok()?;
    let time = batch.header.first_timestamp();
    (time > 0).then_some((fetched.partition, time))
}
