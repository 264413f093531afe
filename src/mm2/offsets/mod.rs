//! How far MirrorMaker 2 is: what its source connector left in Kafka Connect's offsets topic on the target.
//!
//! The topic is `mm2-offsets.SOURCE.internal` of MirrorMaker 2 on its own, and has any name on Connect; so has the
//! connector. Keys and values are JSON without schemas (`ConnectorOffsetBackingStore`, `MirrorUtils.wrapPartition`,
//! `wrapOffset`):
//!
//! ```text
//! ["MirrorSourceConnector",{"cluster":"east","partition":0,"topic":"orders"}]   {"offset":122}
//! ```
//!
//! The offset is that of the last record that was copied. A record without a value takes the position back. The
//! last record of a key counts. One key may be written in two ways, which lie in two partitions of the topic: then the
//! younger counts, by timestamp. Several connectors may have positions in one source; which of them is meant, the
//! operator says. Other connectors write to the same topic; what is not of this form is theirs. Pure: whoever reads the
//! topic reads it to its end, committed records only.

mod key;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
pub use key::{key, place, value};
use serde::Deserialize;
use wire::TopicPartition;

/// Positions in one source cluster, as records of the topic tell them one by one.
#[derive(Clone, Debug)]
pub struct Positions {
    cluster: String,
    /// By connector and partition of the source, then by the bytes of the key.
    latest: BTreeMap<(String, TopicPartition), BTreeMap<Bytes, Latest>>,
    /// What else connectors of this kind call their sources.
    others: BTreeSet<String>,
}

/// The last record of one key.
#[derive(Clone, Copy, Debug)]
struct Latest {
    timestamp: i64,
    /// None: it was taken back.
    offset: Option<i64>,
    partition: i32,
}

/// A record of the topic.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// The partition of the topic that it is in.
    pub partition: i32,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// As it is.
    pub key: &'a Bytes,
    /// As it is; none: it takes the position back.
    pub value: Option<&'a [u8]>,
}

/// What is known of one partition of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last record that was copied; none: it was taken back, or nothing was copied
    /// (`MirrorSourceTask.initializeConsumer`).
    pub offset: Option<i64>,
    /// The bytes of its key.
    pub key: Bytes,
    /// The partition of the topic that it is in.
    pub partition: i32,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

/// A position of the source connector that is no number, so nobody knows how far it is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the position of connector {connector} in {partition} of {cluster} is not {{\"offset\": NUMBER}}"
)]
pub struct Malformed {
    connector: String,
    cluster: String,
    partition: TopicPartition,
}

/// The second part of a key, and nothing else: by it, keys of other connectors are told from these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourcePartition {
    cluster: String,
    partition: i32,
    topic: String,
}

/// A value.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceOffset {
    offset: i64,
}

impl Positions {
    /// Of the source that MirrorMaker 2 calls `cluster`; nothing is known yet.
    pub fn new(cluster: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            latest: BTreeMap::new(),
            others: BTreeSet::new(),
        }
    }

    /// Takes one record; those of a partition of the topic in their order.
    ///
    /// # Errors
    /// If it is about this cluster and its value is not understood. Nothing is changed.
    pub fn add(&mut self, record: &Record<'_>) -> Result<(), Malformed> {
        let Ok((connector, source)) =
            serde_json::from_slice::<(String, SourcePartition)>(record.key)
        else {
            return Ok(());
        };
        if source.cluster != self.cluster {
            self.others.insert(source.cluster);
            return Ok(());
        }
        if source.partition < 0 {
            return Ok(());
        }
        let partition = TopicPartition::new(&*source.topic, source.partition);
        let offset = match record
            .value
            .map(serde_json::from_slice::<Option<SourceOffset>>)
        {
            None | Some(Ok(None)) => None,
            Some(Ok(Some(SourceOffset { offset }))) => Some(offset),
            Some(Err(_)) => {
                return Err(Malformed {
                    connector,
                    cluster: source.cluster,
                    partition,
                });
            }
        };
        let latest = Latest {
            timestamp: record.timestamp,
            offset,
            partition: record.partition,
        };
        let spellings = self.latest.entry((connector, partition)).or_default();
        spellings.insert(record.key.clone(), latest);
        Ok(())
    }

    /// What `connector` left of each partition of the source.
    pub fn of(&self, connector: &str) -> BTreeMap<TopicPartition, Position> {
        let theirs = self
            .latest
            .iter()
            .filter(|((name, _), _)| name == connector);
        let positions = theirs.filter_map(|((_, partition), spellings)| {
            // Of two of the same moment the one that is less far: nothing is left out.
            let youngest = spellings
                .iter()
                .max_by_key(|(_, one)| (one.timestamp, std::cmp::Reverse(one.offset)))?;
            let (key, found) = youngest;
            // Another value of Kafka's own is none either: the offset behind the largest.
            let copied = |offset: &i64| (0..i64::MAX).contains(offset);
            let position = Position {
                offset: found.offset.filter(copied),
                key: key.clone(),
                partition: found.partition,
                timestamp: found.timestamp,
            };
            Some((partition.clone(), position))
        });
        positions.collect()
    }

    /// The connectors that have positions here.
    pub fn connectors(&self) -> BTreeSet<&str> {
        self.latest.keys().map(|(name, _)| name.as_str()).collect()
    }

    /// What else connectors of this kind call their sources.
    pub fn other_clusters(&self) -> &BTreeSet<String> {
        &self.others
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn add(
        positions: &mut Positions,
        timestamp: i64,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), Malformed> {
        positions.add(&Record {
            partition: 3,
            timestamp,
            key: &Bytes::copy_from_slice(key.as_bytes()),
            value: value.map(str::as_bytes),
        })
    }

    /// Where connector "MirrorSourceConnector" goes on.
    fn next(records: &[(i64, &str, Option<&str>)]) -> Vec<(String, i32, i64)> {
        let mut positions = Positions::new("A");
        for (timestamp, key, value) in records {
            add(&mut positions, *timestamp, key, *value).unwrap();
        }
        let found = positions.of("MirrorSourceConnector").into_iter();
        found
            .filter_map(|(partition, found)| {
                Some((
                    partition.topic.clone(),
                    partition.partition,
                    found.offset? + 1,
                ))
            })
            .collect()
    }

    const KEY: &str = r#"["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"orders"}]"#;

    /// Keys and values as Kafka 4.1.1 writes them.
    #[test]
    fn what_mirrormaker_wrote_is_read() {
        let orders = |next| vec![("orders".to_owned(), 0, next)];
        assert_eq!(next(&[(1, KEY, Some(r#"{"offset":123}"#))]), orders(124));
        // The last one counts, and a position that was taken back is none.
        assert_eq!(
            next(&[
                (1, KEY, Some(r#"{"offset":9}"#)),
                (1, KEY, Some(r#"{"offset":5}"#))
            ]),
            orders(6)
        );
        assert_eq!(
            next(&[(1, KEY, Some(r#"{"offset":9}"#)), (2, KEY, None)]),
            []
        );
        assert_eq!(next(&[(1, KEY, Some("null"))]), []);
        assert_eq!(next(&[(1, KEY, Some(r#"{"offset":-1}"#))]), []);
        assert_eq!(
            next(&[(1, KEY, None), (2, KEY, Some(r#"{"offset":0}"#))]),
            orders(1)
        );
        assert_eq!(
            next(&[(1, KEY, Some(r#"{"offset":9223372036854775807}"#))]),
            []
        );
    }

    #[test]
    fn what_others_wrote_is_left() {
        for key in [
            r#"["MirrorCheckpointConnector",{"partition":0,"topic":"A.orders","group":"app1"}]"#,
            r#"["MirrorHeartbeatConnector",{"sourceClusterAlias":"A","targetClusterAlias":"B"}]"#,
            r#"["MirrorSourceConnector",{"cluster":"B","partition":0,"topic":"orders"}]"#,
            r#"["MirrorSourceConnector",{"cluster":"A","partition":-1,"topic":"orders"}]"#,
            r#"["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"orders","x":1}]"#,
            r#"["MirrorSourceConnector",{"cluster":"A","partition":0,"partition":1,"topic":"orders"}]"#,
            r#"["jdbc",{"table":"orders"}]"#,
            "[]",
            "",
        ] {
            assert_eq!(next(&[(1, key, Some(r#"{"offset":1}"#))]), [], "{key}");
        }
    }

    #[test]
    fn of_one_key_in_two_spellings_the_younger_counts() {
        let spelt =
            r#"[ "MirrorSourceConnector", {"topic":"orders","partition":0,"cluster":"A"} ]"#;
        let (five, nine) = (Some(r#"{"offset":5}"#), Some(r#"{"offset":9}"#));
        let orders = |next| vec![("orders".to_owned(), 0, next)];
        // They lie in two partitions of the topic, whose order says nothing.
        assert_eq!(next(&[(2, KEY, nine), (1, spelt, five)]), orders(10));
        assert_eq!(next(&[(1, KEY, nine), (2, spelt, five)]), orders(6));
        assert_eq!(next(&[(1, KEY, nine), (1, spelt, five)]), orders(6));
        assert_eq!(next(&[(1, spelt, five), (1, KEY, nine)]), orders(6));
        assert_eq!(next(&[(1, KEY, nine), (2, spelt, None)]), []);
        // In one partition the order counts, whatever the clock said.
        assert_eq!(next(&[(2, KEY, nine), (1, KEY, five)]), orders(6));
    }

    #[test]
    fn connectors_and_clusters_are_told_apart() {
        let other =
            r#"["A->B.MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"orders"}]"#;
        let elsewhere =
            r#"["MirrorSourceConnector",{"cluster":"C","partition":0,"topic":"orders"}]"#;
        let mut positions = Positions::new("A");
        for (key, value) in [
            (KEY, r#"{"offset":5}"#),
            (other, r#"{"offset":9}"#),
            (elsewhere, r#"{"offset":7}"#),
        ] {
            add(&mut positions, 1, key, Some(value)).unwrap();
        }
        let connectors: Vec<_> = positions.connectors().into_iter().collect();
        let names = ["A->B.MirrorSourceConnector", "MirrorSourceConnector"];
        assert_eq!(connectors, names);
        assert_eq!(
            positions.other_clusters(),
            &BTreeSet::from(["C".to_owned()])
        );
        let partition = TopicPartition::new("orders", 0);
        for (name, key, offset) in [(names[0], other, 9), (names[1], KEY, 5)] {
            let position = Position {
                offset: Some(offset),
                key: Bytes::copy_from_slice(key.as_bytes()),
                partition: 3,
                timestamp: 1,
            };
            assert_eq!(
                positions.of(name),
                BTreeMap::from([(partition.clone(), position)])
            );
        }
        assert!(positions.of("other").is_empty());
    }

    #[test]
    fn a_position_that_is_not_understood_is_an_error_and_changes_nothing() {
        let mut positions = Positions::new("A");
        add(&mut positions, 1, KEY, Some(r#"{"offset":7}"#)).unwrap();
        for value in [
            "",
            "{}",
            "7",
            r#"{"offset":"7"}"#,
            r#"{"offset":1.5}"#,
            r#"{"offset":7,"x":1}"#,
            "{",
        ] {
            let error = add(&mut positions, 2, KEY, Some(value)).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains("MirrorSourceConnector in orders-0 of A"),
                "{error}"
            );
        }
        let found = positions.of("MirrorSourceConnector").into_values();
        assert_eq!(found.map(|one| one.offset).collect::<Vec<_>>(), [Some(7)]);
    }

    proptest! {
        /// The last value of each partition, whatever was written before and in between.
        #[test]
        fn the_last_value_of_each_partition_counts(
            writes in prop::collection::vec((0i32..3, "[a-z.\"\\\\é]{1,3}", prop::option::of(-1i64..50)), 0..30),
        ) {
            let mut positions = Positions::new("A");
            let mut wanted = BTreeMap::new();
            for (index, (partition, topic, offset)) in writes.iter().enumerate() {
                let topic_text = serde_json::Value::from(topic.as_str());
                let key = format!("[\"c\",{{\"cluster\":\"A\",\"partition\":{partition},\"topic\":{topic_text}}}]");
                let value = offset.map(|offset| format!("{{\"offset\":{offset}}}"));
                let timestamp = i64::try_from(index).unwrap();
                add(&mut positions, timestamp, &key, value.as_deref()).unwrap();
                wanted.insert(TopicPartition::new(&**topic, *partition), offset.filter(|offset| *offset >= 0));
            }
            let found = positions.of("c").into_iter();
            let found: BTreeMap<_, _> = found.map(|(partition, one)| (partition, one.offset)).collect();
            prop_assert_eq!(found, wanted);
        }

        #[test]
        fn no_bytes_are_too_much(
            key in prop::collection::vec(any::<u8>(), 0..80),
            value in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
            cut in 0usize..80,
        ) {
            let mut positions = Positions::new("A");
            let broken = [&KEY.as_bytes()[..cut.min(KEY.len())], &key].concat();
            for key in [KEY.as_bytes(), &key, &broken] {
                let key = &Bytes::copy_from_slice(key);
                let _taken = positions.add(&Record { partition: 0, timestamp: 0, key, value: value.as_deref() });
            }
            let all = positions.connectors().into_iter().map(|name| positions.of(name).len());
            prop_assert!(all.sum::<usize>() <= 2);
        }
    }
}
