//! What can go wrong between a client and a cluster.

use std::fmt::{self, Write as _};

use kafka_protocol::error::ResponseError;

use crate::{Class, TopicPartition, batch::BatchError, record::RecordError};

/// An error code that a broker answered, with its text where there was one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// Kafka's number of it.
    pub code: i16,
    /// What the broker says beyond the number.
    pub message: Option<String>,
}

impl ApiError {
    /// None for code 0.
    pub fn from_code(code: i16, message: Option<impl fmt::Display>) -> Option<Self> {
        let message = message
            .map(|text| text.to_string())
            .filter(|text| !text.is_empty());
        (code != 0).then_some(Self { code, message })
    }

    /// The code as a variant.
    pub fn kind(&self) -> ResponseError {
        ResponseError::try_from_code(self.code).unwrap_or(ResponseError::Unknown(self.code))
    }

    /// What to do about it.
    pub fn class(&self) -> Class {
        match self.kind() {
            ResponseError::ThrottlingQuotaExceeded => Class::Throttled,
            ResponseError::FencedInstanceId
            | ResponseError::ProducerFenced
            | ResponseError::InvalidProducerEpoch => Class::Fenced,
            // A coordinator that answers so is busy moving, whatever Kafka's table says.
            ResponseError::UnknownServerError => Class::Retriable,
            kind if kind.is_retriable() => Class::Retriable,
            _ => Class::Fatal,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            ResponseError::Unknown(code) => write!(f, "error {code}")?,
            kind => {
                // `NotLeaderOrFollower` is written NOT_LEADER_OR_FOLLOWER in Kafka's documents.
                for (index, letter) in format!("{kind:?}").chars().enumerate() {
                    if letter.is_ascii_uppercase() && index > 0 {
                        f.write_char('_')?;
                    }
                    f.write_char(letter.to_ascii_uppercase())?;
                }
                write!(f, " ({})", self.code)?;
            }
        }
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

/// Why a call on a cluster failed. Cheap to clone: all callers of a broken connection share a reason.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection, or it broke.
    #[error("{broker}: {reason}")]
    Unreachable {
        /// `HOST:PORT`.
        broker: String,
        /// What the socket says.
        reason: String,
    },
    /// No answer in time.
    #[error("{broker}: no answer to {api} within {seconds} s")]
    Timeout {
        /// `HOST:PORT`.
        broker: String,
        /// The call.
        api: &'static str,
        /// How long it waited.
        seconds: u64,
    },
    /// One side does not accept the other: a certificate, a login. Somebody has to change something, on
    /// either side; until then it is tried again slowly.
    #[error("{broker}: {reason}")]
    Refused {
        /// `HOST:PORT`.
        broker: String,
        /// What is wrong, and what to check. Never shows a secret.
        reason: String,
    },
    /// The broker answered an error.
    #[error("{what}: {error}")]
    Api {
        /// What was asked, of which topic, partition or group.
        what: String,
        /// The answer.
        error: ApiError,
    },
    /// The broker does not speak a version that this client does, or what it says makes no sense.
    #[error("{broker}: {reason}")]
    Protocol {
        /// `HOST:PORT`.
        broker: String,
        /// What is wrong.
        reason: String,
    },
    /// Fetched bytes are damaged.
    #[error("{partition} at offset {offset}: {reason}")]
    Damaged {
        /// The partition.
        partition: TopicPartition,
        /// The offset of the batch, or the one that was asked for.
        offset: i64,
        /// What is wrong.
        reason: String,
    },
}

impl ClientError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Refused { .. } => {
                Class::Retriable
            }
            Self::Api { error, .. } => error.class(),
            Self::Protocol { .. } | Self::Damaged { .. } => Class::Fatal,
        }
    }

    /// The broker's error, if one answered.
    pub fn api_error(&self) -> Option<&ApiError> {
        match self {
            Self::Api { error, .. } => Some(error),
            _ => None,
        }
    }

    /// A batch of `partition` at `offset` that cannot be read.
    pub fn damaged(partition: &TopicPartition, offset: i64, error: impl Into<RecordError>) -> Self {
        let reason = error.into().to_string();
        Self::Damaged {
            partition: partition.clone(),
            offset,
            reason,
        }
    }
}

impl From<BatchError> for ApiError {
    /// A damaged batch is what Kafka calls CORRUPT_MESSAGE.
    fn from(error: BatchError) -> Self {
        Self {
            code: ResponseError::CorruptMessage.code(),
            message: Some(error.to_string()),
        }
    }
}
