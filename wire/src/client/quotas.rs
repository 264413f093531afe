//! What clients may use (quotas, KIP-546): list, set, remove.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use kafka_protocol::{
    messages::{
        AlterClientQuotasRequest, DescribeClientQuotasRequest,
        alter_client_quotas_request::{EntityData, EntryData, OpData},
    },
    protocol::StrBytes,
};

use super::{
    Client, To,
    admin::{moved, text},
    unanswered,
};
use crate::error::{ApiError, ClientError};

/// Who a quota is for, by kind (`user`, `client-id`, `ip`); none: whoever has none of their own
/// (`org.apache.kafka.common.quota.ClientQuotaEntity`).
pub type QuotaEntity = BTreeMap<String, Option<String>>;

/// A quota's value: bytes per second, a share of time in percent, and so on, as its key says.
#[derive(Clone, Copy, Debug)]
pub struct QuotaValue(pub f64);

/// One quota.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quota {
    /// For whom.
    pub entity: QuotaEntity,
    /// Of what, as `producer_byte_rate`.
    pub key: String,
    /// How much.
    pub value: QuotaValue,
}

impl Client {
    /// All quotas.
    ///
    /// # Errors
    /// If no broker can be reached, or it refuses: CLUSTER_AUTHORIZATION_FAILED to whom may not describe the cluster's
    /// configs.
    pub async fn describe_quotas(&self) -> Result<Vec<Quota>, ClientError> {
        // No component and not strict: every entity.
        let request = DescribeClientQuotasRequest::default();
        let answer = self
            .call(To::Any, &request, 0..=1, |answer| {
                ApiError::from_code(answer.error_code, answer.error_message.as_deref())
            })
            .await?;
        let mut quotas = Vec::new();
        for entry in answer.entries.unwrap_or_default() {
            let parts = entry.entity.iter();
            let entity = entity(parts.map(|part| (&part.entity_type, &part.entity_name)));
            quotas.extend(entry.values.iter().map(|value| Quota {
                entity: entity.clone(),
                key: value.key.to_string(),
                value: QuotaValue(value.value),
            }));
        }
        Ok(quotas)
    }

    /// Sets quotas, each with its outcome, in their order.
    ///
    /// # Errors
    /// If the controller cannot be reached.
    pub async fn set_quotas(
        &self,
        quotas: &[Quota],
    ) -> Result<Vec<Result<(), ApiError>>, ClientError> {
        self.alter_quotas(quotas, false).await
    }

    /// Removes quotas, whatever their values, each with its outcome, in their order.
    ///
    /// # Errors
    /// If the controller cannot be reached.
    pub async fn remove_quotas(
        &self,
        quotas: &[Quota],
    ) -> Result<Vec<Result<(), ApiError>>, ClientError> {
        self.alter_quotas(quotas, true).await
    }

    async fn alter_quotas(
        &self,
        quotas: &[Quota],
        remove: bool,
    ) -> Result<Vec<Result<(), ApiError>>, ClientError> {
        // An entity may be in a request once.
        let mut by_entity: BTreeMap<&QuotaEntity, Vec<OpData>> = BTreeMap::new();
        for quota in quotas {
            let op = OpData::default()
                .with_key(text(&quota.key))
                .with_value(quota.value.0)
                .with_remove(remove);
            by_entity.entry(&quota.entity).or_default().push(op);
        }
        let entries = by_entity.into_iter().map(|(entity, ops)| {
            let parts = entity.iter().map(|(kind, name)| {
                EntityData::default()
                    .with_entity_type(text(kind))
                    .with_entity_name(name.as_deref().map(text))
            });
            EntryData::default()
                .with_entity(parts.collect())
                .with_ops(ops)
        });
        let request = AlterClientQuotasRequest::default().with_entries(entries.collect());
        let answer = self
            .call(To::Controller, &request, 0..=1, |answer| {
                moved(answer.entries.iter().map(|entry| entry.error_code))
            })
            .await?;
        let mut outcomes = BTreeMap::new();
        for entry in &answer.entries {
            let parts = entry.entity.iter();
            let entity = entity(parts.map(|part| (&part.entity_type, &part.entity_name)));
            let error = ApiError::from_code(entry.error_code, entry.error_message.as_deref());
            outcomes.insert(entity, error.map_or(Ok(()), Err));
        }
        let outcome = |quota: &Quota| {
            let found = outcomes.get(&quota.entity).cloned();
            found.unwrap_or_else(|| Err(unanswered()))
        };
        Ok(quotas.iter().map(outcome).collect())
    }
}

fn entity<'a>(parts: impl Iterator<Item = (&'a StrBytes, &'a Option<StrBytes>)>) -> QuotaEntity {
    let parts = parts.map(|(kind, name)| {
        let name = name.as_ref().map(ToString::to_string);
        (kind.to_string(), name)
    });
    parts.collect()
}

impl fmt::Display for QuotaValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Ord for QuotaValue {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for QuotaValue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for QuotaValue {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for QuotaValue {}
