//! The rules for what a client may write, one after the other as a leader checks them.

use bytes::Bytes;
use kafka_protocol::messages::{
    ListGroupsRequest, ProduceRequest, produce_request::PartitionProduceData,
};
use wire::{
    batch::{BatchHeader, CONTROL, DELETE_HORIZON, LOG_APPEND_TIME, TRANSACTIONAL},
    record::{BatchBuilder, Codec},
};

use super::topic;
use crate::{
    batches::{T, Topic, batch, edited, of_size, patched, produce, refilled},
    mask::now_ms,
    talk::{Talk, text},
};

/// Both ends of the range, and where something changes: zstd, blamed records, transactions, topic ids.
const VERSIONS: [i16; 8] = [3, 5, 6, 7, 8, 11, 12, 13];

/// Writes one batch to partition 0.
fn write(talk: &mut Talk, topic: &Topic, version: i16, what: &str, records: &Bytes) {
    let request = produce(version, topic, &[(0, Some(records.clone()))]);
    talk.ask(what, version, &request);
}

/// Bytes at the start of a batch as the request sees them.
pub fn envelopes(talk: &mut Talk) {
    let topic = topic(talk, "produce-envelopes", 2, &[]);
    let plain = batch(Codec::None, &[T]);
    let joined = |batches: &[&[u8]]| Bytes::from(batches.concat());
    let cases = [
        ("plain", plain.clone()),
        ("two batches", joined(&[&plain, &plain])),
        ("no bytes", Bytes::new()),
        ("cut off in the header", plain.slice(..40)),
        ("cut off in the first 17 bytes", plain.slice(..16)),
        ("cut off in the records", plain.slice(..plain.len() - 1)),
        ("five bytes behind", joined(&[&plain, &[0; 5]])),
        ("zeros behind", joined(&[&plain, &[0; 30]])),
        ("half a batch behind", joined(&[&plain, &plain[..50]])),
        ("format 0", patched(&plain, 16, &[0])),
        ("format 1", patched(&plain, 16, &[1])),
        ("format 3", patched(&plain, 16, &[3])),
        ("format -1", patched(&plain, 16, &[255])),
        ("length 5", patched(&plain, 8, &5i32.to_be_bytes())),
        ("length 20", patched(&plain, 8, &20i32.to_be_bytes())),
        ("length -1", patched(&plain, 8, &(-1i32).to_be_bytes())),
        ("zstd", batch(Codec::Zstd, &[T])),
        (
            "transactional",
            edited(&plain, |h| h.attributes |= TRANSACTIONAL),
        ),
    ];
    for version in VERSIONS {
        for (what, records) in &cases {
            write(talk, &topic, version, what, records);
        }
    }
}

type Edit = fn(&mut BatchHeader);

/// Header fields.
pub fn headers(talk: &mut Talk) {
    let topic = topic(talk, "produce-headers", 1, &[]);
    let plain = batch(Codec::None, &[T, T + 9, T + 3]);
    let damaged = patched(&plain, plain.len() - 1, &[plain[plain.len() - 1] ^ 1]);
    let cases: [(&str, Edit); 21] = [
        ("base offset 5", |h| h.base_offset = 5),
        ("base offset -1", |h| h.base_offset = -1),
        ("leader epoch 9", |h| h.partition_leader_epoch = 9),
        ("last offset delta 3", |h| h.last_offset_delta = 3),
        ("last offset delta 1", |h| h.last_offset_delta = 1),
        ("last offset delta -1", |h| h.last_offset_delta = -1),
        ("last offset delta -5", |h| h.last_offset_delta = -5),
        ("last offset delta at its end", |h| {
            h.last_offset_delta = i32::MAX
        }),
        ("no records", |h| {
            (h.last_offset_delta, h.record_count) = (-1, 0)
        }),
        ("record count 0", |h| h.record_count = 0),
        ("record count -3", |h| h.record_count = -3),
        ("control", |h| h.attributes |= CONTROL),
        ("a producer without sequence", |h| h.producer_id = 5),
        ("a sequence without producer", |h| h.base_sequence = 5),
        ("delete horizon", |h| h.attributes |= DELETE_HORIZON),
        ("unused attributes", |h| h.attributes |= 0x80),
        ("largest time too small", |h| h.max_timestamp = T),
        ("largest time too large", |h| h.max_timestamp = T + 99),
        ("codec 5", |h| h.attributes |= 5),
        ("codec 7", |h| h.attributes |= 7),
        ("a codec that it is not in", |h| h.attributes |= 1),
    ];
    for version in VERSIONS {
        write(talk, &topic, version, "damaged", &damaged);
        for (what, edit) in cases {
            write(talk, &topic, version, what, &edited(&plain, edit));
        }
    }
}

/// What stands behind the header.
pub fn contents(talk: &mut Talk) {
    let plain = topic(talk, "produce-contents", 1, &[]);
    let compacted = topic(
        talk,
        "produce-compacted",
        1,
        &[("cleanup.policy", "compact")],
    );
    let three = batch(Codec::None, &[T, T + 1, T + 2]);
    let counted = |count: i32| {
        edited(&three, |h| {
            (h.record_count, h.last_offset_delta) = (count, count - 1)
        })
    };
    let mut keys = BatchBuilder::new(Codec::None);
    for key in [None, Some(&b"k"[..]), None, None, None] {
        keys.push(T, key, Some(b"v"), &[]);
    }
    let keys = keys.build(0).expect("a batch");
    let mut cases = vec![
        ("one record more than counted".to_owned(), counted(2)),
        ("one record less than counted".to_owned(), counted(4)),
        (
            "a byte behind the records".to_owned(),
            refilled(&three, &[&three[61..], &[0]].concat()),
        ),
        ("other bytes".to_owned(), refilled(&three, &[0x7e; 40])),
        ("no bytes".to_owned(), refilled(&three, &[])),
    ];
    for codec in Codec::ALL {
        let mut gaps = BatchBuilder::new(codec);
        for delta in [0, 1, 5] {
            gaps.push_at(delta, T, None, Some(b"gap"), &[]);
        }
        let gaps = edited(&gaps.build(0).expect("a batch"), |h| {
            h.last_offset_delta = 2
        });
        cases.push((format!("{codec}: offset deltas 0, 1, 5"), gaps));
        let sound = batch(codec, &[T, T + 1]);
        let payload = &sound[61..];
        cases.push((
            format!("{codec}: cut off"),
            refilled(&sound, &payload[..payload.len() / 2]),
        ));
        cases.push((
            format!("{codec}: other bytes"),
            refilled(&sound, &[0x7e; 40]),
        ));
        cases.push((format!("{codec}: no bytes"), refilled(&sound, &[])));
        cases.push((format!("{codec}: sound"), sound));
    }
    for version in VERSIONS {
        for (what, records) in &cases {
            // Refused before it is looked into, see the envelopes.
            if !(what.starts_with("zstd") && version < 7) {
                write(talk, &plain, version, what, records);
            }
        }
        write(talk, &plain, version, "without keys", &keys);
        write(talk, &compacted, version, "without keys, compacted", &keys);
        write(
            talk,
            &compacted,
            version,
            "all with keys, compacted",
            &three,
        );
    }
}

/// Timestamps, set by the producer or by the broker.
pub fn times(talk: &mut Talk) {
    const HOUR: i64 = 3_600_000;
    let now = now_ms();
    let plain = topic(talk, "produce-times", 1, &[]);
    let past = [("message.timestamp.before.max.ms", "3600000")];
    let past = topic(talk, "produce-times-past", 1, &past);
    let append = [("message.timestamp.type", "LogAppendTime")];
    let append = topic(talk, "produce-times-append", 1, &append);
    let append_time = |batch: &Bytes| edited(batch, |h| h.attributes |= LOG_APPEND_TIME);
    let cases = [
        ("old", batch(Codec::None, &[T, T + 1])),
        ("half an hour ahead", batch(Codec::None, &[now + HOUR / 2])),
        (
            "two hours ahead",
            batch(Codec::None, &[now, now + 2 * HOUR]),
        ),
        ("two hours ago", batch(Codec::None, &[now - 2 * HOUR, now])),
        ("no times", batch(Codec::None, &[-1, -1])),
        ("negative times", batch(Codec::None, &[-2, -1])),
        (
            "the broker's type",
            append_time(&batch(Codec::None, &[T, T + 5])),
        ),
        (
            "the broker's type, lz4",
            append_time(&batch(Codec::Lz4, &[T, T + 5])),
        ),
        (
            "the broker's type, no times",
            append_time(&batch(Codec::None, &[-1])),
        ),
    ];
    for version in VERSIONS {
        for topic in [&plain, &past, &append] {
            for (what, records) in &cases {
                write(
                    talk,
                    topic,
                    version,
                    &format!("{}: {what}", topic.name),
                    records,
                );
            }
        }
    }
}

/// Limits of size.
pub fn sizes(talk: &mut Talk) {
    let small = topic(talk, "produce-sizes", 1, &[("max.message.bytes", "500")]);
    let opened = [
        ("max.message.bytes", "500"),
        ("compression.type", "uncompressed"),
    ];
    let opened = topic(talk, "produce-sizes-opened", 1, &opened);
    let segment = [
        ("max.message.bytes", "3000000"),
        ("segment.bytes", "1048576"),
    ];
    let segment = topic(talk, "produce-sizes-segment", 1, &segment);
    let room = 500 - of_size(Codec::None, 400).len();
    for version in VERSIONS {
        let mut write = |topic, what, records| write(talk, topic, version, what, &records);
        write(
            &small,
            "as large as allowed",
            of_size(Codec::None, 400 + room),
        );
        write(&small, "a byte larger", of_size(Codec::None, 401 + room));
        write(&small, "small when compressed", of_size(Codec::Gzip, 5_000));
        write(
            &opened,
            "too large when opened",
            of_size(Codec::Gzip, 5_000),
        );
        write(
            &segment,
            "larger than a segment",
            of_size(Codec::None, 1_100_000),
        );
        write(
            &segment,
            "less than a segment",
            of_size(Codec::None, 1_000_000),
        );
    }
}

/// Topics with a codec of their own.
pub fn codecs(talk: &mut Talk) {
    for wanted in ["uncompressed", "gzip", "lz4", "snappy", "zstd"] {
        let topic = topic(
            talk,
            &format!("codecs-{wanted}"),
            1,
            &[("compression.type", wanted)],
        );
        for codec in Codec::ALL {
            let batch = batch(codec, &[T + 5, T, T + 3]);
            for version in [9, 13] {
                write(
                    talk,
                    &topic,
                    version,
                    &format!("{codec} to {wanted}"),
                    &batch,
                );
            }
        }
    }
}

/// What is around the batches.
pub fn requests(talk: &mut Talk) {
    let here = topic(talk, "produce-requests", 2, &[]);
    let nowhere = Topic {
        name: "produce-nowhere".to_owned(),
        id: uuid::Uuid::from_u128(7),
    };
    let nothing = Topic {
        name: String::new(),
        id: uuid::Uuid::nil(),
    };
    let internal = Topic {
        name: "__consumer_offsets".to_owned(),
        id: uuid::Uuid::from_u128(8),
    };
    let plain = batch(Codec::None, &[T]);
    let transactional = edited(&plain, |header| header.attributes |= TRANSACTIONAL);
    let one =
        |version, topic: &Topic, index| produce(version, topic, &[(index, Some(plain.clone()))]);
    for version in VERSIONS {
        let mut ask = |what: &str, request: &ProduceRequest| {
            talk.ask(what, version, request);
        };
        for acks in [1, 2, -2, i16::MAX] {
            ask(
                &format!("acks {acks}"),
                &one(version, &here, 0).with_acks(acks),
            );
        }
        ask("timeout 0", &one(version, &here, 0).with_timeout_ms(0));
        ask("timeout -1", &one(version, &here, 0).with_timeout_ms(-1));
        for index in [2, -1, i32::MAX, i32::MIN] {
            ask(&format!("partition {index}"), &one(version, &here, index));
        }
        ask("partition 2, acks 2", &one(version, &here, 2).with_acks(2));
        ask("a topic that is not there", &one(version, &nowhere, 0));
        ask("a topic without name", &one(version, &nothing, 0));
        if version < 13 {
            ask("a topic of the broker", &one(version, &internal, 0));
        }
        ask("no partitions", &produce(version, &here, &[]));
        ask("no topics", &one(version, &here, 0).with_topic_data(vec![]));
        ask(
            "no topics, acks 2",
            &one(version, &here, 0).with_topic_data(vec![]).with_acks(2),
        );
        let corrupt = patched(&plain, 16, &[3]);
        let both = [(0, Some(plain.clone())), (1, Some(corrupt))];
        ask("a corrupt neighbour", &produce(version, &here, &both));
        let both = [(0, Some(plain.clone())), (1, Some(transactional.clone()))];
        ask("a transactional neighbour", &produce(version, &here, &both));
        let named = |id: &str| {
            produce(version, &here, &[(1, Some(transactional.clone()))])
                .with_transactional_id(Some(text(id).into()))
        };
        ask("transactional, no producer", &named("produce-requests"));
        ask("transactional, empty id", &named(""));
        let plain_named =
            one(version, &here, 1).with_transactional_id(Some(text("produce-plain").into()));
        ask("an id that is not needed", &plain_named);
        let mut twice = one(version, &here, 0);
        let two = PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(batch(Codec::None, &[T + 7, T + 8])));
        twice.topic_data[0].partition_data.push(two);
        ask("a partition twice", &twice);
        let mut twice = one(version, &here, 0);
        twice.topic_data.extend(one(version, &here, 1).topic_data);
        ask("a topic twice", &twice);
        let mut two = one(version, &here, 0);
        two.topic_data.extend(one(version, &nowhere, 0).topic_data);
        ask("one topic that is there", &two);
    }
    unanswered(talk, &here, &nowhere);
    let nothing = produce(9, &here, &[(0, None)]);
    let frame = talk.frame(9, &nothing);
    talk.send::<ProduceRequest>("no records", 9, &frame);
}

/// With acks 0 only the fate of the next request shows what became of the records.
fn unanswered(talk: &mut Talk, here: &Topic, nowhere: &Topic) {
    let plain = batch(Codec::None, &[T]);
    let corrupt = patched(&plain, plain.len() - 1, &[plain[plain.len() - 1] ^ 1]);
    for version in [3, 9, 13] {
        for (what, topic, records) in [
            ("sound", here, &plain),
            ("corrupt", here, &corrupt),
            ("unknown", nowhere, &plain),
        ] {
            let produce = produce(version, topic, &[(0, Some(records.clone()))]).with_acks(0);
            let mut frames = talk.frame(version, &produce);
            frames.extend_from_slice(&talk.frame(1, &ListGroupsRequest::default()));
            let what = format!("behind Produce {version} with acks 0, {what}");
            talk.poke(&what, &frames);
        }
    }
}
