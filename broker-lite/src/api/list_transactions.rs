//! ListTransactions (key 66), versions 0-2 (KIP-664).
//!
//! All transactional ids, filtered by state and producer id. Version 1: by how long the transaction
//! has been running (KIP-994). Version 2: by a regular expression that matches the whole id (KIP-1152); Kafka's RE2/J and
//! the crate used here share their syntax but for details.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        ListTransactionsRequest, ListTransactionsResponse,
        list_transactions_response::TransactionState as Listed,
    },
    protocol::StrBytes,
};
use regex::{Regex, RegexBuilder};

use super::Context;
use crate::{
    security::acl::Operation,
    state::transactions::machine::{Transaction, TransactionState},
};

/// Bytes that a compiled pattern may take.
const MAX_PATTERN: usize = 1 << 20;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let pattern = request.transactional_id_pattern.as_deref();
    let pattern = pattern.filter(|pattern| !pattern.is_empty()).map(whole);
    let Ok(pattern) = pattern.transpose() else {
        let error = ResponseError::InvalidRegularExpression;
        return ListTransactionsResponse::default().with_error_code(error.code());
    };
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
            && pattern
                .as_ref()
                .is_none_or(|one| one.is_match(&t.transactional_id))
            && (request.duration_filter < 0 || age > request.duration_filter)
            && cx.may_transactional_id(Operation::Describe, &t.transactional_id)
    };
    let states = cx
        .state
        .transactions
        .with_all(|all| all.values().filter(wanted).map(listed).collect());
    ListTransactionsResponse::default()
        .with_unknown_state_filters(unknown)
        .with_transaction_states(states)
}

/// A pattern for the whole of an id; its memory is bounded.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    // Alone it must be one, so that it cannot end the group around it.
    Regex::new(pattern)?;
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(MAX_PATTERN)
        .build()
}

fn listed(transaction: &Transaction) -> Listed {
    Listed::default()
        .with_transactional_id(StrBytes::from(transaction.transactional_id.clone()).into())
        .with_producer_id(transaction.producer_id.into())
        .with_transaction_state(transaction.state.name().into())
}
