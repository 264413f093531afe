//! Keys and values as Kafka Connect writes them, byte by byte, and where its producer puts them.
//!
//! Connect keeps the bytes of a key and looks up by them (`OffsetStorageReaderImpl`), and compaction goes by key and partition:
//! what MirrorMaker 2 is to find must be the same bytes in the same partition. `JsonConverter` without schemas writes
//! JSON without blanks; the map's order is that of Java's `HashMap`, the same for these three names in all versions.

use serde::Serialize;
use wire::TopicPartition;

#[derive(Serialize)]
struct SourcePartition<'a> {
    cluster: &'a str,
    partition: i32,
    topic: &'a str,
}

/// The key of a source partition's position.
pub fn key(connector: &str, cluster: &str, partition: &TopicPartition) -> Vec<u8> {
    let source = SourcePartition {
        cluster,
        partition: partition.partition,
        topic: &partition.topic,
    };
    serde_json::to_vec(&(connector, source)).expect("texts and numbers are JSON")
}

/// The value of a position: the last record that was copied.
pub fn value(offset: i64) -> Vec<u8> {
    format!("{{\"offset\":{offset}}}").into_bytes()
}

/// The partition of `count` that Kafka's own producer writes `key` to (`BuiltInPartitioner.partitionForKey`).
pub fn place(key: &[u8], count: i32) -> i32 {
    (murmur2(key) & i32::MAX) % count.max(1)
}

/// Kafka's hash of keys (`org.apache.kafka.common.utils.Utils.murmur2`).
fn murmur2(bytes: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ hash >> 15).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cluster: &str, topic: &str, partition: i32) -> Vec<u8> {
        let partition = TopicPartition::new(topic, partition);
        key("MirrorSourceConnector", cluster, &partition)
    }

    /// As Kafka 4.1.1's own classes wrote, hashed and placed them.
    #[test]
    fn keys_are_those_of_kafka_connect() {
        let written =
            br#"["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"orders"}]"#;
        assert_eq!(of("A", "orders", 0), written);
        assert_eq!(value(123), br#"{"offset":123}"#);
        for (key, hash, partition) in [
            (of("A", "orders", 0), -225_638_395, 3),
            (of("A", "orders", 7), 1_763_883_526, 1),
            (of("primary", "payments", 3), -1_142_904_239, 9),
        ] {
            assert_eq!((murmur2(&key), place(&key, 25)), (hash, partition));
        }
    }

    /// As `UtilsTest.testMurmur2` of Kafka has them: every length of the last word.
    #[test]
    fn hashes_are_kafkas() {
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn names_of_connectors_are_written_as_jackson_writes_them() {
        let partition = TopicPartition::new("t", 0);
        let written = key("A->B.\"é\\/", "A", &partition);
        let wanted = r#"["A->B.\"é\\/",{"cluster":"A","partition":0,"topic":"t"}]"#;
        assert_eq!(String::from_utf8(written).unwrap(), wanted);
    }
}
