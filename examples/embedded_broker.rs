//! A Kafka-protocol broker inside a test or a program: nothing to install, nothing left behind.
//!
//! `cargo run --example embedded_broker`

use std::time::Duration;

use anyhow::Result;
use broker_lite::{Broker, Config};
use host::Host;
use wire::{
    Isolation, TopicPartition,
    client::{Client, ClientSettings, FetchRequest, NewTopic},
    record::{BatchBuilder, Codec},
};

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::real();
    let broker = Broker::start(Config::new("127.0.0.1:0", folder.path()), host.clone()).await?;
    println!("any Kafka client may connect to {}", broker.address());

    let address = broker.address();
    let bootstrap = vec![(address.ip().to_string(), address.port())];
    let client = Client::new(host, ClientSettings::new(bootstrap, "example"));
    let topic = NewTopic {
        name: "greetings".to_owned(),
        partitions: 1,
        replication_factor: -1,
        configs: Vec::new(),
    };
    for (name, outcome) in client.create_topics(&[topic], false).await? {
        outcome.map_err(|error| anyhow::anyhow!("create {name}: {error}"))?;
    }

    let partition = TopicPartition::new("greetings", 0);
    let mut batch = BatchBuilder::new(Codec::Zstd);
    batch.push(1_700_000_000_000, Some(b"en"), Some(b"hello"), &[]);
    batch.push(1_700_000_000_000, Some(b"fr"), Some(b"bonjour"), &[]);
    client.produce(&partition, batch.build(0)?).await?;

    let request = FetchRequest {
        partition,
        offset: 0,
        max_bytes: 1 << 20,
        max_wait: Duration::from_secs(1),
        isolation: Isolation::ReadCommitted,
    };
    let fetched = client.fetch(request).await?;
    for record in fetched.committed(0, Isolation::ReadCommitted)?.records {
        let text = |bytes: Option<bytes::Bytes>| {
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        };
        println!(
            "{}: {} = {}",
            record.offset,
            text(record.key),
            text(record.value)
        );
    }
    Ok(broker.stop().await?)
}
