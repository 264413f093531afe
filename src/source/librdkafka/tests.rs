//! What of a partition does not come through when its worker keeps what it has.

use std::{collections::HashMap, time::Duration};

use host::Host;
use wire::{
    client::Client,
    record::{BatchBuilder, Codec},
};

use super::*;
use crate::{source::Batch, telemetry::Outages, testing::Cluster};

async fn write(client: &Client, partition: &TopicPartition) {
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(1_780_000_000_000, None, Some(b"value"), &[]);
    let batch = batch.build(0).unwrap();
    client.produce(partition, batch).await.unwrap();
}

async fn next(reader: &mut PartitionReader) -> Batch {
    let next = tokio::time::timeout(Duration::from_secs(20), reader.next());
    next.await.expect("nothing comes").unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_nobody_has_room_for_does_not_stop_a_partition() {
    let cluster = Cluster::start().await;
    cluster.create_topic("t", 1, &[]).await;
    let address = cluster.broker.address();
    let client = cluster.client.clone();
    let mut properties = ClientConfig::new();
    properties.set("bootstrap.servers", address.to_string());
    let source = LibrdkafkaSource::start(Settings {
        properties,
        client: client.clone(),
        flow: "f".to_owned(),
        cluster: "east".to_owned(),
        outage: Outages::new("f", "east", "west").source,
        isolation: Isolation::ReadCommitted,
        budget: Budget::new(1 << 20),
        clock: Host::real().clock,
    })
    .unwrap();
    let partition = TopicPartition::new("t", 0);
    // It may hold one batch.
    let mut reader = source
        .open(&partition, uuid::Uuid::nil(), 0, -1, 1)
        .await
        .unwrap();
    write(&client, &partition).await;
    let mut held = next(&mut reader).await;
    while held.next_offset < 1 {
        held = next(&mut reader).await;
    }
    // As `tail` tells it, when the record itself is still on its way.
    let ends = Command::Ends(HashMap::from([(partition.clone(), 2)]));
    source.commands.send(ends).await.unwrap();
    // One command more: the thread that takes it is through with the other.
    let none = Command::Ends(HashMap::new());
    source.commands.send(none).await.unwrap();
    while source.commands.capacity() < COMMANDS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(held);
    write(&client, &partition).await;
    while next(&mut reader).await.next_offset < 2 {}
}
