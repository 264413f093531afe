//! PLAIN and SCRAM, new passwords, sessions that end.

use std::{sync::Arc, time::Duration};

use host::{Host, sim::SimClock};
use wire::{
    client::{Client, ClientSettings},
    error::ClientError,
    security::{Credentials, Login, Mechanism, Secret},
};

use super::{
    Changing, client, client_on,
    peer::{Peer, State},
    reach, refused,
};

pub(crate) fn with_password(mechanism: Mechanism, password: &str) -> Credentials {
    Credentials {
        login: Some(Login::Password {
            mechanism,
            username: Secret::new("ann=a,b"),
            password: Secret::new(password),
        }),
        ..Credentials::default()
    }
}

pub(crate) fn wanting(password: &str) -> State {
    State {
        login: Some(("ann=a,b".to_owned(), password.to_owned())),
        ..State::default()
    }
}

#[tokio::test]
async fn each_mechanism_lets_in_who_knows_the_password() {
    for mechanism in Mechanism::ALL {
        let peer = Peer::start(None, wanting("hunter2 \u{fc}")).await;
        reach(&client(&peer, with_password(mechanism, "hunter2 \u{fc}")))
            .await
            .unwrap();
        let state = peer.state();
        assert_eq!(state.logins, [(mechanism.name().to_owned(), true)]);
        assert_eq!((state.connections, state.served), (1, 1));
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_tried_again_at_once() {
    for mechanism in Mechanism::ALL {
        let peer = Peer::start(None, wanting("right")).await;
        let client = client(&peer, with_password(mechanism, "hunter2"));
        for _ in 0..100 {
            let says = ["who are you?", "sasl.password", mechanism.name()];
            refused(reach(&client).await, peer.port, &says);
        }
        assert_eq!(peer.state().logins, [(mechanism.name().to_owned(), false)]);
        assert!(!format!("{client:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_broker_that_does_not_know_the_password_is_not_believed() {
    let state = State {
        impostor: true,
        ..wanting("something else")
    };
    let peer = Peer::start(None, state).await;
    let client = client(&peer, with_password(Mechanism::ScramSha256, "hunter2"));
    refused(reach(&client).await, peer.port, &["could not prove"]);
    assert_eq!(peer.state().served, 0);
}

#[tokio::test]
async fn a_mechanism_that_the_broker_lacks_is_said() {
    let peer = Peer::start(None, State::default()).await;
    let client = client(&peer, with_password(Mechanism::ScramSha512, "hunter2"));
    let says = [
        "SCRAM-SHA-512",
        "UNSUPPORTED_SASL_MECHANISM",
        "sasl.mechanism",
    ];
    refused(reach(&client).await, peer.port, &says);
}

#[tokio::test]
async fn a_broker_that_wants_a_login_hints_at_it() {
    let peer = Peer::start(None, wanting("x")).await;
    let bootstrap = vec![("localhost".to_owned(), peer.port)];
    let client = Client::new(Host::real(), ClientSettings::new(bootstrap, "test"));
    let error = reach(&client).await.unwrap_err();
    assert!(
        error.to_string().contains("check security.protocol"),
        "{error}"
    );
}

#[tokio::test]
async fn a_new_password_is_used_at_the_next_connection() {
    let peer = Peer::start(None, wanting("old")).await;
    let security = Changing::new(with_password(Mechanism::ScramSha256, "old"));
    let client = client_on(Host::real(), &peer, security.clone());
    reach(&client).await.unwrap();

    peer.state().login = Some(("ann=a,b".to_owned(), "new".to_owned()));
    security.set(with_password(Mechanism::ScramSha256, "new"));
    reach(&client).await.unwrap();
    assert_eq!(peer.state().connections, 1, "it stays while it works");

    peer.kick();
    reach(&client).await.unwrap();
    let state = peer.state();
    assert_eq!(state.connections, 2);
    assert!(state.logins.iter().all(|(_, let_in)| *let_in));
}

/// The host with a clock that the test moves.
fn on(clock: &SimClock) -> Host {
    Host {
        clock: Arc::new(clock.clone()),
        ..Host::real()
    }
}

const LIFETIME: Duration = Duration::from_secs(100);

#[tokio::test]
async fn sessions_are_renewed_on_the_same_connection() {
    let state = State {
        lifetime_ms: LIFETIME.as_millis() as i64,
        ..wanting("old")
    };
    let (peer, clock) = (Peer::start(None, state).await, SimClock::new(0));
    let security = Changing::new(with_password(Mechanism::ScramSha256, "old"));
    let client = client_on(on(&clock), &peer, security.clone());
    reach(&client).await.unwrap();
    for renewals in 1..4 {
        let password = format!("new {renewals}");
        peer.state().login = Some(("ann=a,b".to_owned(), password.clone()));
        security.set(with_password(Mechanism::ScramSha256, &password));
        clock.advance(LIFETIME.mul_f64(0.84));
        reach(&client).await.unwrap();
        assert_eq!(peer.state().logins.len(), renewals, "too early");
        clock.advance(LIFETIME.mul_f64(0.12));
        // Callers do not disturb it.
        let (all, _) = tokio::join!(
            async {
                for _ in 0..100 {
                    reach(&client).await.unwrap();
                }
            },
            peer.sees(|state| state.logins.len() == renewals + 1),
        );
        all
    }
    let state = peer.state();
    assert!(state.logins.iter().all(|(_, let_in)| *let_in));
    assert_eq!(state.connections, 1);
}

#[tokio::test]
async fn a_session_that_is_not_renewed_breaks_the_connection() {
    let state = State {
        lifetime_ms: LIFETIME.as_millis() as i64,
        ..wanting("old")
    };
    let (peer, clock) = (Peer::start(None, state).await, SimClock::new(0));
    let credentials = with_password(Mechanism::ScramSha256, "old");
    let client = client_on(on(&clock), &peer, credentials);
    reach(&client).await.unwrap();
    peer.state().login = Some(("ann=a,b".to_owned(), "new".to_owned()));
    clock.advance(LIFETIME);
    peer.sees(|state| state.logins.len() == 2).await;
    let error = loop {
        // The broker has said no; the client may not have heard it yet.
        match reach(&client).await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            error,
            ClientError::Refused { .. } | ClientError::Unreachable { .. }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("sasl.password"), "{error}");
}

#[tokio::test]
async fn connections_that_were_idle_for_long_are_not_used_again() {
    let (peer, clock) = (Peer::start(None, State::default()).await, SimClock::new(0));
    let client = client_on(on(&clock), &peer, Credentials::default());
    for (minutes, connections) in [(0, 1), (8, 1), (8, 1), (10, 2), (8, 2)] {
        clock.advance(Duration::from_secs(minutes * 60));
        reach(&client).await.unwrap();
        assert_eq!(peer.state().connections, connections);
    }
}
