//! AlterUserScramCredentials (key 51), version 0 (KIP-554).
//!
//! Sets and removes what SCRAM logins are checked with. Each user once in a request, in the order of
//! `ScramControlManager.alterCredentials`: deletions are looked at first. All that is sound is done.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::{
    error::ResponseError,
    messages::{
        AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
        alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion},
        alter_user_scram_credentials_response::AlterUserScramCredentialsResult,
    },
    protocol::StrBytes,
};

use super::{Context, rights::NOT_AUTHORIZED};
use crate::security::{
    acl::Operation,
    credentials::{Change, mechanism},
    sasl::{Credential, Mechanism},
};

/// Rounds of hashing that a credential may have (`ScramMechanism.minIterations`,
/// `ScramControlManager.MAX_ITERATIONS`).
const ITERATIONS: std::ops::RangeInclusive<i32> = 4096..=16384;
/// Kafka has no limit here; what a client says of a password is a hash, and a salt is a few bytes.
const MAX_BYTES: usize = 1024;

type Verdict = Result<Change, (ResponseError, &'static str)>;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    if let Err(error) = cx.check_cluster(Operation::Alter) {
        return refused(&request, error);
    }
    let mut verdicts: BTreeMap<StrBytes, Verdict> = BTreeMap::new();
    let mut judge = |user: StrBytes, verdict: Verdict| {
        let twice = (
            ResponseError::DuplicateResource,
            "A user credential cannot be altered twice in the same request",
        );
        let known = verdicts.entry(user);
        known
            .and_modify(|known| {
                if known.is_ok() {
                    *known = Err(twice);
                }
            })
            .or_insert(verdict);
    };
    for deletion in &request.deletions {
        judge(deletion.name.clone(), removal(cx, deletion));
    }
    for upsertion in &request.upsertions {
        judge(upsertion.name.clone(), setting(upsertion));
    }
    let each = verdicts.into_iter().map(|(user, verdict)| {
        let done = verdict.and_then(|change| {
            let changed = cx.state.credentials.change(change);
            changed.map_err(|error| {
                tracing::error!(%error, "cannot write to the journal of credentials");
                (
                    ResponseError::UnknownServerError,
                    "The journal cannot be written",
                )
            })
        });
        let result = AlterUserScramCredentialsResult::default().with_user(user);
        match done {
            Ok(()) => result.with_error_message(None),
            Err((error, message)) => result
                .with_error_code(error.code())
                .with_error_message(Some(StrBytes::from_static_str(message))),
        }
    });
    AlterUserScramCredentialsResponse::default().with_results(each.collect())
}

fn removal(cx: &Context, asked: &ScramCredentialDeletion) -> Verdict {
    let kind = check(&asked.name, asked.mechanism)?;
    if cx.state.credentials.get(&asked.name, kind).is_none() {
        let message = "Attempt to delete a user credential that does not exist";
        return Err((ResponseError::ResourceNotFound, message));
    }
    Ok(Change {
        user: asked.name.to_string(),
        mechanism: asked.mechanism,
        credential: None,
    })
}

fn setting(asked: &ScramCredentialUpsertion) -> Verdict {
    let unacceptable = |why| Err((ResponseError::UnacceptableCredential, why));
    let kind = check(&asked.name, asked.mechanism)?;
    if asked.iterations < *ITERATIONS.start() {
        return unacceptable("Too few iterations");
    }
    if asked.iterations > *ITERATIONS.end() {
        return unacceptable("Too many iterations");
    }
    if asked.salt.len().max(asked.salted_password.len()) > MAX_BYTES {
        return unacceptable("Salt or password is too long");
    }
    let credential = Credential::new(kind, &asked.salt, asked.iterations, &asked.salted_password);
    Ok(Change {
        user: asked.name.to_string(),
        mechanism: asked.mechanism,
        credential: Some(credential),
    })
}

fn check(user: &str, number: i8) -> Result<Mechanism, (ResponseError, &'static str)> {
    if user.is_empty() {
        let message = "Username must not be empty";
        return Err((ResponseError::UnacceptableCredential, message));
    }
    let unknown = "Unknown SCRAM mechanism";
    mechanism(number).ok_or((ResponseError::UnsupportedSaslMechanism, unknown))
}

/// The answer to who may not (`AlterUserScramCredentialsRequest.getErrorResponse`).
fn refused(
    request: &AlterUserScramCredentialsRequest,
    error: ResponseError,
) -> AlterUserScramCredentialsResponse {
    let removed = request.deletions.iter().map(|one| &one.name);
    let set = request.upsertions.iter().map(|one| &one.name);
    let users: BTreeSet<_> = removed.chain(set).collect();
    let each = users.into_iter().map(|user| {
        AlterUserScramCredentialsResult::default()
            .with_user(user.clone())
            .with_error_code(error.code())
            .with_error_message(Some(NOT_AUTHORIZED))
    });
    AlterUserScramCredentialsResponse::default().with_results(each.collect())
}
