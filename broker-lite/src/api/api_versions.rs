//! ApiVersions (key 18), versions 0-4.
//!
//! Lists what the registry holds. Produce is advertised from version 0 although it is served from 3:
//! librdkafka before 2.11.1 looks for version 0 before it compresses (KAFKA-18659). No features are reported,
//! so clients use the transaction protocol of KIP-98.
//! A version that is not known here gets UNSUPPORTED_VERSION in version 0 (KIP-511).

use kafka_protocol::{
    error::ResponseError,
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse, api_versions_response::ApiVersion,
    },
};

use super::{API, Context};

pub(super) async fn handle(
    _cx: &Context,
    version: i16,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    answer(version, &request)
}

/// The same for who is not logged in yet.
pub(super) fn answer(version: i16, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let is_named =
        is_name(&request.client_software_name) && is_name(&request.client_software_version);
    if version >= 3 && !is_named {
        let error = ResponseError::InvalidRequest;
        return ApiVersionsResponse::default().with_error_code(error.code());
    }
    ApiVersionsResponse::default().with_api_keys(versions())
}

/// `ApiVersionsRequest.isValid` (KIP-511).
fn is_name(name: &str) -> bool {
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    is_edge(name.chars().next())
        && is_edge(name.chars().next_back())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
}

/// The answer to a version that is not known.
pub(super) fn unsupported() -> ApiVersionsResponse {
    ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(versions().into_iter().filter(is_itself).collect())
}

/// All that a client needs in order to ask again (`ApiVersionsRequest.getErrorResponse`).
fn is_itself(api: &ApiVersion) -> bool {
    api.api_key == ApiKey::ApiVersions as i16
}

fn versions() -> Vec<ApiVersion> {
    let version = |api: &super::Api| {
        let min = if api.key == ApiKey::Produce {
            0
        } else {
            api.min
        };
        ApiVersion::default()
            .with_api_key(api.key as i16)
            .with_min_version(min)
            .with_max_version(api.max)
    };
    API.iter().map(version).collect()
}
