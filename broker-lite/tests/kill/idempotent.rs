//! Producers keep five batches on their way, as idempotent clients may, and after each kill send what was
//! not acknowledged again. In the end each partition holds every record once, in order, where the answer
//! said.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use host::Host;
use kafka_protocol::messages::InitProducerIdRequest;
use wire::{
    batch::batches,
    connection::Connection,
    record::{BatchBuilder, Codec, decode},
};

use super::{Load, connect, fetch, in_time, produce, under_kills};

/// Batches on their way (`max.in.flight.requests.per.connection`).
const IN_FLIGHT: usize = 5;
/// Records of a batch, and bytes of a record: a segment of 1 MiB is full after some 30 batches.
const RECORDS: usize = 4;
const BYTES: usize = 8 << 10;

/// The batch with this number, the same bytes each time.
fn batch(producer_id: i64, time: i64, number: usize) -> Bytes {
    let first = number * RECORDS;
    let codec = Codec::ALL[number % Codec::ALL.len()];
    let sequence = i32::try_from(first).unwrap();
    let mut builder = BatchBuilder::new(codec).producer(producer_id, 0, sequence);
    for record in first..first + RECORDS {
        // Hardly compressible.
        let value = (0..BYTES).map(|i| ((i * i + record) % 251) as u8);
        let value: Vec<u8> = value.collect();
        builder.push(time, Some(record.to_string().as_bytes()), Some(&value), &[]);
    }
    builder.build(0).unwrap()
}

/// Writes until `stop`, across kills. The base offsets of all batches, each acknowledged.
async fn write(mut load: Load) -> Vec<i64> {
    let first = connect(&mut load.port).await;
    let init = InitProducerIdRequest::default().with_transactional_id(None);
    let init = first.call(&init, 4..=4).await.unwrap();
    assert_eq!(init.error_code, 0);
    let time = Host::real().clock.wall_ms();
    let mut offsets = Vec::new();
    let mut begun = 0;
    'connections: loop {
        let connection = connect(&mut load.port).await;
        let mut next = offsets.len();
        let mut on_the_way = VecDeque::new();
        loop {
            while on_the_way.len() < IN_FLIGHT && (next < begun || !load.stop.is_cancelled()) {
                let batch = batch(init.producer_id.0, time, next);
                let request = produce(load.partition, batch, None);
                let connection = Arc::clone(&connection);
                // One thread runs the tasks, first come first served: so they are written in order.
                let answer = tokio::spawn(async move { connection.call(&request, 9..=9).await });
                on_the_way.push_back(answer);
                next += 1;
                begun = begun.max(next);
            }
            let Some(answer) = on_the_way.pop_front() else {
                return offsets;
            };
            let Ok(answer) = answer.await.unwrap() else {
                continue 'connections;
            };
            let answer = &answer.responses[0].partition_responses[0];
            assert_eq!(answer.error_code, 0, "batch {}", offsets.len());
            offsets.push(answer.base_offset);
            load.acknowledge();
        }
    }
}

/// The keys of all records of a partition.
async fn read(connection: &Connection, partition: i32) -> Vec<usize> {
    let mut keys = Vec::new();
    loop {
        let data = fetch(connection, partition, keys.len() as i64, 0).await;
        let records = data.records.unwrap_or_default();
        if records.is_empty() {
            assert_eq!(data.high_watermark, keys.len() as i64);
            return keys;
        }
        for batch in batches(records) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            for record in decode(&batch, 1 << 20).unwrap() {
                assert_eq!(record.offset, keys.len() as i64);
                let key = record.key.unwrap();
                keys.push(std::str::from_utf8(&key).unwrap().parse().unwrap());
            }
        }
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_doubled() {
    let data = tempfile::tempdir().unwrap();
    in_time(async {
        let (written, _broker, connection) = under_kills(data.path(), write).await;
        for (partition, offsets) in (0..).zip(written) {
            let expected = (0..offsets.len()).map(|n| (n * RECORDS) as i64);
            let expected: Vec<i64> = expected.collect();
            assert_eq!(
                offsets, expected,
                "partition {partition}: where batches are"
            );
            let keys = read(&connection, partition).await;
            let all: Vec<usize> = (0..offsets.len() * RECORDS).collect();
            assert_eq!(
                keys, all,
                "partition {partition}: every record once, in order"
            );
        }
    })
    .await;
}
