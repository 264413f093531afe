//! How large partitions are on their brokers' disks.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use kafka_protocol::messages::{
    DescribeLogDirsRequest, DescribeLogDirsResponse,
    describe_log_dirs_request::DescribableLogDirTopic,
};

use super::{Client, leaders::PerPartition, offsets::name};
use crate::{
    TopicPartition,
    error::{ApiError, ClientError},
};

/// Each partition's size in bytes, or why it is not known.
pub type PartitionSizes = PerPartition<i64>;

impl Client {
    /// Bytes of the leader's replica of partitions, as they lie on its disk: compressed, with what is not yet
    /// deleted or compacted away (KIP-113). In the order of `wanted`.
    ///
    /// # Errors
    /// If a leader cannot be reached, does not speak the call, or refuses it as a whole (it takes DESCRIBE on
    /// the cluster); each partition has its own answer.
    pub async fn partition_sizes(
        &self,
        wanted: &[TopicPartition],
    ) -> Result<PartitionSizes, ClientError> {
        let wanted: Vec<_> = wanted.iter().map(|p| (p.clone(), ())).collect();
        let refusal = Mutex::new(None);
        let sizes = self
            .ask_leaders(&wanted, 1..=4, request, |answer| {
                let error = ApiError::from_code(answer.error_code, None::<&str>);
                let mut refusal = refusal.lock().unwrap_or_else(PoisonError::into_inner);
                *refusal = refusal.take().or(error);
                sizes(&answer)
            })
            .await?;
        match refusal.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(ClientError::Api {
                what: "sizes of partitions".to_owned(),
                error,
            }),
            None => Ok(sizes),
        }
    }
}

fn request(wanted: &[&(TopicPartition, ())]) -> DescribeLogDirsRequest {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (partition, ()) in wanted {
        let partitions = topics.entry(&partition.topic).or_default();
        partitions.push(partition.partition);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        DescribableLogDirTopic::default()
            .with_topic(name(topic))
            .with_partitions(partitions)
    });
    DescribeLogDirsRequest::default().with_topics(Some(topics.collect()))
}

/// A replica that is being moved to another folder of the same broker is there twice: the copy in the making
/// does not count.
fn sizes(answer: &DescribeLogDirsResponse) -> PartitionSizes {
    let topics = answer.results.iter().flat_map(|folder| &folder.topics);
    let partitions = topics.flat_map(|topic| {
        let present = topic.partitions.iter().filter(|p| !p.is_future_key);
        present.map(|p| {
            let partition = TopicPartition::new(&*topic.name.0, p.partition_index);
            (partition, Ok(p.partition_size))
        })
    });
    partitions.collect()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::describe_log_dirs_response::{
        DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
    };

    use super::*;

    #[test]
    fn folders_are_put_together_and_copies_in_the_making_left_out() {
        let folder = |index, size, future| {
            let partition = DescribeLogDirsPartition::default()
                .with_partition_index(index)
                .with_partition_size(size)
                .with_is_future_key(future);
            let topic = DescribeLogDirsTopic::default()
                .with_name(name("t"))
                .with_partitions(vec![partition]);
            DescribeLogDirsResult::default().with_topics(vec![topic])
        };
        let folders = vec![
            folder(1, 10, false),
            folder(1, 4, true),
            folder(0, 7, false),
        ];
        let answer = DescribeLogDirsResponse::default().with_results(folders);
        let found = sizes(&answer);
        let found: Vec<_> = found
            .iter()
            .map(|(partition, size)| (partition.to_string(), size.clone().ok()))
            .collect();
        assert_eq!(
            found,
            [("t-1".to_owned(), Some(10)), ("t-0".to_owned(), Some(7))]
        );
    }
}
