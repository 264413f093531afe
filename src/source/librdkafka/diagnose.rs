//! Which partition an error is about, and what kind of stop it is.
//!
//! librdkafka's error events do not name their partition through rust-rdkafka, so every open one is
//! looked at with the wire client.

use std::time::Duration;

use wire::{
    Class, Isolation, TopicPartition,
    client::{Client, FetchRequest, OffsetSpec},
    error::{ApiError, ClientError},
};

use crate::source::SourceError;

const UNKNOWN_TOPIC: i16 = 3;
const OUT_OF_RANGE: i16 = 1;
const TOPIC_DENIED: i16 = 29;
/// The first bytes behind the position: enough to meet a damaged batch.
const LOOK_BYTES: i32 = 4 << 20;

/// The partitions of `positions` (partition and next offset) that cannot go on, and why. One that only
/// cannot be reached now is not among them.
pub(super) async fn diagnose(
    client: &Client,
    positions: &[(TopicPartition, i64)],
    isolation: Isolation,
) -> Result<Vec<SourceError>, ClientError> {
    let specs = [OffsetSpec::Earliest, OffsetSpec::Latest];
    let wanted: Vec<_> = positions
        .iter()
        .flat_map(|(p, _)| specs.map(|spec| (p.clone(), spec)))
        .collect();
    let listed = client
        .list_offsets(&wanted, Isolation::ReadUncommitted)
        .await?;
    let mut failures = Vec::new();
    for (partition, offset) in positions {
        let mut ends = listed
            .iter()
            .filter(|(p, _)| p == partition)
            .map(|(_, found)| found);
        let failure = match ends.find_map(|found| found.as_ref().err()) {
            Some(error) => refusal(partition, *offset, error),
            None => {
                let of = |p: &&(TopicPartition, _)| &p.0 == partition;
                let offsets: Vec<i64> = listed
                    .iter()
                    .filter(of)
                    .filter_map(|(_, found)| found.as_ref().ok().map(|found| found.offset))
                    .collect();
                let inside =
                    offsets.iter().min() <= Some(offset) && Some(offset) <= offsets.iter().max();
                if inside {
                    look(client, partition, *offset, isolation).await?
                } else {
                    Some(SourceError::OutOfRange {
                        partition: partition.clone(),
                        wanted: *offset,
                    })
                }
            }
        };
        failures.extend(failure);
    }
    Ok(failures)
}

/// Reads on from `offset`, to see whether the bytes are sound.
async fn look(
    client: &Client,
    partition: &TopicPartition,
    offset: i64,
    isolation: Isolation,
) -> Result<Option<SourceError>, ClientError> {
    let request = FetchRequest {
        partition: partition.clone(),
        offset,
        max_bytes: LOOK_BYTES,
        max_wait: Duration::ZERO,
        isolation,
    };
    match client
        .fetch(request)
        .await
        .and_then(|fetched| fetched.committed(offset, isolation))
    {
        Ok(_) => Ok(None),
        Err(ClientError::Damaged {
            partition,
            offset,
            reason,
        }) => Ok(Some(SourceError::Corrupt {
            partition,
            offset,
            reason,
        })),
        Err(error) => match error.api_error() {
            Some(api) => Ok(refusal(partition, offset, api)),
            None => Err(error),
        },
    }
}

fn refusal(partition: &TopicPartition, offset: i64, error: &ApiError) -> Option<SourceError> {
    let partition = partition.clone();
    match error.code {
        UNKNOWN_TOPIC => Some(SourceError::Missing { partition }),
        OUT_OF_RANGE => Some(SourceError::OutOfRange {
            partition,
            wanted: offset,
        }),
        TOPIC_DENIED => Some(SourceError::Denied { partition }),
        _ if error.class() == Class::Fatal => Some(SourceError::Corrupt {
            partition,
            offset,
            reason: error.to_string(),
        }),
        _ => None,
    }
}
