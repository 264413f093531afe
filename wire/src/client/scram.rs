//! SCRAM logins that a cluster checks itself (KIP-554): list, set, remove. Passwords cannot be read back.

use std::num::NonZeroU32;

use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest,
    alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion},
};
use ring::{digest, pbkdf2};

use super::{
    Client, To,
    admin::{moved, text},
    unanswered,
};
use crate::{
    error::{ApiError, ClientError},
    security::{Mechanism, Secret},
};

/// One login.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScramLogin {
    /// Who.
    pub user: String,
    /// With SHA-256, or with SHA-512?
    pub strong: bool,
    /// Rounds of hashing; brokers take 4,096 to 16,384.
    pub iterations: i32,
}

/// `org.apache.kafka.clients.admin.ScramMechanism`.
const SHA_256: i8 = 1;
const SHA_512: i8 = 2;
/// As many as Kafka's own tool takes (`ScramFormatter.secureRandomBytes`, 130 bits and more).
const SALT_BYTES: usize = 32;
/// How Kafka says that a user has none.
const RESOURCE_NOT_FOUND: i16 = 91;

impl ScramLogin {
    /// The mechanism that it is for.
    pub fn mechanism(&self) -> Mechanism {
        match self.strong {
            true => Mechanism::ScramSha512,
            false => Mechanism::ScramSha256,
        }
    }

    fn number(&self) -> i8 {
        if self.strong { SHA_512 } else { SHA_256 }
    }

    /// RFC 5802's SaltedPassword; brokers get this and not the password.
    fn salted(&self, password: &Secret, salt: &[u8]) -> Vec<u8> {
        let (algorithm, length) = match self.strong {
            true => (pbkdf2::PBKDF2_HMAC_SHA512, digest::SHA512_OUTPUT_LEN),
            false => (pbkdf2::PBKDF2_HMAC_SHA256, digest::SHA256_OUTPUT_LEN),
        };
        let rounds = u32::try_from(self.iterations).unwrap_or(0);
        let rounds = NonZeroU32::new(rounds).unwrap_or(NonZeroU32::MIN);
        let mut salted = vec![0; length];
        pbkdf2::derive(
            algorithm,
            rounds,
            salt,
            password.reveal().as_bytes(),
            &mut salted,
        );
        salted
    }
}

impl Client {
    /// All logins.
    ///
    /// # Errors
    /// If no broker can be reached, or it refuses: CLUSTER_AUTHORIZATION_FAILED to whom may not describe the cluster.
    pub async fn describe_scram_logins(&self) -> Result<Vec<ScramLogin>, ClientError> {
        let request = DescribeUserScramCredentialsRequest::default().with_users(None);
        let answer = self
            .call(To::Any, &request, 0..=0, |answer| {
                ApiError::from_code(answer.error_code, answer.error_message.as_deref())
            })
            .await?;
        let mut logins = Vec::new();
        for user in answer.results {
            let known = user.credential_infos.iter().filter_map(|info| {
                let strong = match info.mechanism {
                    SHA_256 => false,
                    SHA_512 => true,
                    _ => return None,
                };
                Some(ScramLogin {
                    user: user.user.to_string(),
                    strong,
                    iterations: info.iterations,
                })
            });
            logins.extend(known);
        }
        Ok(logins)
    }

    /// Gives a login this password, whether it is new or not.
    ///
    /// # Errors
    /// If the controller cannot be reached; the inner error is why it refuses.
    pub async fn set_scram_login(
        &self,
        login: &ScramLogin,
        password: &Secret,
    ) -> Result<Result<(), ApiError>, ClientError> {
        let mut salt = vec![0; SALT_BYTES];
        self.0.host.random.fill(&mut salt);
        let upsertion = ScramCredentialUpsertion::default()
            .with_name(text(&login.user))
            .with_mechanism(login.number())
            .with_iterations(login.iterations)
            .with_salted_password(login.salted(password, &salt).into())
            .with_salt(salt.into());
        let request = AlterUserScramCredentialsRequest::default().with_upsertions(vec![upsertion]);
        self.alter_scram_login(&request).await
    }

    /// Takes a login away; one that is not there is fine.
    ///
    /// # Errors
    /// As [`Self::set_scram_login`].
    pub async fn remove_scram_login(
        &self,
        login: &ScramLogin,
    ) -> Result<Result<(), ApiError>, ClientError> {
        let deletion = ScramCredentialDeletion::default()
            .with_name(text(&login.user))
            .with_mechanism(login.number());
        let request = AlterUserScramCredentialsRequest::default().with_deletions(vec![deletion]);
        let outcome = self.alter_scram_login(&request).await?;
        Ok(match outcome {
            Err(error) if error.code == RESOURCE_NOT_FOUND => Ok(()),
            outcome => outcome,
        })
    }

    async fn alter_scram_login(
        &self,
        request: &AlterUserScramCredentialsRequest,
    ) -> Result<Result<(), ApiError>, ClientError> {
        let answer = self
            .call(To::Controller, request, 0..=0, |answer| {
                moved(answer.results.iter().map(|one| one.error_code))
            })
            .await?;
        let Some(one) = answer.results.first() else {
            return Ok(Err(unanswered()));
        };
        let error = ApiError::from_code(one.error_code, one.error_message.as_deref());
        Ok(error.map_or(Ok(()), Err))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, 3: what salt, password and rounds of its example come to, by Python's hashlib.
    #[test]
    fn a_password_is_salted_as_rfc_7677_says() {
        let login = ScramLogin {
            user: "user".to_owned(),
            strong: false,
            iterations: 4096,
        };
        let salt = [
            0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36,
            0xfa, 0x81,
        ];
        let salted = login.salted(&Secret::new("pencil"), &salt);
        let hex: String = salted.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d"
        );
    }
}
