//! Checkpoints as committed offsets of the flow's group, written as a tool does: by no member.
//!
//! A commit goes in chunks of at most [`MAX_ENTRIES`] and [`MAX_BYTES`]: a broker appends a commit as
//! one batch to `__consumer_offsets` and refuses *every* entry of one that is too large (EXACTNESS 8).
//! Entries that are refused so all the same go again in halves.

use std::{collections::VecDeque, fmt::Debug};

use host::BoxFuture;
use wire::{
    Class, TopicPartition,
    client::{Client, CommitOutcomes, CommittedOffset},
    error::{ApiError, ClientError},
};

use super::{CheckpointStore, StoreError, Stored};

/// Most entries of one request.
const MAX_ENTRIES: usize = 1000;
/// Most bytes of one request.
const MAX_BYTES: usize = 256 << 10;
/// What an entry costs beside its texts, at the most: the request's fields, and the record of the
/// broker's log with its own key.
const ENTRY_OVERHEAD: usize = 128;
/// UNKNOWN_SERVER_ERROR, MESSAGE_TOO_LARGE and INVALID_COMMIT_OFFSET_SIZE: what brokers answer to all
/// entries of a request that is too large.
const TOO_LARGE: [i16; 3] = [-1, 10, 28];

/// Commits and reads offsets of a group; [`Client`] does.
pub trait GroupOffsets: Send + Sync + Debug {
    /// All committed offsets of the group.
    fn read<'a>(
        &'a self,
        group: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(TopicPartition, CommittedOffset)>, ClientError>>;

    /// Commits in one request.
    fn write<'a>(
        &'a self,
        group: &'a str,
        offsets: &'a [(TopicPartition, CommittedOffset)],
    ) -> BoxFuture<'a, Result<CommitOutcomes, ClientError>>;
}

impl GroupOffsets for Client {
    fn read<'a>(
        &'a self,
        group: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(TopicPartition, CommittedOffset)>, ClientError>> {
        Box::pin(self.group_offsets(group))
    }

    fn write<'a>(
        &'a self,
        group: &'a str,
        offsets: &'a [(TopicPartition, CommittedOffset)],
    ) -> BoxFuture<'a, Result<CommitOutcomes, ClientError>> {
        Box::pin(self.commit_group_offsets(group, offsets))
    }
}

/// The committed offsets of one group.
#[derive(Debug)]
pub struct GroupStore<G> {
    offsets: G,
    group: String,
}

impl<G: GroupOffsets> GroupStore<G> {
    /// Of `group` on the cluster behind `offsets`.
    pub fn new(offsets: G, group: impl Into<String>) -> Self {
        Self {
            offsets,
            group: group.into(),
        }
    }

    fn error(&self, class: Class, reason: &dyn ToString) -> StoreError {
        let (group, reason) = (self.group.clone(), reason.to_string());
        match class {
            Class::Retriable | Class::Throttled => StoreError::Unavailable { group, reason },
            Class::Fenced | Class::Fatal => StoreError::Refused { group, reason },
        }
    }

    async fn commit_all(
        &self,
        entries: &[(TopicPartition, Stored)],
    ) -> Vec<(TopicPartition, Result<(), StoreError>)> {
        let mut waiting: VecDeque<Chunk> = chunks(entries).into();
        let mut done = Vec::with_capacity(entries.len());
        while let Some(chunk) = waiting.pop_front() {
            match self.offsets.write(&self.group, &chunk).await {
                Ok(mut outcomes) => {
                    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
                    waiting.extend(self.sort_out(chunk, &outcomes, &mut done));
                }
                Err(error) => {
                    let failed = self.error(error.class(), &error);
                    done.extend(chunk.into_iter().map(|(p, _)| (p, Err(failed.clone()))));
                }
            }
        }
        done
    }

    /// Adds what is decided to `done`; what was too large comes back in halves.
    fn sort_out(
        &self,
        chunk: Chunk,
        outcomes: &CommitOutcomes,
        done: &mut Vec<(TopicPartition, Result<(), StoreError>)>,
    ) -> Vec<Chunk> {
        let splits = chunk.len() > 1;
        let mut again = Vec::new();
        for (partition, committed) in chunk {
            let found = outcomes.binary_search_by(|(known, _)| known.cmp(&partition));
            match found.map(|at| &outcomes[at].1) {
                Ok(Ok(())) => done.push((partition, Ok(()))),
                Ok(Err(error)) if splits && is_too_large(error) => {
                    again.push((partition, committed));
                }
                Ok(Err(error)) => {
                    let failed = self.error(error.class(), error);
                    done.push((partition, Err(failed)));
                }
                Err(_) => {
                    let failed = self.error(Class::Retriable, &"the broker did not answer for it");
                    done.push((partition, Err(failed)));
                }
            }
        }
        let behind = again.split_off(again.len().div_ceil(2));
        [again, behind]
            .into_iter()
            .filter(|half| !half.is_empty())
            .collect()
    }
}

type Chunk = Vec<(TopicPartition, CommittedOffset)>;

fn is_too_large(error: &ApiError) -> bool {
    TOO_LARGE.contains(&error.code)
}

fn chunks(entries: &[(TopicPartition, Stored)]) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut bytes = 0;
    for (partition, stored) in entries {
        let size = ENTRY_OVERHEAD + partition.topic.len() + stored.metadata.len();
        let committed = CommittedOffset {
            offset: stored.offset,
            leader_epoch: -1,
            metadata: stored.metadata.clone(),
        };
        let entry = (partition.clone(), committed);
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < MAX_ENTRIES && bytes + size <= MAX_BYTES => {
                chunk.push(entry);
                bytes += size;
            }
            _ => {
                chunks.push(vec![entry]);
                bytes = size;
            }
        }
    }
    chunks
}

impl<G: GroupOffsets> CheckpointStore for GroupStore<G> {
    fn load(&self) -> BoxFuture<'_, Result<Vec<(TopicPartition, Stored)>, StoreError>> {
        Box::pin(async {
            let offsets = self.offsets.read(&self.group).await;
            let offsets = offsets.map_err(|error| self.error(error.class(), &error))?;
            let entries = offsets.into_iter().map(|(partition, committed)| {
                let stored = Stored {
                    offset: committed.offset,
                    metadata: committed.metadata,
                };
                (partition, stored)
            });
            Ok(entries.collect())
        })
    }

    fn commit<'a>(
        &'a self,
        entries: &'a [(TopicPartition, Stored)],
    ) -> BoxFuture<'a, Vec<(TopicPartition, Result<(), StoreError>)>> {
        Box::pin(self.commit_all(entries))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// A coordinator with a limit on requests, that refuses one topic.
    #[derive(Debug)]
    struct Coordinator {
        max_bytes: usize,
        requests: Mutex<Vec<CommitOutcomes>>,
    }

    impl Coordinator {
        fn new(max_bytes: usize) -> Self {
            Self {
                max_bytes,
                requests: Mutex::default(),
            }
        }

        fn answer(&self, offsets: &[(TopicPartition, CommittedOffset)]) -> CommitOutcomes {
            let bytes: usize = offsets
                .iter()
                .map(|(_, committed)| committed.metadata.len())
                .sum();
            let failed = |code| {
                Err(ApiError {
                    code,
                    message: None,
                })
            };
            let outcomes: CommitOutcomes = offsets
                .iter()
                .map(|(partition, _)| {
                    let outcome = match partition.topic.as_str() {
                        _ if bytes > self.max_bytes => failed(28),
                        "gone" => failed(3),
                        "denied" => failed(29),
                        _ => Ok(()),
                    };
                    (partition.clone(), outcome)
                })
                .collect();
            let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.push(outcomes.clone());
            outcomes
        }
    }

    impl GroupOffsets for Coordinator {
        fn read<'a>(
            &'a self,
            _group: &'a str,
        ) -> BoxFuture<'a, Result<Vec<(TopicPartition, CommittedOffset)>, ClientError>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn write<'a>(
            &'a self,
            _group: &'a str,
            offsets: &'a [(TopicPartition, CommittedOffset)],
        ) -> BoxFuture<'a, Result<CommitOutcomes, ClientError>> {
            Box::pin(async { Ok(self.answer(offsets)) })
        }
    }

    fn entries(topic: &str, count: i32, metadata: usize) -> Vec<(TopicPartition, Stored)> {
        let stored = Stored {
            offset: 1,
            metadata: "x".repeat(metadata),
        };
        (0..count)
            .map(|n| (TopicPartition::new(topic, n), stored.clone()))
            .collect()
    }

    #[test]
    fn a_request_is_bounded_by_entries_and_by_bytes() {
        let sizes = |count, metadata| -> Vec<usize> {
            chunks(&entries("t", count, metadata))
                .iter()
                .map(Vec::len)
                .collect()
        };
        assert_eq!(sizes(2500, 100), [1000, 1000, 500]);
        assert_eq!(sizes(600, 1000), [232, 232, 136]);
        assert_eq!(sizes(2, 1 << 20), [1, 1]);
        assert!(sizes(0, 1).is_empty());
    }

    #[tokio::test]
    async fn what_is_too_large_goes_in_halves_until_it_fits() {
        let store = GroupStore::new(Coordinator::new(100), "g");
        let outcomes = store.commit_all(&entries("t", 35, 10)).await;
        assert_eq!(outcomes.len(), 35);
        assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
        let mut partitions: Vec<_> = outcomes.iter().map(|(p, _)| p.partition).collect();
        partitions.sort_unstable();
        assert!(partitions.iter().copied().eq(0..35));
    }

    #[tokio::test]
    async fn an_entry_that_is_too_large_alone_fails_alone() {
        let store = GroupStore::new(Coordinator::new(100), "g");
        let mut all = entries("t", 3, 10);
        all.extend(entries("large", 1, 101));
        let outcomes = store.commit_all(&all).await;
        assert_eq!(
            outcomes
                .iter()
                .filter(|(_, outcome)| outcome.is_ok())
                .count(),
            3
        );
        let (large, failed) = outcomes
            .iter()
            .find(|(_, outcome)| outcome.is_err())
            .unwrap();
        assert_eq!(large.topic, "large");
        assert!(
            failed
                .as_ref()
                .unwrap_err()
                .to_string()
                .contains("checkpoints of g")
        );
    }

    #[tokio::test]
    async fn refused_entries_do_not_hold_up_the_others() {
        let store = GroupStore::new(Coordinator::new(1000), "g");
        let mut all = entries("gone", 1, 10);
        all.extend(entries("denied", 1, 10));
        all.extend(entries("t", 1, 10));
        let mut outcomes = store.commit_all(&all).await;
        outcomes.sort_by(|a, b| a.0.cmp(&b.0));
        assert!(matches!(outcomes[0].1, Err(StoreError::Refused { .. })));
        assert!(matches!(outcomes[1].1, Err(StoreError::Unavailable { .. })));
        assert!(outcomes[2].1.is_ok());
        assert_eq!(store.offsets.requests.lock().unwrap().len(), 1);
    }
}
