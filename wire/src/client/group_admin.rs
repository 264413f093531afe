//! Groups themselves: list, describe, delete, and take static members out.

use std::collections::BTreeSet;

use kafka_protocol::{
    messages::{
        DeleteGroupsRequest, DescribeGroupsRequest, GroupId, LeaveGroupRequest, ListGroupsRequest,
        leave_group_request::MemberIdentity,
    },
    protocol::StrBytes,
};

use super::{Client, Outcomes, To, consumer_protocol::Assignment, unanswered};
use crate::{
    TopicPartition,
    error::{ApiError, ClientError},
};

/// A group as its coordinator lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedGroup {
    /// Its name.
    pub group: String,
    /// `consumer` for consumers; empty for a group that only ever committed offsets.
    pub protocol_type: String,
    /// `Stable`, `Empty` and so on; empty if the broker (before 2.6) does not tell.
    pub state: String,
    /// `classic`, `consumer` (KIP-848), `share` (KIP-932) and so on; empty if the broker (before 3.8) does not tell.
    pub kind: String,
}

/// A group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// `Stable`, `Empty` and so on; `Dead` for one that does not exist.
    pub state: String,
    /// As in [`ListedGroup`].
    pub protocol_type: String,
    /// Who is in it.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Given by the coordinator.
    pub member_id: String,
    /// Its name, if it is static (KIP-345).
    pub instance_id: Option<String>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// What it was handed, if it is a consumer; brokers tell while the group is `Stable`.
    pub assignment: BTreeSet<TopicPartition>,
}

impl Client {
    /// All groups, by name: every broker is asked for those that it coordinates.
    ///
    /// # Errors
    /// If a broker cannot be reached or refuses.
    pub async fn list_groups(&self) -> Result<Vec<ListedGroup>, ClientError> {
        let mut groups = Vec::new();
        for broker in self.describe_cluster().await?.brokers {
            let request = ListGroupsRequest::default();
            let answer = self
                .call(To::Broker(broker.id), &request, 0..=5, |answer| {
                    ApiError::from_code(answer.error_code, None::<&str>)
                })
                .await?;
            groups.extend(answer.groups.into_iter().map(|group| ListedGroup {
                group: group.group_id.to_string(),
                protocol_type: group.protocol_type.to_string(),
                state: group.group_state.to_string(),
                kind: group.group_type.to_string(),
            }));
        }
        groups.sort();
        Ok(groups)
    }

    /// Groups and their members, each from its coordinator, in the order of `groups`.
    ///
    /// # Errors
    /// If a coordinator cannot be reached; each group has its own answer.
    pub async fn describe_groups(
        &self,
        groups: &[String],
    ) -> Result<Vec<(String, Result<GroupDescription, ApiError>)>, ClientError> {
        let mut described = Vec::new();
        for group in groups {
            let request = DescribeGroupsRequest::default().with_groups(vec![id(group)]);
            // From version 6 on a group that does not exist is an error.
            let answer = self
                .call(To::Coordinator(group), &request, 0..=5, |answer| {
                    moved(answer.groups.iter().map(|group| group.error_code))
                })
                .await?;
            let found = answer.groups.into_iter().next().map(|group| {
                let members = group.members.into_iter().map(|member| GroupMember {
                    member_id: member.member_id.to_string(),
                    instance_id: member.group_instance_id.map(|id| id.to_string()),
                    client_id: member.client_id.to_string(),
                    client_host: member.client_host.to_string(),
                    assignment: Assignment::decode(member.member_assignment)
                        .unwrap_or_default()
                        .partitions,
                });
                let description = GroupDescription {
                    state: group.group_state.to_string(),
                    protocol_type: group.protocol_type.to_string(),
                    members: members.collect(),
                };
                ApiError::from_code(group.error_code, None::<&str>).map_or(Ok(description), Err)
            });
            described.push((group.clone(), found.unwrap_or_else(|| Err(unanswered()))));
        }
        Ok(described)
    }

    /// Takes a static member out of its group, so that what it held goes to others at once (KIP-345).
    /// The name is enough, whoever bears it.
    ///
    /// # Errors
    /// If the coordinator cannot be reached or refuses; UNKNOWN_MEMBER_ID if there is no such member.
    pub async fn remove_member(&self, group: &str, instance_id: &str) -> Result<(), ClientError> {
        let member = MemberIdentity::default()
            .with_group_instance_id(Some(StrBytes::from_string(instance_id.to_owned())));
        let request = LeaveGroupRequest::default()
            .with_group_id(id(group))
            .with_members(vec![member]);
        // From version 3 on by the name.
        let answer = self
            .call(To::Coordinator(group), &request, 3..=5, |answer| {
                ApiError::from_code(answer.error_code, None::<&str>)
            })
            .await?;
        let code = answer.members.first().map(|member| member.error_code);
        let error = code.map_or_else(
            || Some(unanswered()),
            |code| ApiError::from_code(code, None::<&str>),
        );
        let what = format!("member {instance_id} of group {group}");
        error.map_or(Ok(()), |error| Err(ClientError::Api { what, error }))
    }

    /// Deletes groups that have no members, with their offsets.
    ///
    /// # Errors
    /// If a coordinator cannot be reached; each group has its own outcome.
    pub async fn delete_groups(&self, groups: &[String]) -> Result<Outcomes, ClientError> {
        let mut outcomes = Outcomes::new();
        for group in groups {
            let request = DeleteGroupsRequest::default().with_groups_names(vec![id(group)]);
            let answer = self
                .call(To::Coordinator(group), &request, 0..=2, |answer| {
                    moved(answer.results.iter().map(|group| group.error_code))
                })
                .await?;
            let code = answer.results.first().map(|group| group.error_code);
            let error = code.map_or_else(
                || Some(unanswered()),
                |code| ApiError::from_code(code, None::<&str>),
            );
            outcomes.push((group.clone(), error.map_or(Ok(()), Err)));
        }
        Ok(outcomes)
    }
}

fn id(group: &str) -> GroupId {
    GroupId(StrBytes::from_string(group.to_owned()))
}

/// The first error that another coordinator, or this one later, would not give.
pub(super) fn moved(codes: impl Iterator<Item = i16>) -> Option<ApiError> {
    let mut errors = codes.filter_map(|code| ApiError::from_code(code, None::<&str>));
    errors.find(super::groups::is_moved)
}
