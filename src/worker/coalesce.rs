//! Small batches made one: when that pays, which ones, and how. Pure.
//!
//! At most five batches of a unit are unresolved, one of an unguarded unit (EXACTNESS 2, 3). Behind a long round trip
//! small ones leave the way empty: 5 x 16 KB in 150 ms are half a megabyte a second. And wherever the target is, each batch
//! costs both sides its part of a request, more than to copy a few records that are not compressed. What is there while they
//! wait is then opened and sealed again as one batch with the same codec. Nothing waits for that, what was sent is never cut
//! anew, and what reconcile counts are records, wherever batches end. Costs and gains: docs/decisions/0010.

use std::{collections::VecDeque, time::Duration};

use wire::record::{Codec, Record, decode};

use super::prepare::{Body, Part, seal_one};
use crate::checkpoint::LastRecord;

/// Answers of an unguarded unit that are looked back at.
const ANSWERS: usize = 8;
/// From a nearer target a guarded unit is not held up by its window.
const LONG: Duration = Duration::from_millis(10);
/// Batches of so many records, and so many bytes, at most that are not compressed cost less put together than each by
/// itself.
const CHEAP_RECORDS: u64 = 40;
const CHEAP_BYTES: u64 = 24 << 10;
/// Bytes per second: what the window lets through of larger batches is enough.
const ENOUGH: u128 = 64 << 20;

/// Sealed bytes of what becomes one batch where the window holds batches up, at most: what most targets take, and five
/// of them fill 25 MB/s at 150 ms.
const LARGE: usize = 1 << 20;
/// The same where it is only cheaper: more saves little, and stands in memory.
const HANDY: usize = 128 << 10;
/// Decompressed bytes of it, at most: what stands in memory meanwhile, here and later in whoever reads the target.
const PLAIN_BYTES: usize = 4 << 20;
/// The same, in batches: what is remembered of each, its permit above all, stays until the answer.
const BATCHES: usize = 1024;

/// Knows how far away the target is and how long it takes, and so whether larger batches would help.
#[derive(Debug, Default)]
pub(super) struct Pace {
    answers: VecDeque<Duration>,
    /// The shortest time that an answer of the lane's connection took.
    pub(super) round_trip: Option<Duration>,
}

impl Pace {
    /// A batch was acknowledged so long after it was handed to the sink.
    pub(super) fn answered(&mut self, took: Duration) {
        self.answers.truncate(ANSWERS - 1);
        self.answers.push_front(took);
    }

    /// What to make of batches like `part`, `window` of which may be unresolved; none if they are not worth opening.
    pub(super) fn wanted(&self, window: usize, part: &Part) -> Option<Goal> {
        if self.is_held_up(window, part.size()) {
            return Some(Goal::LARGE);
        }
        (codec(part) == Some(Codec::None) && is_cheap(part)).then_some(Goal::HANDY)
    }

    /// Whether the window lets too little of such batches through. Five are held up by nothing but distance: a target that
    /// is near and busy answers late as well, and opening batches would cost what it is short of. The only batch of an
    /// unguarded unit is held up by every answer, so it is the quickest of the last ones that counts.
    fn is_held_up(&self, window: usize, bytes: u64) -> bool {
        let held_up = match window {
            1 => self.answers.iter().min().copied(),
            _ => self.round_trip.filter(|round_trip| *round_trip >= LONG),
        };
        held_up.is_some_and(|held_up| {
            let in_window = window as u128 * u128::from(bytes);
            in_window * 1_000_000 / held_up.as_micros().max(1) < ENOUGH
        })
    }
}

/// What batches are to become, together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goal {
    /// Sealed bytes, at most.
    pub(super) bytes: usize,
    /// Only of batches that are each cheap to open.
    of_cheap: bool,
}

impl Goal {
    const LARGE: Self = Self {
        bytes: LARGE,
        of_cheap: false,
    };
    const HANDY: Self = Self {
        bytes: HANDY,
        of_cheap: true,
    };
}

fn is_cheap(part: &Part) -> bool {
    part.records <= CHEAP_RECORDS && part.size() <= CHEAP_BYTES
}

/// Parts that follow each other and may become one batch.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// How many, ranges without records among them.
    pub(super) parts: usize,
    /// How many of them hold records.
    batches: usize,
    bytes: usize,
    codec: Option<Codec>,
    /// The next one did not join.
    ended: bool,
}

impl Run {
    /// The longest one at the front of `parts` that `goal` allows.
    pub(super) fn of<'a>(parts: impl Iterator<Item = &'a Part>, goal: Goal) -> Self {
        let mut run = Self::default();
        for part in parts {
            run.take(part, goal);
        }
        run
    }

    /// Takes one more, if it joins.
    pub(super) fn take(&mut self, part: &Part, goal: Goal) {
        let bytes = self.bytes + part.size() as usize;
        let joins = match &part.body {
            Body::Nothing => self.batches > 0,
            Body::Refused(_) | Body::Open(_) => false,
            Body::Sealed(view) => view.header.codec().is_ok_and(|codec| {
                self.batches < BATCHES
                    && bytes <= goal.bytes
                    && (is_cheap(part) || !goal.of_cheap)
                    && *self.codec.get_or_insert(codec) == codec
            }),
        };
        self.ended |= !joins;
        if !self.ended {
            self.bytes = bytes;
            self.parts += 1;
            self.batches += usize::from(part.records > 0);
        }
    }

    /// Whether another one may join.
    pub(super) fn is_open(&self) -> bool {
        !self.ended
    }
}

/// One batch of as many of the first `parts`, a [`Run`], as the target takes together; how many that are, and how many
/// of those hold records. None: they go as they are, as what is damaged always does.
pub(super) fn coalesce<'a>(
    parts: impl Iterator<Item = &'a Part>,
    limit: usize,
) -> Option<(usize, u64, Part)> {
    let mut records = Vec::new();
    let mut room = PLAIN_BYTES;
    // Each part, and how many records there are up to and with it.
    let mut opened: Vec<(&Part, usize)> = Vec::new();
    for part in parts {
        let Some(mut more) = open(part, room) else {
            break;
        };
        let bytes = more.iter().map(Record::bytes).sum::<u64>();
        room = room.saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
        records.append(&mut more);
        opened.push((part, records.len()));
    }
    loop {
        let batches = opened.iter().filter(|(part, _)| part.records > 0).count();
        let (last, count) = *opened.last()?;
        if batches < 2 {
            return None;
        }
        let codec = codec(opened[0].0)?;
        let view = seal_one(&records[..count], codec).ok()?;
        if view.bytes.len() <= limit {
            let parts = opened.iter().map(|(part, _)| *part);
            let part = Part {
                next_offset: last.next_offset,
                epoch: last.epoch,
                source_offset: opened[0].0.source_offset,
                timestamp: opened[0].0.timestamp,
                records: count as u64,
                bytes: parts.clone().map(|part| part.bytes).sum(),
                last: parts
                    .rev()
                    .find_map(|part| part.last)
                    .map(|last| LastRecord {
                        crc: records[count - 1].crc(),
                        payload_crc: None,
                        ..last
                    }),
                body: Body::Sealed(view),
            };
            return Some((opened.len(), batches as u64, part));
        }
        // They were packed more tightly than they are here.
        opened.truncate(opened.len() / 2);
    }
}

fn codec(part: &Part) -> Option<Codec> {
    match &part.body {
        Body::Sealed(view) => view.header.codec().ok(),
        Body::Nothing | Body::Refused(_) | Body::Open(_) => None,
    }
}

/// The records of a part, if they are whole and have no more than `room` bytes.
fn open(part: &Part, room: usize) -> Option<Vec<Record>> {
    match &part.body {
        Body::Nothing => Some(Vec::new()),
        Body::Sealed(view) => {
            view.check_crc().ok()?;
            decode(view, room).ok()
        }
        Body::Refused(_) | Body::Open(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::{batch::BatchView, record::BatchBuilder};

    use super::{
        super::{
            poison::Poison,
            prepare::{prepare, records_of},
        },
        *,
    };
    use crate::{
        config::OnPoison,
        sink::{Form, Limits},
        source::Content,
    };

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    fn paced(round_trip: Duration, answers: &[Duration]) -> Pace {
        let mut pace = Pace::default();
        answers.iter().for_each(|took| pace.answered(*took));
        pace.round_trip = Some(round_trip);
        pace
    }

    #[test]
    fn it_pays_behind_a_round_trip_and_for_who_may_send_one_and_not_where_the_target_is_near() {
        const SMALL: u64 = 16 << 10;
        assert!(!Pace::default().is_held_up(1, SMALL) && !Pace::default().is_held_up(5, SMALL));
        let far = paced(ms(150), &[ms(150); 3]);
        assert!(far.is_held_up(5, SMALL) && far.is_held_up(5, 900 << 10));
        assert!(
            paced(ms(20), &[]).is_held_up(5, SMALL),
            "before the first answer"
        );
        assert!(
            !paced(ms(20), &[ms(40)]).is_held_up(5, 512 << 10),
            "128 MB/s are let through"
        );
        let near = paced(ms(1), &[ms(1)]);
        assert!(
            !near.is_held_up(5, 4 << 10),
            "guarded: sealed they cost least"
        );
        assert!(near.is_held_up(1, 4 << 10) && !near.is_held_up(1, 128 << 10));
        // However busy it is.
        let mut busy = paced(ms(1), &[ms(60), ms(3), ms(60)]);
        assert!(!busy.is_held_up(5, SMALL) && !busy.is_held_up(1, 512 << 10));
        (0..ANSWERS).for_each(|_| busy.answered(ms(60)));
        assert!(!busy.is_held_up(5, SMALL) && busy.is_held_up(1, 512 << 10));
    }

    #[test]
    fn small_batches_that_are_not_compressed_go_together_wherever_the_target_is() {
        let near = paced(ms(1), &[ms(1)]);
        let wanted = |records, bytes, codec| {
            let value = vec![b'x'; bytes];
            near.wanted(5, &part(0, &vec![value; records], codec, false))
        };
        assert_eq!(wanted(1, 10, Codec::None), Some(Goal::HANDY));
        assert_eq!(wanted(15, 1_000, Codec::None), Some(Goal::HANDY));
        assert_eq!(wanted(41, 10, Codec::None), None);
        assert_eq!(wanted(4, 10_000, Codec::None), None);
        assert_eq!(wanted(1, 10, Codec::Lz4), None);
        let far = paced(ms(150), &[]);
        let part = part(0, &vec![vec![b'x'; 10]; 5], Codec::None, false);
        assert_eq!(far.wanted(5, &part), Some(Goal::LARGE));
    }

    const LIMIT: usize = 1 << 20;

    /// What a sealed batch of these values becomes; with `holes`, one that compaction took every second record out of.
    fn part(offset: i64, values: &[Vec<u8>], codec: Codec, holes: bool) -> Part {
        let mut builder = BatchBuilder::new(codec).leader_epoch(offset as i32);
        let step = if holes { 2 } else { 1 };
        for (delta, value) in (0..).step_by(step).zip(values) {
            builder.push_at(delta, 1_000 + i64::from(delta), None, Some(value), &[]);
        }
        let view = BatchView::read(&builder.build(offset).unwrap()).unwrap();
        let next = offset + (step * values.len()) as i64;
        let content = view.map_or(Content::Nothing, Content::Sealed);
        prepared(content, (offset, next))
    }

    fn prepared(content: Content, offsets: (i64, i64)) -> Part {
        let limits = Limits {
            codec: Codec::None,
            max_batch_bytes: LIMIT,
            log_append_time: false,
        };
        let poison = Poison::new(OnPoison::Stop);
        let parts = prepare(content, offsets, Form::Sealed, &limits, &poison);
        let [part] = parts.unwrap().try_into().unwrap();
        part
    }

    fn values(count: usize, bytes: usize) -> Vec<Vec<u8>> {
        vec![vec![7; bytes]; count]
    }

    #[test]
    fn a_run_ends_at_another_codec_at_its_bytes_and_at_what_is_refused() {
        let lz4 = |offset| part(offset, &values(3, 100), Codec::Lz4, false);
        let plain = |offset| part(offset, &values(1, 400_000), Codec::None, false);
        let nothing = |offset| prepared(Content::Nothing, (offset, offset + 1));
        let refused = |offset| Part {
            body: Body::Refused(vec![offset]),
            ..nothing(offset)
        };
        for (parts, joined) in [
            (vec![lz4(0), lz4(3), plain(6)], 2),
            (vec![plain(0), plain(1), plain(2), plain(3)], 2),
            (vec![lz4(0), nothing(3), lz4(4), refused(7), lz4(8)], 3),
            (vec![nothing(0), lz4(1)], 0),
        ] {
            let run = Run::of(parts.iter(), Goal::LARGE);
            assert_eq!(
                (run.parts, run.is_open()),
                (joined, false),
                "{joined} of {parts:?}"
            );
        }
    }

    #[test]
    fn what_is_dear_to_open_ends_a_run_that_is_made_only_because_it_is_cheap() {
        let plain = |offset, count, bytes| part(offset, &values(count, bytes), Codec::None, false);
        let dear = [plain(2, 41, 10), plain(2, 2, 20_000)];
        for dear in dear {
            let parts = [plain(0, 1, 10), plain(1, 1, 10), dear];
            assert_eq!(Run::of(parts.iter(), Goal::HANDY).parts, 2);
            assert_eq!(Run::of(parts.iter(), Goal::LARGE).parts, 3);
        }
    }

    #[test]
    fn what_is_damaged_or_would_not_stay_small_goes_as_it_is() {
        let good = |offset| part(offset, &values(2, 10), Codec::None, false);
        let damaged = |offset| {
            let part = good(offset);
            let Body::Sealed(view) = &part.body else {
                panic!("{part:?}")
            };
            let mut bytes = view.bytes.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            let view = BatchView::read(&bytes.into()).unwrap().unwrap();
            let body = Body::Sealed(view);
            Part { body, ..part }
        };
        let swells = |offset| part(offset, &values(1, 3 << 20), Codec::Zstd, false);
        let parts = [good(0), good(2), damaged(4), good(6)];
        let (joined, batches, _) = coalesce(parts.iter(), LIMIT).unwrap();
        assert_eq!((joined, batches), (2, 2));
        assert!(coalesce([good(0), damaged(2)].iter(), LIMIT).is_none());
        let small = part(0, &values(2, 10), Codec::Zstd, false);
        let parts = [small, swells(2), swells(3), swells(4)];
        let (joined, batches, _) = coalesce(parts.iter(), LIMIT).unwrap();
        assert_eq!((joined, batches), (2, 2));
        assert!(coalesce([swells(0), swells(1)].iter(), LIMIT).is_none());
    }

    proptest! {
        /// Whatever goes together: the same records in the same order, in a batch that the target takes, which leaves off
        /// where the last one of them did and is known by its last record.
        #[test]
        fn coalescing_keeps_every_record(
            batches in proptest::collection::vec(
                (proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..6), any::<bool>()),
                2..30,
            ),
            codec in prop_oneof![Just(Codec::None), Just(Codec::Lz4), Just(Codec::Zstd)],
            limit in 300usize..4_000,
        ) {
            let mut parts = Vec::new();
            let mut offset = 100;
            for (values, holes) in &batches {
                let part = part(offset, values, codec, *holes);
                offset = part.next_offset;
                parts.push(part);
            }
            let goal = Goal { bytes: limit, of_cheap: false };
            let run = Run::of(parts.iter(), goal);
            if let Some((joined, batches, whole)) = coalesce(parts.iter().take(run.parts), limit) {
                prop_assert!(joined >= 2 && joined <= run.parts && batches == joined as u64);
                let of = &parts[..joined];
                let crcs = |parts: &[Part]| records_of(parts).iter().map(Record::crc).collect::<Vec<_>>();
                prop_assert_eq!(crcs(std::slice::from_ref(&whole)), crcs(of));
                let last = &of[joined - 1];
                prop_assert_eq!((whole.source_offset, whole.next_offset), (100, last.next_offset));
                prop_assert_eq!(whole.records, of.iter().map(|part| part.records).sum::<u64>());
                prop_assert_eq!(whole.bytes, of.iter().map(|part| part.bytes).sum::<u64>());
                prop_assert_eq!((whole.epoch, whole.timestamp), (last.epoch, of[0].timestamp));
                let (known, wanted) = (whole.last.unwrap(), last.last.unwrap());
                prop_assert_eq!(known.source_offset, wanted.source_offset);
                prop_assert_eq!(known.leader_epoch, wanted.leader_epoch);
                prop_assert_eq!(known.payload_crc, None);
                prop_assert_eq!(known.crc, records_of(of).last().unwrap().crc());
                prop_assert!(whole.size() <= limit as u64);
            }
        }
    }
}
