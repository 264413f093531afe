//! Records of the offset map as text, so that Kafka's console tools show them.
//!
//! ```text
//! TOPIC/PARTITION/first        strait/1 UNIT TERM NUMBER SOURCE TARGET SEQUENCE LEFT_OUT
//! TOPIC/PARTITION/LEVEL.INDEX  the same
//! TOPIC/PARTITION/cuts         strait/1 UNIT TERM:NUMBER:TARGET ...
//! ```
//!
//! Topic and partition are the target's. The unit is in hexadecimal, all else decimal. There is one text for each
//! record: what [`parse`] accepts, [`key`] and [`value`] give back.

use std::fmt::Write;

use wire::TopicPartition;

use super::ladder::{Slot, slot};

/// What every version begins with, and the one that is written.
const MARK: &str = "strait/";
const VERSION: &str = "1";

/// A place in both partitions: of what was copied, everything before `source_offset` is before `target_offset`, and
/// everything from there on is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Which unit's: a hash of who it is, so that a topic that was made anew does not inherit the map of the old one.
    pub unit: u64,
    /// Producer generation and epoch of who wrote it, as one number; an owner has a higher one than its predecessor.
    pub term: u64,
    /// Counts the unit's anchors from 0, the one where the copy began.
    pub number: u64,
    /// The next source offset.
    pub source_offset: i64,
    /// The next target offset.
    pub target_offset: i64,
    /// Records appended before it in its term, mod 2^31.
    pub sequence: i32,
    /// Records before it that the source had and the copy left out.
    pub left_out: u64,
}

/// The target lost its end: what anchors up to `number` of terms up to `term` say of target offsets behind
/// `target_offset` is not so any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The term in which it was found.
    pub term: u64,
    /// The newest anchor then.
    pub number: u64,
    /// Where the target ended, or before that.
    pub target_offset: i64,
}

/// Most cuts that are kept apart; older ones become one that says more.
pub(super) const MAX_CUTS: usize = 16;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A new anchor, in place of the one in its slot.
    Anchor(Anchor),
    /// All cuts of the unit, oldest first.
    Cuts {
        /// As in [`Anchor`].
        unit: u64,
        /// At most [`MAX_CUTS`].
        cuts: Vec<Cut>,
    },
}

impl Entry {
    /// What it replaces.
    pub(super) fn slot(&self) -> Slot {
        match self {
            Self::Anchor(anchor) => slot(anchor.number),
            Self::Cuts { .. } => Slot::Cuts,
        }
    }
}

/// The key of an entry of the unit that writes to `target`.
pub(super) fn key(target: &TopicPartition, slot: Slot) -> String {
    let (topic, partition) = (&target.topic, target.partition);
    match slot {
        Slot::First => format!("{topic}/{partition}/first"),
        Slot::Cuts => format!("{topic}/{partition}/cuts"),
        Slot::Rung { level, index } => format!("{topic}/{partition}/{level}.{index}"),
    }
}

/// The value of an entry.
pub(super) fn value(entry: &Entry) -> String {
    match entry {
        Entry::Anchor(a) => format!(
            "{MARK}{VERSION} {:016x} {} {} {} {} {} {}",
            a.unit, a.term, a.number, a.source_offset, a.target_offset, a.sequence, a.left_out
        ),
        Entry::Cuts { unit, cuts } => {
            let mut text = format!("{MARK}{VERSION} {unit:016x}");
            for cut in cuts {
                let (term, number, target) = (cut.term, cut.number, cut.target_offset);
                write!(text, " {term}:{number}:{target}").expect("a string takes all text");
            }
            text
        }
    }
}

/// Whose record it is, in which place, and what it says: nothing, if it takes away what was there.
///
/// # Errors
/// A reason, if this version does not understand it.
pub(super) fn parse(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<(TopicPartition, Slot, Option<Entry>), String> {
    let text = key.and_then(|key| std::str::from_utf8(key).ok());
    let text = text.ok_or("its key is not text")?;
    let (target, slot) = parse_key(text).ok_or_else(|| format!("its key {text:?} is not known"))?;
    let Some(value) = value else {
        return Ok((target, slot, None));
    };
    let text = std::str::from_utf8(value).map_err(|_| "its value is not text")?;
    let marked = text.strip_prefix(MARK).ok_or("it is not of strait")?;
    let (version, fields) = marked.split_once(' ').unwrap_or((marked, ""));
    if version != VERSION {
        let version = version.escape_default().take(20).collect::<String>();
        return Err(format!(
            "it has version {version}, this strait reads version {VERSION}"
        ));
    }
    let entry = match slot {
        Slot::Cuts => parse_cuts(fields),
        Slot::First | Slot::Rung { .. } => parse_anchor(fields).map(Entry::Anchor),
    };
    // Also an anchor in another one's place is not.
    let entry = entry.filter(|entry| entry.slot() == slot && self::value(entry) == text);
    let entry = entry.ok_or("it is not in the one form there is")?;
    Ok((target, slot, Some(entry)))
}

fn parse_key(text: &str) -> Option<(TopicPartition, Slot)> {
    let mut parts = text.rsplitn(3, '/');
    let (slot, partition, topic) = (parts.next()?, parts.next()?, parts.next()?);
    let slot = match slot {
        "first" => Slot::First,
        "cuts" => Slot::Cuts,
        rung => {
            let (level, index) = rung.split_once('.')?;
            let (level, index) = (level.parse().ok()?, index.parse().ok()?);
            Slot::Rung { level, index }
        }
    };
    let target = TopicPartition::new(topic, partition.parse().ok()?);
    (key(&target, slot) == text).then_some((target, slot))
}

fn parse_anchor(text: &str) -> Option<Anchor> {
    let mut fields = text.split(' ');
    Some(Anchor {
        unit: u64::from_str_radix(fields.next()?, 16).ok()?,
        term: fields.next()?.parse().ok()?,
        number: fields.next()?.parse().ok()?,
        source_offset: fields.next()?.parse().ok()?,
        target_offset: fields.next()?.parse().ok()?,
        sequence: fields.next()?.parse().ok()?,
        left_out: fields.next()?.parse().ok()?,
    })
}

fn parse_cuts(text: &str) -> Option<Entry> {
    let mut fields = text.split(' ');
    let unit = u64::from_str_radix(fields.next()?, 16).ok()?;
    let cuts = fields.take(MAX_CUTS + 1).map(|field| {
        let mut parts = field.split(':');
        Some(Cut {
            term: parts.next()?.parse().ok()?,
            number: parts.next()?.parse().ok()?,
            target_offset: parts.next()?.parse().ok()?,
        })
    });
    let cuts: Vec<Cut> = cuts.collect::<Option<_>>()?;
    (cuts.len() <= MAX_CUTS).then_some(Entry::Cuts { unit, cuts })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::ladder::{LEVELS, WIDTH},
        *,
    };

    fn read(key: &str, value: &str) -> Result<(TopicPartition, Slot, Option<Entry>), String> {
        parse(Some(key.as_bytes()), Some(value.as_bytes()))
    }

    /// What was once written is read forever.
    #[test]
    fn version_1_does_not_drift() {
        let anchor = Entry::Anchor(Anchor {
            unit: 0xab,
            term: 65_539,
            number: 12,
            source_offset: 4_096,
            target_offset: 4_090,
            sequence: 90,
            left_out: 1,
        });
        let target = TopicPartition::new("east.orders", 7);
        let (place, text) = (key(&target, anchor.slot()), value(&anchor));
        assert_eq!(place, "east.orders/7/2.1");
        assert_eq!(text, "strait/1 00000000000000ab 65539 12 4096 4090 90 1");
        assert_eq!(
            read(&place, &text).unwrap(),
            (target.clone(), anchor.slot(), Some(anchor))
        );
        let cut = Cut {
            term: 1,
            number: 2,
            target_offset: 3,
        };
        let cuts = Entry::Cuts {
            unit: 1,
            cuts: vec![cut, cut],
        };
        let (place, text) = (key(&target, Slot::Cuts), value(&cuts));
        assert_eq!(place, "east.orders/7/cuts");
        assert_eq!(text, "strait/1 0000000000000001 1:2:3 1:2:3");
        assert_eq!(read(&place, &text).unwrap().2, Some(cuts));
        let gone = parse(Some(b"t/0/first"), None).unwrap();
        assert_eq!(gone, (TopicPartition::new("t", 0), Slot::First, None));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let good = "strait/1 00000000000000ab 3 12 4096 4090 90 1";
        for (key, value, reason) in [
            ("t/0/2.1", good.replace("/1 ", "/2 "), "version 2"),
            ("t/0/2.1", good.replace("strait", "other"), "not of strait"),
            ("t/0/2.1", good.replace(" 12 ", " 13 "), "one form"),
            ("t/0/2.2", good.to_owned(), "one form"),
            ("t/0/first", good.to_owned(), "one form"),
            ("t/0/2.1", format!("{good} 5"), "one form"),
            ("t/0/2.1", good.replace(" 90", " 090"), "one form"),
            ("t/0/cuts", "strait/1 1 1:2:3".to_owned(), "one form"),
            ("t/0/other", good.to_owned(), "not known"),
            ("t/00/2.1", good.to_owned(), "not known"),
            ("0/2.1", good.to_owned(), "not known"),
        ] {
            let error = read(key, &value).unwrap_err();
            assert!(error.contains(reason), "{key} {value}: {error}");
        }
        let many = " 1:2:3".repeat(MAX_CUTS + 1);
        assert!(read("t/0/cuts", &format!("strait/1 0000000000000001{many}")).is_err());
        assert!(parse(None, None).is_err());
        assert!(parse(Some(&[0xff]), None).is_err());
    }

    proptest! {
        #[test]
        fn every_record_comes_back(
            unit: u64, term: u64, number: u64, source_offset: i64, target_offset: i64, sequence: i32,
            left_out: u64, partition in 0i32..,
            cuts in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<i64>()), 0..MAX_CUTS),
        ) {
            let target = TopicPartition::new("a.topic_-1", partition);
            let anchor = Anchor { unit, term, number, source_offset, target_offset, sequence, left_out };
            let cuts = cuts.into_iter();
            let cuts = cuts.map(|(term, number, target_offset)| Cut { term, number, target_offset });
            for entry in [Entry::Anchor(anchor), Entry::Cuts { unit, cuts: cuts.collect() }] {
                if let Slot::Rung { level, index } = entry.slot() {
                    prop_assert!(level < LEVELS && index < WIDTH);
                }
                let found = read(&key(&target, entry.slot()), &value(&entry)).unwrap();
                prop_assert_eq!(found, (target.clone(), entry.slot(), Some(entry)));
            }
        }

        #[test]
        fn hostile_records_do_no_harm(key: Vec<u8>, value: Option<Vec<u8>>, text: String) {
            // What is accepted is what would be written.
            let fields = format!("strait/1 {text}");
            for place in ["t/0/first", "t/0/cuts"] {
                if let Ok((_, _, Some(entry))) = read(place, &fields) {
                    prop_assert_eq!(self::value(&entry), fields.clone());
                }
            }
            prop_assert!(parse(Some(&key), value.as_deref()).is_err());
            prop_assert!(read(&text, "strait/1 ").is_err());
        }
    }
}
