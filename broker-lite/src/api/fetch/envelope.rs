//! The bytes of an answer around its records, which are not copied into it: their length stands in the envelope, and
//! where they belong it is cut.
//!
//! ```text
//! length | response header | time to wait | error, session (7) | topics: name or id (13) | partitions: index | error
//!   | high watermark | last stable offset | log start (5) | aborted transactions | preferred replica (11)
//!   | record bytes ✂ records ✂ tags (12): diverging epoch, leader | ... | tags (12): endpoints of nodes (16)
//! ```

use anyhow::{Context, Result};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{FetchResponse, ResponseHeader, fetch_response::PartitionData},
    protocol::{Encodable, HeaderVersion},
};

use wire::produce::put_varint;

use super::BY_ID;
use crate::{
    api::pieces::{Answer, Piece},
    state::partition::Records,
};

/// From this version on numbers are short, and fields may have tags (KIP-482).
const FLEXIBLE: i16 = 12;

/// The frame of `response`, with the records of its partitions in their order.
pub(super) fn encode(
    response: &FetchResponse,
    records: Vec<Option<Records>>,
    correlation_id: i32,
    version: i16,
) -> Result<Answer> {
    let mut envelope = Envelope {
        version,
        bytes: BytesMut::with_capacity(256),
        cuts: Vec::new(),
    };
    envelope.bytes.put_i32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    header.encode(&mut envelope.bytes, FetchResponse::header_version(version))?;
    envelope.response(response, records.into_iter())?;
    envelope.finish()
}

struct Envelope {
    version: i16,
    bytes: BytesMut,
    /// Records, each with the place in the envelope where they belong.
    cuts: Vec<(usize, Records)>,
}

impl Envelope {
    fn response(
        &mut self,
        response: &FetchResponse,
        mut records: impl Iterator<Item = Option<Records>>,
    ) -> Result<()> {
        let version = self.version;
        self.bytes.put_i32(response.throttle_time_ms);
        if version >= 7 {
            self.bytes.put_i16(response.error_code);
            self.bytes.put_i32(response.session_id);
        }
        self.count(response.responses.len())?;
        for topic in &response.responses {
            if version >= BY_ID {
                self.bytes.put_slice(topic.topic_id.as_bytes());
            } else {
                self.text(&topic.topic)?;
            }
            self.count(topic.partitions.len())?;
            for data in &topic.partitions {
                self.partition(data, records.next().flatten())?;
            }
            self.tags(&[]);
        }
        let nodes = &response.node_endpoints;
        if version < 16 || nodes.is_empty() {
            self.tags(&[]);
            return Ok(());
        }
        let mut inner = BytesMut::new();
        put_varint(&mut inner, nodes.len() + 1);
        (nodes.iter()).try_for_each(|node| node.encode(&mut inner, version))?;
        self.tags(&[(0, inner)]);
        Ok(())
    }

    fn partition(&mut self, data: &PartitionData, records: Option<Records>) -> Result<()> {
        let version = self.version;
        let to = &mut self.bytes;
        to.put_i32(data.partition_index);
        to.put_i16(data.error_code);
        to.put_i64(data.high_watermark);
        to.put_i64(data.last_stable_offset);
        if version >= 5 {
            to.put_i64(data.log_start_offset);
        }
        match &data.aborted_transactions {
            Some(aborted) => {
                self.count(aborted.len())?;
                (aborted.iter()).try_for_each(|one| one.encode(&mut self.bytes, version))?;
            }
            None if version >= FLEXIBLE => self.bytes.put_u8(0),
            None => self.bytes.put_i32(-1),
        }
        if version >= 11 {
            self.bytes.put_i32(*data.preferred_read_replica);
        }
        let len = records.as_ref().map_or(0, |records| records.slice.len);
        self.count(usize::try_from(len)?)?;
        self.cuts
            .extend(records.map(|records| (self.bytes.len(), records)));
        let diverging = self.tag(0, &data.diverging_epoch)?;
        let leader = self.tag(1, &data.current_leader)?;
        let tags: Vec<_> = [diverging, leader].into_iter().flatten().collect();
        self.tags(&tags);
        Ok(())
    }

    /// How many there are of something.
    fn count(&mut self, count: usize) -> Result<()> {
        let fits = i32::try_from(count)?;
        if self.version >= FLEXIBLE {
            put_varint(&mut self.bytes, count + 1);
        } else {
            self.bytes.put_i32(fits);
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<()> {
        let len = i16::try_from(text.len())?;
        if self.version >= FLEXIBLE {
            put_varint(&mut self.bytes, text.len() + 1);
        } else {
            self.bytes.put_i16(len);
        }
        self.bytes.put_slice(text.as_bytes());
        Ok(())
    }

    /// A field that is left out if it says nothing, or where there are no tags.
    fn tag<T: Encodable + Default + PartialEq>(
        &self,
        number: u8,
        field: &T,
    ) -> Result<Option<(u8, BytesMut)>> {
        if self.version < FLEXIBLE || *field == T::default() {
            return Ok(None);
        }
        let mut bytes = BytesMut::new();
        field.encode(&mut bytes, self.version)?;
        Ok(Some((number, bytes)))
    }

    /// Fields by number, all below 128.
    fn tags(&mut self, tags: &[(u8, BytesMut)]) {
        if self.version < FLEXIBLE {
            return;
        }
        put_varint(&mut self.bytes, tags.len());
        for (number, bytes) in tags {
            self.bytes.put_u8(*number);
            put_varint(&mut self.bytes, bytes.len());
            self.bytes.put_slice(bytes);
        }
    }

    fn finish(mut self) -> Result<Answer> {
        let records = self.cuts.iter().map(|(_, records)| records.slice.len);
        let length = self.bytes.len() as u64 - 4 + records.sum::<u64>();
        let length = i32::try_from(length).context("too long")?;
        self.bytes[..4].copy_from_slice(&length.to_be_bytes());
        let mut envelope = self.bytes.freeze();
        let (mut pieces, mut done) = (Vec::with_capacity(2 * self.cuts.len() + 1), 0);
        for (cut, records) in self.cuts {
            pieces.push(Piece::Bytes(envelope.split_to(cut - done)));
            pieces.push(Piece::Records(records));
            done = cut;
        }
        pieces.extend(
            Some(envelope)
                .filter(|rest: &Bytes| !rest.is_empty())
                .map(Piece::Bytes),
        );
        Ok(Answer(pieces))
    }
}

#[cfg(test)]
mod tests;
