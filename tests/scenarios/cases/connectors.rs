//! MirrorMaker 2's connectors for one topic, as they are posted to Kafka Connect, and as Strimzi's operator is told of them.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    super::pair::Pair,
    handover::{Kept, PARTITIONS},
};

const IDENTITY: &str = "org.apache.kafka.connect.mirror.IdentityReplicationPolicy";

/// A mirror of one topic: the names of its worker, and those that Strimzi's operator gives to its connectors.
pub struct Mirror<'a> {
    pair: &'a Pair,
    pub topic: String,
    /// Of the worker's processes.
    pub group: String,
    pub kept: Kept,
}

impl<'a> Mirror<'a> {
    /// The topic is made; `offsets_topic` and `group` are the worker's.
    pub async fn new(
        pair: &'a Pair,
        topic: &str,
        [offsets_topic, group]: [&str; 2],
    ) -> Result<Self> {
        let alias = format!("{}{topic}", pair.prefix.replace('-', ""));
        let topic = pair.topic(topic);
        pair.source.create_topic(&topic, PARTITIONS, &[]).await?;
        Ok(Self {
            pair,
            topic,
            group: group.to_owned(),
            kept: Kept {
                offsets_topic: offsets_topic.to_owned(),
                connector: format!("{alias}->west.MirrorSourceConnector"),
                alias,
            },
        })
    }

    /// What Strimzi's operator posts, by name.
    pub fn connectors(&self) -> [(String, Value); 2] {
        let (pair, alias) = (self.pair, &self.kept.alias);
        let connector = |class: &str, more: Value| {
            let mut config = json!({
                "connector.class": format!("org.apache.kafka.connect.mirror.{class}"),
                "source.cluster.alias": alias,
                "source.cluster.bootstrap.servers": pair.source.bootstrap(),
                "target.cluster.alias": "west",
                "target.cluster.bootstrap.servers": pair.target.bootstrap(),
                "replication.policy.class": IDENTITY,
                "topics": self.topic,
                "tasks.max": "2",
            });
            if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
                config.extend(more);
            }
            (format!("{alias}->west.{class}"), config)
        };
        [
            connector(
                "MirrorSourceConnector",
                json!({"replication.factor": "1", "offset-syncs.topic.replication.factor": "1", "sync.topic.acls.enabled": "false"}),
            ),
            connector(
                "MirrorCheckpointConnector",
                json!({"checkpoints.topic.replication.factor": "1", "groups": self.pair.topic(".*")}),
            ),
        ]
    }

    /// The same as a resource of `v1`.
    pub fn v1(&self) -> String {
        format!(
            "apiVersion: kafka.strimzi.io/v1
kind: KafkaMirrorMaker2
metadata: {{name: m, namespace: n}}
spec:
  replicas: 1
  target:
    alias: west
    bootstrapServers: {west}
    groupId: {group}
    offsetStorageTopic: {offsets}
    configStorageTopic: {group}-configs
    statusStorageTopic: {group}-status
  mirrors:
    - source:
        alias: {alias}
        bootstrapServers: {east}
{rest}",
            west = self.pair.target.bootstrap(),
            east = self.pair.source.bootstrap(),
            group = self.group,
            offsets = self.kept.offsets_topic,
            alias = self.kept.alias,
            rest = self.rest(),
        )
    }

    /// Of `v1beta2`, with the operator's own names.
    pub fn v1beta2(&self) -> String {
        format!(
            "apiVersion: kafka.strimzi.io/v1beta2
kind: KafkaMirrorMaker2
metadata: {{name: m, namespace: n}}
spec:
  connectCluster: west
  clusters:
    - alias: {alias}
      bootstrapServers: {east}
    - alias: west
      bootstrapServers: {west}
  mirrors:
    - sourceCluster: {alias}
      targetCluster: west
{rest}",
            west = self.pair.target.bootstrap(),
            east = self.pair.source.bootstrap(),
            alias = self.kept.alias,
            rest = self.rest(),
        )
    }

    fn rest(&self) -> String {
        format!(
            "      sourceConnector:
        tasksMax: 2
        config:
          replication.factor: 1
          sync.topic.acls.enabled: \"false\"
          replication.policy.class: {IDENTITY}
      checkpointConnector:
        config:
          checkpoints.topic.replication.factor: 1
          replication.policy.class: {IDENTITY}
      topicsPattern: {}
",
            self.topic
        )
    }

    /// The options of `strait export-mm2`.
    pub fn options(&self) -> [&str; 8] {
        [
            "--source-alias",
            &self.kept.alias,
            "--offsets-topic",
            &self.kept.offsets_topic,
            "--group",
            &self.group,
            "--connector",
            &self.kept.connector,
        ]
    }
}
