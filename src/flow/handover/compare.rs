//! What MirrorMaker 2 copied behind its last position: both sides are read and compared, record by record.
//!
//! Its positions are written once a minute, so after a crash the target holds more than they tell. Nobody but MirrorMaker 2
//! counts where its records are on the target, so content decides: key, value, headers and, unless the target sets its own
//! times, the timestamp, of all records behind the position. What does not fit is not guessed at: then
//! records are repeated, as by MirrorMaker 2 itself.

use std::{collections::VecDeque, ops::ControlFlow};

use wire::{
    Isolation, TopicPartition,
    client::{Client, OffsetSpec},
    error::{ApiError, ClientError},
    record::Record,
};

use super::overlap::copied;
use crate::{
    base::ids::Route,
    checkpoint::LastRecord,
    cluster::read::{ReadError, read},
    flow::start::Extent,
};

/// Of one partition, on each side.
const MAX_BYTES: usize = 1 << 30;
/// Likewise: some 70 MB of memory while it is compared.
const MAX_RECORDS: usize = 2_000_000;

/// One partition to be compared.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub(super) source: Client,
    pub(super) target: Client,
    pub(super) route: Route,
    pub(super) extents: (Extent, Extent),
    /// What of transactions MirrorMaker 2 copied, as far as is known.
    pub(super) isolation: Isolation,
    /// Whether the target keeps the times of the source.
    pub(super) timestamps: bool,
}

/// How far MirrorMaker 2 copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    /// So many records behind its position; the last one that it copied is this.
    Known(u64, LastRecord),
    /// Not to be told, and why; what is known of the record at its position.
    Unknown(Option<LastRecord>, String),
}

/// A record of the source, as far as it matters.
#[derive(Clone, Copy, Debug)]
struct Seen {
    offset: i64,
    crc: u32,
    content: u32,
}

impl Seen {
    fn last_record(self) -> LastRecord {
        LastRecord {
            source_offset: self.offset,
            crc: self.crc,
            leader_epoch: -1,
            payload_crc: None,
        }
    }
}

impl Comparison {
    /// How far it copied behind the record at `position`.
    pub(super) async fn behind(&self, position: i64) -> Result<Overlap, ReadError> {
        let mut first = None;
        let source = &self.route.source;
        let end = self.extents.0.end;
        let uncommitted = Isolation::ReadUncommitted;
        let found = read(
            &self.source,
            source,
            position..end,
            uncommitted,
            MAX_BYTES,
            |record| {
                first = Some((self.seen(record), record.timestamp));
                ControlFlow::Break(())
            },
        );
        found.await?;
        let Some((first, time)) = first.filter(|(seen, _)| seen.offset == position) else {
            let why = format!(
                "the record at offset {position}, its last position, is gone from the source"
            );
            return Ok(Overlap::Unknown(None, why));
        };
        let last = Some(first.last_record());
        let from = self.since(time).await?;
        let held = match self.held(from).await {
            Ok((held, _)) => held,
            Err(ReadError::TooLarge { .. }) => return Ok(Overlap::Unknown(last, too_much())),
            Err(error) => return Err(error),
        };
        for isolation in [self.isolation, the_other(self.isolation)] {
            let source = match self.wanted(position, isolation, held.len() + 1).await {
                Ok(source) => source,
                Err(ReadError::TooLarge { .. }) => return Ok(Overlap::Unknown(last, too_much())),
                Err(error) => return Err(error),
            };
            // Where the record at the position was aborted and is not counted.
            if source.first().is_none_or(|seen| seen.offset != position) {
                continue;
            }
            let contents: Vec<_> = source.iter().map(|seen| seen.content).collect();
            if let Some(count) = copied(&contents, &held) {
                return Ok(Overlap::Known(count as u64, source[count].last_record()));
            }
        }
        let why = "the end of the target is not what the source has behind its last position: others write there, or \
                   records were changed on their way";
        Ok(Overlap::Unknown(last, why.to_owned()))
    }

    /// How far it copied from the source's first record on, if it has left no position.
    pub(super) async fn since_the_first(&self) -> Result<Overlap, ReadError> {
        let (source, target) = self.extents;
        let unknown = |why: &str| Ok(Overlap::Unknown(None, why.to_owned()));
        if target.start > 0 {
            return unknown("the target's first records are gone");
        }
        let held = match self.held(0).await {
            Ok((held, true)) => held,
            Ok((_, false)) | Err(ReadError::TooLarge { .. }) => return unknown(&too_much()),
            Err(error) => return Err(error),
        };
        for isolation in [self.isolation, the_other(self.isolation)] {
            let seen = match self.wanted(source.start, isolation, held.len()).await {
                Ok(seen) => seen,
                Err(ReadError::TooLarge { .. }) => return unknown(&too_much()),
                Err(error) => return Err(error),
            };
            let is_same = seen.iter().map(|seen| &seen.content).eq(&held);
            if let Some(last) = seen.last().filter(|_| is_same) {
                return Ok(Overlap::Known(held.len() as u64, last.last_record()));
            }
        }
        unknown("what the target holds is not what the source begins with")
    }

    /// An offset of the target before which the copy of a record of this time is not.
    async fn since(&self, time: i64) -> Result<i64, ReadError> {
        let Extent { start, end } = self.extents.1;
        if !self.timestamps || time < 0 {
            return Ok(start);
        }
        let found = self.target_offset(OffsetSpec::Timestamp(time), Isolation::ReadUncommitted);
        Ok(match found.await? {
            -1 => end,
            offset => offset,
        })
    }

    /// The contents of the target's newest records from `offset` on, and whether that is all of them.
    async fn held(&self, offset: i64) -> Result<(Vec<u32>, bool), ReadError> {
        let (mut held, mut all) = (VecDeque::new(), true);
        let committed = Isolation::ReadCommitted;
        let end = self.target_offset(OffsetSpec::Latest, committed).await?;
        let target = &self.route.target;
        let reading = read(
            &self.target,
            target,
            offset..end,
            committed,
            MAX_BYTES,
            |record| {
                if held.len() == MAX_RECORDS {
                    held.pop_front();
                    all = false;
                }
                held.push_back(self.seen(record).content);
                ControlFlow::Continue(())
            },
        );
        reading.await?;
        Ok((held.into(), all))
    }

    /// The source's next `most` records.
    async fn wanted(
        &self,
        offset: i64,
        isolation: Isolation,
        most: usize,
    ) -> Result<Vec<Seen>, ReadError> {
        let mut wanted = Vec::new();
        let partition = &self.route.source;
        let latest = OffsetSpec::Latest;
        let end = offset_of(&self.source, partition, latest, isolation).await?;
        let reading = read(
            &self.source,
            partition,
            offset..end,
            isolation,
            MAX_BYTES,
            |record| {
                wanted.push(self.seen(record));
                match wanted.len() < most {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            },
        );
        reading.await?;
        Ok(wanted)
    }

    async fn target_offset(
        &self,
        spec: OffsetSpec,
        isolation: Isolation,
    ) -> Result<i64, ReadError> {
        offset_of(&self.target, &self.route.target, spec, isolation).await
    }

    fn seen(&self, record: &Record) -> Seen {
        let crc = record.crc();
        let timeless = || Record {
            timestamp: -1,
            ..record.clone()
        };
        Seen {
            offset: record.offset,
            crc,
            content: if self.timestamps {
                crc
            } else {
                timeless().crc()
            },
        }
    }
}

fn the_other(isolation: Isolation) -> Isolation {
    match isolation {
        Isolation::ReadCommitted => Isolation::ReadUncommitted,
        Isolation::ReadUncommitted => Isolation::ReadCommitted,
    }
}

fn too_much() -> String {
    let gibibytes = MAX_BYTES >> 30;
    format!("more than {gibibytes} GiB or {MAX_RECORDS} records would have to be compared")
}

async fn offset_of(
    client: &Client,
    partition: &TopicPartition,
    spec: OffsetSpec,
    isolation: Isolation,
) -> Result<i64, ReadError> {
    let failed = |error| ReadError::Client {
        partition: partition.clone(),
        offset: -1,
        error,
    };
    let wanted = [(partition.clone(), spec)];
    let listed = client
        .list_offsets(&wanted, isolation)
        .await
        .map_err(failed)?;
    let what = partition.to_string();
    match listed.into_iter().next() {
        Some((_, Ok(found))) => Ok(found.offset),
        Some((_, Err(error))) => Err(failed(ClientError::Api { what, error })),
        None => {
            let message = Some("no answer about its end".to_owned());
            let error = ApiError { code: -1, message };
            Err(failed(ClientError::Api { what, error }))
        }
    }
}
