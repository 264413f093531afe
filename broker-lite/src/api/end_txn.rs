//! EndTxn (key 26), versions 0-5.
//!
//! Commits or aborts a transaction; answered when the markers are written. Before version 2 a fenced
//! producer is told INVALID_PRODUCER_EPOCH. Version 5: every end bumps the epoch, and the producer
//! goes on with the one in the answer (KIP-890).

use kafka_protocol::{
    error::ResponseError,
    messages::{EndTxnRequest, EndTxnResponse},
};

use super::{Context, fenced_before};
use crate::{
    security::acl::Operation,
    state::transactions::{Claim, machine::Producer},
};

pub(super) async fn handle(cx: &Context, version: i16, request: EndTxnRequest) -> EndTxnResponse {
    let claim = Claim {
        transactional_id: &request.transactional_id,
        producer: Producer {
            id: request.producer_id.0,
            epoch: request.producer_epoch,
        },
    };
    let bumps = version >= 5;
    let response = EndTxnResponse::default()
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    if !cx.may_transactional_id(Operation::Write, &request.transactional_id) {
        let error = ResponseError::TransactionalIdAuthorizationFailed;
        return response.with_error_code(error.code());
    }
    match cx
        .state
        .transactions
        .end(claim, request.committed, bumps, &*cx.state)
    {
        Ok(producer) if bumps => response
            .with_producer_id(producer.id.into())
            .with_producer_epoch(producer.epoch),
        Ok(_) => response,
        Err(error) => response.with_error_code(fenced_before(2, version, error).code()),
    }
}
