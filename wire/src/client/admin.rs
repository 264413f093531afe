//! Topics and configs: describe and change.

use kafka_protocol::{
    messages::{
        CreatePartitionsRequest, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
        DescribeConfigsRequest, IncrementalAlterConfigsRequest, TopicName,
        create_partitions_request::CreatePartitionsTopic,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        delete_topics_request::DeleteTopicState,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::DescribeConfigsResourceResult,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{Client, To, unanswered};
use crate::error::{ApiError, ClientError};

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1: the cluster's default.
    pub partitions: i32,
    /// How many replicas of each; -1: the cluster's default.
    pub replication_factor: i16,
    /// Configs that differ from the cluster's defaults.
    pub configs: Vec<(String, String)>,
}

/// One config of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; none if it is sensitive or not set.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Cannot be changed.
    pub read_only: bool,
    /// Its value is not shown.
    pub sensitive: bool,
}

/// Where a config's value comes from (`DescribeConfigsResponse.ConfigSource`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on the brokers, in a file or while they run.
    Broker,
    /// Kafka's default.
    Default,
    /// One that this client does not know.
    Other(i8),
}

/// A change of one config (`AlterConfigOp.OpType`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOp {
    /// Sets a value.
    Set(String),
    /// Goes back to the default.
    Delete,
    /// Adds to a list.
    Append(String),
    /// Takes from a list.
    Subtract(String),
}

/// What became of each named thing.
pub type Outcomes = Vec<(String, Result<(), ApiError>)>;

/// What a topic would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicToBe {
    /// How many replicas its partitions would have; none if not told: before 2.4, or to whom may not describe
    /// the topic's configs.
    pub replicas: Option<usize>,
    /// Its configs, empty where `replicas` is none.
    pub configs: Vec<ConfigEntry>,
}

/// What each named topic would be, or why it would not be created.
pub type TopicsToBe = Vec<(String, Result<TopicToBe, ApiError>)>;

/// Resource type of topics in config calls.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const NOT_CONTROLLER: i16 = 41;

impl Client {
    /// Creates topics, or only asks whether they could be.
    ///
    /// # Errors
    /// If the controller cannot be reached; each topic has its own outcome.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Outcomes, ClientError> {
        let topics = self.create(topics, validate_only).await?.topics.into_iter();
        Ok(topics
            .map(|t| outcome(&t.name, t.error_code, t.error_message.as_deref()))
            .collect())
    }

    /// How many replicas `topic` would get if it were created now: what -1 comes to, by the controller's own
    /// word (KIP-525). None if it does not tell: before 2.4, or to whom may not describe the topic's configs.
    ///
    /// # Errors
    /// If the controller cannot be reached; the inner error is why it would not create the topic.
    pub async fn replicas_of_new(
        &self,
        topic: &NewTopic,
    ) -> Result<Result<Option<usize>, ApiError>, ClientError> {
        let answer = self.topics_to_be(std::slice::from_ref(topic)).await?.pop();
        let (_, outcome) = answer.unwrap_or_else(|| (topic.name.clone(), Err(unanswered())));
        Ok(outcome.map(|topic| topic.replicas))
    }

    /// What topics would be if they were created now, by the controller's own word (KIP-525).
    ///
    /// # Errors
    /// If the controller cannot be reached; the inner errors are why it would not create a topic.
    pub async fn topics_to_be(&self, topics: &[NewTopic]) -> Result<TopicsToBe, ClientError> {
        let answer = self.create(topics, true).await?;
        let topics = answer.topics.into_iter().map(|topic| {
            let error = ApiError::from_code(topic.error_code, topic.error_message.as_deref());
            let replicas = usize::try_from(topic.replication_factor).ok();
            let configs = topic.configs.unwrap_or_default().into_iter();
            let told = TopicToBe {
                replicas: replicas.filter(|count| *count > 0),
                configs: configs
                    .map(|config| ConfigEntry {
                        name: config.name.to_string(),
                        value: config.value.map(|value| value.to_string()),
                        source: config_source(config.config_source),
                        read_only: config.read_only,
                        sensitive: config.is_sensitive,
                    })
                    .collect(),
            };
            (topic.name.to_string(), error.map_or(Ok(told), Err))
        });
        Ok(topics.collect())
    }

    async fn create(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<CreateTopicsResponse, ClientError> {
        let topics = topics.iter().map(|topic| {
            let configs = topic.configs.iter().map(|(name, value)| {
                CreatableTopicConfig::default()
                    .with_name(text(name))
                    .with_value(Some(text(value)))
            });
            CreatableTopic::default()
                .with_name(TopicName(text(&topic.name)))
                .with_num_partitions(topic.partitions)
                .with_replication_factor(topic.replication_factor)
                .with_configs(configs.collect())
        });
        let request = CreateTopicsRequest::default()
            .with_topics(topics.collect())
            .with_timeout_ms(self.patience_ms())
            .with_validate_only(validate_only);
        // From version 4 on -1 stands for the cluster's defaults (KIP-464).
        self.call(To::Controller, &request, 4..=7, |answer| {
            moved(answer.topics.iter().map(|topic| topic.error_code))
        })
        .await
    }

    /// Deletes topics.
    ///
    /// # Errors
    /// If the controller cannot be reached; each topic has its own outcome.
    pub async fn delete_topics(&self, names: &[String]) -> Result<Outcomes, ClientError> {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(names.iter().map(|name| TopicName(text(name))).collect())
            .with_timeout_ms(self.patience_ms());
        let answer = self
            .call(To::Controller, &request, 1..=5, |answer| {
                moved(answer.responses.iter().map(|topic| topic.error_code))
            })
            .await?;
        let topics = answer.responses.into_iter().map(|t| {
            let name = t.name.as_deref().map_or("", |name| name);
            outcome(name, t.error_code, t.error_message.as_deref())
        });
        Ok(topics.collect())
    }

    /// Deletes topics by their ids, so that none goes that only has the name of one.
    ///
    /// # Errors
    /// If the controller cannot be reached, or knows topics by name only; each topic has its own outcome.
    pub async fn delete_topics_by_id(
        &self,
        ids: &[Uuid],
    ) -> Result<Vec<(Uuid, Result<(), ApiError>)>, ClientError> {
        let topic = |id: &Uuid| {
            DeleteTopicState::default()
                .with_topic_id(*id)
                .with_name(None)
        };
        let request = DeleteTopicsRequest::default()
            .with_topics(ids.iter().map(topic).collect())
            .with_timeout_ms(self.patience_ms());
        let answer = self
            .call(To::Controller, &request, 6..=6, |answer| {
                moved(answer.responses.iter().map(|topic| topic.error_code))
            })
            .await?;
        let topics = answer.responses.into_iter().map(|topic| {
            let error = ApiError::from_code(topic.error_code, topic.error_message.as_deref());
            (topic.topic_id, error.map_or(Ok(()), Err))
        });
        Ok(topics.collect())
    }

    /// Grows topics to as many partitions.
    ///
    /// # Errors
    /// If the controller cannot be reached; each topic has its own outcome.
    pub async fn create_partitions(
        &self,
        topics: &[(String, i32)],
    ) -> Result<Outcomes, ClientError> {
        let topics = topics.iter().map(|(name, count)| {
            CreatePartitionsTopic::default()
                .with_name(TopicName(text(name)))
                .with_count(*count)
                .with_assignments(None)
        });
        let request = CreatePartitionsRequest::default()
            .with_topics(topics.collect())
            .with_timeout_ms(self.patience_ms());
        let answer = self
            .call(To::Controller, &request, 0..=3, |answer| {
                moved(answer.results.iter().map(|topic| topic.error_code))
            })
            .await?;
        let topics = answer.results.into_iter();
        Ok(topics
            .map(|t| outcome(&t.name, t.error_code, t.error_message.as_deref()))
            .collect())
    }

    /// All configs of topics.
    ///
    /// # Errors
    /// If no broker can be reached; each topic has its own outcome.
    pub async fn describe_topic_configs(
        &self,
        names: &[String],
    ) -> Result<Vec<(String, Result<Vec<ConfigEntry>, ApiError>)>, ClientError> {
        self.some_topic_configs(names, &[]).await
    }

    /// Configs of topics with these names; all of them if none is named.
    ///
    /// # Errors
    /// If no broker can be reached; each topic has its own outcome.
    pub async fn some_topic_configs(
        &self,
        names: &[String],
        configs: &[&str],
    ) -> Result<Vec<(String, Result<Vec<ConfigEntry>, ApiError>)>, ClientError> {
        let keys = configs.iter().map(|config| text(config)).collect();
        let keys: Option<Vec<_>> = Some(keys).filter(|keys: &Vec<_>| !keys.is_empty());
        let resources = names.iter().map(|name| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text(name))
                .with_configuration_keys(keys.clone())
        });
        let request = DescribeConfigsRequest::default().with_resources(resources.collect());
        let answer = self.call(To::Any, &request, 1..=4, |_| None).await?;
        let topics = answer.results.into_iter().map(|topic| {
            let error = ApiError::from_code(topic.error_code, topic.error_message.as_deref());
            let configs = topic.configs.into_iter().map(config_entry).collect();
            (
                topic.resource_name.to_string(),
                error.map_or(Ok(configs), Err),
            )
        });
        Ok(topics.collect())
    }

    /// Named configs of one broker, as it runs with them.
    ///
    /// # Errors
    /// If the broker cannot be reached or refuses.
    pub async fn describe_broker_configs(
        &self,
        broker: i32,
        names: &[&str],
    ) -> Result<Vec<ConfigEntry>, ClientError> {
        let keys = names.iter().map(|name| text(name)).collect();
        let resource = DescribeConfigsResource::default()
            .with_resource_type(BROKER)
            .with_resource_name(text(&broker.to_string()))
            .with_configuration_keys(Some(keys));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer = self
            .call(To::Broker(broker), &request, 1..=4, |answer| {
                let mut results = answer.results.iter();
                results.find_map(|r| ApiError::from_code(r.error_code, r.error_message.as_deref()))
            })
            .await?;
        let configs = answer.results.into_iter().flat_map(|found| found.configs);
        Ok(configs.map(config_entry).collect())
    }

    /// Changes configs of topics; those not named stay.
    ///
    /// # Errors
    /// If the controller cannot be reached; each topic has its own outcome.
    pub async fn alter_topic_configs(
        &self,
        changes: &[(String, Vec<(String, ConfigOp)>)],
    ) -> Result<Outcomes, ClientError> {
        let resources = changes.iter().map(|(topic, changes)| {
            AlterConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text(topic))
                .with_configs(changes.iter().map(alterable).collect())
        });
        let request = IncrementalAlterConfigsRequest::default().with_resources(resources.collect());
        let answer = self
            .call(To::Controller, &request, 0..=1, |answer| {
                moved(answer.responses.iter().map(|topic| topic.error_code))
            })
            .await?;
        let topics = answer.responses.into_iter();
        Ok(topics
            .map(|t| outcome(&t.resource_name, t.error_code, t.error_message.as_deref()))
            .collect())
    }
}

fn alterable((name, op): &(String, ConfigOp)) -> AlterableConfig {
    let (number, value) = match op {
        ConfigOp::Set(value) => (0, Some(value)),
        ConfigOp::Delete => (1, None),
        ConfigOp::Append(value) => (2, Some(value)),
        ConfigOp::Subtract(value) => (3, Some(value)),
    };
    AlterableConfig::default()
        .with_name(text(name))
        .with_config_operation(number)
        .with_value(value.map(|value| text(value)))
}

fn config_entry(config: DescribeConfigsResourceResult) -> ConfigEntry {
    ConfigEntry {
        name: config.name.to_string(),
        value: config.value.map(|value| value.to_string()),
        source: config_source(config.config_source),
        read_only: config.read_only,
        sensitive: config.is_sensitive,
    }
}

fn config_source(number: i8) -> ConfigSource {
    match number {
        1 => ConfigSource::Topic,
        2..=4 => ConfigSource::Broker,
        5 => ConfigSource::Default,
        other => ConfigSource::Other(other),
    }
}

/// The error that sends the call to another controller; other errors belong to their topic.
pub(super) fn moved(mut codes: impl Iterator<Item = i16>) -> Option<ApiError> {
    codes
        .any(|code| code == NOT_CONTROLLER)
        .then_some(ApiError {
            code: NOT_CONTROLLER,
            message: None,
        })
}

fn outcome(name: &str, code: i16, message: Option<&str>) -> (String, Result<(), ApiError>) {
    (
        name.to_owned(),
        ApiError::from_code(code, message).map_or(Ok(()), Err),
    )
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
