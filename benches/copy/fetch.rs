//! Reads a whole topic over one connection, without opening a batch: what is there, and what passes a relay.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use host::Host;
use kafka_protocol::{
    messages::{
        BrokerId, FetchRequest, TopicName,
        fetch_request::{FetchPartition, FetchTopic},
    },
    protocol::StrBytes,
};
use wire::{
    batch::batches,
    connection::{Connection, ConnectionSettings},
};

use super::workload::TOPIC;

/// One answer, as strait's source asks for it.
const ANSWER_BYTES: i32 = 4 << 20;
const PARTITION_BYTES: i32 = 2 << 20;

/// What a topic holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contents {
    pub batches: u64,
    /// As they lie in the log.
    pub bytes: u64,
}

/// Reads the topic from its start to its end, from the broker at `address` or a relay to it; `seen` counts the
/// records.
pub fn whole(address: &str, partitions: i32, seen: &AtomicU64) -> Result<Contents> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let connection = connect(address).await?;
        let mut offsets = vec![0; usize::try_from(partitions)?];
        let mut contents = Contents::default();
        loop {
            let before = contents.batches;
            read(&connection, &mut offsets, &mut contents, seen).await?;
            if contents.batches == before {
                return Ok(contents);
            }
        }
    })
}

async fn connect(address: &str) -> Result<Connection> {
    let (name, port) = address.rsplit_once(':').context("HOST:PORT")?;
    let host = Host::real();
    let stream = host.net.connect(name, port.parse()?).await?;
    let settings = ConnectionSettings {
        broker: address.to_owned(),
        client_id: "bench-copy".to_owned(),
        request_timeout: Duration::from_secs(30),
        max_frame: 100 << 20,
        max_idle: Duration::from_secs(9 * 60),
        clock: Arc::clone(&host.clock),
    };
    Ok(Connection::open(stream, settings).await?)
}

/// One answer, which is empty at the end.
async fn read(
    connection: &Connection,
    offsets: &mut [i64],
    contents: &mut Contents,
    seen: &AtomicU64,
) -> Result<()> {
    let partitions = (0..).zip(offsets.iter()).map(|(partition, offset)| {
        FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(PARTITION_BYTES)
    });
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partitions(partitions.collect());
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_bytes(ANSWER_BYTES)
        .with_topics(vec![topic]);
    // The last version that goes by name.
    let answer = connection.call(&request, 4..=12).await?;
    let found = answer.responses.into_iter().flat_map(|t| t.partitions);
    for data in found {
        ensure!(data.error_code == 0, "error {}", data.error_code);
        let offset = &mut offsets[usize::try_from(data.partition_index)?];
        for batch in batches(data.records.unwrap_or_default()) {
            let batch = batch?;
            let next = batch.header.next_offset();
            seen.fetch_add((next - *offset).unsigned_abs(), Ordering::Relaxed);
            *offset = next;
            contents.batches += 1;
            contents.bytes += batch.bytes.len() as u64;
        }
    }
    Ok(())
}
