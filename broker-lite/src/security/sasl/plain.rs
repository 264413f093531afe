//! PLAIN (RFC 4616): name and password in one message, as `PlainSaslServer` takes them.

use std::collections::BTreeMap;

use subtle::ConstantTimeEq;

use super::{Failure, Step};

/// `[authzid] NUL authcid NUL passwd`
pub(super) fn step(users: &BTreeMap<String, String>, message: &[u8]) -> Result<Step, Failure> {
    let text = String::from_utf8_lossy(message);
    let parts: Vec<&str> = text.split('\0').collect();
    let &[asks_to_be, name, password] = &*parts else {
        let count = parts.len();
        return Err(Failure::Told(format!(
            "Invalid SASL/PLAIN response: expected 3 tokens, got {count}"
        )));
    };
    if name.is_empty() {
        return Err(refused("Authentication failed: username not specified"));
    }
    if password.is_empty() {
        return Err(refused("Authentication failed: password not specified"));
    }
    let known = users.get(name);
    // As long for a name that is not known as for a wrong password.
    let same = known
        .map_or("", String::as_str)
        .as_bytes()
        .ct_eq(password.as_bytes());
    if !bool::from(same) || known.is_none() {
        return Err(refused(
            "Authentication failed: Invalid username or password",
        ));
    }
    if !asks_to_be.is_empty() && asks_to_be != name {
        return Err(refused(
            "Authentication failed: Client requested an authorization id that is different from username",
        ));
    }
    Ok(Step::Done {
        says: Vec::new(),
        name: name.to_owned(),
        expires_ms: None,
    })
}

fn refused(why: &str) -> Failure {
    Failure::Told(why.to_owned())
}
