//! Calls about many partitions: each partition is asked for at its leader, those of one leader together.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use kafka_protocol::protocol::Request;

use super::{Client, FIRST_PAUSE, LAST_PAUSE, To, TopicDescription, unanswered};
use crate::{
    TopicPartition,
    error::{ApiError, ClientError},
};

/// Each partition's answer.
pub(super) type PerPartition<V> = Vec<(TopicPartition, Result<V, ApiError>)>;

/// Which of the wanted partitions one broker is asked for in one request. A partition that is wanted
/// twice goes in two requests, since brokers refuse duplicates.
type Rounds = BTreeMap<(i32, usize), Vec<usize>>;

impl Client {
    /// Asks the leaders and answers in the order of `wanted`. Leaders that moved are looked up again,
    /// until [`super::ClientSettings::retry_for`] is over.
    pub(super) async fn ask_leaders<R: Request, K, V>(
        &self,
        wanted: &[(TopicPartition, K)],
        versions: RangeInclusive<i16>,
        request: impl Fn(&[&(TopicPartition, K)]) -> R,
        answers: impl Fn(R::Response) -> PerPartition<V>,
    ) -> Result<PerPartition<V>, ClientError> {
        let clock = &self.0.host.clock;
        let deadline = clock.monotonic() + self.0.settings.retry_for;
        let mut pause = FIRST_PAUSE;
        let mut found: BTreeMap<usize, Result<V, ApiError>> = BTreeMap::new();
        let mut open: Vec<usize> = (0..wanted.len()).collect();
        loop {
            let topics = open.iter().map(|index| wanted[*index].0.topic.clone());
            let leaders = self.leaders(topics.collect()).await?;
            let mut rounds = Rounds::new();
            let mut seen = BTreeMap::new();
            for index in open.drain(..) {
                let partition = &wanted[index].0;
                match leaders.of(partition) {
                    Ok(leader) => {
                        let round: &mut usize = seen.entry(partition).or_default();
                        rounds.entry((leader, *round)).or_default().push(index);
                        *round += 1;
                    }
                    Err(error) => drop(found.insert(index, Err(error))),
                }
            }
            for ((leader, _), indices) in rounds {
                let asked: Vec<_> = indices.iter().map(|index| &wanted[*index]).collect();
                let answer = self
                    .call(
                        To::Broker(leader),
                        &request(&asked),
                        versions.clone(),
                        |_| None,
                    )
                    .await?;
                let mut answers: BTreeMap<_, _> = answers(answer).into_iter().collect();
                for index in indices {
                    let answer = answers.remove(&wanted[index].0);
                    let answer = answer.unwrap_or_else(|| Err(unanswered()));
                    if answer.as_ref().is_err_and(is_moved) {
                        open.push(index);
                    }
                    found.insert(index, answer);
                }
            }
            if open.is_empty() || clock.monotonic() + pause > deadline {
                let partitions = wanted.iter().map(|(partition, _)| partition.clone());
                return Ok(partitions.zip(found.into_values()).collect());
            }
            clock.sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn leaders(&self, mut topics: Vec<String>) -> Result<Leaders, ClientError> {
        topics.sort();
        topics.dedup();
        let described = match &topics[..] {
            [] => Vec::new(),
            [topic] => vec![self.topic(topic).await?],
            topics => {
                let described = self.topics(Some(topics)).await?;
                described.into_iter().map(Arc::new).collect()
            }
        };
        let by_name = described
            .into_iter()
            .map(|topic| (topic.name.clone(), topic));
        Ok(Leaders(by_name.collect()))
    }
}

/// Topics by name, as metadata tells of them.
struct Leaders(BTreeMap<String, Arc<TopicDescription>>);

impl Leaders {
    fn of(&self, partition: &TopicPartition) -> Result<i32, ApiError> {
        let topic = self.0.get(&partition.topic).ok_or_else(unanswered)?;
        topic.leader(partition.partition)
    }
}

/// Answers that mean: ask another broker, or this one a little later.
fn is_moved(error: &ApiError) -> bool {
    // LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER, FENCED and UNKNOWN_LEADER_EPOCH,
    // OFFSET_NOT_AVAILABLE (a leader so new that it does not know the high watermark yet)
    matches!(error.code, 5 | 6 | 74 | 75 | 78)
}
