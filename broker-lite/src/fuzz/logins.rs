//! Messages of logins, of each mechanism and in each order.

use std::{path::Path, sync::Arc};

use host::{
    Host,
    sim::{SeededRandom, SimFiles},
};

use super::{Fuzzer, fuzz};
use crate::security::{
    credentials::{Credentials, ScramUser},
    properties::Properties,
    sasl::{Heard, Login, Sasl, Surroundings},
};

const SETTINGS: &[(&str, &str)] = &[
    (
        "sasl.enabled.mechanisms",
        "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
    ),
    (
        "listener.name.door.plain.sasl.jaas.config",
        "x.PlainLoginModule required user_ann=\"pencil\";",
    ),
];
/// Whose tokens nobody signs, and whose somebody does.
const UNSECURED: (&str, &str) = (
    "listener.name.door.oauthbearer.sasl.jaas.config",
    "x.OAuthBearerLoginModule required unsecuredValidatorRequiredScope=\"a b\";",
);
const SIGNED: (&str, &str) = (
    "sasl.oauthbearer.jwks.endpoint.url",
    concat!(
        "file://",
        env!("CARGO_MANIFEST_DIR"),
        "/src/security/sasl/oauthbearer/fixtures/jwks.json"
    ),
);

fn sasl(more: (&str, &str)) -> Sasl {
    let mut properties = Properties::default();
    for (name, value) in SETTINGS.iter().chain([&more]) {
        assert!(properties.set(name, value), "{name}");
    }
    Sasl::new(&properties.of("DOOR")).unwrap()
}

/// Requests before a login, without their lengths, and tokens.
fn samples() -> Vec<Vec<u8>> {
    let request = |key: u8, version: u8, body: &[u8]| {
        let head = [0, key, 0, version, 0, 0, 0, 1, 0, 1, b'c'];
        [&head[..], body].concat()
    };
    let mut samples = vec![
        b"\0ann\0pencil".to_vec(),
        b"n,,n=ann,r=rOprNGfwEbeRWgbNEkqO".to_vec(),
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=".to_vec(),
        b"n,a=ann,\x01auth=Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJleHAiOjk5OTk5OTk5OTl9.\x01k=v\x01\x01".to_vec(),
        b"\x01".to_vec(),
        // ApiVersions 0 and 3.
        request(18, 0, b""),
        [&request(18, 3, b"")[..], b"\0\x02a\x021\0"].concat(),
    ];
    let tokens = include_str!("../security/sasl/oauthbearer/fixtures/tokens.json");
    let tokens: std::collections::BTreeMap<String, String> = serde_json::from_str(tokens).unwrap();
    for token in tokens.values() {
        samples.push(format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes());
    }
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "OAUTHBEARER"] {
        let name = [&[0, mechanism.len() as u8], mechanism.as_bytes()].concat();
        samples.extend([request(17, 0, &name), request(17, 1, &name)]);
    }
    let token = b"\0ann\0pencil";
    let long = [&[0, 0, 0, token.len() as u8], &token[..]].concat();
    samples.push(request(36, 1, &long));
    let compact = [&[0, token.len() as u8 + 1], &token[..], &[0]].concat();
    samples.push(request(36, 2, &compact));
    samples
}

/// A handshake that is right, so that what comes next is heard as a token.
fn handshake(fuzzer: &Fuzzer<'_>) -> Vec<u8> {
    let mechanism = ["PLAIN", "SCRAM-SHA-512", "OAUTHBEARER"][fuzzer.below(3)];
    let head = [0, 17, 0, fuzzer.below(2) as u8, 0, 0, 0, 1, 0xff, 0xff, 0];
    [&head[..], &[mechanism.len() as u8], mechanism.as_bytes()].concat()
}

/// A token in a SaslAuthenticate request of version 0.
fn wrapped(token: &[u8]) -> Vec<u8> {
    let head = [0, 36, 0, 0, 0, 0, 0, 2, 0xff, 0xff];
    let length = u32::try_from(token.len()).unwrap().to_be_bytes();
    [&head[..], &length, token].concat()
}

#[test]
fn conversations() {
    let host = Host {
        files: Arc::new(SimFiles::default()),
        random: Arc::new(SeededRandom::new(1)),
        ..Host::real()
    };
    host.files.create_dir_all(Path::new("/d")).unwrap();
    let credentials = Credentials::open(&host, Path::new("/d")).unwrap();
    let ann = ["SCRAM-SHA-256", "SCRAM-SHA-512"].map(|mechanism| {
        ScramUser::parse(&format!("{mechanism}=[name=ann,password=pencil]")).unwrap()
    });
    credentials.add_missing(&host, &ann).unwrap();
    let sasls = [sasl(UNSECURED), sasl(SIGNED)];
    let (mut steps, mut done) = (0u64, 0u64);
    fuzz(0x4c4f_4749, &samples(), |fuzzer, first| {
        let around = Surroundings {
            sasl: &sasls[fuzzer.below(2)],
            credentials: &credentials,
            random: &*host.random,
            now_ms: 1_790_000_000_000,
        };
        let mut login = Login::first();
        let mut frame = match fuzzer.below(4) {
            0 => first,
            _ => handshake(fuzzer),
        };
        for _ in 0..6 {
            steps += 1;
            match login.hear(&around, frame.into()) {
                Ok(Heard::GoOn(_)) => {}
                Ok(Heard::Done(_, who)) => {
                    done += 1;
                    login = Login::again(who);
                }
                Ok(Heard::Refused(..)) | Err(_) => break,
            }
            frame = match fuzzer.below(3) {
                0 => fuzzer.next(),
                1 => wrapped(&fuzzer.next()),
                _ => wrapped(fuzzer.sample()),
            };
        }
    });
    println!("{steps} messages, {done} logins");
    assert!(done > 0, "nothing gets through to the end");
}
