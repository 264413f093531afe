//! One side of a scenario: a cluster, whatever it is made of.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use broker_lite::Broker;
use kafka_protocol::{
    messages::{
        AlterPartitionReassignmentsRequest, BrokerId, ElectLeadersRequest,
        ShareGroupHeartbeatRequest, TopicName, UpdateFeaturesRequest,
        alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
        update_features_request::FeatureUpdateKey,
    },
    protocol::StrBytes,
};
use rand::{Rng, rngs::StdRng, seq::SliceRandom};
use rdkafka::{
    ClientConfig,
    admin::{
        AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
    },
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    topic_partition_list::{Offset, TopicPartitionList},
};

use rustix::process::{Pid, Signal, kill_process};
use wire::{
    TopicPartition,
    client::{Client, ClientSettings, CommittedOffset, ConfigOp, Quota, QuotaEntity, QuotaValue},
};

use super::kafka::{Detour, Extra, Kafka};

/// Which clusters a scenario runs between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// broker-lite in this process.
    Lite,
    /// Apache Kafka in its own process.
    Kafka,
}

/// A running cluster.
#[derive(Debug)]
pub enum Side {
    /// broker-lite: `None` while it is down.
    Lite {
        broker: Option<Broker>,
        folder: tempfile::TempDir,
        address: SocketAddr,
    },
    /// Apache Kafka.
    Kafka(Kafka),
}

impl Side {
    /// A fresh cluster.
    pub async fn start(kind: Kind) -> Result<Self> {
        match kind {
            Kind::Kafka => Ok(Self::Kafka(
                tokio::task::spawn_blocking(|| {
                    let detour = true;
                    let extra = Extra {
                        detour,
                        ..Extra::default()
                    };
                    Kafka::start(brokers(), &extra)
                })
                .await??,
            )),
            Kind::Lite => {
                let folder = tempfile::tempdir()?;
                let broker = lite(&folder, "127.0.0.1:0").await?;
                let address = broker.address();
                Ok(Self::Lite {
                    broker: Some(broker),
                    folder,
                    address,
                })
            }
        }
    }

    /// `HOST:PORT` for clients.
    pub fn bootstrap(&self) -> String {
        match self {
            Self::Lite { address, .. } => address.to_string(),
            Self::Kafka(kafka) => kafka.bootstrap(),
        }
    }

    /// Where broker-lite keeps its data.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Lite { folder, .. } => Some(folder.path()),
            Self::Kafka(_) => None,
        }
    }

    /// Ends the cluster as `kill -9` does.
    pub async fn kill(&mut self) -> Result<()> {
        match self {
            Self::Lite { broker, .. } => {
                if let Some(broker) = broker.take() {
                    broker.kill().await;
                }
                Ok(())
            }
            Self::Kafka(kafka) => tokio::task::block_in_place(|| kafka.kill()),
        }
    }

    /// Starts it again on its address and data.
    pub async fn resume(&mut self) -> Result<()> {
        match self {
            Self::Lite {
                broker,
                folder,
                address,
            } => {
                *broker = Some(lite(folder, &address.to_string()).await?);
                Ok(())
            }
            Self::Kafka(kafka) => tokio::task::block_in_place(|| kafka.resume()),
        }
    }

    /// `HOST:PORT` for clients that come by a detour, where there is one.
    pub fn entrance(&self) -> String {
        match self {
            Self::Lite { .. } => self.bootstrap(),
            Self::Kafka(kafka) => kafka.detoured(),
        }
    }

    /// The detours of its brokers.
    pub fn detours(&self) -> Vec<Detour> {
        match self {
            Self::Lite { .. } => Vec::new(),
            Self::Kafka(kafka) => kafka.detours(),
        }
    }

    /// How many brokers it has.
    pub fn brokers(&self) -> usize {
        match self {
            Self::Lite { .. } => 1,
            Self::Kafka(kafka) => kafka.brokers(),
        }
    }

    /// Ends one broker as `kill -9` does.
    pub async fn kill_broker(&mut self, index: usize) -> Result<()> {
        match self {
            Self::Lite { .. } => self.kill().await,
            Self::Kafka(kafka) => tokio::task::block_in_place(|| kafka.kill_one(index)),
        }
    }

    /// Starts one broker again; a Kafka is not waited for.
    pub async fn start_broker(&mut self, index: usize) -> Result<()> {
        match self {
            Self::Lite { .. } => self.resume().await,
            Self::Kafka(kafka) => kafka.start_one(index),
        }
    }

    /// Sends a signal to one broker; broker-lite lives in this process and takes none.
    pub fn signal_broker(&self, index: usize, signal: Signal) -> Result<()> {
        let process = match self {
            Self::Lite { .. } => None,
            Self::Kafka(kafka) => kafka.process(index),
        };
        let process = process.context("no process to signal")?;
        Ok(kill_process(Pid::from_child(process), signal)?)
    }

    /// Makes a topic with the given configs.
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let replicas = i32::try_from(self.brokers().min(3))?;
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
        for (key, value) in configs {
            topic = topic.set(key, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        for result in admin.create_topics([&topic], &options).await? {
            result.map_err(|(name, code)| anyhow::anyhow!("create {name}: {code}"))?;
        }
        Ok(())
    }

    /// Deletes a topic.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        for result in admin.delete_topics(&[name], &AdminOptions::new()).await? {
            result.map_err(|(name, code)| anyhow::anyhow!("delete {name}: {code}"))?;
        }
        Ok(())
    }

    /// The configs of a topic, or an error if there is none.
    pub async fn topic_configs(&self, name: &str) -> Result<BTreeMap<String, String>> {
        self.partition_count(name)?;
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let resource = ResourceSpecifier::Topic(name);
        let mut described = admin
            .describe_configs([&resource], &AdminOptions::new())
            .await?;
        let resource = described.pop().context("no answer")??;
        let entries = resource.entries.into_iter();
        Ok(entries
            .filter_map(|entry| Some((entry.name, entry.value?)))
            .collect())
    }

    /// Sets configs of a topic, or takes them back to the default.
    pub async fn alter_topic(&self, name: &str, changes: &[(&str, Option<&str>)]) -> Result<()> {
        let op = |value: Option<&str>| match value {
            Some(value) => ConfigOp::Set(value.to_owned()),
            None => ConfigOp::Delete,
        };
        let changes = changes.iter();
        let changes = changes.map(|(name, value)| ((*name).to_owned(), op(*value)));
        let changes = [(name.to_owned(), changes.collect())];
        for (name, outcome) in self.wire()?.alter_topic_configs(&changes).await? {
            outcome.map_err(|error| anyhow::anyhow!("alter {name}: {error}"))?;
        }
        Ok(())
    }

    /// How many partitions clients may make or take away in a second; whether that means something to this kind:
    /// broker-lite has no quotas.
    pub async fn change_topics_at_most(&self, rate: Option<f64>) -> Result<bool> {
        if !matches!(self, Self::Kafka(_)) {
            return Ok(false);
        }
        let quota = Quota {
            entity: QuotaEntity::from([("client-id".to_owned(), None)]),
            key: "controller_mutation_rate".to_owned(),
            value: QuotaValue(rate.unwrap_or_default()),
        };
        let (quotas, client) = (std::slice::from_ref(&quota), self.wire()?);
        let outcomes = match rate {
            Some(_) => client.set_quotas(quotas).await?,
            None => client.remove_quotas(quotas).await?,
        };
        for outcome in outcomes {
            outcome.map_err(|error| anyhow::anyhow!("quota: {error}"))?;
        }
        Ok(true)
    }

    /// Another client of it, which knows calls that librdkafka does not.
    pub fn wire(&self) -> Result<Client> {
        let bootstrap = self.bootstrap();
        let servers = bootstrap.split(',').map(|server| {
            let (host, port) = server.rsplit_once(':').context("a port")?;
            Ok((host.to_owned(), port.parse()?))
        });
        let settings = ClientSettings::new(servers.collect::<Result<_>>()?, "tests");
        Ok(Client::new(host::Host::real(), settings))
    }

    /// How many partitions a topic has, or an error if there is none.
    pub fn partition_count(&self, name: &str) -> Result<usize> {
        // All topics, so that asking for one does not create it.
        let consumer: BaseConsumer = self.client().create()?;
        let metadata = consumer.fetch_metadata(None, Duration::from_secs(10))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        Ok(topic
            .with_context(|| format!("no topic {name}"))?
            .partitions()
            .len())
    }

    /// Where a partition ends.
    pub fn end(&self, topic: &str, partition: i32) -> Result<i64> {
        let consumer: BaseConsumer = self.client().create()?;
        let (_, end) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10))?;
        Ok(end)
    }

    /// Grows a topic to `count` partitions.
    pub async fn grow_topic(&self, name: &str, count: usize) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let partitions = NewPartitions::new(name, count);
        for result in admin
            .create_partitions([&partitions], &AdminOptions::new())
            .await?
        {
            result.map_err(|(name, code)| anyhow::anyhow!("grow {name}: {code}"))?;
        }
        Ok(())
    }

    /// Removes all records before `offset`, as retention would.
    pub async fn delete_records(&self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        admin.delete_records(&before, &AdminOptions::new()).await?;
        Ok(())
    }

    /// The committed offset and metadata of a group.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Result<(i64, String)> {
        let consumer: BaseConsumer = self.client().set("group.id", group).create()?;
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition(topic, partition);
        let found = consumer.committed_offsets(wanted, Duration::from_secs(10))?;
        let elements = found.elements();
        let element = elements.first().context("no answer")?;
        let offset = element.offset().to_raw().context("no offset")?;
        Ok((offset, element.metadata().to_owned()))
    }

    /// Commits for a group without members, as an operator's tool does.
    pub fn commit(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
        offset: i64,
        metadata: &str,
    ) -> Result<()> {
        let consumer: BaseConsumer = self.client().set("group.id", group).create()?;
        let mut offsets = TopicPartitionList::new();
        let mut element = offsets.add_partition(topic, partition);
        element.set_offset(Offset::Offset(offset))?;
        element.set_metadata(metadata);
        consumer.commit(&offsets, CommitMode::Sync)?;
        Ok(())
    }

    /// The same for many partitions at once.
    pub async fn commit_all(&self, group: &str, offsets: &[(&str, i32, i64)]) -> Result<()> {
        let offsets = offsets.iter().map(|(topic, partition, offset)| {
            let committed = CommittedOffset {
                offset: *offset,
                leader_epoch: -1,
                metadata: String::new(),
            };
            (TopicPartition::new(*topic, *partition), committed)
        });
        let offsets: Vec<_> = offsets.collect();
        let outcomes = self.wire()?.commit_group_offsets(group, &offsets).await?;
        for (partition, outcome) in outcomes {
            outcome.map_err(|error| anyhow::anyhow!("{group}, {partition}: {error}"))?;
        }
        Ok(())
    }

    /// Deletes a group, once it has no members.
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        let client = self.wire()?;
        let deleted = client.delete_groups(&[group.to_owned()]).await?;
        let (_, outcome) = deleted.into_iter().next().context("no answer")?;
        outcome.map_err(|error| anyhow::anyhow!("delete group {group}: {error}"))
    }

    /// Makes a share group (KIP-932) that reads `topic`, on a Kafka.
    pub async fn share(&self, group: &str, topic: &str) -> Result<()> {
        let client = self.wire()?;
        let cluster = client.describe_cluster().await?;
        let broker = cluster.brokers.first().context("no broker")?;
        let broker = client.dial(broker.id).await?;
        let update = FeatureUpdateKey::default()
            .with_feature(StrBytes::from_static_str("share.version"))
            .with_max_version_level(1)
            .with_upgrade_type(1);
        let update = UpdateFeaturesRequest::default().with_feature_updates(vec![update]);
        let updated = broker.call(&update, 1..=1).await?;
        ensure!(updated.error_code == 0, "{updated:?}");
        let join = ShareGroupHeartbeatRequest::default()
            .with_group_id(StrBytes::from_string(group.to_owned()).into())
            .with_member_id(StrBytes::from_static_str("AAAAAAAAAAAAAAAAAAAAAQ"))
            .with_member_epoch(0)
            .with_subscribed_topic_names(Some(vec![TopicName(StrBytes::from_string(
                topic.to_owned(),
            ))]));
        // Brokers hear of the new feature one after the other.
        for _ in 0..100 {
            let joined = broker.call(&join, 1..=1).await?;
            if joined.error_code == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("no share group {group} within 10 s")
    }

    /// Settings of a librdkafka client of this cluster.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config
    }
}

/// Gives half of all partitions, those of groups and transactions included, another order of their replicas, and
/// lets the first of each lead.
pub async fn move_leaders(side: &Side, random: &mut StdRng) -> Result<()> {
    let client = side.wire()?;
    let mut topics = Vec::new();
    for topic in client.topics(None).await? {
        let mut partitions = Vec::new();
        for partition in topic.partitions {
            let mut replicas = partition.replicas;
            replicas.shuffle(random);
            if random.random_bool(0.5) {
                let replicas = replicas.into_iter().map(BrokerId).collect();
                partitions.push(
                    ReassignablePartition::default()
                        .with_partition_index(partition.index)
                        .with_replicas(Some(replicas)),
                );
            }
        }
        topics.push(
            ReassignableTopic::default()
                .with_name(TopicName(StrBytes::from_string(topic.name)))
                .with_partitions(partitions),
        );
    }
    let controller = client.describe_cluster().await?.controller;
    let broker = client.dial(controller.context("no controller")?).await?;
    let order = AlterPartitionReassignmentsRequest::default().with_topics(topics);
    let ordered = broker.call(&order, 0..=0).await?;
    ensure!(ordered.error_code == 0, "{ordered:?}");
    // Of all partitions, by preference.
    let elect = ElectLeadersRequest::default().with_topic_partitions(None);
    let elected = broker.call(&elect, 1..=2).await?;
    ensure!(elected.error_code == 0, "{elected:?}");
    Ok(())
}

/// How many brokers an Apache Kafka has (`STRAIT_TEST_BROKERS`).
fn brokers() -> usize {
    let brokers = std::env::var("STRAIT_TEST_BROKERS").ok();
    brokers.and_then(|text| text.parse().ok()).unwrap_or(1)
}

async fn lite(folder: &tempfile::TempDir, listen: &str) -> Result<Broker> {
    let mut config = broker_lite::Config::new(listen, folder.path());
    // As the Kafkas of these tests: nobody waits long for what is to be compacted.
    config.apply("log.cleaner.backoff.ms=1000")?;
    Broker::start(config, host::Host::real())
        .await
        .context("start broker-lite")
}
