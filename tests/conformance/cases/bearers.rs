//! Logins by bearer tokens: what a token must be, and what is said to one that is not.

use bytes::Bytes;
use kafka_protocol::messages::{
    MetadataRequest, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
use serde_json::{Value, json};

use crate::{
    talk::{Talk, text},
    tokens::{now, signed, unsecured},
};

/// A session ends with its token, or by `connections.max.reauth.ms` (a minute): only which of them is compared.
fn about(answer: &mut SaslAuthenticateResponse) {
    answer.session_lifetime_ms = (answer.session_lifetime_ms + 44_999) / 45_000;
}

/// A login with this as its first message; the client says that it heard, whatever it was.
fn says(talk: &mut Talk, what: &str, version: i16, message: &str) {
    let handshake = SaslHandshakeRequest::default().with_mechanism(text("OAUTHBEARER"));
    let token = |bytes: &[u8]| {
        SaslAuthenticateRequest::default().with_auth_bytes(Bytes::copy_from_slice(bytes))
    };
    talk.reconnects();
    talk.ask(what, 1, &handshake);
    talk.ask_edited(what, version, &token(message.as_bytes()), about);
    talk.ask_edited(what, version, &token(b"\x01"), about);
}

fn bears(talk: &mut Talk, what: &str, token: &str) {
    says(
        talk,
        what,
        2,
        &format!("n,,\x01auth=Bearer {token}\x01\x01"),
    );
}

/// `claims` with some of them changed or, by null, left out.
fn with(claims: &Value, changes: &Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in changes.as_object().expect("changes are an object") {
        let all = claims.as_object_mut().expect("claims are an object");
        match value {
            Value::Null => drop(all.remove(name)),
            value => drop(all.insert(name.clone(), value.clone())),
        }
    }
    claims
}

/// Times that are sound and times that are not, for both kinds.
fn times() -> Vec<Value> {
    let now = now();
    vec![
        json!({}),
        json!({"exp": now + 40}),
        json!({"exp": now + 40, "iat": now - 40}),
        json!({"exp": now as f64 + 40.5}),
        json!({"exp": null}),
        json!({"exp": (now + 40).to_string()}),
        json!({"exp": now - 3}),
        json!({"exp": now - 600}),
        json!({"exp": 0}),
        json!({"exp": -1}),
        json!({"exp": now + 40, "iat": now + 50}),
        json!({"iat": null}),
        json!({"iat": "x"}),
        json!({"iat": now + 3}),
        json!({"iat": now + 300}),
        json!({"nbf": now + 3}),
        json!({"nbf": "x"}),
    ]
}

fn names() -> Vec<Value> {
    vec![
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": " "}),
        json!({"sub": 7}),
        json!({"sub": ["ann"]}),
        json!({"sub": "ann eve"}),
    ]
}

pub fn unsecured_tokens(talk: &mut Talk) {
    let header = json!({"alg": "none"});
    let claims = json!({
        "sub": "ann", "exp": now() + 3600, "iat": now() - 10, "scope": ["one", "two", "three"],
    });
    let scopes = [
        json!({"scope": null}),
        json!({"scope": "one"}),
        json!({"scope": "one two"}),
        json!({"scope": ["one"]}),
        json!({"scope": ["one", " two "]}),
        json!({"scope": []}),
        json!({"scope": 7}),
    ];
    for changes in times().iter().chain(&names()).chain(&scopes) {
        let token = unsecured(&header, &with(&claims, changes));
        bears(
            talk,
            &changes.to_string().replace(char::is_numeric, ""),
            &token,
        );
    }
    let good = unsecured(&header, &claims);
    for (what, token) in [
        ("signed", signed(&json!({"alg": "ES256"}), &claims)),
        ("none, and signed", signed(&header, &claims)),
        (
            "another algorithm",
            unsecured(&json!({"alg": "RS256"}), &claims),
        ),
        ("no token", "x".to_owned()),
        ("two parts", good.trim_end_matches('.').to_owned()),
        ("four parts", format!("{good}.")),
        ("dots", "..".to_owned()),
        ("no JSON", "eHg.eHg.".to_owned()),
    ] {
        bears(talk, what, &token);
    }
    messages(talk, &good);
}

/// What is around a token. Another scheme than Bearer is not asked: Kafka stumbles over its own error message, and closes the
/// connection.
fn messages(talk: &mut Talk, good: &str) {
    for version in 0..=2 {
        for (what, message) in [
            ("good", format!("n,,\x01auth=Bearer {good}\x01\x01")),
            ("bad", "n,,\x01auth=Bearer bad\x01\x01".to_owned()),
            (
                "as itself",
                format!("n,a=ann,\x01auth=Bearer {good}\x01\x01"),
            ),
            (
                "as another",
                format!("n,a=eve,\x01auth=Bearer {good}\x01\x01"),
            ),
            (
                "small letters",
                format!("n,,\x01auth=bearer {good}\x01\x01"),
            ),
            (
                "extensions",
                format!("n,,\x01auth=Bearer {good}\x01a=b\x01\x01"),
            ),
            (
                "numbers in extensions",
                format!("n,,\x01a1=b\x01auth=Bearer {good}\x01\x01"),
            ),
            (
                "twice",
                format!("n,,\x01auth=Bearer bad\x01auth=Bearer {good}\x01\x01"),
            ),
            ("no end", format!("n,,\x01auth=Bearer {good}\x01")),
            ("no token", "n,,\x01a=b\x01\x01".to_owned()),
            ("a channel", format!("y,,\x01auth=Bearer {good}\x01\x01")),
            ("nothing", String::new()),
            ("heard what", "\x01".to_owned()),
        ] {
            says(talk, what, version, &message);
        }
    }
    // A second try before it said that it heard.
    says(talk, "bad first", 2, "n,,\x01auth=Bearer bad\x01\x01");
    let handshake = SaslHandshakeRequest::default().with_mechanism(text("OAUTHBEARER"));
    talk.reconnects();
    talk.ask("two tries", 1, &handshake);
    for token in ["bad", good] {
        let message = format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes();
        let token = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
        talk.ask_edited("two tries", 2, &token, about);
    }
    let none = MetadataRequest::default().with_topics(Some(Vec::new()));
    talk.ask("after the second", 12, &none);
    // Version 0: bare tokens.
    for token in ["bad", good] {
        talk.reconnects();
        talk.ask("bare", 0, &handshake);
        let message = format!("n,,\x01auth=Bearer {token}\x01\x01");
        let mut frame = (message.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(message.as_bytes());
        talk.tell("bare", &frame);
        talk.tell("bare", b"\0\0\0\x01\x01");
    }
}

pub fn signed_tokens(talk: &mut Talk) {
    let header = json!({"alg": "ES256", "kid": "key"});
    let claims = json!({
        "sub": "ann", "exp": now() + 3600, "iat": now() - 10, "scope": ["one", "two"],
        "aud": "ours", "iss": "https://issuer.example",
    });
    let others = [
        json!({"aud": null}),
        json!({"aud": "theirs"}),
        json!({"aud": ["theirs", "other"]}),
        json!({"aud": []}),
        json!({"aud": 7}),
        json!({"iss": null}),
        json!({"iss": "https://other.example"}),
        json!({"iss": 7}),
        json!({"iss": ["https://issuer.example"]}),
        json!({"scope": null}),
        json!({"scope": "one one"}),
        json!({"scope": ""}),
        json!({"scope": ["one", "one"]}),
        json!({"scope": ["one", " one"]}),
        json!({"scope": ["one", " "]}),
        json!({"scope": []}),
        json!({"scope": 7}),
        json!({"nbf": now() + 300}),
        json!({"nbf": now() + 3000, "exp": now() + 2000}),
        json!({"exp": now() + 40, "iat": now() + 40}),
    ];
    for changes in times().iter().chain(&names()).chain(&others) {
        let token = signed(&header, &with(&claims, changes));
        bears(
            talk,
            &changes.to_string().replace(char::is_numeric, ""),
            &token,
        );
    }
    for other in [
        json!({"alg": "ES256"}),
        json!({"alg": "ES256", "kid": "other"}),
        json!({"alg": "ES256", "kid": "key", "typ": "at+jwt"}),
        json!({"alg": "ES256", "kid": "key", "crit": ["exp"]}),
        json!({"alg": "ES384", "kid": "key"}),
        json!({"alg": "RS256", "kid": "key"}),
        json!({"alg": "HS256", "kid": "key"}),
        json!({"alg": "none", "kid": "key"}),
        json!({"alg": 7, "kid": "key"}),
        json!({"kid": "key"}),
    ] {
        bears(talk, &other.to_string(), &signed(&other, &claims));
    }
    let good = signed(&header, &claims);
    let (signed_part, _) = good.rsplit_once('.').expect("a signature");
    for (what, token) in [
        ("no signature", format!("{signed_part}.")),
        ("a short one", format!("{signed_part}.AAAA")),
        ("none", unsecured(&json!({"alg": "none"}), &claims)),
        ("four parts", format!("{good}.AAAA")),
        ("no token", "x".to_owned()),
    ] {
        bears(talk, what, &token);
    }
    messages(talk, &good);
}
