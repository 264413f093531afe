//! The oracles are the RFCs' examples and what Kafka's tests say.

use std::collections::BTreeMap;

use host::sim::SeededRandom;

use super::*;

const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";

fn decoded(text: &str) -> Vec<u8> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    BASE64_STANDARD.decode(text).unwrap()
}

/// RFC 7677, 3.
#[test]
fn scram_is_what_the_rfc_says() {
    let mechanism = Mechanism::ScramSha256;
    let credential = Credential::of_password(mechanism, "pencil", &decoded(SALT), 4096);
    let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let server = scram::Server::of_rfc(
        mechanism,
        credential.unwrap(),
        nonce,
        &format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s={SALT},i=4096"),
    );
    let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    let Ok(Step::Done { says, name, .. }) = server.last(last.as_bytes()) else {
        panic!("the proof is right");
    };
    assert_eq!(says, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert_eq!(name, "user");
    for wrong in [
        last.replace("dHzb", "dHzc"),
        last.replace("c=biws", "c=eSws"),
        last.replace("r=rOpr", "r=rOps"),
        last.replace(",p=dHzb", ",p="),
        format!("{last},x=y"),
        String::new(),
    ] {
        assert!(server.last(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_no_first_message_is_refused() {
    let credential = Credential::of_password(Mechanism::ScramSha256, "pencil", b"salt", 4096);
    let random = SeededRandom::new(1);
    let first = |message: &str| {
        let lookup = |name: &str| (name == "a=b,").then(|| credential.clone()).flatten();
        scram::Server::first(Mechanism::ScramSha256, lookup, &random, message.as_bytes())
    };
    for right in [
        "n,,n=a=3Db=2C,r=nonce",
        "n,a=a=3Db=2C,n=a=3Db=2C,r=nonce,x=y",
        "n,,m=x,n=a=3Db=2C,r=nonce",
    ] {
        let is_right = match first(right) {
            Ok((_, says)) => says.starts_with(b"r=nonce") && says.ends_with(b",i=4096"),
            // Kafka compares the name as it is escaped with the one as it is.
            Err(failure) => right.contains("a=a") && matches!(failure, Failure::Told(_)),
        };
        assert!(is_right, "{right}");
    }
    for wrong in [
        "",
        "n,,",
        "y,,n=a=3Db=2C,r=n",
        "p=tls-unique,,n=a=3Db=2C,r=n",
        "n,,n=,r=n",
        "n,,n=a=3Db=2C",
        "n,,n=a=3Db=2C,r=",
        "n,,n=a=3Db=2C,r=n,",
        "n,,n=a=3Db=2C,r=n,tokenauth=true",
        "n,,n=bob,r=n",
        "n,,n=a=b,r=n",
    ] {
        assert!(matches!(first(wrong), Err(Failure::Hidden(_))), "{wrong}");
    }
}

/// After `PlainSaslServerTest`.
#[test]
fn plain_is_three_parts() {
    let users = BTreeMap::from([
        ("ann".to_owned(), "pencil".to_owned()),
        ("no".to_owned(), String::new()),
    ]);
    for right in ["\0ann\0pencil", "ann\0ann\0pencil"] {
        let done = plain::step(&users, right.as_bytes());
        assert!(
            matches!(done, Ok(Step::Done { says, name, .. }) if says.is_empty() && name == "ann")
        );
    }
    for (wrong, told) in [
        ("\0\0pencil", "username not specified"),
        ("\0ann\0", "password not specified"),
        ("\0ann\0pen", "Invalid username or password"),
        ("\0bob\0pencil", "Invalid username or password"),
        ("\0no\0pencil", "Invalid username or password"),
        ("bob\0ann\0pencil", "different from username"),
        ("", "expected 3 tokens, got 1"),
        ("ann\0pencil", "got 2"),
        ("\0ann\0pencil\0", "got 4"),
    ] {
        match plain::step(&users, wrong.as_bytes()) {
            Err(Failure::Told(text)) => assert!(text.contains(told), "{text}"),
            _ => panic!("{wrong:?}"),
        }
    }
}
