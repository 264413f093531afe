//! Logins: what may be said when, and what becomes of it.

use bytes::Bytes;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, ApiVersionsRequest, ApiVersionsResponse,
    DescribeUserScramCredentialsRequest, MetadataRequest, SaslAuthenticateRequest,
    SaslHandshakeRequest,
    alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion},
    describe_user_scram_credentials_request::UserName,
};

use crate::talk::{Talk, text};

fn handshake(mechanism: &str) -> SaslHandshakeRequest {
    SaslHandshakeRequest::default().with_mechanism(text(mechanism))
}

fn token(token: &[u8]) -> SaslAuthenticateRequest {
    SaslAuthenticateRequest::default().with_auth_bytes(Bytes::copy_from_slice(token))
}

fn versions(name: &str) -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(text(name))
        .with_client_software_version(text("1"))
}

/// Which APIs and features there are is not the matter here.
fn of_none(answer: &mut ApiVersionsResponse) {
    *answer = ApiVersionsResponse::default().with_error_code(answer.error_code);
}

const RIGHT: &[u8] = b"\0ann\0ann";

pub fn states(talk: &mut Talk) {
    let metadata = MetadataRequest::default().with_topics(Some(Vec::new()));
    for version in 0..=1 {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "GSSAPI", "plain", ""] {
            talk.reconnects();
            talk.ask(mechanism, version, &handshake(mechanism));
        }
    }
    talk.reconnects();
    talk.ask("at once", 12, &metadata);
    talk.ask("at once", 2, &token(RIGHT));
    talk.poke(
        "another version of the handshake",
        b"\0\0\0\x0c\0\x11\0\x02\0\0\0\x01\xff\xff\0\0",
    );
    talk.poke("no API", b"\0\0\0\x0a\x7f\0\0\0\0\0\0\x01\xff\xff");
    talk.poke("garbage", b"\0\0\0\x03abc");
    // Versions are asked for once; a request that is none of it does not count.
    for version in [0, 2, 3, 4] {
        talk.reconnects();
        talk.ask_edited("first", version, &versions("x"), of_none);
        talk.ask_edited("second", version, &versions("x"), of_none);
    }
    talk.reconnects();
    talk.ask_edited("with a name that is none", 3, &versions("-"), |_| {});
    talk.ask_edited("with one that is", 3, &versions("x"), of_none);
    talk.ask("after the versions", 1, &handshake("PLAIN"));
    talk.reconnects();
    talk.ask("again", 1, &handshake("PLAIN"));
    talk.ask("twice", 1, &handshake("PLAIN"));
    talk.reconnects();
    talk.ask("and", 1, &handshake("PLAIN"));
    talk.ask_edited("versions in the middle", 3, &versions("x"), of_none);
    for version in 0..=2 {
        talk.reconnects();
        talk.ask("login", 1, &handshake("PLAIN"));
        talk.ask("login", version, &token(RIGHT));
        talk.ask("after the login", 12, &metadata);
        talk.ask("after the login", version, &token(RIGHT));
        talk.ask("renewed", 1, &handshake("PLAIN"));
        talk.ask("renewed", version, &token(RIGHT));
        talk.ask("renewed too soon", 1, &handshake("PLAIN"));
        talk.ask("still there", 12, &metadata);
    }
}

pub fn tokens(talk: &mut Talk) {
    for version in 0..=2 {
        for wrong in [
            &b""[..],
            b"\0ann",
            b"\0ann\0wrong",
            b"\0nobody\0ann",
            b"\0\0ann",
            b"\0ann\0",
            b"eve\0ann\0ann",
            b"ann\0ann\0ann",
            b"\0ann\0ann\0",
            b"\xff\xff\0ann\0ann",
        ] {
            talk.reconnects();
            talk.ask("PLAIN", 1, &handshake("PLAIN"));
            talk.ask(
                &format!("{:?}", Bytes::from_static(wrong)),
                version,
                &token(wrong),
            );
        }
        for wrong in ["", "n,,n=nobody,r=nonce", "y,,n=ann,r=nonce", "n,,r=nonce"] {
            talk.reconnects();
            talk.ask("SCRAM", 1, &handshake("SCRAM-SHA-256"));
            talk.ask(wrong, version, &token(wrong.as_bytes()));
        }
    }
    // Version 0: tokens without requests around them.
    for (what, frame) in [
        ("right", &b"\0\0\0\x08\0ann\0ann"[..]),
        ("wrong", b"\0\0\0\x08\0ann\0eve"),
        ("empty", b"\0\0\0\0"),
    ] {
        talk.reconnects();
        talk.ask("PLAIN", 0, &handshake("PLAIN"));
        talk.tell(what, frame);
        talk.ask(
            "then",
            12,
            &MetadataRequest::default().with_topics(Some(Vec::new())),
        );
    }
}

/// A login is renewed by the same mechanism and the same user.
pub fn renewals(talk: &mut Talk) {
    let metadata = MetadataRequest::default().with_topics(Some(Vec::new()));
    for (what, mechanism, again) in [
        ("the same", "PLAIN", RIGHT),
        ("another user", "PLAIN", b"\0eve\0eve"),
        ("a wrong password", "PLAIN", b"\0ann\0eve"),
        ("another mechanism", "SCRAM-SHA-256", RIGHT),
        ("no mechanism", "GSSAPI", RIGHT),
    ] {
        talk.becomes("ann");
        talk.ask(what, 12, &metadata);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        talk.user = None;
        talk.ask(what, 1, &handshake(mechanism));
        talk.ask(what, 2, &token(again));
        talk.ask(what, 12, &metadata);
    }
}

pub fn credentials(talk: &mut Talk) {
    talk.becomes("root");
    let set = |user: &str, mechanism, iterations| {
        ScramCredentialUpsertion::default()
            .with_name(text(user))
            .with_mechanism(mechanism)
            .with_iterations(iterations)
            .with_salt(Bytes::from_static(b"salt"))
            .with_salted_password(Bytes::from_static(b"password"))
    };
    let remove = |user: &str, mechanism| {
        ScramCredentialDeletion::default()
            .with_name(text(user))
            .with_mechanism(mechanism)
    };
    let alter = |removed: &[ScramCredentialDeletion], set: &[ScramCredentialUpsertion]| {
        AlterUserScramCredentialsRequest::default()
            .with_deletions(removed.to_vec())
            .with_upsertions(set.to_vec())
    };
    talk.ask("none", 0, &alter(&[], &[]));
    talk.ask(
        "two",
        0,
        &alter(&[], &[set("ann", 1, 4096), set("bob", 2, 16384)]),
    );
    talk.ask("one more", 0, &alter(&[], &[set("ann", 2, 5000)]));
    for (what, wrong) in [
        ("no name", set("", 1, 4096)),
        ("mechanism 0", set("ann", 0, 4096)),
        ("mechanism 3", set("ann", 3, 4096)),
        ("few rounds", set("ann", 1, 4095)),
        ("many rounds", set("ann", 1, 16385)),
    ] {
        talk.ask(what, 0, &alter(&[], &[wrong]));
    }
    talk.ask(
        "twice",
        0,
        &alter(&[], &[set("ann", 1, 4096), set("ann", 2, 4096)]),
    );
    talk.ask(
        "both",
        0,
        &alter(&[remove("ann", 1)], &[set("ann", 2, 4096)]),
    );
    talk.ask(
        "not there",
        0,
        &alter(&[remove("eve", 1), remove("bob", 1)], &[]),
    );
    talk.ask(
        "no such",
        0,
        &alter(&[remove("bob", 7), remove("", 1)], &[]),
    );
    let describe = |users: Option<&[&str]>| {
        let users = users.map(|users| {
            let users = users
                .iter()
                .map(|user| UserName::default().with_name(text(user)));
            users.collect()
        });
        DescribeUserScramCredentialsRequest::default().with_users(users)
    };
    // Changes show in a moment.
    super::until(|| {
        talk.quietly(0, &describe(Some(&["ann"]))).results[0]
            .credential_infos
            .len()
            == 2
    });
    talk.ask("all", 0, &describe(None));
    talk.ask("none", 0, &describe(Some(&[])));
    talk.ask("some", 0, &describe(Some(&["ann", "bob", "eve", "ann"])));
    talk.ask(
        "gone",
        0,
        &alter(&[remove("ann", 1), remove("bob", 2)], &[]),
    );
    super::until(|| talk.quietly(0, &describe(Some(&["bob"]))).results[0].error_code != 0);
    talk.ask("after", 0, &describe(None));
    talk.becomes("eve");
    talk.ask("by eve", 0, &describe(Some(&["ann", "bob"])));
    talk.ask_edited(
        "by eve",
        0,
        &alter(&[remove("ann", 2)], &[set("bob", 1, 4096)]),
        |answer| {
            for one in &mut answer.results {
                super::rights::blank(&mut one.error_message);
            }
        },
    );
}
