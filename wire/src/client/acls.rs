//! Rules about who may do what with topics and groups (ACLs; patterns of names: KIP-290): list, create, delete.

use kafka_protocol::messages::{
    CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest, create_acls_request::AclCreation,
    delete_acls_request::DeleteAclsFilter,
};

use super::{
    Client, To,
    admin::{moved, text},
    rights::Operation,
    unanswered,
};
use crate::error::{ApiError, ClientError};

/// What a rule is about (`org.apache.kafka.common.resource.ResourceType`); there are more, which are not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum AclResource {
    /// Topics.
    Topic = 2,
    /// Groups.
    Group = 3,
}

/// How a rule names what it is about (`org.apache.kafka.common.resource.PatternType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum AclPattern {
    /// The one of that name; [`ANY_NAME`]: all of them.
    Literal = 3,
    /// Those whose names begin so.
    Prefixed = 4,
}

/// The literal name that stands for all (`ResourcePattern.WILDCARD_RESOURCE`).
pub const ANY_NAME: &str = "*";

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    /// About what.
    pub resource: AclResource,
    /// How that is named.
    pub pattern: AclPattern,
    /// Its name, or how its name begins.
    pub name: String,
    /// Who, as `User:ann`; `User:*`: everybody.
    pub principal: String,
    /// From which address; `*`: any.
    pub host: String,
    /// May do what.
    pub operation: Operation,
    /// Or may not.
    pub allows: bool,
}

/// Rules of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acls {
    /// Those that were asked for.
    pub acls: Vec<Acl>,
    /// How many more there are of them, with operations, patterns or permissions that this version does not know.
    pub unknown: usize,
}

/// Stands for all kinds in a filter.
const ANY: i8 = 1;
const DENY: i8 = 2;
const ALLOW: i8 = 3;

impl Client {
    /// All rules about topics, or about groups.
    ///
    /// # Errors
    /// If no broker can be reached, or it refuses: SECURITY_DISABLED where there is no authorizer,
    /// CLUSTER_AUTHORIZATION_FAILED to whom may not describe the cluster.
    pub async fn describe_acls(&self, resource: AclResource) -> Result<Acls, ClientError> {
        let request = DescribeAclsRequest::default()
            .with_resource_type_filter(resource as i8)
            .with_resource_name_filter(None)
            .with_pattern_type_filter(ANY)
            .with_principal_filter(None)
            .with_host_filter(None)
            .with_operation(ANY)
            .with_permission_type(ANY);
        let answer = self
            .call(To::Any, &request, 1..=3, |answer| {
                ApiError::from_code(answer.error_code, answer.error_message.as_deref())
            })
            .await?;
        let mut found = Acls::default();
        for described in answer.resources {
            for acl in described.acls {
                let known = || {
                    Some(Acl {
                        resource,
                        pattern: pattern(described.pattern_type)?,
                        name: described.resource_name.to_string(),
                        principal: acl.principal.to_string(),
                        host: acl.host.to_string(),
                        operation: Operation::from_number(acl.operation)?,
                        allows: permission(acl.permission_type)?,
                    })
                };
                match known() {
                    Some(acl) => found.acls.push(acl),
                    None => found.unknown += 1,
                }
            }
        }
        Ok(found)
    }

    /// Creates rules, each with its outcome, in their order; one that is there already is fine.
    ///
    /// # Errors
    /// If the controller cannot be reached.
    pub async fn create_acls(
        &self,
        acls: &[Acl],
    ) -> Result<Vec<Result<(), ApiError>>, ClientError> {
        let creations = acls.iter().map(|acl| {
            AclCreation::default()
                .with_resource_type(acl.resource as i8)
                .with_resource_name(text(&acl.name))
                .with_resource_pattern_type(acl.pattern as i8)
                .with_principal(text(&acl.principal))
                .with_host(text(&acl.host))
                .with_operation(acl.operation as i8)
                .with_permission_type(if acl.allows { ALLOW } else { DENY })
        });
        let request = CreateAclsRequest::default().with_creations(creations.collect());
        let answer = self
            .call(To::Controller, &request, 1..=3, |answer| {
                moved(answer.results.iter().map(|one| one.error_code))
            })
            .await?;
        let results = answer.results.iter();
        let outcomes = results.map(|one| outcome(one.error_code, one.error_message.as_deref()));
        Ok(one_each(outcomes, acls.len()))
    }

    /// Deletes exactly these rules, each with its outcome, in their order; one that is not there is fine.
    ///
    /// # Errors
    /// If the controller cannot be reached.
    pub async fn delete_acls(
        &self,
        acls: &[Acl],
    ) -> Result<Vec<Result<(), ApiError>>, ClientError> {
        let filters = acls.iter().map(|acl| {
            DeleteAclsFilter::default()
                .with_resource_type_filter(acl.resource as i8)
                .with_resource_name_filter(Some(text(&acl.name)))
                .with_pattern_type_filter(acl.pattern as i8)
                .with_principal_filter(Some(text(&acl.principal)))
                .with_host_filter(Some(text(&acl.host)))
                .with_operation(acl.operation as i8)
                .with_permission_type(if acl.allows { ALLOW } else { DENY })
        });
        let request = DeleteAclsRequest::default().with_filters(filters.collect());
        let answer = self
            .call(To::Controller, &request, 1..=3, |answer| {
                moved(answer.filter_results.iter().map(|one| one.error_code))
            })
            .await?;
        let outcomes = answer.filter_results.iter().map(|one| {
            // The filter may be fine, and what it found may not be deleted.
            let mut found = one.matching_acls.iter();
            let failed = found
                .find_map(|acl| ApiError::from_code(acl.error_code, acl.error_message.as_deref()));
            outcome(one.error_code, one.error_message.as_deref())
                .and_then(|()| failed.map_or(Ok(()), Err))
        });
        Ok(one_each(outcomes, acls.len()))
    }
}

/// As many outcomes as there were rules, whatever the broker answered.
fn one_each(
    outcomes: impl Iterator<Item = Result<(), ApiError>>,
    count: usize,
) -> Vec<Result<(), ApiError>> {
    let missing = std::iter::repeat_with(|| Err(unanswered()));
    outcomes.chain(missing).take(count).collect()
}

fn outcome(code: i16, message: Option<&str>) -> Result<(), ApiError> {
    ApiError::from_code(code, message).map_or(Ok(()), Err)
}

fn pattern(number: i8) -> Option<AclPattern> {
    [AclPattern::Literal, AclPattern::Prefixed]
        .into_iter()
        .find(|pattern| *pattern as i8 == number)
}

fn permission(number: i8) -> Option<bool> {
    match number {
        DENY => Some(false),
        ALLOW => Some(true),
        _ => None,
    }
}
