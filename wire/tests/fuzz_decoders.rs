//! Every decoder on hostile bytes: whole samples with bits turned, pieces cut out, doubled and joined.
//! `FUZZ_SECONDS` sets the budget (2 unless set); the seed is fixed, so a failure comes again.
//!
//! What is asserted: no panic, no abort, nothing decompresses beyond its cap. That an accepted request
//! holds what it announces is shown by the decoders' own tests.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use host::{Random, sim::SeededRandom};
use kafka_protocol::messages::{
    CreateTopicsRequest, FetchRequest, JoinGroupRequest, MetadataRequest, OffsetCommitRequest,
    ProduceRequest, TxnOffsetCommitRequest,
};
use wire::{
    Isolation, TopicPartition,
    batch::batches,
    client::{
        Fetched,
        consumer_protocol::{Assignment, Subscription},
    },
    compression::decompress,
    record::{BatchBuilder, Codec, Header, control_batch, decode},
    request,
};

const CAP: usize = 1 << 20;

#[test]
fn hostile_bytes() {
    let seconds = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(2);
    let random = SeededRandom::new(0x5742_4149_5421);
    let samples = samples();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut inputs = 0u64;
    while Instant::now() < end {
        for _ in 0..100 {
            let bytes = mutate(&random, &samples);
            try_everything(&random, &bytes);
        }
        inputs += 100;
    }
    println!("{inputs} inputs in {seconds} s");
    assert!(inputs > 0);
}

fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec).producer(7, 1, 5);
        for index in 0..20u8 {
            let headers = [Header {
                key: "h".into(),
                value: Some(vec![index].into()),
            }];
            let value = vec![index; usize::from(index) * 10];
            builder.push(i64::from(index), Some(&[index]), Some(&value), &headers);
        }
        samples.push(builder.build(100).expect("it is small").to_vec());
    }
    samples.push(
        control_batch(5, 7, 1, true, 0, 1)
            .expect("it is small")
            .to_vec(),
    );
    let partitions = BTreeSet::from([TopicPartition::new("t", 3), TopicPartition::new("u", 0)]);
    let user_data = Bytes::from_static(b"data");
    let said = Subscription {
        topics: ["t", "u"].map(str::to_owned).into(),
        owned: partitions.clone(),
        generation: 7,
        user_data: user_data.clone(),
    };
    let assigned = Assignment {
        partitions,
        user_data,
    };
    samples
        .extend([said.encode(), assigned.encode()].map(|s| s.expect("names are short").to_vec()));
    // Compact and classic lengths, small and absurd.
    samples.push(b"\0\x01\0\0\0\x01\x7f\xff\xff\xff\xff\xff\xff\x0f\x02t\0\0\0\0\x01".to_vec());
    samples
}

/// One or two samples, with some of their bytes changed, cut or doubled.
fn mutate(random: &SeededRandom, samples: &[Vec<u8>]) -> Bytes {
    let below = |limit: usize| (random.number() % limit.max(1) as u64) as usize;
    let mut bytes = samples[below(samples.len())].clone();
    if below(4) == 0 {
        bytes.extend_from_slice(&samples[below(samples.len())]);
    }
    for _ in 0..below(8) {
        let at = below(bytes.len());
        match below(5) {
            0 => bytes[at] ^= 1 << below(8),
            1 => bytes[at] = [0, 0x7f, 0x80, 0xff][below(4)],
            2 => bytes.truncate(at.max(1)),
            3 => bytes.extend_from_within(at..),
            _ => drop(bytes.remove(at)),
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes.into()
}

fn try_everything(random: &SeededRandom, bytes: &Bytes) {
    drop(Subscription::decode(bytes.clone()));
    drop(Assignment::decode(bytes.clone()));
    for batch in batches(bytes.clone()).flatten() {
        drop(batch.check_crc());
        drop(decode(&batch, CAP));
    }
    for codec in Codec::ALL {
        if let Ok(plain) = decompress(codec, bytes, CAP) {
            assert!(plain.len() <= CAP);
        }
    }
    drop(request::header(&mut bytes.clone()));
    let version = (random.number() % 14) as i16;
    drop(request::decode::<ProduceRequest>(
        bytes.clone(),
        version.max(3),
    ));
    drop(request::decode::<FetchRequest>(
        bytes.clone(),
        version.max(4),
    ));
    drop(request::decode::<MetadataRequest>(bytes.clone(), version));
    drop(request::decode::<JoinGroupRequest>(
        bytes.clone(),
        version.min(9),
    ));
    drop(request::decode::<CreateTopicsRequest>(
        bytes.clone(),
        version.clamp(2, 7),
    ));
    drop(request::decode::<OffsetCommitRequest>(
        bytes.clone(),
        version.clamp(2, 9),
    ));
    drop(request::decode::<TxnOffsetCommitRequest>(
        bytes.clone(),
        version.min(5),
    ));
    let fetched = Fetched {
        partition: TopicPartition::new("t", 0),
        high_watermark: 0,
        last_stable_offset: 0,
        log_start_offset: 0,
        records: bytes.clone(),
        aborted: vec![(7, 0)],
    };
    drop(fetched.committed(0, Isolation::ReadCommitted));
}
