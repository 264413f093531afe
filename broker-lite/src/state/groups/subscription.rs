//! The topics in a consumer's subscription.
//!
//! Form (ConsumerProtocolSubscription, version 0, which begins all later ones): version i16, topics
//! array(string), user data. Only the topics are read, so newer versions pass.

use std::collections::BTreeSet;

use bytes::Buf;

/// The topics, or `None` if the bytes are something else.
pub(super) fn topics(mut metadata: &[u8]) -> Option<BTreeSet<String>> {
    if metadata.try_get_i16().ok()? < 0 {
        return None;
    }
    let count = metadata.try_get_i32().ok()?;
    let mut topics = BTreeSet::new();
    for _ in 0..count.max(0) {
        let length = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
        let name = metadata.get(..length)?;
        topics.insert(String::from_utf8(name.to_vec()).ok()?);
        metadata.advance(length);
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::{
        messages::ConsumerProtocolSubscription,
        protocol::{Encodable, StrBytes},
    };
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn topics_are_read_from_every_version(
            names in proptest::collection::btree_set("[a-z.]{1,20}", 0..5),
            version in 0i16..=3,
        ) {
            let list = names.iter().cloned().map(StrBytes::from_string).collect();
            let subscription = ConsumerProtocolSubscription::default().with_topics(list);
            let mut bytes = BytesMut::from(&version.to_be_bytes()[..]);
            subscription.encode(&mut bytes, version).unwrap();
            prop_assert_eq!(topics(&bytes), Some(names));
        }

        #[test]
        fn hostile_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(found) = topics(&bytes) {
                prop_assert!(found.iter().map(String::len).sum::<usize>() <= bytes.len());
            }
        }
    }
}
