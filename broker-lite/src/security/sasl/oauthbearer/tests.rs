//! The oracles are the RFCs' examples, tokens that another library has made (PyJWT; keys and tokens in `fixtures`), and
//! what Kafka's sources say. `tests/conformance` asks a running Kafka.

use std::{collections::BTreeMap, path::Path};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use proptest::prelude::*;

use super::{jwks::Jwks, message::First, *};
use crate::security::properties::Properties;

/// In 2026; the fixtures hold from 2023 to 2100.
const NOW: i64 = 1_790_000_000_000;
const JWKS: &str = include_str!("fixtures/jwks.json");

fn settings(all: &[(&str, &str)]) -> Properties {
    let mut properties = Properties::default();
    for (name, value) in all {
        assert!(Properties::knows(name), "{name}");
        assert!(properties.set(name, value), "{name}={value}");
    }
    properties
}

fn url() -> String {
    let file = "src/security/sasl/oauthbearer/fixtures/jwks.json";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    format!("file://{}", path.display())
}

fn validator(more: &[(&str, &str)]) -> Validator {
    let url = url();
    let all = [&[(signed::KEYS, &*url)], more].concat();
    Validator::new(&settings(&all).of("DOOR")).unwrap()
}

fn tokens() -> BTreeMap<String, String> {
    serde_json::from_str(include_str!("fixtures/tokens.json")).unwrap()
}

const AUDIENCE: (&str, &str) = ("sasl.oauthbearer.expected.audience", "other, kafka");

#[test]
fn signatures_of_all_algorithms_are_checked() {
    let validator = validator(&[AUDIENCE]);
    let keys = Jwks::parse(JWKS).unwrap();
    for (name, token) in tokens() {
        let validated = validator.validate(&token, NOW);
        let is_good = ["RS", "PS", "ES"].iter().any(|kind| name.starts_with(kind));
        if !is_good || name == "ES512" {
            assert!(validated.is_err(), "{name}");
            continue;
        }
        let good = Token {
            principal: "ann".to_owned(),
            expires_ms: 4_102_444_800_000,
        };
        assert_eq!(validated, Ok(good), "{name}");
        let jws = jws::Jws::parse(&token).unwrap();
        let check = |algorithm, id, message: &str, signature: &[u8]| {
            keys.verify(algorithm, id, message, signature).is_ok()
        };
        let id = jws.key_id();
        assert!(check(&name, id, jws.signed, &jws.signature), "{name}");
        assert!(check(&name, None, jws.signed, &jws.signature), "{name}");
        assert!(!check(&name, Some("x"), jws.signed, &jws.signature));
        assert!(!check("RS256x", id, jws.signed, &jws.signature));
        assert!(!check("none", id, jws.signed, b""));
        let mut turned = jws.signature.clone();
        turned[40] ^= 1;
        assert!(!check(&name, id, jws.signed, &turned), "{name}");
        assert!(!check(&name, id, &jws.signed[1..], &jws.signature));
        for other in ["RS256", "PS256", "ES256", "ES384"] {
            let is_this = other == name;
            assert_eq!(check(other, id, jws.signed, &jws.signature), is_this);
        }
    }
}

/// RFC 7515, A.2 and A.3.
#[test]
fn the_rfcs_examples_hold() {
    let keys = r#"{"keys":[{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"},
        {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}]}"#;
    let keys = Jwks::parse(keys).unwrap();
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    for (header, signature) in [
        (
            "eyJhbGciOiJSUzI1NiJ9",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ] {
        let token = format!("{header}.{claims}.{signature}");
        let jws = jws::Jws::parse(&token).unwrap();
        let algorithm = jws.algorithm().unwrap();
        keys.verify(algorithm, None, jws.signed, &jws.signature)
            .unwrap();
    }
}

#[test]
fn a_token_is_from_whom_and_for_whom_it_should_be() {
    let token = &tokens()["ES256"];
    let validate = |more: &[(&str, &str)]| validator(more).validate(token, NOW);
    let issuer = |is| ("sasl.oauthbearer.expected.issuer", is);
    assert!(validate(&[AUDIENCE, issuer("https://issuer.example")]).is_ok());
    assert!(validate(&[AUDIENCE, issuer("https://other.example")]).is_err());
    assert!(validate(&[("sasl.oauthbearer.expected.audience", "other")]).is_err());
    // For somebody, and nobody said that it is us.
    assert!(validate(&[]).is_err());
    let by_issuer = validate(&[AUDIENCE, ("sasl.oauthbearer.sub.claim.name", "iss")]);
    assert_eq!(by_issuer.unwrap().principal, "https://issuer.example");
    let none = validate(&[AUDIENCE, ("sasl.oauthbearer.sub.claim.name", "scope")]);
    assert!(none.is_err());
}

#[test]
fn a_token_holds_for_its_time() {
    let token = &tokens()["RS256"];
    let skewed = ("sasl.oauthbearer.clock.skew.seconds", "5");
    let validator = validator(&[AUDIENCE, skewed]);
    let expires = 4_102_444_800_000;
    for (now, holds) in [
        (expires - 1, true),
        (expires + 4_999, true),
        (expires + 5_000, false),
        (i64::MAX, false),
        // As in Kafka it may be of the future.
        (0, true),
    ] {
        assert_eq!(validator.validate(token, now).is_ok(), holds, "{now}");
    }
}

fn unsecured(options: &str) -> Validator {
    let line = format!("x.OAuthBearerLoginModule required {options};");
    let name = "listener.name.door.oauthbearer.sasl.jaas.config";
    Validator::new(&settings(&[(name, &line)]).of("DOOR")).unwrap()
}

fn made(header: &str, claims: &str) -> String {
    format!("{}.{}.", BASE64.encode(header), BASE64.encode(claims))
}

const NONE: &str = r#"{"alg":"none"}"#;

#[test]
fn unsecured_tokens_are_taken_at_their_word() {
    let plain = unsecured("unsecuredLoginStringClaim_sub=\"x\"");
    let scoped = unsecured(
        "unsecuredValidatorRequiredScope=\"a b\" unsecuredValidatorScopeClaimName=scp \
         unsecuredValidatorPrincipalClaimName=name unsecuredValidatorAllowableClockSkewMs=1000",
    );
    let is_good =
        |validator: &Validator, claims: &str| validator.validate(&made(NONE, claims), NOW);
    let good = is_good(
        &plain,
        r#"{"sub":"ann","exp":1790000001.5,"iat":1790000000}"#,
    );
    assert_eq!(good.unwrap().expires_ms, 1_790_000_001_500);
    for wrong in [
        r#"{"exp":1790000001}"#,
        r#"{"sub":"ann"}"#,
        r#"{"sub":" ","exp":1790000001}"#,
        r#"{"sub":7,"exp":1790000001}"#,
        r#"{"sub":"ann","exp":"1790000001"}"#,
        r#"{"sub":"ann","exp":1790000000}"#,
        r#"{"sub":"ann","exp":1790000001,"iat":1790000000.001}"#,
        "[]",
        "",
    ] {
        let refusal = is_good(&plain, wrong).unwrap_err();
        assert_eq!(refusal.json(), r#"{"status":"invalid_token"}"#, "{wrong}");
    }
    let late = r#"{"name":"ann","exp":1789999999.1,"scp":["b","c","a"]}"#;
    assert!(is_good(&scoped, late).is_ok());
    let lacks = r#"{"name":"ann","exp":1790000001,"scp":"a"}"#;
    assert_eq!(
        is_good(&scoped, lacks).unwrap_err().json(),
        r#"{"status":"insufficient_scope", "scope":"[a, b]"}"#
    );
    let claims = r#"{"sub":"ann","exp":1790000001}"#;
    for wrong in [
        made("{}", claims),
        made(r#"{"alg":"HS256"}"#, claims),
        made(r#"{"alg":"none","crit":["x"]}"#, claims),
        format!("{}AA", made(NONE, claims)),
        format!("{}.", made(NONE, claims)),
        tokens()["RS256"].clone(),
        "..".to_owned(),
        String::new(),
    ] {
        assert!(plain.validate(&wrong, NOW).is_err(), "{wrong}");
    }
}

#[test]
fn what_does_not_say_which_tokens_hold_is_refused() {
    let jaas = "listener.name.door.oauthbearer.sasl.jaas.config";
    let handler = "listener.name.door.oauthbearer.sasl.server.callback.handler.class";
    let line = "x.OAuthBearerLoginModule required;";
    let url = url();
    for (all, says) in [
        (&[][..], "which tokens"),
        (&[(jaas, line)], "which tokens"),
        (
            &[(handler, UNSECURED), (signed::KEYS, &*url)],
            "which of them",
        ),
        (&[(handler, SIGNED[0])], "which tokens"),
        (
            &[(signed::KEYS, "https://issuer.example/keys")],
            "only files",
        ),
        (&[(signed::KEYS, "file://host/keys")], "absolute path"),
        (&[(signed::KEYS, "file:///no/such/file")], "/no/such/file"),
        (&[(signed::KEYS, "file:///dev/null")], "no JWKS"),
        (
            &[(jaas, "x.PlainLoginModule required;")],
            "OAuthBearerLoginModule",
        ),
    ] {
        let refused = Validator::new(&settings(all).of("DOOR"));
        let why = refused.err().unwrap();
        assert!(why.contains(says), "{all:?}: {why}");
    }
    assert!(Validator::new(&settings(&[(handler, UNSECURED)]).of("DOOR")).is_ok());
    assert!(!Properties::default().set(handler, "org.example.Mine"));
    assert!(Jwks::parse(r#"{"keys":[{"kty":"RSA"},7]}"#).is_err());
}

#[test]
fn a_first_message_is_a_header_and_pairs() {
    for (message, asks_to_be, token) in [
        ("n,,\x01auth=Bearer a.b.c\x01\x01", "", "a.b.c"),
        ("n,a=ann,\x01auth=bearer  a==\x01\x01", "ann", "a=="),
        (
            "n,a=x=2Cy,\x01k=v w\x01auth=BEARER a\x01z=1\x01\x01",
            "x=2Cy",
            "a",
        ),
        ("n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01", "", "b"),
    ] {
        assert_eq!(First::parse(message), Ok(First { asks_to_be, token }));
    }
    for wrong in [
        "",
        "\x01",
        "n,,\x01\x01",
        "n,,auth=Bearer a\x01\x01",
        "n,,\x01auth=Bearer a\x01",
        "n,,\x01auth=Bearer a\x01\x01 ",
        "y,,\x01auth=Bearer a\x01\x01",
        "n,,\x01auth=Bearer\x01\x01",
        "n,,\x01auth=Basic a\x01\x01",
        "n,,\x01auth=Bearer a b\x01\x01",
        "n,,\x01k1=v\x01auth=Bearer a\x01\x01",
        "n,a=,\x01auth=Bearer a\x01\x01",
        "n,,\x01auth=Bearer \u{e9}\x01\x01",
    ] {
        assert!(First::parse(wrong).is_err(), "{wrong:?}");
    }
}

fn message(token: &str) -> Vec<u8> {
    format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes()
}

/// `OAuthBearerSaslServer`: JSON first, and only then the failure; another token may come instead.
#[test]
fn a_refusal_is_told_twice() {
    let validator = unsecured("unsecuredLoginStringClaim_sub=\"x\"");
    let good = message(&made(NONE, r#"{"sub":"ann","exp":1790000001}"#));
    let mut exchange = Exchange::default();
    let mut step = |message: &[u8]| exchange.step(&validator, NOW, message);
    // Heard what?
    assert!(matches!(step(HEARD), Err(Failure::Hidden(_))));
    let json = br#"{"status":"invalid_token"}"#;
    assert!(matches!(step(&message("x")), Ok(Step::Challenge(says)) if says == json));
    let told = step(HEARD);
    assert!(
        matches!(told, Err(Failure::Explained { told, reason }) if told.as_bytes() == json && reason.contains("three"))
    );
    assert!(matches!(step(HEARD), Err(Failure::Hidden(_))));
    assert!(matches!(step(&message("x")), Ok(Step::Challenge(_))));
    let done = step(&good);
    assert!(
        matches!(done, Ok(Step::Done { says, name, expires_ms: Some(1_790_000_001_000) }) if says.is_empty() && name == "ann")
    );
    let another = [b"n,a=bob,".as_slice(), &good[3..]].concat();
    assert!(matches!(step(&another), Err(Failure::Told(why)) if why.contains("(bob)")));
}

proptest! {
    /// A user's file, with a byte turned.
    #[test]
    fn any_keys_are_read_or_refused(at: prop::sample::Index, to: u8) {
        let mut bytes = JWKS.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let token = &tokens()["RS256"];
        let jws = jws::Jws::parse(token).unwrap();
        if let Ok(keys) = Jwks::parse(&String::from_utf8_lossy(&bytes)) {
            drop(keys.verify("RS256", None, jws.signed, &jws.signature));
        }
    }

    /// Whatever is changed in a token that is signed, it does not hold any more.
    #[test]
    fn a_changed_token_does_not_hold(at: prop::sample::Index, to in "[A-Za-z0-9_.-]") {
        let token = &tokens()["ES256"];
        let at = at.index(token.len());
        let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
        // The last character has bits that mean nothing; ours are strict.
        prop_assume!(changed != *token);
        prop_assert!(validator(&[AUDIENCE]).validate(&changed, NOW).is_err());
    }
}
