//! DescribeLogDirs (key 35), versions 1-4.
//!
//! Where partitions are and how large: the bytes of their segments, without indexes (`UnifiedLog.size`). There is
//! one folder. No topics (null) means all; what is not there is left out. Version 4: the disk's size and what is left
//! of it; -1 where the machine does not say.

use kafka_protocol::{
    messages::{
        DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName,
        describe_log_dirs_response::{
            DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
        },
    },
    protocol::StrBytes,
};

use super::Context;
use crate::{security::acl::Operation, state::topics::Topic};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    if let Err(error) = cx.check_cluster(Operation::Describe) {
        return DescribeLogDirsResponse::default().with_error_code(error.code());
    }
    let topics = &cx.state.topics;
    let described = match &request.topics {
        None => {
            let all = topics.all();
            all.iter().map(|topic| describe(topic, None)).collect()
        }
        Some(wanted) => {
            let found = wanted.iter().filter_map(|wanted| {
                let topic = topics.get(&wanted.topic)?;
                Some(describe(&topic, Some(&wanted.partitions)))
            });
            found.collect::<Vec<_>>()
        }
    };
    let described = described
        .into_iter()
        .filter(|topic| !topic.partitions.is_empty());
    let folder = &cx.state.config.data;
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
    let folder = DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_string(absolute.display().to_string()))
        .with_topics(described.collect());
    let space = cx.state.host.files.space(&absolute).ok();
    let folder = match space.filter(|_| version >= 4) {
        None => folder.with_total_bytes(-1).with_usable_bytes(-1),
        Some(space) => folder
            .with_total_bytes(signed(space.total))
            .with_usable_bytes(signed(space.usable)),
    };
    DescribeLogDirsResponse::default().with_results(vec![folder])
}

/// The partitions of a topic, or some of them.
fn describe(topic: &Topic, wanted: Option<&[i32]>) -> DescribeLogDirsTopic {
    let partitions = topic.partitions();
    let numbered = (0..).zip(&partitions);
    let wanted = numbered.filter(|(number, _)| wanted.is_none_or(|all| all.contains(number)));
    let partitions = wanted.filter_map(|(number, partition)| {
        let described = DescribeLogDirsPartition::default()
            .with_partition_index(number)
            .with_partition_size(signed(partition.size().ok()?));
        Some(described)
    });
    DescribeLogDirsTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.name.clone())))
        .with_partitions(partitions.collect())
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
