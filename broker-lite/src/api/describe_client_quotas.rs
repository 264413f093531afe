//! DescribeClientQuotas (key 48), versions 0-1.
//!
//! There are no quotas, and AlterClientQuotas, which would set some, is not served; a filter is checked all the same
//! (`DescribeClientQuotasRequest.filter`, `ClientQuotasImage.describe`).

use std::collections::HashSet;

use kafka_protocol::{
    error::ResponseError,
    messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse},
    protocol::StrBytes,
};

use super::Context;
use crate::security::acl::Operation;

/// How a component matches.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let answer = DescribeClientQuotasResponse::default();
    if let Err(error) = cx.check_cluster(Operation::DescribeConfigs) {
        return answer
            .with_error_code(error.code())
            .with_error_message(None)
            .with_entries(None);
    }
    match check(&request) {
        Ok(()) => answer
            .with_error_message(Some(StrBytes::default()))
            .with_entries(Some(Vec::new())),
        Err((error, message)) => answer
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_string(message)))
            .with_entries(None),
    }
}

fn check(request: &DescribeClientQuotasRequest) -> Result<(), (ResponseError, String)> {
    let invalid = |message: String| Err((ResponseError::InvalidRequest, message));
    for component in &request.components {
        match (component.match_type, &component._match) {
            (EXACT, None) => {
                let message = "Request specified MATCH_TYPE_EXACT, but set match string to null.";
                return invalid(message.to_owned());
            }
            (DEFAULT, Some(_)) => {
                let message =
                    "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.";
                return invalid(message.to_owned());
            }
            (ANY, Some(_)) => {
                let message =
                    "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.";
                return invalid(message.to_owned());
            }
            (EXACT | DEFAULT | ANY, _) => {}
            (other, _) => return invalid(format!("Unknown match type {other}")),
        }
    }
    let mut types = HashSet::new();
    for component in &request.components {
        let kind = &*component.entity_type;
        match kind {
            "" => return invalid("Invalid empty entity type.".to_owned()),
            "user" | "client-id" | "ip" => {}
            other => {
                let message = format!("Unsupported entity type {other}");
                return Err((ResponseError::UnsupportedVersion, message));
            }
        }
        if !types.insert(kind) {
            return invalid(format!(
                "Entity type {kind} cannot appear more than once in the filter."
            ));
        }
    }
    if types.contains("ip") && types.len() > 1 {
        let message = "Invalid entity filter component combination. IP filter component should not \
                       be used with user or clientId filter component.";
        return invalid(message.to_owned());
    }
    Ok(())
}
