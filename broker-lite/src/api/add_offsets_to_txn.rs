//! AddOffsetsToTxn (key 25), versions 0-4.
//!
//! Takes the offsets of a group into a transaction. Before version 2 a fenced producer is told
//! INVALID_PRODUCER_EPOCH.

use std::collections::BTreeSet;

use kafka_protocol::{
    error::ResponseError,
    messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse},
};

use super::{Context, code, fenced_before};
use crate::{
    security::acl::Operation,
    state::transactions::{Claim, Part, machine::Producer},
};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let refused = match cx.may_transactional_id(Operation::Write, &request.transactional_id) {
        false => Some(ResponseError::TransactionalIdAuthorizationFailed),
        true if cx.may_group(Operation::Read, &request.group_id) => None,
        true => Some(ResponseError::GroupAuthorizationFailed),
    };
    if refused.is_some() {
        return AddOffsetsToTxnResponse::default().with_error_code(code(refused));
    }
    let claim = Claim {
        transactional_id: &request.transactional_id,
        producer: Producer {
            id: request.producer_id.0,
            epoch: request.producer_epoch,
        },
    };
    let parts = BTreeSet::from([Part::Group(request.group_id.to_string())]);
    let added = cx.state.transactions.add(claim, &parts);
    let error = added.err().map(|error| fenced_before(2, version, error));
    AddOffsetsToTxnResponse::default().with_error_code(code(error))
}
