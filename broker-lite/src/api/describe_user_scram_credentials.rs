//! DescribeUserScramCredentials (key 50), version 0.
//!
//! Which mechanisms users may log in by, and with how many iterations; of all users if none is named
//! (`ScramImage.describe`).

use std::collections::BTreeMap;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
        describe_user_scram_credentials_response::{
            CredentialInfo, DescribeUserScramCredentialsResult,
        },
    },
    protocol::StrBytes,
};

use super::Context;
use crate::security::acl::Operation;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    if let Err(error) = cx.check_cluster(Operation::Describe) {
        let users = request.users.into_iter().flatten();
        return refused(users.count(), error);
    }
    let known = cx.state.credentials.users();
    let mut times: BTreeMap<StrBytes, usize> = BTreeMap::new();
    for user in request.users.into_iter().flatten() {
        *times.entry(user.name).or_default() += 1;
    }
    if times.is_empty() {
        let all = known.keys().map(|name| StrBytes::from_string(name.clone()));
        times.extend(all.map(|name| (name, 1)));
    }
    let each = times.into_iter().map(|(user, times)| {
        let name = &*user;
        let (error, message) = match times {
            1 if known.contains_key(name) => {
                let infos = known[name].iter().map(|(mechanism, iterations)| {
                    CredentialInfo::default()
                        .with_mechanism(*mechanism)
                        .with_iterations(*iterations)
                });
                return DescribeUserScramCredentialsResult::default()
                    .with_user(user.clone())
                    .with_error_message(Some(StrBytes::default()))
                    .with_credential_infos(infos.collect());
            }
            1 => (
                ResponseError::ResourceNotFound,
                format!("Attempt to describe a user credential that does not exist: {name}"),
            ),
            _ => (
                ResponseError::DuplicateResource,
                format!(
                    "Cannot describe SCRAM credentials for the same user twice in a single \
                     request: {name}"
                ),
            ),
        };
        DescribeUserScramCredentialsResult::default()
            .with_user(user)
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_string(message)))
    });
    DescribeUserScramCredentialsResponse::default()
        .with_error_message(Some(StrBytes::default()))
        .with_results(each.collect())
}

/// The answer to who may not know: Kafka names nobody in it
/// (`DescribeUserScramCredentialsRequest.getErrorResponse`).
fn refused(users: usize, error: ResponseError) -> DescribeUserScramCredentialsResponse {
    let each = DescribeUserScramCredentialsResult::default()
        .with_error_code(error.code())
        .with_error_message(None);
    DescribeUserScramCredentialsResponse::default()
        .with_error_code(error.code())
        .with_error_message(None)
        .with_results(vec![each; users])
}
