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
//! last record of a key counts; keys of two connectors, or one key written in two ways, may be about the same partition of
//! the source: then the youngest counts, by timestamp. Other connectors write to the same topic; what is not of this
//! form is theirs. Pure: whoever reads the topic reads it to its end, committed records only.

use std::{collections::BTreeMap, iter};

use serde::Deserialize;
use wire::TopicPartition;

/// Positions in one source cluster, as records of the topic tell them one by one.
#[derive(Clone, Debug)]
pub struct Positions {
    cluster: String,
    /// By connector and partition: the timestamp, and the position unless it was taken back.
    latest: BTreeMap<(String, TopicPartition), (i64, Option<i64>)>,
}

/// A record of the topic.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// As it is.
    pub key: &'a [u8],
    /// As it is; none: it takes the position back.
    pub value: Option<&'a [u8]>,
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
        }
    }

    /// Takes one record; those of a partition of the topic in their order.
    ///
    /// # Errors
    /// If it is about this cluster and its value is not understood. Nothing is changed.
    pub fn add(&mut self, record: Record<'_>) -> Result<(), Malformed> {
        let Ok((connector, source)) =
            serde_json::from_slice::<(String, SourcePartition)>(record.key)
        else {
            return Ok(());
        };
        if source.cluster != self.cluster || source.partition < 0 {
            return Ok(());
        }
        let partition = TopicPartition::new(&*source.topic, source.partition);
        let offset = match record.value {
            None => None,
            Some(value) => match serde_json::from_slice::<Option<SourceOffset>>(value) {
                Ok(offset) => offset.map(|offset| offset.offset),
                Err(_) => {
                    return Err(Malformed {
                        connector,
                        cluster: source.cluster,
                        partition,
                    });
                }
            },
        };
        let latest = self.latest.entry((connector, partition));
        let latest = latest.or_insert((record.timestamp, None));
        if latest.0 <= record.timestamp {
            *latest = (record.timestamp, offset);
        }
        Ok(())
    }

    /// Where each partition goes on: the offset behind the last record that was copied. Partitions of which
    /// nothing was copied are not there (`MirrorSourceTask.initializeConsumer`).
    pub fn next_offsets(&self) -> BTreeMap<TopicPartition, i64> {
        let mut youngest: BTreeMap<&TopicPartition, (i64, i64)> = BTreeMap::new();
        for ((_, partition), (timestamp, offset)) in &self.latest {
            let next = offset.filter(|offset| *offset >= 0);
            let Some(next) = next.and_then(|offset| offset.checked_add(1)) else {
                continue;
            };
            let found = youngest.entry(partition).or_insert((*timestamp, next));
            // Of two connectors at the same moment, the one that is less far: nothing is left out.
            if found.0 < *timestamp || found.0 == *timestamp && next < found.1 {
                *found = (*timestamp, next);
            }
        }
        let youngest = youngest.into_iter();
        youngest
            .map(|(partition, (_, next))| (partition.clone(), next))
            .collect()
    }

    /// The connectors that have positions here.
    pub fn connectors(&self) -> impl Iterator<Item = &str> {
        let mut before = None;
        let mut names = self.latest.keys().map(|(connector, _)| connector.as_str());
        iter::from_fn(move || {
            let next = names.find(|name| before != Some(*name))?;
            before = Some(next);
            Some(next)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record<'a>(timestamp: i64, key: &'a str, value: Option<&'a str>) -> Record<'a> {
        Record {
            timestamp,
            key: key.as_bytes(),
            value: value.map(str::as_bytes),
        }
    }

    fn next(records: &[(i64, &str, Option<&str>)]) -> Vec<(String, i32, i64)> {
        let mut positions = Positions::new("A");
        for (timestamp, key, value) in records {
            positions.add(record(*timestamp, key, *value)).unwrap();
        }
        let next = positions.next_offsets().into_iter();
        next.map(|(partition, next)| (partition.topic.to_string(), partition.partition, next))
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
    fn of_two_that_tell_of_a_partition_the_youngest_counts() {
        let other =
            r#"[ "A->B.MirrorSourceConnector", {"topic":"orders","partition":0,"cluster":"A"} ]"#;
        let (five, nine) = (Some(r#"{"offset":5}"#), Some(r#"{"offset":9}"#));
        let orders = |next| vec![("orders".to_owned(), 0, next)];
        assert_eq!(next(&[(2, KEY, five), (1, other, nine)]), orders(6));
        assert_eq!(next(&[(1, KEY, five), (2, other, nine)]), orders(10));
        assert_eq!(next(&[(1, KEY, nine), (1, other, five)]), orders(6));
        assert_eq!(next(&[(1, KEY, five), (2, other, None)]), orders(6));
        // One key in two spellings lies in two partitions of the topic, whose order says nothing.
        let spelt = r#"["MirrorSourceConnector",{"topic":"orders","partition":0,"cluster":"A"}]"#;
        assert_eq!(next(&[(2, KEY, nine), (1, spelt, five)]), orders(10));
        let mut positions = Positions::new("A");
        for key in [KEY, other, spelt] {
            positions.add(record(1, key, five)).unwrap();
        }
        let connectors: Vec<_> = positions.connectors().collect();
        assert_eq!(
            connectors,
            ["A->B.MirrorSourceConnector", "MirrorSourceConnector"]
        );
    }

    #[test]
    fn a_position_that_is_not_understood_is_an_error_and_changes_nothing() {
        let mut positions = Positions::new("A");
        positions
            .add(record(1, KEY, Some(r#"{"offset":7}"#)))
            .unwrap();
        for value in [
            "",
            "{}",
            "7",
            r#"{"offset":"7"}"#,
            r#"{"offset":1.5}"#,
            r#"{"offset":7,"x":1}"#,
            "{",
        ] {
            let error = positions
                .add(record(2, KEY, Some(value)))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("MirrorSourceConnector in orders-0 of A"),
                "{error}"
            );
        }
        assert_eq!(
            positions.next_offsets().into_values().collect::<Vec<_>>(),
            [8]
        );
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
                positions.add(record(timestamp, &key, value.as_deref())).unwrap();
                wanted.insert(TopicPartition::new(&**topic, *partition), offset.map(|offset| offset + 1));
            }
            let wanted = wanted.into_iter().filter_map(|(partition, next)| Some((partition, next?)));
            let wanted: BTreeMap<_, _> = wanted.filter(|(_, next)| *next > 0).collect();
            prop_assert_eq!(positions.next_offsets(), wanted);
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
                let _taken = positions.add(Record { timestamp: 0, key, value: value.as_deref() });
            }
            prop_assert!(positions.next_offsets().len() <= 2);
        }
    }
}
