//! What the members of a consumer group tell each other through its coordinator, which does not look into it:
//! what they want and have (`ConsumerProtocolSubscription`), and what their leader hands out
//! (`ConsumerProtocolAssignment`; both in Kafka's `clients/src/main/resources/common/message`).
//!
//! Only the layout that all versions share is read, and nothing is reserved by what a length says.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ConsumerProtocolAssignment, ConsumerProtocolSubscription,
        consumer_protocol_assignment::TopicPartition as Assigned,
        consumer_protocol_subscription::TopicPartition as Owned,
    },
    protocol::{Encodable, StrBytes},
};

use super::offsets::name;
use crate::TopicPartition;

/// What a member wants and has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The topics that it wants partitions of.
    pub topics: BTreeSet<String>,
    /// What it has, and gives up only by itself (KIP-429).
    pub owned: BTreeSet<TopicPartition>,
    /// The generation in which it was given that; -1: not told, or in none.
    pub generation: i32,
    /// Whatever else it says to the leader.
    pub user_data: Bytes,
}

/// What a member gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// All that it is to have.
    pub partitions: BTreeSet<TopicPartition>,
    /// Whatever else the leader says to it.
    pub user_data: Bytes,
}

/// With owned partitions from version 1 on, with the generation from version 2.
const SUBSCRIPTION: i16 = 2;
const ASSIGNMENT: i16 = 0;

impl Subscription {
    /// For JoinGroup; none if a name is longer than any topic's.
    pub fn encode(&self) -> Option<Bytes> {
        let topics = self.topics.iter().map(|t| StrBytes::from_string(t.clone()));
        let owned = by_topic(&self.owned).into_iter().map(|(topic, numbers)| {
            let owned = Owned::default().with_topic(name(topic));
            owned.with_partitions(numbers)
        });
        let message = ConsumerProtocolSubscription::default()
            .with_topics(topics.collect())
            .with_user_data(Some(self.user_data.clone()))
            .with_owned_partitions(owned.collect())
            .with_generation_id(self.generation);
        encode(&message, SUBSCRIPTION)
    }

    /// None if the bytes are no consumer's subscription.
    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        let bytes = &mut bytes;
        let version = bytes.try_get_i16().ok()?;
        let mut topics = BTreeSet::new();
        for _ in 0..bytes.try_get_i32().ok()? {
            topics.insert(string(bytes)?);
        }
        Some(Self {
            topics,
            user_data: blob(bytes)?,
            owned: if version < 1 {
                BTreeSet::new()
            } else {
                partitions(bytes)?
            },
            generation: if version < 2 {
                -1
            } else {
                bytes.try_get_i32().ok()?
            },
        })
    }
}

impl Assignment {
    /// For SyncGroup; none if a name is longer than any topic's.
    pub fn encode(&self) -> Option<Bytes> {
        let assigned = by_topic(&self.partitions)
            .into_iter()
            .map(|(topic, numbers)| {
                let assigned = Assigned::default().with_topic(name(topic));
                assigned.with_partitions(numbers)
            });
        let message = ConsumerProtocolAssignment::default()
            .with_assigned_partitions(assigned.collect())
            .with_user_data(Some(self.user_data.clone()));
        encode(&message, ASSIGNMENT)
    }

    /// None if the bytes are no consumer's assignment. No bytes are an empty one.
    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let bytes = &mut bytes;
        let _version = bytes.try_get_i16().ok()?;
        Some(Self {
            partitions: partitions(bytes)?,
            user_data: blob(bytes)?,
        })
    }
}

fn by_topic(partitions: &BTreeSet<TopicPartition>) -> BTreeMap<&str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        let numbers = topics.entry(&partition.topic).or_default();
        numbers.push(partition.partition);
    }
    topics
}

fn encode(message: &impl Encodable, version: i16) -> Option<Bytes> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    message.encode(&mut bytes, version).ok()?;
    Some(bytes.freeze())
}

fn string(bytes: &mut Bytes) -> Option<String> {
    let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    (bytes.remaining() >= length)
        .then(|| String::from_utf8(bytes.split_to(length).to_vec()).ok())?
}

/// Null is empty.
fn blob(bytes: &mut Bytes) -> Option<Bytes> {
    let length = bytes.try_get_i32().ok()?;
    let length = usize::try_from(length.max(0)).ok()?;
    (bytes.remaining() >= length).then(|| bytes.split_to(length))
}

fn partitions(bytes: &mut Bytes) -> Option<BTreeSet<TopicPartition>> {
    let mut partitions = BTreeSet::new();
    for _ in 0..bytes.try_get_i32().ok()? {
        let topic = string(bytes)?;
        for _ in 0..bytes.try_get_i32().ok()? {
            partitions.insert(TopicPartition::new(&topic, bytes.try_get_i32().ok()?));
        }
    }
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_partitions() -> impl Strategy<Value = BTreeSet<TopicPartition>> {
        let one = ("[a-z]{1,9}", 0i32..99).prop_map(|(topic, p)| TopicPartition::new(&topic, p));
        proptest::collection::btree_set(one, 0..9)
    }

    fn blobs() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from)
    }

    /// As another client writes it: by the crate, which is not what decodes here, in any version.
    fn assignment(assignment: &Assignment, version: i16) -> Bytes {
        let topics = by_topic(&assignment.partitions).into_iter();
        let topics = topics.map(|(topic, all)| {
            let assigned = Assigned::default().with_topic(name(topic));
            assigned.with_partitions(all)
        });
        let message = ConsumerProtocolAssignment::default()
            .with_assigned_partitions(topics.collect())
            .with_user_data(Some(assignment.user_data.clone()));
        encode(&message, version).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_assigned_is_read(
            partitions in some_partitions(),
            user_data in blobs(),
            version in 0i16..4,
            cut in 0usize..200,
        ) {
            let assigned = Assignment { partitions, user_data };
            let bytes = assignment(&assigned, version);
            prop_assert_eq!(Assignment::decode(bytes.clone()), Some(assigned.clone()));
            prop_assert_eq!(
                Assignment::decode(assigned.encode().unwrap()),
                Some(assigned.clone())
            );
            // Cut anywhere: all or nothing, never a part.
            let rest = Assignment::decode(bytes.slice(..cut.min(bytes.len())));
            prop_assert!(
                rest.is_none() || rest == Some(Assignment::default()) || rest == Some(assigned)
            );
        }

        #[test]
        fn what_a_member_says_is_read(
            topics in proptest::collection::btree_set("[a-z]{1,9}", 0..5),
            owned in some_partitions(),
            generation in -1i32..99,
            user_data in blobs(),
            cut in 0usize..400,
        ) {
            let said = Subscription { topics, owned, generation, user_data };
            let bytes = said.encode().unwrap();
            prop_assert_eq!(Subscription::decode(bytes.clone()), Some(said.clone()));
            let rest = Subscription::decode(bytes.slice(..cut.min(bytes.len())));
            prop_assert!(rest.is_none() || rest == Some(said));
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            Assignment::decode(bytes.clone());
            Subscription::decode(bytes);
        }
    }

    #[test]
    fn older_versions_say_less() {
        let topics = vec![StrBytes::from_static_str("t")];
        let message = ConsumerProtocolSubscription::default().with_topics(topics);
        for version in 0..4 {
            let read = Subscription::decode(encode(&message, version).unwrap()).unwrap();
            assert_eq!(read.topics, BTreeSet::from(["t".to_owned()]));
            assert_eq!((read.owned.len(), read.generation), (0, -1));
        }
    }

    #[test]
    fn announced_lengths_reserve_nothing() {
        let huge = [0, 0, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff];
        let huge = Bytes::copy_from_slice(&huge);
        assert_eq!(Assignment::decode(huge.clone()), None);
        assert_eq!(Subscription::decode(huge), None);
    }
}
