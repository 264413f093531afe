//! Rules about who may log in: users of SCRAM. Their passwords cannot be read, so a user that is missing on the target is
//! created there only if the file has a password for it, and told otherwise.

use std::collections::{BTreeMap, BTreeSet};

use wire::{
    client::{Client, ScramLogin},
    error::{ApiError, ClientError},
    security::Secret,
};

use super::{super::groups::Copied, Changes, Kind, Listed, Rule, Wanted};
use crate::{flow::status::Board, status::Follows};

const NO_PASSWORD: &str = "it is missing on the target, and scram_users has no password for it";

/// All of the source, and the passwords that are known.
#[derive(Debug)]
pub struct Users(pub BTreeMap<String, Secret>);

impl Kind for Users {
    type Rule = ScramLogin;

    const NAME: &'static str = "users";

    async fn list(client: &Client) -> Result<Listed<ScramLogin>, ClientError> {
        Ok(Listed {
            rules: client.describe_scram_logins().await?,
            unknown: 0,
        })
    }

    async fn create(
        &self,
        client: &Client,
        rules: &[ScramLogin],
    ) -> Result<Vec<Result<(), ApiError>>, ClientError> {
        let mut outcomes = Vec::with_capacity(rules.len());
        for login in rules {
            outcomes.push(match self.0.get(&login.user) {
                Some(password) => client.set_scram_login(login, password).await?,
                None => Err(ApiError {
                    code: -1,
                    message: Some(NO_PASSWORD.to_owned()),
                }),
            });
        }
        Ok(outcomes)
    }

    async fn remove(
        client: &Client,
        rules: &[ScramLogin],
    ) -> Result<Vec<Result<(), ApiError>>, ClientError> {
        let mut outcomes = Vec::with_capacity(rules.len());
        for login in rules {
            outcomes.push(client.remove_scram_login(login).await?);
        }
        Ok(outcomes)
    }

    fn wanted(&self, source: &[ScramLogin], _copied: &Copied) -> Wanted<ScramLogin> {
        Wanted {
            rules: source.iter().cloned().collect(),
            left_out: Vec::new(),
        }
    }

    /// A user that is there keeps its password, however many rounds it is hashed for.
    fn changes(
        &self,
        wanted: &BTreeSet<ScramLogin>,
        there: &BTreeSet<ScramLogin>,
        created: &BTreeSet<ScramLogin>,
    ) -> Changes<ScramLogin> {
        let [on_target, asked] = [there, wanted].map(|logins| logins.iter().map(who).collect());
        let (on_target, asked): (BTreeSet<_>, BTreeSet<_>) = (on_target, asked);
        let missing = wanted
            .iter()
            .filter(|login| !on_target.contains(&who(login)));
        let (create, rest): (Vec<_>, Vec<_>) = missing
            .cloned()
            .partition(|login| self.0.contains_key(&login.user));
        let obsolete = created.iter().filter(|login| !asked.contains(&who(login)));
        let (remove, forget) = obsolete
            .cloned()
            .partition(|login| on_target.contains(&who(login)));
        Changes {
            create,
            remove,
            forget,
            left_out: rest
                .into_iter()
                .map(|login| (login, NO_PASSWORD.to_owned()))
                .collect(),
        }
    }

    fn tell(board: &Board, told: Option<Follows>) {
        board.users(told);
    }
}

fn who(login: &ScramLogin) -> (&str, bool) {
    (&login.user, login.strong)
}

impl Rule for ScramLogin {
    fn key(&self) -> String {
        let parts = (&self.user, self.mechanism().name(), self.iterations);
        serde_json::to_string(&parts).expect("plain data")
    }

    fn parse(key: &[u8]) -> Result<Self, String> {
        let parsed: Result<(String, String, i32), _> = serde_json::from_slice(key);
        let (user, mechanism, iterations) = parsed.map_err(|error| error.to_string())?;
        let of = |strong| Self {
            user,
            strong,
            iterations,
        };
        match mechanism.as_str() {
            "SCRAM-SHA-256" => Ok(of(false)),
            "SCRAM-SHA-512" => Ok(of(true)),
            other => Err(format!("{other:?} is not known")),
        }
    }

    fn text(&self) -> String {
        format!("login of {} by {}", self.user, self.mechanism().name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn login(user: &str, strong: bool, iterations: i32) -> ScramLogin {
        ScramLogin {
            user: user.to_owned(),
            strong,
            iterations,
        }
    }

    #[test]
    fn who_is_there_stays_and_who_has_no_password_is_told() {
        let users = Users(BTreeMap::from([("ann".to_owned(), Secret::new("x"))]));
        let [ann, bob, there] = ["ann", "bob", "ida"].map(|user| login(user, false, 4096));
        let wanted = BTreeSet::from([
            ann.clone(),
            bob.clone(),
            there.clone(),
            login("ann", true, 4096),
        ]);
        let found = BTreeSet::from([login("ida", false, 8192), login("ann", true, 8192)]);
        let changes = users.changes(&wanted, &found, &BTreeSet::new());
        assert_eq!(changes.create, [ann]);
        assert_eq!(changes.left_out, [(bob, NO_PASSWORD.to_owned())]);
        assert!(changes.remove.is_empty() && changes.forget.is_empty());
    }

    #[test]
    fn only_who_was_created_is_removed() {
        let users = Users(BTreeMap::new());
        let [ann, bob, ida] = ["ann", "bob", "ida"].map(|user| login(user, true, 4096));
        let found = BTreeSet::from([ann.clone(), bob]);
        let created = BTreeSet::from([ann.clone(), ida.clone()]);
        let changes = users.changes(&BTreeSet::new(), &found, &created);
        assert_eq!((changes.remove, changes.forget), (vec![ann], vec![ida]));
        assert!(changes.create.is_empty());
    }

    proptest! {
        #[test]
        fn a_key_leads_back(user in ".{0,12}", strong in any::<bool>(), iterations in any::<i32>()) {
            let login = login(&user, strong, iterations);
            prop_assert_eq!(ScramLogin::parse(login.key().as_bytes()), Ok(login));
        }

        #[test]
        fn hostile_keys_are_errors(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(ScramLogin::parse(&bytes).is_err());
        }
    }
}
