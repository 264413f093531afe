//! What a leader's answer means for one batch (EXACTNESS 4). Pure.

use std::collections::HashMap;

use kafka_protocol::messages::{ProduceResponse, produce_response::PartitionProduceResponse};
use uuid::Uuid;
use wire::{TopicPartition, error::ApiError};

use super::item::Item;
use crate::sink::{Appended, SinkError};

/// One answer, by partition: by topic id where the broker answered so.
pub(super) struct Outcomes<'a>(HashMap<(&'a str, Uuid, i32), &'a PartitionProduceResponse>);

impl<'a> Outcomes<'a> {
    pub(super) fn new(response: &'a ProduceResponse) -> Self {
        let topics = response.responses.iter();
        let partitions = topics.flat_map(|topic| {
            let partitions = topic.partition_responses.iter();
            partitions.map(|p| ((topic.name.as_str(), topic.topic_id, p.index), p))
        });
        Self(partitions.collect())
    }

    fn find(&self, item: &Item) -> Option<&PartitionProduceResponse> {
        let TopicPartition { topic, partition } = &*item.batch.partition;
        let by_name = self.0.get(&(topic.as_str(), Uuid::nil(), *partition));
        let found = by_name.or_else(|| self.0.get(&("", item.batch.topic_id, *partition)));
        found.copied()
    }

    /// Whether the leader waited for its replicas in vain: REQUEST_TIMED_OUT, and only where acks = all is not
    /// reached (`DelayedProduce.onComplete`).
    pub(super) fn is_late(&self, item: &Item) -> bool {
        self.find(item).is_some_and(|answer| answer.error_code == 7)
    }

    pub(super) fn of(&self, item: &Item) -> Result<Appended, SinkError> {
        let answer = self.find(item);
        let answer = answer.ok_or_else(|| item.lost("the broker did not answer for it"))?;
        let message = answer.error_message.as_deref();
        match ApiError::from_code(answer.error_code, message) {
            Some(error) => Err(refusal(item, &error)),
            None if answer.base_offset < 0 => Err(item.lost("acknowledged without an offset")),
            None => Ok(Appended {
                first_offset: answer.base_offset,
                last_offset: answer.base_offset + i64::from(item.records) - 1,
            }),
        }
    }
}

fn refusal(item: &Item, error: &ApiError) -> SinkError {
    let partition = (*item.batch.partition).clone();
    let source_offset = item.source_offset;
    match error.code {
        // CORRUPT_MESSAGE
        2 => SinkError::Corrupt {
            partition,
            source_offset,
        },
        // UNSUPPORTED_COMPRESSION_TYPE
        76 => SinkError::Unsupported {
            partition,
            source_offset,
            reason: error.to_string(),
        },
        // MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, INVALID_TIMESTAMP, INVALID_RECORD
        10 | 18 | 32 | 87 => SinkError::Refused {
            partition,
            source_offset,
            reason: error.to_string(),
        },
        // TOPIC_ and CLUSTER_AUTHORIZATION_FAILED
        29 | 31 => SinkError::Denied { partition },
        // INVALID_PRODUCER_EPOCH
        47 => SinkError::Fenced {
            partition,
            reason: error.to_string(),
        },
        // In doubt, or not appended now: the worker reconciles, whatever it is. OUT_OF_ORDER_SEQUENCE_NUMBER is
        // among them: it is neither a duplicate nor fatal.
        _ => item.lost(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kafka_protocol::{
        messages::{TopicName, produce_response::TopicProduceResponse},
        protocol::StrBytes,
    };
    use tokio::sync::mpsc;
    use wire::{batch::HEADER_LEN, produce::ProduceBatch};

    use super::{super::item::Reply, *};

    fn item() -> Item {
        Item {
            ticket: 1,
            source_offset: 500,
            records: 3,
            guarded: true,
            batch: ProduceBatch {
                partition: Arc::new(TopicPartition::new("t", 2)),
                topic_id: Uuid::from_u128(9),
                header: [0; HEADER_LEN],
                payload: bytes::Bytes::new(),
            },
            reply: Reply::new(mpsc::channel(1).0),
        }
    }

    fn response(name: &'static str, id: Uuid, index: i32, code: i16) -> ProduceResponse {
        let partition = PartitionProduceResponse::default()
            .with_index(index)
            .with_error_code(code)
            .with_base_offset(if code == 0 { 40 } else { -1 });
        let topic = TopicProduceResponse::default()
            .with_name(TopicName(StrBytes::from_static_str(name)))
            .with_topic_id(id)
            .with_partition_responses(vec![partition]);
        ProduceResponse::default().with_responses(vec![topic])
    }

    #[test]
    fn answers_are_found_by_name_and_by_id() {
        for response in [
            response("t", Uuid::nil(), 2, 0),
            response("", Uuid::from_u128(9), 2, 0),
        ] {
            let appended = Outcomes::new(&response).of(&item()).unwrap();
            assert_eq!((appended.first_offset, appended.last_offset), (40, 42));
        }
        for response in [
            response("t", Uuid::nil(), 1, 0),
            response("", Uuid::from_u128(8), 2, 0),
        ] {
            let error = Outcomes::new(&response).of(&item()).unwrap_err();
            assert!(matches!(error, SinkError::Lost { .. }), "{error}");
        }
    }

    #[test]
    fn rule_4_what_an_answer_means() {
        let outcome = |code| {
            let response = response("t", Uuid::nil(), 2, code);
            Outcomes::new(&response).of(&item()).unwrap_err()
        };
        assert!(matches!(outcome(76), SinkError::Unsupported { .. }));
        for code in [10, 18, 32, 87] {
            let error = outcome(code);
            assert!(
                matches!(
                    error,
                    SinkError::Refused {
                        source_offset: 500,
                        ..
                    }
                ),
                "{code}"
            );
        }
        // Duplicate, gap, unknown producer, moved leader, timeouts: all are reconciled.
        for code in [3, 5, 6, 7, 19, 20, 45, 46, 56, 59, 74, 90, 100, -1] {
            assert!(matches!(outcome(code), SinkError::Lost { .. }), "{code}");
        }
        assert!(matches!(outcome(47), SinkError::Fenced { .. }));
        assert!(matches!(outcome(29), SinkError::Denied { .. }));
        assert!(matches!(
            outcome(2),
            SinkError::Corrupt {
                source_offset: 500,
                ..
            }
        ));
    }
}
