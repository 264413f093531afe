//! Commits made as a member, on a thread of their own, and how the rest of the process asks for them.
//!
//! A commit is for partitions that are assigned when it is made: the lock on [`Committed`] is held meanwhile,
//! and partitions that are revoked are given up under the same lock (EXACTNESS 8: brokers check the member,
//! not what it owns).
//!
//! librdkafka's synchronous commit says one thing about all partitions: done, or the error of one of them. So
//! what failed for a reason that is a partition's own goes again in halves until the partition is found;
//! what failed for the member's or the coordinator's reason failed for all.

use std::{collections::BTreeMap, fmt::Debug, mem::take, time::Duration};

use host::{BoxFuture, Clock};
use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    topic_partition_list::Offset,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;
use wire::{
    TopicPartition,
    client::{Client, CommitOutcomes, CommittedOffset},
    error::{ApiError, ClientError},
};

use super::{Lost, Shared, context::Context};
use crate::{checkpoint::store::GroupOffsets, worker::Lease as _};

type Offsets = [(TopicPartition, CommittedOffset)];

/// Between two looks at the lease.
const LOOK: Duration = Duration::from_millis(50);
/// A lease that nothing else renewed for so long is renewed by repeating a commit.
const RENEW_AFTER: Duration = Duration::from_secs(2);
/// Between two tries of that.
const RENEW_PAUSE: Duration = Duration::from_millis(500);
/// What the flow's leader commits for the control topic.
const LEADER: &str = "strait/1 leader";
/// COORDINATOR_NOT_AVAILABLE: also what librdkafka's own failures are told as.
const NOT_AVAILABLE: i16 = 15;
/// REBALANCE_IN_PROGRESS
const REBALANCING: i16 = 27;
/// UNKNOWN_TOPIC_OR_PARTITION, OFFSET_METADATA_TOO_LARGE, TOPIC_AUTHORIZATION_FAILED
const OF_A_PARTITION: [i16; 3] = [3, 12, 29];

/// A commit that is wanted.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) offsets: Vec<(TopicPartition, CommittedOffset)>,
    pub(super) answer: oneshot::Sender<CommitOutcomes>,
}

/// The group's offsets: read by the wire client, written by the member.
#[derive(Debug)]
pub(super) struct MemberOffsets {
    pub(super) client: Client,
    pub(super) commits: mpsc::Sender<Commit>,
}

impl GroupOffsets for MemberOffsets {
    fn read<'a>(
        &'a self,
        group: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(TopicPartition, CommittedOffset)>, ClientError>> {
        Box::pin(self.client.group_offsets(group))
    }

    fn write<'a>(
        &'a self,
        group: &'a str,
        offsets: &'a Offsets,
    ) -> BoxFuture<'a, Result<CommitOutcomes, ClientError>> {
        Box::pin(async move {
            let (answer, outcomes) = oneshot::channel();
            let commit = Commit {
                offsets: offsets.to_vec(),
                answer,
            };
            let gone = || ClientError::Api {
                what: format!("group {group}"),
                error: ApiError {
                    code: NOT_AVAILABLE,
                    message: Some("this process has left it".to_owned()),
                },
            };
            self.commits.send(commit).await.map_err(|_| gone())?;
            outcomes.await.map_err(|_| gone())
        })
    }
}

/// What this member committed last for everything that is assigned to it.
#[derive(Debug, Default)]
pub(super) struct Committed {
    last: BTreeMap<TopicPartition, (CommittedOffset, Duration)>,
    /// How often partitions had been lost when this was looked through.
    losses: u64,
}

impl Committed {
    /// Forgets partitions that this member has no more. Another one may commit for them, and must not
    /// be overwritten when they come back.
    pub(super) fn retain(&mut self, ours: impl Fn(&TopicPartition) -> bool) {
        self.last.retain(|partition, _| ours(partition));
    }

    /// Forgets partitions that were lost meanwhile: another member may have committed for them since. What is
    /// still held stays: without it an idle member's lease could not be renewed.
    fn after(&mut self, losses: u64, lost: impl FnOnce() -> Lost) {
        if std::mem::replace(&mut self.losses, losses) == losses {
            return;
        }
        let lost = lost();
        self.last
            .retain(|partition, _| !lost.all && !lost.partitions.contains(partition));
    }

    /// The partition whose commit is the oldest.
    fn oldest(&self) -> Option<(TopicPartition, CommittedOffset)> {
        let oldest = self.last.iter().min_by_key(|(_, (_, at))| *at);
        oldest.map(|(partition, (offset, _))| (partition.clone(), offset.clone()))
    }
}

/// The thread of commits, beside one consumer.
pub(super) struct Commits<'a> {
    pub(super) consumer: &'a BaseConsumer<Context>,
    pub(super) shared: &'a Shared,
    pub(super) clock: &'a dyn Clock,
    pub(super) flow: &'a str,
    pub(super) control: &'a TopicPartition,
    pub(super) next_renewal: Duration,
}

impl Commits<'_> {
    /// Until `stop`.
    pub(super) fn run(
        mut self,
        wanted: &mut mpsc::Receiver<Commit>,
        runtime: &Handle,
        stop: CancellationToken,
    ) {
        while !stop.is_cancelled() {
            let next = async {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => None,
                    commit = wanted.recv() => commit,
                    () = self.clock.sleep(LOOK) => None,
                }
            };
            if let Some(commit) = runtime.block_on(next) {
                let outcomes = self.commit(&commit.offsets);
                // Whoever asked may have given up waiting.
                drop(commit.answer.send(outcomes));
            }
            self.renew();
        }
    }

    /// Commits what is assigned here; the rest is refused.
    fn commit(&self, offsets: &Offsets) -> CommitOutcomes {
        let mut committed = self.shared.committed();
        let (mut ours, mut outcomes) = (Vec::new(), CommitOutcomes::new());
        let holdings = self.shared.holdings();
        for (partition, offset) in offsets {
            if holdings.may_commit(partition) {
                ours.push((partition.clone(), offset.clone()));
            } else {
                let error = ApiError {
                    code: REBALANCING,
                    message: Some("it is not assigned to this process now".to_owned()),
                };
                outcomes.push((partition.clone(), Err(error)));
            }
        }
        drop(holdings);
        self.commit_ours(&ours, &mut committed, &mut outcomes);
        outcomes
    }

    /// Renews the lease if nothing else did: repeats the oldest commit. The control topic has no
    /// checkpoint, but who leads needs a lease before there is one.
    fn renew(&mut self) {
        let now = self.clock.monotonic();
        let fresh = self.shared.lease.age().is_some_and(|age| age < RENEW_AFTER);
        if fresh || now < self.next_renewal {
            return;
        }
        let mut committed = self.shared.committed();
        committed.after(self.shared.losses(), || take(&mut *self.shared.lost()));
        let leads = self.shared.holdings().may_commit(self.control);
        let leader = || {
            let offset = CommittedOffset {
                offset: 0,
                leader_epoch: -1,
                metadata: LEADER.to_owned(),
            };
            (self.control.clone(), offset)
        };
        let Some(again) = committed.oldest().or_else(|| leads.then(leader)) else {
            return;
        };
        self.next_renewal = now + RENEW_PAUSE;
        let mut outcomes = CommitOutcomes::new();
        self.commit_ours(&[again], &mut committed, &mut outcomes);
        if let Some((partition, Err(error))) = outcomes.first() {
            // The next try is another one's: this one may never be taken again.
            if let Some((_, at)) = committed.last.get_mut(partition) {
                *at = now;
            }
            tracing::debug!(flow = %self.flow, %error, "the lease is not renewed");
        }
    }

    fn commit_ours(
        &self,
        offsets: &Offsets,
        committed: &mut Committed,
        outcomes: &mut CommitOutcomes,
    ) {
        if offsets.is_empty() {
            return;
        }
        let (sent, losses) = (self.clock.monotonic(), self.shared.losses());
        let done = list(offsets).and_then(|list| self.consumer.commit(&list, CommitMode::Sync));
        match done {
            Ok(()) => {
                committed.after(losses, || take(&mut *self.shared.lost()));
                if self.shared.losses() == losses {
                    self.shared.lease.confirm(sent);
                }
                for (partition, offset) in offsets {
                    let entry = (offset.clone(), sent);
                    committed.last.insert(partition.clone(), entry);
                    outcomes.push((partition.clone(), Ok(())));
                }
            }
            Err(error) => {
                let error = api_error(&error);
                if offsets.len() > 1 && OF_A_PARTITION.contains(&error.code) {
                    let (front, back) = offsets.split_at(offsets.len() / 2);
                    self.commit_ours(front, committed, outcomes);
                    self.commit_ours(back, committed, outcomes);
                    return;
                }
                let failed = offsets.iter().map(|(p, _)| (p.clone(), Err(error.clone())));
                outcomes.extend(failed);
            }
        }
    }
}

/// Built afresh each time: librdkafka leaks metadata that is set twice.
fn list(offsets: &Offsets) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, committed) in offsets {
        let mut element = list.add_partition(&partition.topic, partition.partition);
        element.set_offset(Offset::Offset(committed.offset))?;
        element.set_metadata(&committed.metadata);
    }
    Ok(list)
}

/// The partitions of a list.
pub(super) fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let elements = list.elements();
    let partitions = elements
        .iter()
        .map(|element| TopicPartition::new(element.topic(), element.partition()));
    partitions.collect()
}

/// librdkafka numbers the brokers' errors as Kafka does, from -1 (unknown) up; its own are below.
fn api_error(error: &KafkaError) -> ApiError {
    let code = error
        .rdkafka_error_code()
        .map_or(-200, |code: RDKafkaErrorCode| code as i32);
    match i16::try_from(code) {
        Ok(code) if code >= -1 => ApiError {
            code,
            message: None,
        },
        _ => ApiError {
            code: NOT_AVAILABLE,
            message: Some(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_brokers_keep_their_number() {
        let code = |code| api_error(&KafkaError::ConsumerCommit(code)).code;
        assert_eq!(code(RDKafkaErrorCode::MessageSizeTooLarge), 10);
        assert_eq!(code(RDKafkaErrorCode::UnknownTopicOrPartition), 3);
        assert_eq!(code(RDKafkaErrorCode::InvalidCommitOffsetSize), 28);
        assert_eq!(code(RDKafkaErrorCode::FencedInstanceId), 82);
        assert_eq!(code(RDKafkaErrorCode::Unknown), -1);
        let own = api_error(&KafkaError::ConsumerCommit(
            RDKafkaErrorCode::WaitingForCoordinator,
        ));
        assert_eq!(own.code, NOT_AVAILABLE);
        assert!(own.message.is_some());
    }

    #[test]
    fn what_was_lost_is_not_committed_again() {
        let offset = |offset| CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: String::new(),
        };
        let partition = |index| TopicPartition::new("t", index);
        let lost = |all, partitions: &[i32]| Lost {
            partitions: partitions.iter().copied().map(partition).collect(),
            all,
        };
        let mut committed = Committed::default();
        committed.after(3, Lost::default);
        for (index, at) in [(0, 5), (1, 3), (2, 4)] {
            let entry = (offset(7), Duration::from_secs(at));
            committed.last.insert(partition(index), entry);
        }
        committed.after(3, || panic!("nothing was lost"));
        assert_eq!(committed.oldest(), Some((partition(1), offset(7))));
        committed.retain(|p| *p != partition(1));
        assert_eq!(committed.oldest(), Some((partition(2), offset(7))));
        committed.after(4, || lost(false, &[2]));
        assert_eq!(committed.oldest(), Some((partition(0), offset(7))));
        committed.after(5, || lost(true, &[]));
        assert_eq!(committed.oldest(), None);
    }

    #[test]
    fn a_list_carries_offsets_and_texts() {
        let offset = CommittedOffset {
            offset: 7,
            leader_epoch: -1,
            metadata: "strait/1".to_owned(),
        };
        let list = list(&[(TopicPartition::new("t", 3), offset)]).unwrap();
        assert_eq!(partitions(&list), [TopicPartition::new("t", 3)]);
        let elements = list.elements();
        assert_eq!(elements[0].offset(), Offset::Offset(7));
        assert_eq!(elements[0].metadata(), "strait/1");
    }
}
