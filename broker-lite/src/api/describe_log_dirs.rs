//! DescribeLogDirs (key 35), versions 1-4.
//!
//! Where partitions are and how large: the bytes of their segments, without indexes (`UnifiedLog.size`). A folder
//! that failed is KAFKA_STORAGE_ERROR. No topics (null) means all; what is not there is left out. Version 4: the disk's size and what is left
//! of it; -1 where the machine does not say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName,
        describe_log_dirs_request::DescribableLogDirTopic,
        describe_log_dirs_response::{
            DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
        },
    },
    protocol::StrBytes,
};

use super::Context;
use crate::{
    security::acl::Operation,
    state::{folders::Folder, topics::Topic},
};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    if let Err(error) = cx.check_cluster(Operation::Describe) {
        return DescribeLogDirsResponse::default().with_error_code(error.code());
    }
    let folders = cx.state.topics.folders().iter();
    let results = folders.map(|folder| match folder.is_offline() {
        true => of(folder).with_error_code(ResponseError::KafkaStorageError.code()),
        false => describe_folder(cx, version, &request, folder),
    });
    DescribeLogDirsResponse::default().with_results(results.collect())
}

fn of(folder: &Folder) -> DescribeLogDirsResult {
    let absolute = std::path::absolute(folder.path());
    let absolute = absolute.unwrap_or_else(|_| folder.path().to_owned());
    DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_string(absolute.display().to_string()))
        .with_total_bytes(-1)
        .with_usable_bytes(-1)
}

fn describe_folder(
    cx: &Context,
    version: i16,
    request: &DescribeLogDirsRequest,
    folder: &Arc<Folder>,
) -> DescribeLogDirsResult {
    let topics = &cx.state.topics;
    let described: Vec<_> = match &request.topics {
        None => {
            let all = topics.all();
            let all = all.iter().map(|topic| describe(topic, None, folder));
            all.collect()
        }
        Some(wanted) => {
            let found = once_each(wanted).into_iter().filter_map(|(name, numbers)| {
                let topic = topics.get(name)?;
                Some(describe(&topic, Some(&numbers), folder))
            });
            found.collect()
        }
    };
    let described = described
        .into_iter()
        .filter(|topic| !topic.partitions.is_empty());
    let result = of(folder).with_topics(described.collect());
    let space = cx.state.host.files.space(folder.path()).ok();
    match space.filter(|_| version >= 4) {
        None => result,
        Some(space) => result
            .with_total_bytes(signed(space.total))
            .with_usable_bytes(signed(space.usable)),
    }
}

/// Each topic once, with all of its partitions that are asked for: a set, as in `KafkaApis.handleDescribeLogDirsRequest`.
fn once_each(wanted: &[DescribableLogDirTopic]) -> BTreeMap<&str, BTreeSet<i32>> {
    let mut topics: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for one in wanted {
        topics
            .entry(&one.topic)
            .or_default()
            .extend(&one.partitions);
    }
    topics
}

/// The partitions of a topic, or some of them, that are in a folder.
fn describe(
    topic: &Topic,
    wanted: Option<&BTreeSet<i32>>,
    folder: &Arc<Folder>,
) -> DescribeLogDirsTopic {
    let partitions = topic.partitions();
    let numbered = (0..).zip(&partitions);
    let wanted = numbered.filter(|(number, _)| wanted.is_none_or(|all| all.contains(number)));
    let here = wanted.filter(|(_, partition)| Arc::ptr_eq(partition.home(), folder));
    let partitions = here.filter_map(|(number, partition)| {
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
