//! What a consumer's group leader handed to a member (`ConsumerProtocolAssignment`).
//!
//! Only the layout that all versions share is read, and nothing is reserved by what a length says.

use bytes::{Buf, Bytes};

use crate::TopicPartition;

/// The partitions in a member's assignment; none if the bytes are no consumer's assignment.
pub(super) fn partitions(bytes: Bytes) -> Vec<TopicPartition> {
    read(bytes).unwrap_or_default()
}

fn read(mut bytes: Bytes) -> Option<Vec<TopicPartition>> {
    let _version = bytes.try_get_i16().ok()?;
    let mut partitions = Vec::new();
    for _ in 0..bytes.try_get_i32().ok()? {
        let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        if bytes.remaining() < length {
            return None;
        }
        let topic = String::from_utf8(bytes.split_to(length).to_vec()).ok()?;
        for _ in 0..bytes.try_get_i32().ok()? {
            partitions.push(TopicPartition::new(&topic, bytes.try_get_i32().ok()?));
        }
    }
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::{
        messages::{
            ConsumerProtocolAssignment, TopicName,
            consumer_protocol_assignment::TopicPartition as Assigned,
        },
        protocol::{Encodable, StrBytes},
    };
    use proptest::prelude::*;

    use super::*;

    /// Encoded by the crate, which is not what decodes here.
    fn encoded(topics: &[(String, Vec<i32>)], version: i16) -> Bytes {
        let topics = topics.iter().map(|(topic, partitions)| {
            Assigned::default()
                .with_topic(TopicName(StrBytes::from_string(topic.clone())))
                .with_partitions(partitions.clone())
        });
        let message = ConsumerProtocolAssignment::default()
            .with_assigned_partitions(topics.collect())
            .with_user_data(Some(Bytes::from_static(b"sticky")));
        let mut bytes = bytes::BytesMut::new();
        bytes.extend_from_slice(&version.to_be_bytes());
        message.encode(&mut bytes, version).unwrap();
        bytes.freeze()
    }

    proptest! {
        #[test]
        fn what_was_assigned_is_read(
            topics in proptest::collection::vec(
                ("[a-z]{1,9}", proptest::collection::vec(0i32..99, 0..5)), 0..5),
            version in 0i16..4,
            cut in 0usize..200,
        ) {
            let bytes = encoded(&topics, version);
            let expected: Vec<_> = topics
                .iter()
                .flat_map(|(topic, all)| all.iter().map(move |p| TopicPartition::new(topic, *p)))
                .collect();
            prop_assert_eq!(partitions(bytes.clone()), expected.clone());
            // Cut anywhere: all or nothing, never a part.
            let rest = partitions(bytes.slice(..cut.min(bytes.len())));
            prop_assert!(rest.is_empty() || rest == expected);
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            partitions(bytes.into());
        }
    }

    #[test]
    fn announced_lengths_reserve_nothing() {
        let huge = [0, 0, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff];
        assert!(partitions(Bytes::copy_from_slice(&huge)).is_empty());
    }
}
