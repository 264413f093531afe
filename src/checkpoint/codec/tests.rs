use proptest::{collection::vec, option, prelude::*};
use uuid::Uuid;

use super::*;

fn checkpoint() -> Checkpoint {
    Checkpoint {
        source_cluster: "MkU3OEVBNTcwNTJENDM2Qg".to_owned(),
        source_topic: Uuid::from_u128(1),
        target_cluster: "lkc-west/1".to_owned(),
        target_topic: Uuid::from_u128(u128::MAX),
        source_offset: 1_000_000,
        target_offset: 999_000,
        last_record: Some(LastRecord {
            source_offset: 999_999,
            crc: 0xdead_beef,
            leader_epoch: -1,
            payload_crc: Some(7),
        }),
        sequence: 998_000,
        producer: Some(ProducerState {
            id: 1 << 62,
            generation: 2,
            epoch: 3,
            epoch_base: 1000,
        }),
        fingerprint: 0x0123_4567_89ab_cdef,
        appends_at: Some(400),
        stopped: Some(Stopped {
            reason: "offset_out_of_range".to_owned(),
            source_offset: 1_000_000,
            since_ms: 1_780_000_000_000,
        }),
        settled: true,
        unmapped: None,
        anchors: vec![
            Anchor {
                sequence: 997_990,
                source_offset: 999_990,
                target_offset: 998_990,
            },
            Anchor {
                sequence: 2_147_483_000,
                source_offset: 500_000,
                target_offset: 499_000,
            },
        ],
    }
}

const GOLDEN_1: &str = "strait/1 source=MkU3OEVBNTcwNTJENDM2Qg/AAAAAAAAAAAAAAAAAAAAAQ \
    target=lkc-west%2F1/_____________________w next=1000000 last=999999:deadbeef:-1:00000007 \
    seq=998000 producer=4611686018427387904:2:3:1000 map=0123456789abcdef appends=400 \
    stopped=offset_out_of_range:1000000:1780000000000 settled=yes anchors=a:a:a,apsm:apsm:lejy";

/// What was once committed is read forever: this text never changes, nor what it means.
#[test]
fn version_1_does_not_drift() {
    let stored = encode(&checkpoint());
    assert_eq!(
        (stored.offset, stored.metadata.as_str()),
        (999_000, GOLDEN_1)
    );
    assert_eq!(decode(&stored).unwrap(), checkpoint());
}

#[test]
fn what_the_map_lacks_is_told_with_or_without_a_loss() {
    for (unmapped, text) in [(NO_LOSS, "-"), (400, "400")] {
        let checkpoint = Checkpoint {
            unmapped: Some(unmapped),
            ..checkpoint()
        };
        let stored = encode(&checkpoint);
        let word = format!(" settled=yes unmapped={text} anchors=");
        assert!(stored.metadata.contains(&word), "{}", stored.metadata);
        assert_eq!(decode(&stored).unwrap(), checkpoint);
    }
}

#[test]
fn the_first_checkpoint_is_short() {
    let first = Checkpoint {
        last_record: None,
        producer: None,
        appends_at: None,
        stopped: None,
        settled: false,
        anchors: Vec::new(),
        source_offset: 0,
        target_offset: 0,
        sequence: 0,
        ..checkpoint()
    };
    let stored = encode(&first);
    assert!(
        stored
            .metadata
            .ends_with("w next=0 seq=0 map=0123456789abcdef")
    );
    assert_eq!(decode(&stored).unwrap(), first);
}

#[test]
fn the_largest_checkpoint_is_below_1_kb() {
    let id = "MkU3OEVBNTcwNTJENDM2Qg".to_owned();
    let anchor = |n: usize| Anchor {
        sequence: if n.is_multiple_of(2) { 1 } else { 0 },
        source_offset: if n.is_multiple_of(2) { 0 } else { i64::MAX },
        target_offset: if n.is_multiple_of(2) { 0 } else { i64::MAX },
    };
    let largest = Checkpoint {
        source_cluster: id.clone(),
        target_cluster: id,
        source_offset: i64::MAX,
        target_offset: i64::MAX,
        sequence: i32::MAX,
        last_record: Some(LastRecord {
            source_offset: i64::MAX,
            crc: u32::MAX,
            leader_epoch: i32::MAX,
            payload_crc: Some(u32::MAX),
        }),
        producer: Some(ProducerState {
            id: i64::MAX,
            generation: u32::MAX,
            epoch: i16::MAX,
            epoch_base: i64::MAX,
        }),
        appends_at: Some(i64::MAX),
        stopped: Some(Stopped {
            reason: "a_reason_with_as_many_letters_as_any".to_owned(),
            source_offset: i64::MAX,
            since_ms: i64::MAX,
        }),
        unmapped: Some(NO_LOSS - 1),
        anchors: (0..MAX_ANCHORS).map(anchor).collect(),
        ..checkpoint()
    };
    let stored = encode(&largest);
    assert!(stored.metadata.len() < 1024, "{}", stored.metadata.len());
    assert_eq!(decode(&stored).unwrap(), largest);
}

#[test]
fn anything_else_is_an_error_and_never_no_checkpoint() {
    let decode = |text: &str| {
        decode(&Stored {
            offset: 999_000,
            metadata: text.to_owned(),
        })
    };
    assert_eq!(decode("").unwrap_err(), CodecError::Empty);
    for version in ["2", "0", "01", "", "1x", "99999999999999999999"] {
        let text = GOLDEN_1.replacen("/1", &format!("/{version}"), 1);
        assert_eq!(
            decode(&text).unwrap_err(),
            CodecError::Version(version.to_owned())
        );
    }
    for (from, to) in [
        ("strait/1", "kafka/1"),
        ("strait/1 ", "strait/1  "),
        (" source", " origin"),
        ("AAAAAAAAAAAAAAAAAAAAAQ", "AAAAAAAAAAAAAAAAAAAAAR"),
        ("next=1000000", "next=+1000000"),
        ("next=1000000", "next=01000000"),
        ("next=1000000", "next=9223372036854775808"),
        ("deadbeef", "DEADBEEF"),
        ("deadbeef", "1deadbeef"),
        (":00000007", ":7"),
        (":00000007", ":00000007:1"),
        ("seq=998000", "seq=-1"),
        ("seq=998000 ", ""),
        ("seq=998000 ", "seq=998000 seq=998000 "),
        (":2:3:1000", ":2:3"),
        (":2:3:1000", ":2:99999:1000"),
        ("map=0123456789abcdef", "map=123456789abcdef"),
        ("%2F", "%2f"),
        ("%2F", "%5A"),
        ("a:a:a,", "a:a:a,,"),
        ("a:a:a,", "a:a:zzzzzzz,"),
        ("a:a:a,", "a:a,"),
        ("lejy", "lei6 "),
        ("lejy", "lei6 more=1"),
        ("lejy", "lei6\n"),
    ] {
        let text = GOLDEN_1.replacen(from, to, 1);
        assert_ne!(text, GOLDEN_1, "{from} is not in the text");
        let error = decode(&text).unwrap_err();
        assert!(
            matches!(error, CodecError::Malformed { .. }),
            "{from} -> {to}: {error}"
        );
    }
    let many = format!("{GOLDEN_1}{}", ",1:1:1".repeat(MAX_ANCHORS));
    assert!(decode(&many).is_err());
}

#[test]
fn an_error_quotes_foreign_text_within_bounds() {
    let text = "\u{1b}[2J".repeat(1000);
    let error = decode(&Stored {
        offset: 0,
        metadata: text,
    })
    .unwrap_err()
    .to_string();
    assert!(
        error.len() < 200 && error.is_ascii() && !error.contains('\u{1b}'),
        "{error}"
    );
}

prop_compose! {
    fn any_anchor()(sequence in 0..=i32::MAX, source_offset: i64, target_offset: i64) -> Anchor {
        Anchor { sequence, source_offset, target_offset }
    }
}

prop_compose! {
    fn any_last()(source_offset: i64, crc: u32, leader_epoch: i32, payload_crc: Option<u32>)
        -> LastRecord {
        LastRecord { source_offset, crc, leader_epoch, payload_crc }
    }
}

prop_compose! {
    fn any_producer()(id: i64, generation: u32, epoch: i16, epoch_base: i64) -> ProducerState {
        ProducerState { id, generation, epoch, epoch_base }
    }
}

prop_compose! {
    fn any_stopped()(reason: String, source_offset: i64, since_ms: i64) -> Stopped {
        Stopped { reason, source_offset, since_ms }
    }
}

prop_compose! {
    fn any_checkpoint()(
        clusters: (String, String),
        topics: (u128, u128),
        offsets: (i64, i64),
        fingerprint: u64,
        sequence in 0..=i32::MAX,
        last_record in option::of(any_last()),
        producer in option::of(any_producer()),
        appends_at: Option<i64>,
        stopped in option::of(any_stopped()),
        settled: bool,
        unmapped: Option<i64>,
        anchors in vec(any_anchor(), 0..=MAX_ANCHORS),
    ) -> Checkpoint {
        Checkpoint {
            source_cluster: clusters.0,
            source_topic: Uuid::from_u128(topics.0),
            target_cluster: clusters.1,
            target_topic: Uuid::from_u128(topics.1),
            source_offset: offsets.0,
            target_offset: offsets.1,
            last_record,
            sequence,
            producer,
            fingerprint,
            appends_at,
            stopped,
            settled,
            unmapped,
            anchors,
        }
    }
}

proptest! {
    #[test]
    fn every_checkpoint_comes_back(checkpoint in any_checkpoint()) {
        let stored = encode(&checkpoint);
        prop_assert!(stored.metadata.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
        prop_assert_eq!(decode(&stored).unwrap(), checkpoint);
    }

    #[test]
    fn hostile_text_is_an_error(metadata: String, offset: i64) {
        let stored = Stored { offset, metadata };
        prop_assert!(decode(&stored).is_err());
    }

    /// Text that is nearly a checkpoint: either refused, or exactly what would be written.
    #[test]
    fn a_changed_byte_is_refused_or_canonical(
        checkpoint in any_checkpoint(), at: prop::sample::Index, byte in 0x20u8..0x7f,
    ) {
        let mut stored = encode(&checkpoint);
        let mut bytes = stored.metadata.into_bytes();
        *at.get_mut(&mut bytes) = byte;
        stored.metadata = String::from_utf8(bytes).unwrap();
        if let Ok(changed) = decode(&stored) {
            prop_assert_eq!(encode(&changed), stored);
        }
    }
}
