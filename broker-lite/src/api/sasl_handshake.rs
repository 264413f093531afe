//! SaslHandshake (key 17), versions 0-1.
//!
//! Logins are heard before requests are served (`crate::security::sasl`). What comes here is a handshake where there are no
//! logins, or sooner after one than it may be renewed: ILLEGAL_SASL_STATE.

use kafka_protocol::{
    error::ResponseError,
    messages::{SaslHandshakeRequest, SaslHandshakeResponse},
};

use super::Context;

pub(super) async fn handle(
    _cx: &Context,
    _version: i16,
    _request: SaslHandshakeRequest,
) -> SaslHandshakeResponse {
    SaslHandshakeResponse::default().with_error_code(ResponseError::IllegalSaslState.code())
}
