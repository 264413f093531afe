//! Our side of a SASL conversation, without the frames around it.

use std::sync::Arc;

use rsasl::{
    callback::{Context, Request, SessionCallback, SessionData},
    mechanisms::oauthbearer::properties::OAuthBearerErrored,
    prelude::{Mechname, SASLClient, SASLConfig, Session, SessionError, State},
    property::{OAuthBearerKV, OAuthBearerToken},
};

use super::{Mechanism, OAUTHBEARER, Secret};

/// Most rounds of PBKDF2 that a broker may ask for. Kafka's own limit is 16384
/// (`ScramMechanism.maxIterations`); without one, a number in a message would keep a core busy for hours.
const MAX_ITERATIONS: u32 = 100_000;

/// What a login is proven by.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    /// A name and its password.
    Password(Mechanism, Secret, Secret),
    /// A bearer token, and what else the broker is told with it.
    Token(Secret, Vec<(String, String)>),
}

impl Proof {
    /// Its mechanism's registered name.
    pub(crate) fn mechanism(&self) -> &'static str {
        match self {
            Self::Password(mechanism, ..) => mechanism.name(),
            Self::Token(..) => OAUTHBEARER,
        }
    }

    fn config(&self) -> Result<Option<Arc<SASLConfig>>, String> {
        let unusable = |text: &str| text.is_empty() || text.contains('\0');
        match self {
            Self::Password(_, username, password) => {
                let (username, password) = (username.reveal(), password.reveal());
                if unusable(username) || unusable(password) {
                    return Err(
                        "sasl.username or sasl.password is empty or has a NUL in it".to_owned()
                    );
                }
                let config =
                    SASLConfig::with_credentials(None, username.to_owned(), password.to_owned());
                Ok(config.ok())
            }
            Self::Token(token, extensions) => {
                // RFC 7628 parts what it says by this character.
                let parts = |text: &str| text.contains('\u{1}');
                let told = extensions
                    .iter()
                    .any(|(name, value)| parts(name) || parts(value));
                if unusable(token.reveal()) || parts(token.reveal()) || told {
                    return Err("the token or an extension is none that can be told".to_owned());
                }
                let bearer = Bearer(token.clone(), extensions.clone());
                let config = SASLConfig::builder().with_defaults().with_callback(bearer);
                Ok(config.ok())
            }
        }
    }
}

/// Gives the token to the mechanism, and ends the conversation where the broker does not take it.
struct Bearer(Secret, Vec<(String, String)>);

impl SessionCallback for Bearer {
    fn callback(
        &self,
        _: &SessionData,
        _: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        if let Some(error) = request.get_action::<OAuthBearerErrored>() {
            return Err(SessionError::Boxed(
                format!("the token is refused: {}", error.status).into(),
            ));
        }
        let pairs: Vec<_> = self
            .1
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        request
            .satisfy::<OAuthBearerToken>(self.0.reveal())?
            .satisfy::<OAuthBearerKV>(&pairs)?;
        Ok(())
    }
}

/// A conversation with one broker.
pub(crate) struct Conversation {
    session: Session,
    finished: bool,
}

impl Conversation {
    pub(crate) fn new(proof: &Proof) -> Result<Self, String> {
        let name = proof.mechanism();
        let started = proof.config()?.and_then(|config| {
            let mechanism = Mechname::parse(name.as_bytes()).ok()?;
            SASLClient::new(config).start_suggested(&[mechanism]).ok()
        });
        let session = started.ok_or_else(|| format!("{name} is not built in"))?;
        Ok(Self {
            session,
            finished: false,
        })
    }

    /// Whether the broker has nothing more to prove.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// What to send next; `heard` is what the broker said, none at the beginning.
    ///
    /// # Errors
    /// If the broker does not follow the mechanism, or does not know the password either.
    pub(crate) fn step(&mut self, heard: Option<&[u8]>) -> Result<Vec<u8>, String> {
        if let Some(rounds) = heard.and_then(iterations)
            && rounds > MAX_ITERATIONS
        {
            return Err(format!(
                "it asks for {rounds} rounds of password hashing where at most {MAX_ITERATIONS} are allowed"
            ));
        }
        let mut said = Vec::new();
        let state = self
            .session
            .step(heard, &mut said)
            .map_err(|error| reason(&error))?;
        self.finished = matches!(state, State::Finished(_));
        Ok(said)
    }
}

fn reason(error: &SessionError) -> String {
    match error {
        SessionError::MutualAuthenticationFailed => {
            "it could not prove that it knows the password: it may not be the broker that it claims to be"
                .to_owned()
        }
        error => format!("SASL: {error}"),
    }
}

/// `i=` of a SCRAM server's first message (RFC 5802, 7).
fn iterations(message: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(message).ok()?;
    let number = text.split(',').find_map(|part| part.strip_prefix("i="))?;
    // What is no 32-bit number is the mechanism's matter, or certainly too large.
    number.parse().ok().or(Some(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(mechanism: Mechanism, username: &str) -> Proof {
        Proof::Password(mechanism, Secret::new(username), Secret::new("pencil"))
    }

    /// The broker's side is written anew from RFC 7628, 3.1 and 3.2.
    #[test]
    fn a_token_is_told_with_its_extensions() {
        let extensions = vec![("logicalCluster".to_owned(), "lkc-1".to_owned())];
        let proof = Proof::Token(Secret::new("a.b.c"), extensions);
        let talk = || Conversation::new(&proof).unwrap();
        let first = b"n,,\x01logicalCluster=lkc-1\x01auth=Bearer a.b.c\x01\x01";
        let mut taken = talk();
        assert_eq!(taken.step(None).unwrap(), first);
        assert!(!taken.is_finished());
        taken.step(Some(b"")).unwrap();
        assert!(taken.is_finished());

        let mut refused = talk();
        refused.step(None).unwrap();
        let error = refused
            .step(Some(b"{\"status\":\"invalid_token\"}"))
            .unwrap_err();
        assert!(error.contains("refused: invalid_token"), "{error}");
        assert!(!refused.is_finished());
        for nonsense in [&b"{"[..], b"ok", b"\x01"] {
            let mut talk = talk();
            talk.step(None).unwrap();
            let error = talk.step(Some(nonsense)).unwrap_err();
            assert!(!error.contains("a.b.c"), "{error}");
        }
        for token in ["", "a\u{1}b", "a\0b"] {
            assert!(Conversation::new(&Proof::Token(Secret::new(token), Vec::new())).is_err());
        }
    }

    #[test]
    fn plain_says_all_at_once() {
        let mut talk = Conversation::new(&login(Mechanism::Plain, "user")).unwrap();
        assert_eq!(talk.step(None).unwrap(), b"\0user\0pencil");
        assert!(talk.is_finished());
    }

    /// Kafka's parser takes no other header than this (`ScramMessages.ClientFirstMessage`).
    #[test]
    fn scram_begins_without_channel_binding_and_escapes_the_name() {
        for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha512] {
            let mut talk = Conversation::new(&login(mechanism, "a=b,c")).unwrap();
            let first = String::from_utf8(talk.step(None).unwrap()).unwrap();
            assert!(first.starts_with("n,,n=a=3Db=2Cc,r="), "{first}");
            assert!(!talk.is_finished());
        }
    }

    #[test]
    fn a_broker_cannot_ask_for_endless_work_or_end_early() {
        for answer in [
            "r={nonce}x,s=AAAA,i=4294967295",
            "r={nonce}x,s=AAAA,i=99999999999",
            "r={nonce}x,s=AAAA,i=0",
            "r=other,s=AAAA,i=4096",
            "v=AAAA",
            "",
        ] {
            let mut talk = Conversation::new(&login(Mechanism::ScramSha256, "user")).unwrap();
            let first = String::from_utf8(talk.step(None).unwrap()).unwrap();
            let (_, nonce) = first.split_once(",r=").unwrap();
            let answer = answer.replace("{nonce}", nonce);
            let error = talk.step(Some(answer.as_bytes())).unwrap_err();
            assert!(!error.contains("pencil"), "{error}");
            assert!(!talk.is_finished());
        }
    }

    #[test]
    fn empty_credentials_are_refused() {
        assert!(Conversation::new(&login(Mechanism::Plain, "")).is_err());
        assert!(Conversation::new(&login(Mechanism::ScramSha512, "a\0b")).is_err());
    }
}
