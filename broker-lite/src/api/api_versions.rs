//! ApiVersions (key 18), versions 0-4.
//!
//! Lists what the registry holds. Produce is advertised from version 0 although it is served from 3:
//! librdkafka before 2.11.1 looks for version 0 before it compresses (KAFKA-18659). No features are reported,
//! so clients use the transaction protocol of KIP-98.
//! A version that is not known here gets UNSUPPORTED_VERSION in version 0 (KIP-511).

use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, api_versions_response::ApiVersion,
};

use super::{API, Context};

const UNSUPPORTED_VERSION: i16 = 35;

pub(super) async fn handle(
    _cx: &Context,
    _version: i16,
    _request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    ApiVersionsResponse::default().with_api_keys(versions())
}

/// The answer to a version that is not known.
pub(super) fn unsupported() -> ApiVersionsResponse {
    ApiVersionsResponse::default()
        .with_error_code(UNSUPPORTED_VERSION)
        .with_api_keys(versions())
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
