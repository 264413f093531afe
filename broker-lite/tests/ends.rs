//! How a broker inside a program ends: when it is gone nothing of it writes any more, and its folder is free.

#![cfg(test)]

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use broker_lite::{Broker, Config, StartError};
use host::Host;
use tokio::task::JoinSet;
use wire::{
    TopicPartition,
    client::{Client, ClientSettings, NewTopic},
    record::{BatchBuilder, Codec},
};

const WRITERS: i32 = 4;
const KILLS: u64 = 10;

async fn start(folder: &Path) -> Result<Broker, StartError> {
    let mut config = Config::new("127.0.0.1:0", folder);
    // Every append has work left to do on another thread.
    config.flush = true;
    Broker::start(config, Host::real()).await
}

fn client(broker: &Broker) -> Client {
    let bootstrap = vec![("127.0.0.1".to_owned(), broker.address().port())];
    Client::new(Host::real(), ClientSettings::new(bootstrap, "ends"))
}

/// Writes until the broker is gone.
async fn write(client: Client, partition: i32, acknowledged: Arc<AtomicU64>) {
    let partition = TopicPartition::new("t", partition);
    loop {
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(1, None, Some(&[7; 100_000]), &[]);
        let batch = batch.build(0).unwrap();
        if client.produce(&partition, batch).await.is_err() {
            return;
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// Every file with its length and the time of its last change.
fn files(folder: &Path) -> Vec<(String, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            found.extend(files(&entry.path()));
        } else {
            let name = entry.path().display().to_string();
            found.push((name, metadata.len(), metadata.modified().unwrap()));
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_kill_nothing_is_written_and_another_one_opens_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = start(folder.path()).await.unwrap();
    let topic = NewTopic {
        name: "t".to_owned(),
        partitions: WRITERS,
        replication_factor: 1,
        configs: vec![("segment.bytes".to_owned(), (1 << 20).to_string())],
    };
    let created = client(&broker).create_topics(&[topic], false).await;
    created.unwrap()[0].1.as_ref().unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    for kill in 1..=KILLS {
        let mut writers = JoinSet::new();
        for partition in 0..WRITERS {
            // A connection each, so that they are served at the same time.
            let client = client(&broker);
            writers.spawn(write(client, partition, Arc::clone(&acknowledged)));
        }
        let enough = acknowledged.load(Ordering::Relaxed) + 20 + kill * 3;
        while acknowledged.load(Ordering::Relaxed) < enough {
            tokio::task::yield_now().await;
        }
        broker.kill().await;
        let then = files(folder.path());
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(files(folder.path()), then, "written after kill {kill}");
        broker = start(folder.path()).await.unwrap();
        writers.shutdown().await;
    }
    let wanted: Vec<_> = (0..WRITERS)
        .map(|partition| {
            let partition = TopicPartition::new("t", partition);
            (partition, wire::client::OffsetSpec::Latest)
        })
        .collect();
    let ends = client(&broker)
        .list_offsets(&wanted, wire::Isolation::ReadUncommitted)
        .await;
    let held: i64 = ends
        .unwrap()
        .iter()
        .map(|(_, end)| end.as_ref().unwrap().offset)
        .sum();
    let acknowledged = acknowledged.load(Ordering::Relaxed);
    assert!(
        held.cast_unsigned() >= acknowledged,
        "{held} {acknowledged}"
    );
}

#[tokio::test]
async fn a_folder_is_in_use_until_its_broker_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await.unwrap();
    let second = start(folder.path()).await;
    assert!(matches!(second, Err(StartError::InUse(_))), "{second:?}");
    // On this runtime of one thread its tasks have not ended yet when the drop returns.
    drop(broker);
    let early = start(folder.path()).await;
    assert!(matches!(early, Err(StartError::InUse(_))), "{early:?}");
    while let Err(error) = start(folder.path()).await {
        assert!(matches!(error, StartError::InUse(_)), "{error}");
        tokio::task::yield_now().await;
    }
}
