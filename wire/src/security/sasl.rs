//! Our side of a SASL conversation, without the frames around it.

use rsasl::prelude::{Mechname, SASLClient, SASLConfig, Session, SessionError, State};

use super::Login;

/// Most rounds of PBKDF2 that a broker may ask for. Kafka's own limit is 16384
/// (`ScramMechanism.maxIterations`); without one, a number in a message would keep a core busy for hours.
const MAX_ITERATIONS: u32 = 100_000;

/// A conversation with one broker.
pub(crate) struct Conversation {
    session: Session,
    finished: bool,
}

impl Conversation {
    pub(crate) fn new(login: &Login) -> Result<Self, String> {
        let name = login.mechanism.name();
        let (username, password) = (login.username.reveal(), login.password.reveal());
        let unusable = |text: &str| text.is_empty() || text.contains('\0');
        if unusable(username) || unusable(password) {
            return Err("sasl.username or sasl.password is empty or has a NUL in it".to_owned());
        }
        let config = SASLConfig::with_credentials(None, username.to_owned(), password.to_owned());
        let started = config.ok().and_then(|config| {
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
    use crate::security::{Mechanism, Secret};

    fn login(mechanism: Mechanism, username: &str) -> Login {
        Login {
            mechanism,
            username: Secret::new(username),
            password: Secret::new("pencil"),
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
