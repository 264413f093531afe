//! What the one who is logged in may do, by the brokers' own word (KIP-430).
//!
//! Every answer is a set of operations on one resource. A broker without an authorizer allows all of them.

use std::fmt;

use kafka_protocol::{
    messages::{DescribeClusterRequest, DescribeGroupsRequest, GroupId},
    protocol::StrBytes,
};

use super::{Client, To, group_admin::moved, topics::metadata_request, unanswered};
use crate::error::{ApiError, ClientError};

/// What one may do with a topic, a group or a cluster (`org.apache.kafka.common.acl.AclOperation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Operation {
    /// All that there are; only in rules.
    All = 2,
    /// Read records; join and commit as a group. Implies Describe.
    Read = 3,
    /// Write records. Implies Describe.
    Write = 4,
    /// Create a topic, or any topic of the cluster.
    Create = 5,
    /// Delete. Implies Describe.
    Delete = 6,
    /// Change, as the number of partitions. Implies Describe.
    Alter = 7,
    /// Know that it is there, and what it looks like.
    Describe = 8,
    /// Read configs.
    DescribeConfigs = 10,
    /// Change configs. Implies DescribeConfigs.
    AlterConfigs = 11,
}

impl Operation {
    /// Each of them, in the order of their numbers.
    pub const EACH: [Self; 9] = [
        Self::All,
        Self::Read,
        Self::Write,
        Self::Create,
        Self::Delete,
        Self::Alter,
        Self::Describe,
        Self::DescribeConfigs,
        Self::AlterConfigs,
    ];

    /// As the wire has it; none: one that topics and groups do not know.
    pub fn from_number(number: i8) -> Option<Self> {
        Self::EACH.into_iter().find(|one| *one as i8 == number)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A set of [`Operation`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights(u32);

impl Rights {
    /// Nothing at all.
    pub const NONE: Self = Self(0);

    /// These.
    pub fn new(operations: &[Operation]) -> Self {
        Self(
            operations
                .iter()
                .fold(0, |bits, one| bits | 1 << *one as u8),
        )
    }

    /// Whether `operation` is one of them.
    pub fn allow(self, operation: Operation) -> bool {
        self.0 & (1 << operation as u8) != 0
    }

    /// As brokers write it: bit N for operation N; the smallest number: not told.
    fn from_bits(bits: i32) -> Option<Self> {
        (bits != i32::MIN).then_some(Self(bits.cast_unsigned()))
    }
}

/// Rights on named things; none: the broker does not tell (before 2.3).
pub type NamedRights = Vec<(String, Result<Option<Rights>, ApiError>)>;

const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
const GROUP_AUTHORIZATION_FAILED: i16 = 30;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

impl Client {
    /// Rights on topics, whether they exist or not.
    ///
    /// # Errors
    /// If no broker can be reached; each topic has its own answer.
    pub async fn topic_rights(&self, names: &[String]) -> Result<NamedRights, ClientError> {
        let request = metadata_request(Some(names)).with_include_topic_authorized_operations(true);
        let metadata = self.metadata(&request).await?;
        let topics = metadata.topics.into_iter().map(|topic| {
            let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
            let rights = match topic.error_code {
                TOPIC_AUTHORIZATION_FAILED => Ok(Some(Rights::NONE)),
                // Brokers answer for topics that are not there, too: who may create them asks first.
                0 | UNKNOWN_TOPIC_OR_PARTITION => {
                    Ok(Rights::from_bits(topic.topic_authorized_operations))
                }
                code => Err(ApiError {
                    code,
                    message: None,
                }),
            };
            (name, rights)
        });
        Ok(topics.collect())
    }

    /// Rights on the cluster itself; [`Rights::NONE`] for who lacks Describe, whatever else is allowed.
    ///
    /// # Errors
    /// If no broker can be reached, or it does not speak DescribeCluster (before 2.8).
    pub async fn cluster_rights(&self) -> Result<Option<Rights>, ClientError> {
        let request =
            DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
        let answer = self
            .call(To::Any, &request, 0..=1, |answer| {
                ApiError::from_code(answer.error_code, answer.error_message.as_deref())
            })
            .await?;
        Ok(Rights::from_bits(answer.cluster_authorized_operations))
    }

    /// Rights on a group, whether it exists or not.
    ///
    /// # Errors
    /// If its coordinator cannot be reached or fails otherwise than by a refusal.
    pub async fn group_rights(&self, group: &str) -> Result<Option<Rights>, ClientError> {
        let id = GroupId(StrBytes::from_string(group.to_owned()));
        let request = DescribeGroupsRequest::default()
            .with_groups(vec![id])
            .with_include_authorized_operations(true);
        // Version 3 is the first that tells; from 6 on a group that does not exist is an error.
        let answer = self
            .call(To::Coordinator(group), &request, 3..=5, |answer| {
                moved(answer.groups.iter().map(|group| group.error_code))
            })
            .await;
        let failed = |error| ClientError::Api {
            what: format!("group {group}"),
            error,
        };
        let answer = match answer {
            // Already who looks for the coordinator needs Describe.
            Err(error) if error.api_error().is_some_and(is_refusal) => {
                return Ok(Some(Rights::NONE));
            }
            answer => answer?
                .groups
                .into_iter()
                .next()
                .ok_or_else(|| failed(unanswered()))?,
        };
        match ApiError::from_code(answer.error_code, None::<&str>) {
            None => Ok(Rights::from_bits(answer.authorized_operations)),
            Some(error) if is_refusal(&error) => Ok(Some(Rights::NONE)),
            Some(error) => Err(failed(error)),
        }
    }
}

fn is_refusal(error: &ApiError) -> bool {
    error.code == GROUP_AUTHORIZATION_FAILED
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Kafka 4.1.1 allows on a topic where there is no authorizer (`AclEntry.supportedOperations`).
    #[test]
    fn bits_are_operations() {
        let all = Rights::from_bits(3576).unwrap();
        for operation in [
            Operation::Read,
            Operation::Write,
            Operation::Create,
            Operation::Delete,
            Operation::Alter,
            Operation::Describe,
            Operation::DescribeConfigs,
            Operation::AlterConfigs,
        ] {
            assert!(all.allow(operation), "{operation}");
            assert!(!Rights::NONE.allow(operation), "{operation}");
            assert!(Rights::new(&[operation]).allow(operation));
        }
        assert!(!Rights::new(&[Operation::Read]).allow(Operation::Write));
        assert_eq!(Rights::from_bits(i32::MIN), None);
    }
}
