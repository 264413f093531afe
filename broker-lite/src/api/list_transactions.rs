//! ListTransactions (key 66), versions 0-1 (KIP-664).
//!
//! All transactional ids, filtered by state and producer id. Version 1: by how long the transaction
//! has been running (KIP-994). Version 2, a filter by a Java regular expression, is not served.

use kafka_protocol::{
    messages::{
        ListTransactionsRequest, ListTransactionsResponse,
        list_transactions_response::TransactionState as Listed,
    },
    protocol::StrBytes,
};

use super::Context;
use crate::state::transactions::machine::{Transaction, TransactionState};

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let names = &request.state_filters;
    let known = |name: &&StrBytes| {
        TransactionState::ALL
            .iter()
            .any(|s| s.name() == name.as_str())
    };
    let unknown = names.iter().filter(|name| !known(name)).cloned().collect();
    let now_ms = cx.state.host.clock.wall_ms();
    let wanted = |t: &&Transaction| {
        let ids = &request.producer_id_filters;
        let age = now_ms.saturating_sub(t.started_ms);
        (names.is_empty() || names.iter().any(|name| name.as_str() == t.state.name()))
            && (ids.is_empty() || ids.iter().any(|id| id.0 == t.producer_id))
            && (request.duration_filter < 0 || age > request.duration_filter)
    };
    let states = cx
        .state
        .transactions
        .with_all(|all| all.values().filter(wanted).map(listed).collect());
    ListTransactionsResponse::default()
        .with_unknown_state_filters(unknown)
        .with_transaction_states(states)
}

fn listed(transaction: &Transaction) -> Listed {
    Listed::default()
        .with_transactional_id(StrBytes::from(transaction.transactional_id.clone()).into())
        .with_producer_id(transaction.producer_id.into())
        .with_transaction_state(transaction.state.name().into())
}
