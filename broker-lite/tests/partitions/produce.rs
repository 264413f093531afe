//! The rules for what a client may write.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::PartitionProduceData;
use wire::{
    batch::{BatchHeader, CONTROL, DELETE_HORIZON, LOG_APPEND_TIME, TRANSACTIONAL},
    record::{BatchBuilder, Codec},
};

use super::{
    batches::{T, batch, edited, joined, note, now_ms, read, refilled, request, write, write_as},
    client::{Client, Transcript},
    topic,
};

/// Bytes at the start of a batch as the request sees them.
pub(crate) fn envelopes(c: &mut Client, t: &mut Transcript) {
    t.title("what a request may carry");
    let plain = batch(Codec::None, &[T]);
    topic(c, "envelopes", 2, &[]);
    for version in 3..=12 {
        write_as(
            c,
            t,
            "envelopes",
            &format!("version {version}"),
            version,
            &plain,
        );
    }
    let patched = |at: usize, bytes: &[u8]| {
        let mut patched = BytesMut::from(&plain[..]);
        patched[at..at + bytes.len()].copy_from_slice(bytes);
        patched.freeze()
    };
    let cases = [
        ("two batches", joined(&[&plain, &plain])),
        ("no bytes", Bytes::new()),
        ("cut off in the header", plain.slice(..40)),
        ("cut off in the records", plain.slice(..plain.len() - 1)),
        ("five bytes behind", joined(&[&plain, &[0; 5]])),
        ("zeros behind", joined(&[&plain, &[0; 30]])),
        ("half a batch behind", joined(&[&plain, &plain[..50]])),
        ("format 0", patched(16, &[0])),
        ("format 1", patched(16, &[1])),
        ("format 3", patched(16, &[3])),
        ("format -1", patched(16, &[255])),
        ("length 5", patched(8, &5i32.to_be_bytes())),
        ("length -1", patched(8, &(-1i32).to_be_bytes())),
    ];
    for (what, records) in &cases {
        write(c, t, "envelopes", what, records);
    }
    let zstd = batch(Codec::Zstd, &[T]);
    write_as(c, t, "envelopes", "zstd", 6, &zstd);
    write_as(c, t, "envelopes", "zstd", 7, &zstd);
    let transactional = edited(&plain, |header| header.attributes |= TRANSACTIONAL);
    let both = [(0, Some(plain.clone())), (1, Some(transactional))];
    let answer = c.call(9, &request("envelopes", &both));
    note(t, "transactional without an id, and a neighbour", &answer);
    let mut twice = request("envelopes", &[(0, Some(plain.clone()))]);
    let two = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(batch(Codec::None, &[T + 7, T + 8])));
    twice.topic_data[0].partition_data.push(two);
    note(t, "one partition twice", &c.call(9, &twice));
    for acks in [1, 2, -2] {
        let request = request("envelopes", &[(0, Some(plain.clone()))]).with_acks(acks);
        note(t, &format!("acks {acks}"), &c.call(9, &request));
    }
    let unknown = request("envelopes", &[(2, Some(plain.clone()))]);
    note(t, "a partition that is not there", &c.call(9, &unknown));
    note(t, "acks 2 there", &c.call(9, &unknown.clone().with_acks(2)));
    let unknown = request("nowhere", &[(0, Some(plain))]);
    note(t, "a topic that is not there", &c.call(9, &unknown));
    read(c, t, "envelopes", 10);
}

type Edit = fn(&mut BatchHeader);

/// Header fields.
pub(crate) fn headers(c: &mut Client, t: &mut Transcript) {
    t.title("headers");
    topic(c, "headers", 1, &[]);
    let plain = batch(Codec::None, &[T, T + 9, T + 3]);
    let mut broken = BytesMut::from(&plain[..]);
    let last = broken.len() - 1;
    broken[last] ^= 1;
    write(c, t, "headers", "damaged", &broken.freeze());
    let cases: [(&str, Edit); 18] = [
        ("base offset 5", |h| h.base_offset = 5),
        ("base offset -1", |h| h.base_offset = -1),
        ("leader epoch 9", |h| h.partition_leader_epoch = 9),
        ("last offset delta 3", |h| h.last_offset_delta = 3),
        ("last offset delta 1", |h| h.last_offset_delta = 1),
        ("last offset delta -1", |h| h.last_offset_delta = -1),
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
    ];
    for (what, edit) in cases {
        write(c, t, "headers", what, &edited(&plain, edit));
    }
    read(c, t, "headers", 0);
}

/// What stands behind the header.
pub(crate) fn contents(c: &mut Client, t: &mut Transcript) {
    t.title("contents");
    topic(c, "contents", 1, &[]);
    topic(c, "compacted", 1, &[("cleanup.policy", "compact")]);
    let three = batch(Codec::None, &[T, T + 1, T + 2]);
    let fewer = |count: i32| {
        edited(&three, |h| {
            (h.record_count, h.last_offset_delta) = (count, count - 1)
        })
    };
    write(c, t, "contents", "one record more than counted", &fewer(2));
    write(c, t, "contents", "one record less than counted", &fewer(4));
    let trailing = joined(&[&three[61..], &[0]]);
    write(
        c,
        t,
        "contents",
        "a byte behind the records",
        &refilled(&three, &trailing),
    );
    write(
        c,
        t,
        "contents",
        "other bytes",
        &refilled(&three, &[0x7e; 40]),
    );
    write(c, t, "contents", "no bytes", &refilled(&three, &[]));
    for codec in Codec::ALL {
        let mut gaps = BatchBuilder::new(codec);
        for delta in [0, 1, 5] {
            gaps.push_at(delta, T, None, Some(b"gap"), &[]);
        }
        let gaps = edited(&gaps.build(0).unwrap(), |h| h.last_offset_delta = 2);
        write(
            c,
            t,
            "contents",
            &format!("{codec}: offset deltas 0, 1, 5"),
            &gaps,
        );
    }
    let mut keys = BatchBuilder::new(Codec::None);
    for key in [None, Some(&b"k"[..]), None] {
        keys.push(T, key, Some(b"v"), &[]);
    }
    let keys = keys.build(0).unwrap();
    write(c, t, "compacted", "two without key", &keys);
    write(c, t, "compacted", "all with keys", &three);
    write(c, t, "contents", "two without key", &keys);
    read(c, t, "contents", 0);
}

/// Timestamps, set by the producer or by the broker.
pub(crate) fn times(c: &mut Client, t: &mut Transcript) {
    t.title("times");
    const HOUR: i64 = 3_600_000;
    topic(c, "times", 1, &[]);
    topic(
        c,
        "times-past",
        1,
        &[("message.timestamp.before.max.ms", "3600000")],
    );
    topic(
        c,
        "times-append",
        1,
        &[("message.timestamp.type", "LogAppendTime")],
    );
    let now = now_ms();
    let append_time = |batch: &Bytes| edited(batch, |h| h.attributes |= LOG_APPEND_TIME);
    for name in ["times", "times-past", "times-append"] {
        let cases = [
            ("old", batch(Codec::None, &[T, T + 1])),
            ("half an hour ahead", batch(Codec::None, &[now + HOUR / 2])),
            (
                "two hours ahead",
                batch(Codec::None, &[now, now + 2 * HOUR]),
            ),
            ("two hours ago", batch(Codec::None, &[now - 2 * HOUR, now])),
            ("no times", batch(Codec::None, &[-1, -1])),
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
        for (what, records) in &cases {
            write(c, t, name, &format!("{name}: {what}"), records);
        }
    }
    read(c, t, "times-append", 0);
}

/// Limits of size.
pub(crate) fn sizes(c: &mut Client, t: &mut Transcript) {
    t.title("sizes");
    topic(c, "sizes", 1, &[("max.message.bytes", "500")]);
    let expands = [
        ("max.message.bytes", "500"),
        ("compression.type", "uncompressed"),
    ];
    topic(c, "sizes-plain", 1, &expands);
    let segment = [
        ("max.message.bytes", "3000000"),
        ("segment.bytes", "1048576"),
    ];
    topic(c, "sizes-segment", 1, &segment);
    let of_size = |codec, size: usize| {
        let mut builder = BatchBuilder::new(codec);
        builder.push(T, None, Some(&vec![b'x'; size]), &[]);
        builder.build(0).unwrap()
    };
    let room = 500 - of_size(Codec::None, 400).len();
    for (what, size) in [
        ("as large as allowed", 400 + room),
        ("a byte larger", 401 + room),
    ] {
        write(c, t, "sizes", what, &of_size(Codec::None, size));
    }
    write(
        c,
        t,
        "sizes",
        "small when compressed",
        &of_size(Codec::Gzip, 5_000),
    );
    write(
        c,
        t,
        "sizes-plain",
        "too large when opened",
        &of_size(Codec::Gzip, 5_000),
    );
    write(
        c,
        t,
        "sizes-segment",
        "larger than a segment",
        &of_size(Codec::None, 1_100_000),
    );
    write(
        c,
        t,
        "sizes-segment",
        "less than a segment",
        &of_size(Codec::None, 1_000_000),
    );
}

/// Topics with a codec of their own.
pub(crate) fn codecs(c: &mut Client, t: &mut Transcript) {
    t.title("codecs");
    for wanted in ["uncompressed", "gzip", "lz4"] {
        let name = format!("codecs-{wanted}");
        topic(c, &name, 1, &[("compression.type", wanted)]);
        for codec in Codec::ALL {
            let batch = batch(codec, &[T + 5, T, T + 3]);
            write(c, t, &name, &format!("{codec} to {wanted}"), &batch);
        }
        read(c, t, &name, 0);
    }
}
