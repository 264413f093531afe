//! A broker at the far end of a [`Link`], and what is asked of it.

use anyhow::{Context, Result, anyhow};
use broker_lite::{Broker, Config};
use host::Host;
use tokio::task::JoinSet;
use wire::{
    Isolation, TopicPartition,
    client::{Client, ClientSettings, NewTopic, OffsetSpec},
};

use super::{
    kafka::{Extra, Kafka},
    link::Link,
    workload::Workload,
};

/// Batches that are written at once.
const TOGETHER: usize = 4;

/// One broker; all its clients come over its link.
pub struct Cluster {
    pub link: Link,
    client: Client,
    _broker: Running,
}

#[expect(dead_code, reason = "they end when they are dropped")]
enum Running {
    Lite(Broker, tempfile::TempDir),
    Kafka(Kafka),
}

impl Cluster {
    /// broker-lite in this process, or Apache Kafka in its own.
    pub async fn start(kafka: bool) -> Result<Self> {
        let link = Link::listen().await?;
        let advertised = format!("127.0.0.1:{}", link.port);
        let (broker, address) = if kafka {
            let settings = format!(
                "advertised.listeners=PLAINTEXT://{advertised}\nnum.network.threads=2\nnum.io.threads=2"
            );
            let start = move || {
                Kafka::start(&Extra {
                    settings: &settings,
                    ..Extra::default()
                })
            };
            let kafka = tokio::task::spawn_blocking(start).await??;
            let address = kafka.bootstrap().parse()?;
            (Running::Kafka(kafka), address)
        } else {
            let folder = tempfile::tempdir()?;
            let mut config = Config::new("127.0.0.1:0", folder.path());
            config.advertise = Some(advertised);
            let broker = Broker::start(config, Host::real()).await?;
            let address = broker.address();
            (Running::Lite(broker, folder), address)
        };
        link.leads_to(address);
        let bootstrap = vec![("127.0.0.1".to_owned(), link.port)];
        let settings = ClientSettings::new(bootstrap, "bench-roundtrip");
        Ok(Self {
            client: Client::new(Host::real(), settings),
            link,
            _broker: broker,
        })
    }

    /// `HOST:PORT` for clients.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.link.port)
    }

    /// Writes a workload, batch by batch.
    pub async fn fill(&self, workload: &Workload) -> Result<()> {
        let topic = NewTopic {
            name: workload.topic(),
            partitions: workload.partitions,
            replication_factor: -1,
            configs: Vec::new(),
        };
        let outcomes = self.client.create_topics(&[topic], false).await?;
        for (name, outcome) in outcomes {
            outcome.map_err(|error| anyhow!("create {name}: {error}"))?;
        }
        let mut writers = JoinSet::new();
        for partition in 0..workload.partitions {
            if writers.len() >= TOGETHER {
                writers.join_next().await.context("a writer")???;
            }
            let (client, workload) = (self.client.clone(), workload.clone());
            writers.spawn(async move {
                let target = TopicPartition::new(workload.topic(), partition);
                for _ in 0..workload.batches() {
                    client.produce(&target, workload.batch()?).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(written) = writers.join_next().await {
            written??;
        }
        Ok(())
    }

    /// How many records `topic` has; 0 while it is not there.
    pub async fn records(&self, topic: &str, partitions: i32) -> u64 {
        let wanted =
            (0..partitions).map(|index| (TopicPartition::new(topic, index), OffsetSpec::Latest));
        let wanted: Vec<_> = wanted.collect();
        let isolation = Isolation::ReadUncommitted;
        let listed = self.client.list_offsets(&wanted, isolation).await;
        let ends = listed.unwrap_or_default().into_iter();
        ends.filter_map(|(_, end)| u64::try_from(end.ok()?.offset).ok())
            .sum()
    }

    /// Makes room on the disk.
    pub async fn delete(&self, topic: &str) -> Result<()> {
        self.client.delete_topics(&[topic.to_owned()]).await?;
        Ok(())
    }
}
