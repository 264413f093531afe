//! Whether a target does what exactly once rests on: found out by trying it, never taken from a product's name
//! (EXACTNESS 12).
//!
//! [`probe`] writes a batch of a producer that nobody knows to [`TOPIC`], once more the same, and one behind a gap; it
//! reads back what is there, and asks the leader what it remembers. [`verdict`] judges what was seen, and asks nothing.
//! Each probe has a producer id of its own, so that any number of them may be at work at once.

mod probe;
#[cfg(test)]
mod tests;

use wire::{client::ProducerState, error::ClientError};

pub use probe::{NotTold, Once, expiration, probe};

/// Where the target is probed: a topic of strait's own, so no flow copies it.
pub const TOPIC: &str = "strait.probe";

/// What is known of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It does all that exactly once rests on.
    Passed,
    /// It does not; this is what it did.
    Failed(String),
    /// Nobody knows, for this reason.
    Not(String),
}

/// The offset at which a batch was acknowledged, or why it was refused.
type Outcome = Result<i64, ClientError>;

/// What one probe saw.
#[derive(Debug)]
struct Seen {
    /// A first batch of a derived producer id, which no broker allocated.
    first: Outcome,
    /// The same bytes again.
    repeat: Outcome,
    /// A batch that leaves sequences out.
    gap: Outcome,
    /// All batches of the producer, from the offset of the first one on, or why they cannot be read; none are looked
    /// for if that was refused.
    kept: Result<Vec<Kept>, String>,
    /// What the leader remembers of the producer; none: nothing.
    memory: Result<Option<ProducerState>, ClientError>,
}

/// A batch as the target keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    offset: i64,
    epoch: i16,
    base_sequence: i32,
    /// Its records have the keys, values and headers that they were written with.
    unchanged: bool,
}

/// Epoch of a probe's producer.
const EPOCH: i16 = 0;
/// Sequences of the first batch.
const FIRST: std::ops::RangeInclusive<i32> = 0..=1;
/// Sequence of the batch behind the gap.
const BEHIND_GAP: i32 = 7;
const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;

/// Whether exactly once may rest on what does this; the error says what it did, with the target as its subject.
fn verdict(seen: &Seen) -> Result<(), String> {
    let first = match &seen.first {
        Ok(offset) => *offset,
        Err(error @ ClientError::Protocol { .. }) => {
            return Err(format!("it does not take whole batches ({error})"));
        }
        Err(error) => {
            return Err(format!(
                "it refuses a batch of a producer that it did not name itself ({error})"
            ));
        }
    };
    match &seen.repeat {
        Ok(offset) if *offset == first => {}
        Ok(offset) => {
            return Err(format!(
                "it acknowledges a batch that is sent again at offset {offset}, not at {first} where it was"
            ));
        }
        Err(error) => {
            return Err(format!(
                "it refuses a batch that is sent again ({error}), in place of acknowledging it where it was"
            ));
        }
    }
    match &seen.gap {
        Ok(_) => return Err("it takes a batch behind a gap in its producer's sequence".to_owned()),
        Err(error) if code(error) == Some(OUT_OF_ORDER_SEQUENCE_NUMBER) => {}
        Err(error) => {
            return Err(format!(
                "it answers a gap in a producer's sequence with {error}, not with OUT_OF_ORDER_SEQUENCE_NUMBER \
                 ({OUT_OF_ORDER_SEQUENCE_NUMBER})"
            ));
        }
    }
    let kept = seen.kept.as_ref();
    let kept =
        kept.map_err(|error| format!("what it keeps is no batch as it was sent ({error})"))?;
    kept_once(kept, first)?;
    match &seen.memory {
        Ok(Some(state))
            if state.producer_epoch == i32::from(EPOCH) && state.last_sequence == *FIRST.end() =>
        {
            Ok(())
        }
        Ok(Some(state)) => Err(format!(
            "it says that a producer's last sequence is {} in epoch {}, where {} in epoch {EPOCH} was acknowledged",
            state.last_sequence,
            state.producer_epoch,
            FIRST.end()
        )),
        Ok(None) => {
            Err("DescribeProducers does not tell of a producer that has just written".to_owned())
        }
        Err(error) => Err(format!(
            "it does not tell what it remembers of producers ({error})"
        )),
    }
}

/// Whether the first batch is there once, as it was sent.
fn kept_once(kept: &[Kept], first: i64) -> Result<(), String> {
    let Some(batch) = kept.iter().find(|batch| batch.offset == first) else {
        return Err(format!(
            "what it acknowledged at offset {first} is not there under its producer's id"
        ));
    };
    if (batch.epoch, batch.base_sequence) != (EPOCH, *FIRST.start()) {
        return Err("it changes the epochs or sequences of batches".to_owned());
    }
    if !batch.unchanged {
        return Err("it changes keys, values or headers of records".to_owned());
    }
    match kept {
        [_] => Ok(()),
        _ => Err("it keeps a batch twice that was sent again, or one that it refused".to_owned()),
    }
}

/// The broker's error code, if one answered.
fn code(error: &ClientError) -> Option<i16> {
    error.api_error().map(|error| error.code)
}
