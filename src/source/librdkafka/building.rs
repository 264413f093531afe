//! A batch in the making: records copied out of librdkafka into one buffer.

use std::{collections::VecDeque, ops::Range};

use bytes::BytesMut;
use rdkafka::message::{Headers, Message};

use wire::record::{Header, Record};

/// A batch is handed on at this size, or when nothing more is ready.
pub(super) const FULL_BYTES: usize = 256 << 10;
const FULL_RECORDS: usize = 4096;
/// What a record costs beside its bytes: its entry here and librdkafka's on the other side.
const RECORD_OVERHEAD: usize = 256;

/// Records of one partition, not yet handed on.
#[derive(Debug, Default)]
pub(super) struct Building {
    buffer: BytesMut,
    /// Bytes that were in the buffer before what is in it now.
    taken: usize,
    records: VecDeque<Raw>,
}

/// A record as places in the buffer, counted from before anything was taken out of it.
#[derive(Debug)]
struct Raw {
    end: usize,
    offset: i64,
    timestamp: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Vec<(Range<usize>, Option<Range<usize>>)>,
}

impl Building {
    /// Copies a record behind the others.
    pub(super) fn push(&mut self, message: &impl Message) {
        let key = message.key().map(|bytes| self.copy(bytes));
        let value = message.payload().map(|bytes| self.copy(bytes));
        let headers = message.headers().map(|headers| {
            let copied = headers.iter().map(|header| {
                let key = self.copy(header.key.as_bytes());
                (key, header.value.map(|bytes: &[u8]| self.copy(bytes)))
            });
            copied.collect()
        });
        self.records.push_back(Raw {
            end: self.end(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap_or(-1),
            key,
            value,
            headers: headers.unwrap_or_default(),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= FULL_BYTES || self.records.len() >= FULL_RECORDS
    }

    /// The offset of the first record.
    pub(super) fn first_offset(&self) -> Option<i64> {
        Some(self.records.front()?.offset)
    }

    /// How many of the first records to take if they are to be charged at most `most`, but one at least; and their
    /// charge: the copy here, and the one that a librdkafka sink makes.
    pub(super) fn part(&self, most: usize) -> (usize, usize) {
        let charge = |count: usize| match count.checked_sub(1) {
            None => 0,
            Some(last) => 2 * (self.records[last].end - self.taken) + RECORD_OVERHEAD * count,
        };
        let mut counts = 1..=self.records.len();
        let count = counts
            .rfind(|count| charge(*count) <= most)
            .unwrap_or(self.records.len().min(1));
        (count, charge(count))
    }

    /// The first `count` records; the rest stays.
    pub(super) fn take(&mut self, count: usize) -> Vec<Record> {
        let raw: Vec<_> = self.records.drain(..count).collect();
        let end = raw.last().map_or(self.taken, |last| last.end);
        let buffer = self.buffer.split_to(end - self.taken).freeze();
        let from = std::mem::replace(&mut self.taken, end);
        let cut = |range: Range<usize>| buffer.slice(range.start - from..range.end - from);
        let slice = |range: Option<Range<usize>>| range.map(cut);
        raw.into_iter()
            .map(|raw| Record {
                offset: raw.offset,
                timestamp: raw.timestamp,
                key: slice(raw.key),
                value: slice(raw.value),
                headers: raw
                    .headers
                    .into_iter()
                    .map(|(key, value)| Header {
                        key: cut(key),
                        value: slice(value),
                    })
                    .collect(),
            })
            .collect()
    }

    fn copy(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.end();
        self.buffer.extend_from_slice(bytes);
        start..self.end()
    }

    fn end(&self) -> usize {
        self.taken + self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::{Timestamp, message::OwnedMessage};

    use super::*;

    fn building(values: &[&str]) -> Building {
        let mut building = Building::default();
        for (offset, value) in (10..).zip(values) {
            let (key, value) = (Some(b"k".to_vec()), Some(value.as_bytes().to_vec()));
            let time = Timestamp::CreateTime(7);
            building.push(&OwnedMessage::new(
                value,
                key,
                "t".to_owned(),
                time,
                0,
                offset,
                None,
            ));
        }
        building
    }

    fn texts(records: Vec<Record>) -> Vec<(i64, String)> {
        let text = |record: Record| {
            assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
            String::from_utf8(record.value.unwrap().to_vec()).unwrap()
        };
        records.into_iter().map(|r| (r.offset, text(r))).collect()
    }

    #[test]
    fn a_part_is_what_may_be_charged_and_the_rest_stays_in_order() {
        let mut building = building(&["a", "bb", "ccc", "dddd"]);
        let (of_two, of_all) = (2 * (2 + 3) + 2 * RECORD_OVERHEAD, 28 + 4 * RECORD_OVERHEAD);
        assert_eq!(building.part(usize::MAX), (4, of_all));
        assert_eq!(building.part(of_two), (2, of_two));
        let first = texts(building.take(2));
        assert_eq!(first, [(10, "a".to_owned()), (11, "bb".to_owned())]);
        assert_eq!(building.first_offset(), Some(12));
        assert_eq!(
            building.part(0),
            (1, 2 * 4 + RECORD_OVERHEAD),
            "one at least"
        );
        assert_eq!(texts(building.take(1)), [(12, "ccc".to_owned())]);
        let (count, _) = building.part(usize::MAX);
        assert_eq!(texts(building.take(count)), [(13, "dddd".to_owned())]);
        assert!(building.is_empty() && building.first_offset().is_none());
        assert_eq!(building.part(usize::MAX), (0, 0));
        assert!(building.take(0).is_empty());
    }
}
