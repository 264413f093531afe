//! Reads a range of one partition, record by record.

use std::{
    ops::{ControlFlow, Range},
    time::Duration,
};

use wire::{
    Isolation, TopicPartition,
    client::{Client, FetchRequest},
    error::ClientError,
    record::Record,
};

const FETCH_BYTES: i32 = 4 << 20;
const FETCH_WAIT: Duration = Duration::from_millis(500);
/// Reads that bring nothing before the end, in a row, until it is an error.
const MAX_EMPTY: u32 = 20;

/// Why a range was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The leader failed or refused.
    #[error("{partition}, offset {offset}: {error}")]
    Client {
        /// Which partition.
        partition: TopicPartition,
        /// Where it was to go on.
        offset: i64,
        /// What the client said.
        error: ClientError,
    },
    /// Nothing comes any more, though the end is not reached.
    #[error("{partition}: nothing is read from offset {offset} on, and it ends at {end}")]
    Stuck {
        /// Which partition.
        partition: TopicPartition,
        /// Where it was to go on.
        offset: i64,
        /// Where it ends.
        end: i64,
    },
    /// The range is larger than what is read at the most.
    #[error("{partition}: {most} bytes are read up to offset {offset}, and it ends at {end}")]
    TooLarge {
        /// Which partition.
        partition: TopicPartition,
        /// Where it was to go on.
        offset: i64,
        /// Where it ends.
        end: i64,
        /// The limit.
        most: usize,
    },
}

/// Gives the records of `offsets` to `take`, without markers and, under read_committed, without aborted ones, until it
/// breaks; at most `most` bytes of them, as they lie there.
///
/// # Errors
/// If they cannot be read, or are more.
pub async fn read(
    client: &Client,
    partition: &TopicPartition,
    offsets: Range<i64>,
    isolation: Isolation,
    most: usize,
    mut take: impl FnMut(&Record) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let (mut offset, end) = (offsets.start, offsets.end);
    let (mut empty, mut bytes) = (0, 0);
    while offset < end {
        let failed = |error| ReadError::Client {
            partition: partition.clone(),
            offset,
            error,
        };
        let request = FetchRequest {
            partition: partition.clone(),
            offset,
            max_bytes: FETCH_BYTES,
            max_wait: FETCH_WAIT,
            isolation,
        };
        let fetched = client.fetch(request).await.map_err(failed)?;
        bytes += fetched.records.len();
        let committed = fetched.committed(offset, isolation).map_err(failed)?;
        for record in &committed.records {
            if record.offset >= end || take(record).is_break() {
                return Ok(());
            }
        }
        let partition = partition.clone();
        empty = if committed.next_offset <= offset {
            empty + 1
        } else {
            0
        };
        offset = committed.next_offset;
        if empty > MAX_EMPTY {
            return Err(ReadError::Stuck {
                partition,
                offset,
                end,
            });
        }
        if bytes > most && offset < end {
            return Err(ReadError::TooLarge {
                partition,
                offset,
                end,
                most,
            });
        }
    }
    Ok(())
}
