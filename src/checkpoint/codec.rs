//! A checkpoint as text, for the metadata of a committed offset.
//!
//! ```text
//! strait/1 source=CLUSTER/TOPIC target=CLUSTER/TOPIC next=OFFSET [last=OFFSET:CRC:EPOCH[:PAYLOAD]]
//!     seq=N [producer=ID:GENERATION:EPOCH:BASE] map=FINGERPRINT
//!     [appends=OFFSET] [stopped=REASON:OFFSET:SINCE] [settled=yes] [unmapped=OFFSET|-]
//!     [anchors=SOURCE:TARGET:SEQUENCE,...]
//! ```
//!
//! One line of printable ASCII, words in this order, each once, one space between them. Cluster ids and
//! reasons: bytes other than letters, digits, `.`, `_`, `-` as `%XX`. Topic ids as Kafka's tools show
//! them (base64url). CRCs and fingerprint in hexadecimal, other numbers decimal; anchors are
//! differences in base 36, each to the one before, the first to `next`, the committed offset and
//! `seq` (wrapping; sequences mod 2^31). `target_offset` is the committed offset itself.
//!
//! With [`MAX_ANCHORS`] anchors and cluster ids of Kafka's 22 characters the text stays below 1 KB, whatever
//! the numbers; the broker's limit is 4,096 bytes (`offset.metadata.max.bytes`).
//! There is one text for each checkpoint: what [`decode`] accepts, [`encode`] gives back.

use std::fmt::{Display, Write};

use super::{
    Anchor, Checkpoint, LastRecord, MAX_ANCHORS, NO_LOSS, ProducerState, Stopped, Stored,
    text::{base36, escape, from_base36, topic_id, topic_id_from, unescape},
};

/// The version that is written.
const VERSION: u32 = 1;
/// What every version begins with.
const MARK: &str = "strait/";
/// The one value of `settled`, which is not there otherwise.
const SETTLED: &str = "yes";
/// [`NO_LOSS`] as text.
const NOTHING_LOST: &str = "-";
/// How much of a foreign text an error quotes.
const QUOTED: usize = 80;

/// Why committed metadata is not a checkpoint that can be used. Never the same as no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// An offset was committed without metadata, as tools do that reset offsets.
    #[error("an offset was committed without a checkpoint")]
    Empty,
    /// Written by another version of strait.
    #[error("the checkpoint has version {0}, this strait reads version {VERSION}")]
    Version(String),
    /// Not a checkpoint.
    #[error("\"{text}\" is not a checkpoint: {reason}")]
    Malformed {
        /// Its beginning, printable.
        text: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// The entry to commit for `checkpoint`.
pub fn encode(checkpoint: &Checkpoint) -> Stored {
    let c = checkpoint;
    let mut text = format!("{MARK}{VERSION}");
    let mut word = |name: &str, value: &dyn Display| {
        write!(text, " {name}={value}").expect("a string takes all text");
    };
    word("source", &side(&c.source_cluster, c.source_topic));
    word("target", &side(&c.target_cluster, c.target_topic));
    word("next", &c.source_offset);
    if let Some(last) = &c.last_record {
        let (offset, epoch) = (last.source_offset, last.leader_epoch);
        let payload = last.payload_crc.map(|crc| format!(":{crc:08x}"));
        let payload = payload.unwrap_or_default();
        word(
            "last",
            &format_args!("{offset}:{:08x}:{epoch}{payload}", last.crc),
        );
    }
    word("seq", &c.sequence);
    if let Some(p) = &c.producer {
        let (generation, epoch, base) = (p.generation, p.epoch, p.epoch_base);
        word(
            "producer",
            &format_args!("{}:{generation}:{epoch}:{base}", p.id),
        );
    }
    word("map", &format_args!("{:016x}", c.fingerprint));
    if let Some(offset) = &c.appends_at {
        word("appends", offset);
    }
    if let Some(stopped) = &c.stopped {
        let (offset, since) = (stopped.source_offset, stopped.since_ms);
        word(
            "stopped",
            &format_args!("{}:{offset}:{since}", escape(&stopped.reason)),
        );
    }
    if c.settled {
        word("settled", &SETTLED);
    }
    match c.unmapped {
        Some(NO_LOSS) => word("unmapped", &NOTHING_LOST),
        Some(lost) => word("unmapped", &lost),
        None => {}
    }
    if !c.anchors.is_empty() {
        word("anchors", &anchors(c));
    }
    Stored {
        offset: c.target_offset,
        metadata: text,
    }
}

/// The checkpoint that was committed as `stored`.
///
/// # Errors
/// If it is not one, or of an unknown version.
pub fn decode(stored: &Stored) -> Result<Checkpoint, CodecError> {
    let text = &stored.metadata;
    let malformed = |reason| CodecError::Malformed {
        text: quote(text),
        reason,
    };
    if text.is_empty() {
        return Err(CodecError::Empty);
    }
    let marked = text.strip_prefix(MARK);
    let marked = marked.ok_or(malformed("it does not begin with the mark of strait"))?;
    let (version, words) = marked.split_once(' ').unwrap_or((marked, ""));
    if version != VERSION.to_string() {
        return Err(CodecError::Version(quote(version)));
    }
    let checkpoint = Words(words).checkpoint(stored.offset).map_err(malformed)?;
    if encode(&checkpoint) != *stored {
        return Err(malformed("it is not in the one form there is"));
    }
    Ok(checkpoint)
}

/// The beginning of `text`, made printable.
fn quote(text: &str) -> String {
    text.escape_default().take(QUOTED).collect()
}

fn side(cluster: &str, topic: uuid::Uuid) -> String {
    format!("{}/{}", escape(cluster), topic_id(topic))
}

fn anchors(checkpoint: &Checkpoint) -> String {
    let mut before = newest(checkpoint);
    let mut text = String::new();
    for anchor in &checkpoint.anchors {
        let source = before.source_offset.wrapping_sub(anchor.source_offset);
        let target = before.target_offset.wrapping_sub(anchor.target_offset);
        let sequence = before.sequence.wrapping_sub(anchor.sequence) & i32::MAX;
        let [source, target] = [source, target].map(|delta| base36(delta.cast_unsigned()));
        let sequence = base36(u64::from(sequence.unsigned_abs()));
        let comma = if text.is_empty() { "" } else { "," };
        write!(text, "{comma}{source}:{target}:{sequence}").expect("a string takes all text");
        before = *anchor;
    }
    text
}

/// What the first anchor is measured from.
fn newest(checkpoint: &Checkpoint) -> Anchor {
    Anchor {
        sequence: checkpoint.sequence,
        source_offset: checkpoint.source_offset,
        target_offset: checkpoint.target_offset,
    }
}

/// The words of a checkpoint that were not read yet.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    /// The value of the next word if it is called `name`.
    fn take(&mut self, name: &str) -> Option<&'a str> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        let value = word.strip_prefix(name)?.strip_prefix('=')?;
        self.0 = rest;
        Some(value)
    }

    fn checkpoint(mut self, target_offset: i64) -> Result<Checkpoint, &'static str> {
        let side = |value: Option<&str>| {
            let (cluster, topic) = value?.split_once('/')?;
            Some((unescape(cluster)?, topic_id_from(topic)?))
        };
        let (source_cluster, source_topic) = side(self.take("source")).ok_or("source is wrong")?;
        let (target_cluster, target_topic) = side(self.take("target")).ok_or("target is wrong")?;
        let next = self.take("next").and_then(|text| text.parse().ok());
        let mut checkpoint = Checkpoint {
            source_cluster,
            source_topic,
            target_cluster,
            target_topic,
            source_offset: next.ok_or("next is wrong")?,
            target_offset,
            last_record: read(self.take("last"), last_record).ok_or("last is wrong")?,
            sequence: 0,
            producer: None,
            fingerprint: 0,
            appends_at: None,
            stopped: None,
            settled: false,
            unmapped: None,
            anchors: Vec::new(),
        };
        let sequence = self.take("seq").and_then(|text| text.parse().ok());
        checkpoint.sequence = sequence.filter(|n| *n >= 0).ok_or("seq is wrong")?;
        checkpoint.producer = read(self.take("producer"), producer).ok_or("producer is wrong")?;
        let fingerprint = self
            .take("map")
            .and_then(|text| u64::from_str_radix(text, 16).ok());
        checkpoint.fingerprint = fingerprint.ok_or("map is wrong")?;
        checkpoint.appends_at =
            read(self.take("appends"), |text| text.parse().ok()).ok_or("appends is wrong")?;
        checkpoint.stopped = read(self.take("stopped"), stopped).ok_or("stopped is wrong")?;
        checkpoint.settled = match self.take("settled") {
            None => false,
            Some(SETTLED) => true,
            Some(_) => return Err("settled is wrong"),
        };
        let unmapped = |text: &str| match text {
            NOTHING_LOST => Some(NO_LOSS),
            text => text.parse().ok(),
        };
        checkpoint.unmapped = read(self.take("unmapped"), unmapped).ok_or("unmapped is wrong")?;
        let anchors = self.take("anchors").unwrap_or_default();
        checkpoint.anchors =
            read_anchors(anchors, newest(&checkpoint)).ok_or("anchors are wrong")?;
        if self.0.is_empty() {
            Ok(checkpoint)
        } else {
            Err("it has a word too many")
        }
    }
}

/// An optional word: there and right, not there, or (none) there and wrong.
fn read<T>(value: Option<&str>, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    value.map_or(Some(None), |value| parse(value).map(Some))
}

fn last_record(text: &str) -> Option<LastRecord> {
    let mut parts = text.split(':');
    Some(LastRecord {
        source_offset: parts.next()?.parse().ok()?,
        crc: u32::from_str_radix(parts.next()?, 16).ok()?,
        leader_epoch: parts.next()?.parse().ok()?,
        payload_crc: read(parts.next(), |crc| u32::from_str_radix(crc, 16).ok())?,
    })
}

fn producer(text: &str) -> Option<ProducerState> {
    let mut parts = text.split(':');
    Some(ProducerState {
        id: parts.next()?.parse().ok()?,
        generation: parts.next()?.parse().ok()?,
        epoch: parts.next()?.parse().ok()?,
        epoch_base: parts.next()?.parse().ok()?,
    })
}

fn stopped(text: &str) -> Option<Stopped> {
    let mut parts = text.split(':');
    Some(Stopped {
        reason: unescape(parts.next()?)?,
        source_offset: parts.next()?.parse().ok()?,
        since_ms: parts.next()?.parse().ok()?,
    })
}

fn read_anchors(text: &str, mut before: Anchor) -> Option<Vec<Anchor>> {
    let mut anchors = Vec::new();
    for anchor in text.split(',').filter(|_| !text.is_empty()) {
        let mut parts = anchor.split(':').map(from_base36);
        let [source, target] = [parts.next()??, parts.next()??].map(u64::cast_signed);
        let sequence = i32::try_from(parts.next()??).ok()?;
        before = Anchor {
            sequence: before.sequence.wrapping_sub(sequence) & i32::MAX,
            source_offset: before.source_offset.wrapping_sub(source),
            target_offset: before.target_offset.wrapping_sub(target),
        };
        anchors.push(before);
        if anchors.len() > MAX_ANCHORS {
            return None;
        }
    }
    Some(anchors)
}

#[cfg(test)]
mod tests;
