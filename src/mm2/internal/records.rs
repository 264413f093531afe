//! The three kinds of records.

use super::fields::{FormatError, Reader, Writer};

/// A record as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// One record and where its copy is (`org.apache.kafka.connect.mirror.OffsetSync`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetSync {
    /// The topic's name on the source.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The record's offset there.
    pub source_offset: i64,
    /// Its copy's offset on the target.
    pub target_offset: i64,
}

/// Where a group goes on (`org.apache.kafka.connect.mirror.Checkpoint`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The group.
    pub group: String,
    /// The topic's name on the target.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// What the group committed on the source.
    pub source_offset: i64,
    /// The same on the target.
    pub target_offset: i64,
    /// What it committed with that.
    pub metadata: String,
}

/// A sign of life of a flow (`org.apache.kafka.connect.mirror.Heartbeat`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Alias of the flow's source.
    pub source: String,
    /// Alias of its target.
    pub target: String,
    /// When, in milliseconds since 1970.
    pub timestamp_ms: i64,
}

impl OffsetSync {
    /// As bytes.
    ///
    /// # Errors
    /// If a text is too long.
    pub fn encode(&self) -> Result<Encoded, FormatError> {
        let key = Writer::default().text(&self.topic)?.int32(self.partition);
        let value = Writer::default()
            .int64(self.source_offset)
            .int64(self.target_offset);
        Ok(Encoded {
            key: key.bytes(),
            value: value.bytes(),
        })
    }

    /// From bytes.
    ///
    /// # Errors
    /// If they are no offset sync.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, FormatError> {
        let (mut key, mut value) = (Reader::new(key), Reader::new(value));
        let sync = Self {
            topic: key.text()?,
            partition: key.int32()?,
            source_offset: value.int64()?,
            target_offset: value.int64()?,
        };
        key.end().and_then(|()| value.end()).map(|()| sync)
    }
}

impl Checkpoint {
    /// As bytes.
    ///
    /// # Errors
    /// If a text is too long.
    pub fn encode(&self) -> Result<Encoded, FormatError> {
        let key = Writer::default().text(&self.group)?.text(&self.topic)?;
        let value = Writer::default()
            .version()
            .int64(self.source_offset)
            .int64(self.target_offset)
            .text(&self.metadata)?;
        Ok(Encoded {
            key: key.int32(self.partition).bytes(),
            value: value.bytes(),
        })
    }

    /// From bytes.
    ///
    /// # Errors
    /// If they are no checkpoint of version 0.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, FormatError> {
        let (mut key, mut value) = (Reader::new(key), Reader::new(value));
        value.version()?;
        let checkpoint = Self {
            group: key.text()?,
            topic: key.text()?,
            partition: key.int32()?,
            source_offset: value.int64()?,
            target_offset: value.int64()?,
            metadata: value.text()?,
        };
        key.end().and_then(|()| value.end()).map(|()| checkpoint)
    }
}

impl Heartbeat {
    /// As bytes.
    ///
    /// # Errors
    /// If a text is too long.
    pub fn encode(&self) -> Result<Encoded, FormatError> {
        let key = Writer::default().text(&self.source)?.text(&self.target)?;
        let value = Writer::default().version().int64(self.timestamp_ms);
        Ok(Encoded {
            key: key.bytes(),
            value: value.bytes(),
        })
    }

    /// From bytes.
    ///
    /// # Errors
    /// If they are no heartbeat of version 0.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, FormatError> {
        let (mut key, mut value) = (Reader::new(key), Reader::new(value));
        value.version()?;
        let heartbeat = Self {
            source: key.text()?,
            target: key.text()?,
            timestamp_ms: value.int64()?,
        };
        key.end().and_then(|()| value.end()).map(|()| heartbeat)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(|c| *c != ' ').collect();
        let bytes = digits.chunks(2);
        bytes
            .map(|two| u8::from_str_radix(&two.iter().collect::<String>(), 16).unwrap())
            .collect()
    }

    fn encoded(key: &str, value: &str) -> Encoded {
        let [key, value] = [key, value].map(hex);
        Encoded { key, value }
    }

    fn sync(topic: &str, partition: i32, source_offset: i64, target_offset: i64) -> OffsetSync {
        OffsetSync {
            topic: topic.to_owned(),
            partition,
            source_offset,
            target_offset,
        }
    }

    fn checkpoint(group: &str, metadata: &str) -> Checkpoint {
        Checkpoint {
            group: group.to_owned(),
            topic: "A.orders".to_owned(),
            partition: 7,
            source_offset: 1000,
            target_offset: 990,
            metadata: metadata.to_owned(),
        }
    }

    fn heartbeat(source: &str) -> Heartbeat {
        Heartbeat {
            source: source.to_owned(),
            target: "B".to_owned(),
            timestamp_ms: 1_700_000_000_000,
        }
    }

    /// Bytes that Java made: `OffsetSync`, `Checkpoint` and `Heartbeat` of connect-mirror-client 4.1.1.
    #[test]
    fn records_are_those_that_java_makes() {
        let bytes = encoded(
            "00066f726465727300000007",
            "00000000000003e800000000000003de",
        );
        let record = sync("orders", 7, 1000, 990);
        assert_eq!(record.encode().unwrap(), bytes);
        assert_eq!(OffsetSync::decode(&bytes.key, &bytes.value), Ok(record));
        let bytes = encoded(
            "0004617070310008412e6f726465727300000007",
            "0000 00000000000003e8 00000000000003de 0000",
        );
        let record = checkpoint("app1", "");
        assert_eq!(record.encode().unwrap(), bytes);
        assert_eq!(Checkpoint::decode(&bytes.key, &bytes.value), Ok(record));
        let bytes = encoded("000141000142", "0000 0000018bcfe56800");
        let record = heartbeat("A");
        assert_eq!(record.encode().unwrap(), bytes);
        assert_eq!(Heartbeat::decode(&bytes.key, &bytes.value), Ok(record));
    }

    #[test]
    fn texts_are_as_long_as_their_length_can_say() {
        let (most, more) = ("x".repeat(32_767), "x".repeat(32_768));
        let too_long = FormatError::TooLong(32_768);
        assert!(checkpoint("g", &most).encode().is_ok());
        assert_eq!(checkpoint("g", &more).encode(), Err(too_long));
        assert_eq!(checkpoint(&more, "").encode(), Err(too_long));
        assert_eq!(sync(&more, 0, 0, 0).encode(), Err(too_long));
        assert_eq!(heartbeat(&more).encode(), Err(too_long));
    }

    #[test]
    fn what_is_no_record_is_told_by_why() {
        let Encoded { key, value } = checkpoint("app1", "m").encode().unwrap();
        let decode = Checkpoint::decode;
        for end in 0..value.len() {
            assert_eq!(decode(&key, &value[..end]), Err(FormatError::Short));
        }
        for end in 0..key.len() {
            assert_eq!(decode(&key[..end], &value), Err(FormatError::Short));
        }
        let longer = [&value[..], b"x"].concat();
        assert_eq!(decode(&key, &longer), Err(FormatError::Behind(1)));
        let mut newer = value.clone();
        newer[1] = 1;
        assert_eq!(decode(&key, &newer), Err(FormatError::Version(1)));
        let mut null = key.clone();
        null[..2].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(decode(&null, &value), Err(FormatError::Length(-1)));
        let mut bytes = key.clone();
        bytes[2] = 0xff;
        assert_eq!(decode(&bytes, &value), Err(FormatError::NotText));
    }

    proptest! {
        #[test]
        fn records_lead_back(
            texts in proptest::array::uniform3("\\PC{0,40}"), partition: i32, numbers: (i64, i64),
        ) {
            let [group, topic, metadata] = texts;
            let record = sync(&topic, partition, numbers.0, numbers.1);
            let Encoded { key, value } = record.encode().unwrap();
            prop_assert_eq!(OffsetSync::decode(&key, &value), Ok(record));
            let record = Heartbeat { source: group.clone(), target: topic.clone(), timestamp_ms: numbers.0 };
            let Encoded { key, value } = record.encode().unwrap();
            prop_assert_eq!(Heartbeat::decode(&key, &value), Ok(record));
            let (source_offset, target_offset) = numbers;
            let record = Checkpoint { group, topic, partition, source_offset, target_offset, metadata };
            let Encoded { key, value } = record.encode().unwrap();
            prop_assert_eq!(Checkpoint::decode(&key, &value), Ok(record));
        }

        /// There is one form of each record, so whatever is read is written again as it was.
        #[test]
        fn hostile_bytes_are_refused_or_are_a_record(
            key in proptest::collection::vec(prop_oneof![Just(0u8), 0u8..8, any::<u8>()], 0..40),
            value in proptest::collection::vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..40),
        ) {
            let bytes = Encoded { key: key.clone(), value: value.clone() };
            if let Ok(record) = OffsetSync::decode(&key, &value) {
                prop_assert_eq!(record.encode(), Ok(bytes.clone()));
            }
            if let Ok(record) = Checkpoint::decode(&key, &value) {
                prop_assert_eq!(record.encode(), Ok(bytes.clone()));
            }
            if let Ok(record) = Heartbeat::decode(&key, &value) {
                prop_assert_eq!(record.encode(), Ok(bytes));
            }
        }
    }
}
