//! What stays of single batches, as Kafka's `Cleaner` and `MemoryRecords.filterTo` decide.

use wire::{
    batch::{BatchHeader, DELETE_HORIZON, HEADER_LEN, TRANSACTIONAL},
    record::{BatchBuilder, Codec, control_batch},
};

use super::*;

const NOW: i64 = 1_000_000;
const RETENTION: i64 = 500;
/// No record is so far.
const FAR: i64 = 1_000;

/// Keys and values from `base` on; no value: a tombstone.
fn batch(base: i64, codec: Codec, records: &[(&str, Option<&str>)]) -> BatchView {
    let mut builder = BatchBuilder::new(codec).producer(7, 2, 30).leader_epoch(3);
    for (at, (key, value)) in (0..).zip(records) {
        let value = value.map(str::as_bytes);
        builder.push(NOW - 100 + at, Some(key.as_bytes()), value, &[]);
    }
    view(builder.build(base).unwrap()).unwrap()
}

/// The newest offsets of keys in `0..FAR`.
fn newest(keys: &[(&str, i64)]) -> OffsetMap {
    let mut map = OffsetMap::new(0, 100, 1 << 20);
    for (key, offset) in keys {
        assert!(map.put(key.as_bytes(), *offset));
    }
    map.reach(FAR);
    map
}

fn keep_at(
    now: i64,
    map: &OffsetMap,
    producers: &HashMap<i64, LastRecord>,
    batch: &BatchView,
    transactions: &mut Transactions,
) -> Kept {
    let filter = Filter {
        map,
        now,
        delete_retention_ms: RETENTION,
        producers,
        end: FAR,
    };
    filter.keep(batch, transactions).unwrap().0
}

fn keep(map: &OffsetMap, batch: &BatchView) -> Kept {
    let transactions = &mut Transactions::default();
    keep_at(NOW, map, &HashMap::new(), batch, transactions)
}

fn part(kept: Kept) -> BatchView {
    let Kept::Part(bytes) = kept else {
        panic!("{kept:?}");
    };
    let part = view(bytes).unwrap();
    part.check_crc().unwrap();
    part
}

#[test]
fn superseded_records_go_and_the_rest_of_the_header_stays() {
    for codec in Codec::ALL {
        let whole = batch(
            10,
            codec,
            &[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))],
        );
        let map = newest(&[("a", 10), ("b", 11), ("c", 12)]);
        assert_eq!(keep(&map, &whole), Kept::Whole);
        let map = newest(&[("a", 10), ("b", 50), ("c", 60)]);
        let left = part(keep(&map, &whole));
        let expected = BatchHeader {
            length: left.header.length,
            crc: left.header.crc,
            max_timestamp: NOW - 100,
            record_count: 1,
            ..whole.header
        };
        assert_eq!(left.header, expected);
        let records = decode(&left, 1_000).unwrap();
        assert_eq!(records, decode(&whole, 1_000).unwrap()[..1]);
        let map = newest(&[("a", 50), ("b", 50), ("c", 60)]);
        assert_eq!(keep(&map, &whole), Kept::Nothing);
    }
}

#[test]
fn what_a_producer_wrote_last_leaves_its_header() {
    let whole = batch(10, Codec::None, &[("a", Some("1")), ("b", Some("2"))]);
    let map = newest(&[("a", 50), ("b", 50)]);
    let last = |offset| LastRecord { offset, epoch: 2 };
    let keep = |producers: &[(i64, LastRecord)], batch: &BatchView| {
        let producers = producers.iter().copied().collect();
        keep_at(NOW, &map, &producers, batch, &mut Transactions::default())
    };
    let left = part(keep(&[(7, last(Some(11)))], &whole));
    let expected = BatchHeader {
        length: 49,
        crc: left.header.crc,
        base_timestamp: -1,
        record_count: 0,
        ..whole.header
    };
    assert_eq!((left.header, left.bytes.len()), (expected, HEADER_LEN));
    assert_eq!(keep(&[(7, last(Some(11)))], &left), Kept::Whole, "it stays");
    assert_eq!(keep(&[(7, last(Some(20)))], &left), Kept::Nothing);
    assert_eq!(keep(&[(8, last(Some(11)))], &whole), Kept::Nothing);
}

#[test]
fn a_segment_keeps_its_end() {
    let whole = inside(FAR - 1);
    let map = newest(&[("a", 5_000)]);
    let left = part(keep(&map, &whole));
    let expected = BatchHeader {
        length: 49,
        crc: left.header.crc,
        attributes: 0,
        base_timestamp: -1,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: 0,
        ..whole.header
    };
    assert_eq!(
        left.header, expected,
        "of nobody, so that the marker need not stay"
    );
    assert_eq!(keep(&map, &left), Kept::Whole);
}

#[test]
fn a_tombstone_gets_a_horizon_and_goes_after_it() {
    let whole = batch(10, Codec::Gzip, &[("a", Some("1")), ("b", None)]);
    let map = newest(&[("a", 10), ("b", 11)]);
    let marked = part(keep(&map, &whole));
    assert_eq!(
        marked.header.attributes,
        whole.header.attributes | DELETE_HORIZON
    );
    assert_eq!(marked.header.base_timestamp, NOW + RETENTION);
    let records = decode(&whole, 1_000).unwrap();
    assert_eq!(decode(&marked, 1_000).unwrap(), records, "times too");
    let later = |now| {
        keep_at(
            now,
            &map,
            &HashMap::new(),
            &marked,
            &mut Transactions::default(),
        )
    };
    assert_eq!(later(NOW + RETENTION - 1), Kept::Whole);
    let left = part(later(NOW + RETENTION));
    assert_eq!(decode(&left, 1_000).unwrap(), records[..1]);
    assert_eq!(
        left.header.base_timestamp,
        NOW + RETENTION,
        "the horizon stays"
    );
}

#[test]
fn records_behind_the_map_and_those_without_key_are_told_apart() {
    let mut map = OffsetMap::new(0, 100, 1 << 20);
    map.put(b"a", 5);
    map.reach(11);
    let whole = batch(10, Codec::None, &[("z", None), ("a", None)]);
    let kept = keep(&map, &whole);
    assert_eq!(
        kept,
        Kept::Whole,
        "the map knows nothing newer, and ends inside"
    );
    let behind = batch(11, Codec::None, &[("a", None)]);
    assert_eq!(keep(&map, &behind), Kept::Whole);
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(NOW, None, Some(b"no key"), &[]);
    let keyless = view(builder.build(3).unwrap()).unwrap();
    assert_eq!(keep(&map, &keyless), Kept::Nothing);
}

fn inside(base: i64) -> BatchView {
    let batch = batch(base, Codec::None, &[("a", Some("1"))]);
    let header = BatchHeader {
        attributes: batch.header.attributes | TRANSACTIONAL,
        ..batch.header
    };
    batch.with_header(header)
}

fn marker(base: i64, commit: bool) -> BatchView {
    view(control_batch(base, 7, 2, commit, 0, NOW).unwrap()).unwrap()
}

fn aborted(first_offset: i64, last_offset: i64) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: 7,
        first_offset,
        last_offset,
        last_stable: last_offset + 1,
    }
}

/// In one pass the records of an aborted transaction go, in the next the marker gets its horizon, and in one behind
/// that it goes.
#[test]
fn a_marker_stays_as_long_as_what_it_ends_and_a_horizon_longer() {
    let map = newest(&[("a", 10)]);
    let run = |now, expected: Option<AbortedTransaction>, batches: &[BatchView]| {
        let mut transactions = Transactions::default();
        transactions.expect(expected);
        transactions.expect(expected);
        let each = batches.iter();
        let each = each.map(|one| keep_at(now, &map, &HashMap::new(), one, &mut transactions));
        each.collect::<Vec<_>>()
    };
    let one = Some(aborted(10, 11));
    let first = run(NOW, one, &[inside(10), marker(11, false)]);
    assert_eq!(first, [Kept::Nothing, Kept::Whole]);
    let second = run(NOW, None, &[marker(11, false)]);
    let [Kept::Part(marked)] = &second[..] else {
        panic!("{second:?}");
    };
    let marked = view(marked.clone()).unwrap();
    assert!(marked.header.has_delete_horizon() && marked.header.is_control());
    assert_eq!(
        run(NOW + RETENTION - 1, None, std::slice::from_ref(&marked)),
        [Kept::Whole]
    );
    assert_eq!(run(NOW + RETENTION, None, &[marked]), [Kept::Nothing]);
    let committed = run(NOW, None, &[inside(10), marker(11, true)]);
    assert_eq!(committed, [Kept::Whole, Kept::Whole]);
}

#[test]
fn the_index_keeps_an_abort_while_records_of_it_were_there() {
    let map = newest(&[("a", 10)]);
    let producers = HashMap::new();
    let filter = Filter {
        map: &map,
        now: NOW,
        delete_retention_ms: RETENTION,
        producers: &producers,
        end: FAR,
    };
    let mut transactions = Transactions::default();
    transactions.expect([aborted(10, 11), aborted(20, 21)]);
    let mut index = |batch: &BatchView| filter.keep(batch, &mut transactions).unwrap().1;
    assert_eq!(index(&inside(10)), None);
    assert_eq!(index(&marker(11, false)), Some(aborted(10, 11)));
    assert_eq!(index(&marker(21, false)), None, "nothing was left of it");
}
