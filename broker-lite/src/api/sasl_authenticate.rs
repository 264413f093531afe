//! SaslAuthenticate (key 36), versions 0-2.
//!
//! Only outside of a login does it come here: ILLEGAL_SASL_STATE, as `KafkaApis.handleSaslAuthenticateRequest`.

use kafka_protocol::{
    error::ResponseError,
    messages::{SaslAuthenticateRequest, SaslAuthenticateResponse},
    protocol::StrBytes,
};

use super::Context;

pub(super) async fn handle(
    _cx: &Context,
    _version: i16,
    _request: SaslAuthenticateRequest,
) -> SaslAuthenticateResponse {
    let message = "SaslAuthenticate request received after successful authentication";
    SaslAuthenticateResponse::default()
        .with_error_code(ResponseError::IllegalSaslState.code())
        .with_error_message(Some(StrBytes::from_static_str(message)))
}
