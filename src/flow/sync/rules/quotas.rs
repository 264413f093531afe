//! Rules about what clients may use (quotas): users, client ids and addresses have the same names on both sides.

use std::collections::{BTreeMap, BTreeSet};

use wire::{
    client::{Client, Quota, QuotaEntity, QuotaValue},
    error::{ApiError, ClientError},
};

use super::{super::groups::Copied, Changes, Kind, Listed, Rule, Wanted};
use crate::{flow::status::Board, status::Follows};

/// All of the source.
#[derive(Debug)]
pub struct Quotas;

impl Kind for Quotas {
    type Rule = Quota;

    const NAME: &'static str = "quotas";

    async fn list(client: &Client) -> Result<Listed<Quota>, ClientError> {
        Ok(Listed {
            rules: client.describe_quotas().await?,
            unknown: 0,
        })
    }

    async fn create(
        &self,
        client: &Client,
        rules: &[Quota],
    ) -> Result<Vec<Result<(), ApiError>>, ClientError> {
        client.set_quotas(rules).await
    }

    async fn remove(
        client: &Client,
        rules: &[Quota],
    ) -> Result<Vec<Result<(), ApiError>>, ClientError> {
        client.remove_quotas(rules).await
    }

    fn wanted(&self, source: &[Quota], _copied: &Copied) -> Wanted<Quota> {
        Wanted {
            rules: source.iter().cloned().collect(),
            left_out: Vec::new(),
        }
    }

    /// A quota that has another value on the target is changed only if strait set that value.
    fn changes(
        &self,
        wanted: &BTreeSet<Quota>,
        there: &BTreeSet<Quota>,
        created: &BTreeSet<Quota>,
    ) -> Changes<Quota> {
        let [of_target, asked] = [there, wanted].map(by_entity);
        let mut changes = Changes {
            create: Vec::new(),
            remove: Vec::new(),
            forget: Vec::new(),
            left_out: Vec::new(),
        };
        for quota in wanted.difference(there) {
            match of_target.get(&place(quota)) {
                Some(other) if !created.contains(*other) => {
                    let why = format!("the target has {}, which strait did not set", other.value);
                    changes.left_out.push((quota.clone(), why));
                }
                _ => changes.create.push(quota.clone()),
            }
        }
        for quota in created.difference(wanted) {
            match (there.contains(quota), asked.contains_key(&place(quota))) {
                // It is about to be replaced, and is forgotten when that is seen.
                (true, true) => {}
                (true, false) => changes.remove.push(quota.clone()),
                (false, _) => changes.forget.push(quota.clone()),
            }
        }
        changes
    }

    fn tell(board: &Board, told: Option<Follows>) {
        board.quotas(told);
    }
}

/// What has one value at a time.
type Place<'a> = (&'a QuotaEntity, &'a str);

fn place(quota: &Quota) -> Place<'_> {
    (&quota.entity, &quota.key)
}

fn by_entity(quotas: &BTreeSet<Quota>) -> BTreeMap<Place<'_>, &Quota> {
    quotas.iter().map(|quota| (place(quota), quota)).collect()
}

impl Rule for Quota {
    /// The value as text, which leads back exactly.
    fn key(&self) -> String {
        let parts = (&self.entity, &self.key, self.value.to_string());
        serde_json::to_string(&parts).expect("plain data")
    }

    fn parse(key: &[u8]) -> Result<Self, String> {
        let parsed: Result<(QuotaEntity, String, String), _> = serde_json::from_slice(key);
        let (entity, key, value) = parsed.map_err(|error| error.to_string())?;
        let value = value
            .parse()
            .map_err(|_| format!("{value:?} is no number"))?;
        Ok(Self {
            entity,
            key,
            value: QuotaValue(value),
        })
    }

    fn text(&self) -> String {
        let whose = self.entity.iter().map(|(kind, name)| match name {
            Some(name) => format!("{kind} {name}"),
            None => format!("{kind} by default"),
        });
        let whose: Vec<_> = whose.collect();
        format!("{} {} of {}", self.key, self.value, whose.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quota(user: u8, value: f64) -> Quota {
        Quota {
            entity: QuotaEntity::from([("user".to_owned(), Some(format!("u{user}")))]),
            key: "producer_byte_rate".to_owned(),
            value: QuotaValue(value),
        }
    }

    /// Some users, each with one of two values.
    fn some_quotas() -> impl Strategy<Value = BTreeSet<Quota>> {
        let values = proptest::collection::btree_map(0u8..6, 0u8..2, 0..6);
        values.prop_map(|values| {
            let quotas = values.into_iter();
            quotas
                .map(|(user, value)| quota(user, value.into()))
                .collect()
        })
    }

    proptest! {
        /// Whatever somebody else set stays; all else is as on the source, and stays so.
        #[test]
        fn only_what_was_set_is_changed(
            wanted in some_quotas(), there in some_quotas(), created in some_quotas(),
        ) {
            let changes = Quotas.changes(&wanted, &there, &created);
            let mut after: BTreeMap<_, _> = by_entity(&there);
            after.extend(changes.create.iter().map(|quota| (place(quota), quota)));
            for quota in &changes.remove {
                after.remove(&place(quota));
            }
            for quota in &there {
                let foreign = !created.contains(quota);
                prop_assert!(!foreign || after.get(&place(quota)) == Some(&quota));
            }
            let left: BTreeSet<_> = changes.left_out.iter().map(|(quota, _)| quota).collect();
            for quota in &wanted {
                prop_assert!(left.contains(quota) || after.get(&place(quota)) == Some(&quota));
            }
            let now: BTreeSet<Quota> = after.values().map(|quota| (*quota).clone()).collect();
            let mut remembered = created;
            remembered.extend(changes.create.iter().cloned());
            remembered.retain(|quota| !changes.remove.contains(quota) && !changes.forget.contains(quota));
            let again = Quotas.changes(&wanted, &now, &remembered);
            prop_assert!(again.create.is_empty() && again.remove.is_empty());
        }

        #[test]
        fn a_key_leads_back(user in 0u8..9, value in proptest::num::f64::NORMAL, has_default in any::<bool>()) {
            let mut quota = quota(user, value);
            if has_default {
                quota.entity.insert("client-id".to_owned(), None);
            }
            prop_assert_eq!(Quota::parse(quota.key().as_bytes()), Ok(quota));
        }

        #[test]
        fn hostile_keys_are_errors(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(Quota::parse(&bytes).is_err());
        }
    }

    #[test]
    fn a_key_is_text_that_people_read() {
        let key = br#"[{"client-id":null,"user":"ann"},"consumer_byte_rate","1048576"]"#;
        let quota = Quota::parse(key).unwrap();
        assert_eq!(
            quota.text(),
            "consumer_byte_rate 1048576 of client-id by default, user ann"
        );
        assert_eq!(quota.key().as_bytes(), key);
    }
}
