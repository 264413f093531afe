//! CreateAcls (key 30), versions 1-3.
//!
//! Adds rules; one that is there already is fine. The rules for rules are those of `AclApis.handleCreateAcls` and
//! `AclControlManager.validateNewAcl`. Without an authorizer: SECURITY_DISABLED for each.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        CreateAclsRequest, CreateAclsResponse, create_acls_request::AclCreation,
        create_acls_response::AclCreationResult,
    },
    protocol::StrBytes,
};

use super::{Context, rights::NOT_AUTHORIZED};
use crate::security::{
    acl::{Acl, CLUSTER, Entry, Operation, Pattern, Resource},
    authorizer::Authorizer,
};

/// Kafka's text where rights are to be changed.
pub(super) const NO_AUTHORIZER: &str = "No Authorizer is configured.";

/// Numbers of `PatternType` and `AclPermissionType`.
pub(super) const LITERAL: i8 = 3;
pub(super) const PREFIXED: i8 = 4;
pub(super) const DENY: i8 = 2;
pub(super) const ALLOW: i8 = 3;

type Refusal = (ResponseError, Option<StrBytes>);

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: CreateAclsRequest,
) -> CreateAclsResponse {
    let (count, mut outcomes) = (request.creations.len(), Vec::new());
    let created = prepare(cx).and_then(|authorizer| {
        let acls: Result<Vec<_>, _> = request.creations.iter().map(acl).collect();
        // Kafka does not foresee these, and takes none of the rules.
        outcomes = acls.map_err(|NoRule| (ResponseError::UnknownServerError, None))?;
        create(authorizer, outcomes.iter().flatten().cloned().collect())
    });
    if let Err(refusal) = created {
        outcomes = vec![Err(refusal); count];
    }
    let each = outcomes.into_iter().map(|outcome| {
        let result = AclCreationResult::default();
        match outcome {
            Ok(_) => result.with_error_message(Some(StrBytes::default())),
            Err((error, message)) => result
                .with_error_code(error.code())
                .with_error_message(message),
        }
    });
    CreateAclsResponse::default().with_results(each.collect())
}

/// The authorizer, for who may give rights.
fn prepare(cx: &Context) -> Result<&Authorizer, Refusal> {
    let allowed = cx.check_cluster(Operation::Alter);
    allowed.map_err(|error| (error, Some(NOT_AUTHORIZED)))?;
    let disabled = StrBytes::from_static_str(NO_AUTHORIZER);
    let disabled = (ResponseError::SecurityDisabled, Some(disabled));
    cx.state.authorizer.as_ref().ok_or(disabled)
}

fn create(authorizer: &Authorizer, acls: Vec<Acl>) -> Result<(), Refusal> {
    authorizer.add(acls).map_err(|error| {
        tracing::error!(%error, "cannot write to the journal of ACLs");
        (ResponseError::UnknownServerError, None)
    })
}

/// A part that only filters may have: any, or match.
struct NoRule;

/// The rule that is meant, or why it is refused.
fn acl(wanted: &AclCreation) -> Result<Result<Acl, Refusal>, NoRule> {
    let resource = Resource::from_number(wanted.resource_type).ok_or(NoRule)?;
    let operation = Operation::from_number(wanted.operation).ok_or(NoRule)?;
    let is_prefix = match wanted.resource_pattern_type {
        LITERAL => false,
        PREFIXED => true,
        _ => return Err(NoRule),
    };
    let allows = match wanted.permission_type {
        DENY => false,
        ALLOW => true,
        _ => return Err(NoRule),
    };
    let (name, principal) = (
        wanted.resource_name.to_string(),
        wanted.principal.to_string(),
    );
    let why = if resource == Resource::Cluster && name != CLUSTER {
        format!("The only valid name for the CLUSTER resource is {CLUSTER}")
    } else if name.is_empty() {
        "Invalid empty resource name".to_owned()
    } else if !principal.contains(':') {
        format!(
            "Could not parse principal from `{principal}` (no colon is present separating the \
             principal type from the principal name)"
        )
    } else {
        return Ok(Ok(Acl {
            pattern: Pattern {
                resource,
                name,
                is_prefix,
            },
            entry: Entry {
                principal,
                host: wanted.host.to_string(),
                operation,
                allows,
            },
        }));
    };
    let why = Some(StrBytes::from_string(why));
    Ok(Err((ResponseError::InvalidRequest, why)))
}
