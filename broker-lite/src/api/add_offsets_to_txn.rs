//! AddOffsetsToTxn (key 25), versions 0-4.
//!
//! Takes the offsets of a group into a transaction. Before version 2 a fenced producer is told
//! INVALID_PRODUCER_EPOCH.

use std::collections::BTreeSet;

use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::{Context, code, fenced_before};
use crate::state::transactions::{Claim, Part, machine::Producer};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
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
