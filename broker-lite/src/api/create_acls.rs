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
    Principal,
    acl::{Acl, CLUSTER, Entry, Operation, Pattern, Resource},
};

/// Kafka's text where rights are to be changed.
pub(super) const NO_AUTHORIZER: &str = "No Authorizer is configured.";

/// Numbers of `PatternType` and `AclPermissionType`.
pub(super) const LITERAL: i8 = 3;
pub(super) const PREFIXED: i8 = 4;
pub(super) const DENY: i8 = 2;
pub(super) const ALLOW: i8 = 3;

type Refusal = (ResponseError, StrBytes);

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: CreateAclsRequest,
) -> CreateAclsResponse {
    let mut outcomes: Vec<Result<Acl, Refusal>> = request.creations.iter().map(acl).collect();
    let sound = outcomes.iter().flatten().cloned().collect();
    if let Err(refusal) = create(cx, sound) {
        // Whoever may not create rules is told nothing of them.
        let is_all = refusal.0 != ResponseError::UnknownServerError;
        for outcome in outcomes.iter_mut().filter(|one| is_all || one.is_ok()) {
            *outcome = Err(refusal.clone());
        }
    }
    let each = outcomes.into_iter().map(|outcome| {
        let result = AclCreationResult::default();
        match outcome {
            Ok(_) => result.with_error_message(None),
            Err((error, message)) => result
                .with_error_code(error.code())
                .with_error_message(Some(message)),
        }
    });
    CreateAclsResponse::default().with_results(each.collect())
}

fn create(cx: &Context, acls: Vec<Acl>) -> Result<(), Refusal> {
    let allowed = cx.check_cluster(Operation::Alter);
    allowed.map_err(|error| (error, NOT_AUTHORIZED))?;
    let disabled = (
        ResponseError::SecurityDisabled,
        StrBytes::from_static_str(NO_AUTHORIZER),
    );
    let authorizer = cx.state.authorizer.as_ref().ok_or(disabled)?;
    authorizer.add(acls).map_err(|error| {
        tracing::error!(%error, "cannot write to the journal of ACLs");
        let error = ResponseError::UnknownServerError;
        (error, super::message(error))
    })
}

fn acl(wanted: &AclCreation) -> Result<Acl, Refusal> {
    let invalid = |why: String| (ResponseError::InvalidRequest, StrBytes::from_string(why));
    let name = wanted.resource_name.to_string();
    let resource = Resource::from_number(wanted.resource_type);
    if resource == Some(Resource::Cluster) && name != CLUSTER {
        let why = format!("The only valid name for the CLUSTER resource is {CLUSTER}");
        return Err(invalid(why));
    }
    if name.is_empty() {
        return Err(invalid("Invalid empty resource name".to_owned()));
    }
    let resource = resource.ok_or_else(|| invalid("Invalid resourceType ANY".to_owned()))?;
    let is_prefix = match wanted.resource_pattern_type {
        LITERAL => false,
        PREFIXED => true,
        1 => return Err(invalid("Invalid patternType ANY".to_owned())),
        _ => return Err(invalid("Invalid patternType MATCH".to_owned())),
    };
    let operation = Operation::from_number(wanted.operation);
    let operation = operation.ok_or_else(|| invalid("Invalid operation ANY".to_owned()))?;
    let allows = match wanted.permission_type {
        DENY => false,
        ALLOW => true,
        _ => return Err(invalid("Invalid permissionType ANY".to_owned())),
    };
    if Principal::parse(&wanted.principal).is_none() {
        // Kafka stumbles over it.
        let error = ResponseError::UnknownServerError;
        return Err((error, super::message(error)));
    }
    Ok(Acl {
        pattern: Pattern {
            resource,
            name,
            is_prefix,
        },
        entry: Entry {
            principal: wanted.principal.to_string(),
            host: wanted.host.to_string(),
            operation,
            allows,
        },
    })
}
