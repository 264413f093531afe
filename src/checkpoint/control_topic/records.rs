//! Keys and values of the control topic.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    checkpoint::text::{topic_id, topic_id_from},
    status::Provides,
};

const VERSION: u32 = 1;
/// Key of the [`FlowRecord`].
pub(super) const FLOW_KEY: &str = "flow";

/// How a source topic is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicKey {
    /// By its id.
    Id(Uuid),
    /// By its name, on brokers that have no ids.
    Name(String),
}

impl TopicKey {
    /// Of the topic with this id, nil if there is none, and name.
    pub fn new(id: Uuid, name: &str) -> Self {
        if id.is_nil() {
            Self::Name(name.to_owned())
        } else {
            Self::Id(id)
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.split_once('/')? {
            ("topic", id) => topic_id_from(id).map(Self::Id),
            ("name", name) => Some(Self::Name(name.to_owned())),
            _ => None,
        }
    }
}

impl std::fmt::Display for TopicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "topic/{}", topic_id(*id)),
            Self::Name(name) => write!(f, "name/{name}"),
        }
    }
}

/// Where the records of a topic were before, and which flow took them from there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Cluster id.
    pub cluster: String,
    /// What the flow calls it; empty: not known.
    #[serde(default)]
    pub alias: String,
    /// The topic there.
    pub topic: String,
    /// The flow.
    pub flow: String,
}

/// From where records came to a topic, the farthest place first.
pub type Way = Vec<Origin>;

/// The flow itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// Cluster id of the source.
    pub source_cluster: String,
    /// Cluster id of the target.
    pub target_cluster: String,
    /// What the flow calls its source; empty: written by a release that did not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source_alias: String,
    /// When the flow first ran, milliseconds since 1970.
    pub created_ms: i64,
    /// What the leader found last that the flow provides; none: written by a release that did not probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provides: Option<Provides>,
}

/// One source topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRecord {
    /// Its name on the source.
    pub source_topic: String,
    /// Its name on the target.
    pub target_topic: String,
    /// Its id on the target; none until it is there.
    #[serde(with = "id_text")]
    pub target_topic_id: Option<Uuid>,
    /// Source offsets where its partitions start; none, and partitions that are not there: the earliest.
    pub start: Option<BTreeMap<i32, i64>>,
    /// When the flow first saw it, milliseconds since 1970.
    pub created_ms: i64,
    /// Ids of topics on the target that an operator gave up for another one, oldest first: checkpoints about them do
    /// not count any more.
    #[serde(default, with = "ids_text", skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<Uuid>,
    /// If the source topic is a copy itself: how its records came there (`flow::topics::origins`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<Way>,
    /// When the leader first saw that it is gone from the source, milliseconds since 1970, if its target is to be deleted
    /// for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_since_ms: Option<i64>,
}

/// Of the list of ids of one topic; checkpoints about older ones are long gone.
const MAX_GIVEN_UP: usize = 8;

impl TopicRecord {
    /// The same without its target topic, which is given up. Where the brokers have no ids (nil) there is nothing to
    /// tell its checkpoints from those about the next topic.
    pub fn unbound(&self) -> Self {
        match self.target_topic_id {
            Some(id) => self.without_target().without(id),
            None => self.clone(),
        }
    }

    /// The same without its target topic, which is not given up.
    pub fn without_target(&self) -> Self {
        Self {
            target_topic_id: None,
            ..self.clone()
        }
    }

    /// The same with the target topic `id` given up.
    pub fn without(&self, id: Uuid) -> Self {
        let mut record = self.clone();
        if !id.is_nil() && !record.given_up.contains(&id) {
            record.given_up.push(id);
        }
        let excess = record.given_up.len().saturating_sub(MAX_GIVEN_UP);
        record.given_up.drain(..excess);
        record
    }

    /// The same with the target topic `id`; what was given up before may be what is meant now.
    pub fn bound_to(&self, id: Uuid) -> Self {
        let mut record = self.clone();
        record.given_up.retain(|given_up| *given_up != id);
        record.target_topic_id = Some(id);
        record
    }

    /// Whether checkpoints about the target topic `id` do not count any more.
    pub fn gave_up(&self, id: Uuid) -> bool {
        self.target_topic_id != Some(id) && self.given_up.contains(&id)
    }
}

/// All that the topic says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlRecords {
    /// None before the flow's first run is complete.
    pub flow: Option<FlowRecord>,
    /// By source topic.
    pub topics: BTreeMap<TopicKey, TopicRecord>,
}

/// A record's fields behind the version.
pub(super) fn value<T: Serialize>(record: &T) -> String {
    let fields = serde_json::to_string(record).expect("text, numbers and their maps are JSON");
    let fields = fields.trim_start_matches('{');
    format!("{{\"version\":{VERSION},{fields}")
}

fn parse<T: for<'de> Deserialize<'de>>(value: &[u8]) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let wrong = |error: serde_json::Error| format!("not a record of strait: {error}");
    let Version { version } = serde_json::from_slice(value).map_err(wrong)?;
    if version != VERSION {
        return Err(format!(
            "it has version {version}, this strait reads version {VERSION}"
        ));
    }
    serde_json::from_slice(value).map_err(wrong)
}

impl ControlRecords {
    /// Target topics called `target` that were deleted or given up: checkpoints about them do not count, whichever source
    /// topic is copied there next.
    pub fn given_up(&self, target: &str) -> Vec<Uuid> {
        let records = self.topics.values().filter(|r| r.target_topic == target);
        records.flat_map(|record| record.given_up.clone()).collect()
    }

    /// Takes in the next record of the topic; the error is a reason.
    pub(super) fn apply(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), String> {
        let key = key
            .and_then(|key| std::str::from_utf8(key).ok())
            .ok_or("its key is not text")?;
        if key == FLOW_KEY {
            self.flow = value.map(parse).transpose()?;
            return Ok(());
        }
        let key = TopicKey::parse(key).ok_or_else(|| format!("its key {key:?} is not known"))?;
        match value {
            Some(value) => drop(self.topics.insert(key, parse(value)?)),
            None => drop(self.topics.remove(&key)),
        }
        Ok(())
    }
}

/// An id as Kafka's tools show it.
mod id_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use uuid::Uuid;

    use super::{topic_id, topic_id_from};

    pub(super) fn serialize<S: Serializer>(id: &Option<Uuid>, out: S) -> Result<S::Ok, S::Error> {
        id.map(topic_id).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Uuid>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let id = |text: String| {
            topic_id_from(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no topic id")))
        };
        text.map(id).transpose()
    }
}

/// Ids as Kafka's tools show them.
mod ids_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use uuid::Uuid;

    use super::{topic_id, topic_id_from};

    pub(super) fn serialize<S: Serializer>(ids: &[Uuid], out: S) -> Result<S::Ok, S::Error> {
        let ids: Vec<_> = ids.iter().map(|id| topic_id(*id)).collect();
        ids.serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Uuid>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let id = |text: String| {
            topic_id_from(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no topic id")))
        };
        texts.into_iter().map(id).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> TopicRecord {
        TopicRecord {
            source_topic: "orders".to_owned(),
            target_topic: "east.orders".to_owned(),
            target_topic_id: Some(Uuid::from_u128(1)),
            start: Some(BTreeMap::from([(0, 17), (3, 0)])),
            created_ms: 1_780_000_000_000,
            given_up: Vec::new(),
            ways: Vec::new(),
            gone_since_ms: None,
        }
    }

    const GOLDEN: &str = r#"{"version":1,"source_topic":"orders","target_topic":"east.orders","target_topic_id":"AAAAAAAAAAAAAAAAAAAAAQ","start":{"0":17,"3":0},"created_ms":1780000000000}"#;
    const GOLDEN_FLOW: &str =
        r#"{"version":1,"source_cluster":"a","target_cluster":"b","created_ms":5}"#;

    fn read(records: &[(&str, Option<&str>)]) -> Result<ControlRecords, String> {
        let mut all = ControlRecords::default();
        for (key, value) in records {
            all.apply(Some(key.as_bytes()), value.map(str::as_bytes))?;
        }
        Ok(all)
    }

    #[test]
    fn a_topic_that_is_a_copy_says_of_what() {
        let origin = Origin {
            cluster: "id".to_owned(),
            alias: "east".to_owned(),
            topic: "orders".to_owned(),
            flow: "east-to-west".to_owned(),
        };
        let record = TopicRecord {
            ways: vec![vec![origin]],
            ..record()
        };
        let text = value(&record);
        let ways =
            r#""ways":[[{"cluster":"id","alias":"east","topic":"orders","flow":"east-to-west"}]]}"#;
        assert!(text.ends_with(ways), "{text}");
        assert_eq!(parse::<TopicRecord>(text.as_bytes()).unwrap(), record);
    }

    /// What was once written is read forever.
    #[test]
    fn version_1_does_not_drift() {
        let key = TopicKey::new(Uuid::from_u128(2), "orders");
        assert_eq!(key.to_string(), "topic/AAAAAAAAAAAAAAAAAAAAAg");
        assert_eq!(value(&record()), GOLDEN);
        let flow = FlowRecord {
            source_cluster: "a".to_owned(),
            target_cluster: "b".to_owned(),
            source_alias: String::new(),
            created_ms: 5,
            provides: None,
        };
        assert_eq!(value(&flow), GOLDEN_FLOW);
        let provides = Provides {
            transport: Some("wire".to_owned()),
            transport_reason: Some("as configured".to_owned()),
            guarantee: "exactly-once".to_owned(),
            guarantee_reason: "why".to_owned(),
        };
        let probed = FlowRecord {
            provides: Some(provides),
            ..flow.clone()
        };
        assert_eq!(
            parse::<FlowRecord>(value(&probed).as_bytes()).unwrap(),
            probed
        );
        let text = key.to_string();
        let all = read(&[(&text, Some(GOLDEN)), (FLOW_KEY, Some(GOLDEN_FLOW))]).unwrap();
        assert_eq!(all.flow, Some(flow));
        assert_eq!(all.topics, BTreeMap::from([(key, record())]));
    }

    #[test]
    fn what_is_given_up_is_remembered_for_a_while() {
        let mut all = record();
        for id in 10..30 {
            all.target_topic_id = Some(Uuid::from_u128(id));
            all = all.unbound();
            assert_eq!(all.target_topic_id, None);
        }
        let kept: Vec<_> = (22..30).map(Uuid::from_u128).collect();
        assert_eq!(all.given_up, kept);
        assert_eq!(parse::<TopicRecord>(value(&all).as_bytes()).unwrap(), all);
    }

    #[test]
    fn what_is_bound_is_not_given_up() {
        let (old, new) = (Uuid::from_u128(10), Uuid::from_u128(11));
        let first = record().bound_to(old);
        let second = first.unbound().bound_to(new);
        assert!(second.gave_up(old) && !second.gave_up(new));
        let again = second.unbound().bound_to(old);
        assert!(!again.gave_up(old) && again.gave_up(new));
        // Written by whoever gave up what it then bound again.
        let both = TopicRecord {
            given_up: vec![old],
            ..first
        };
        assert!(!both.gave_up(old));
        let nil = record().bound_to(Uuid::nil()).unbound();
        assert!(!nil.gave_up(Uuid::nil()) && nil.given_up.is_empty());
    }

    #[test]
    fn the_last_record_of_a_key_counts() {
        let unbound = GOLDEN.replace("\"AAAAAAAAAAAAAAAAAAAAAQ\"", "null");
        let key = "name/orders";
        let all = read(&[(key, Some(&unbound)), (key, Some(GOLDEN))]).unwrap();
        assert_eq!(all.topics[&TopicKey::new(Uuid::nil(), "orders")], record());
        let all = read(&[(key, Some(GOLDEN)), (key, Some(&unbound))]).unwrap();
        assert_eq!(
            all.topics[&TopicKey::new(Uuid::nil(), "orders")].target_topic_id,
            None
        );
        let all = read(&[(key, Some(GOLDEN)), (key, None)]).unwrap();
        assert!(all.topics.is_empty());
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let key = "topic/AAAAAAAAAAAAAAAAAAAAAg";
        for (key, value, reason) in [
            (key, GOLDEN.replace(":1,", ":2,"), "version 2"),
            (key, GOLDEN.replace("\"orders\"", "1"), "not a record"),
            (key, GOLDEN.replace("AAQ", "AAR"), "no topic id"),
            (key, "{}".to_owned(), "not a record"),
            (key, String::new(), "not a record"),
            ("topic/x", GOLDEN.to_owned(), "not known"),
            ("other", GOLDEN.to_owned(), "not known"),
            (FLOW_KEY, GOLDEN_FLOW.replace(":1,", ":9,"), "version 9"),
        ] {
            let error = read(&[(key, Some(&value))]).unwrap_err();
            assert!(error.contains(reason), "{key} {value}: {error}");
        }
        assert!(ControlRecords::default().apply(None, None).is_err());
        assert!(
            ControlRecords::default()
                .apply(Some(&[0xff]), None)
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn every_record_comes_back(
            source_topic: String, target_topic: String, id: Option<u128>, created_ms: i64,
            start: Option<BTreeMap<i32, i64>>, given_up: Vec<u128>, gone_since_ms: Option<i64>,
            ways in proptest::collection::vec(
                proptest::collection::vec(proptest::array::uniform4("\\PC{0,9}"), 0..4), 0..3,
            ),
        ) {
            let record = TopicRecord {
                source_topic, target_topic, target_topic_id: id.map(Uuid::from_u128), start, created_ms,
                given_up: given_up.into_iter().map(Uuid::from_u128).collect(), gone_since_ms,
                ways: ways
                    .into_iter()
                    .map(|way| {
                        let places = way.into_iter();
                        places
                            .map(|[cluster, alias, topic, flow]| Origin { cluster, alias, topic, flow })
                            .collect()
                    })
                    .collect(),
            };
            prop_assert_eq!(parse::<TopicRecord>(value(&record).as_bytes()).unwrap(), record);
        }

        #[test]
        fn hostile_records_do_no_harm(key: Vec<u8>, value: Option<Vec<u8>>) {
            let mut all = ControlRecords::default();
            if all.apply(Some(&key), value.as_deref()).is_err() {
                prop_assert_eq!(all, ControlRecords::default());
            }
        }
    }
}
