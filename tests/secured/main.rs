//! TLS, logins and an authorizer, on Apache Kafka and on broker-lite: `STRAIT_TEST_KAFKA=1`, Java 17, and the jars that
//! `tests/kafka/fetch.sh` copies.
//!
//! Two clusters; strait logs in to the source by SCRAM over TLS and shows the target a certificate. What
//! arrives is read by Kafka's own consumer.

#![allow(unreachable_pub, reason = "a program: nothing reaches in from outside")]

mod bearers;
mod cases;
mod clusters;
#[path = "../scenarios/kafka.rs"]
#[expect(dead_code, reason = "the scenarios use more of it")]
mod kafka;
mod permissions;
mod rules;
mod strait;
#[path = "../conformance/tokens.rs"]
#[expect(dead_code, reason = "the other suite uses more of it")]
mod tokens;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use clusters::{Clusters, Kind};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if std::env::var_os("STRAIT_TEST_KAFKA").is_none() {
        eprintln!("SKIPPED: TLS and logins on Apache Kafka (set STRAIT_TEST_KAFKA=1, see README)");
        return ExitCode::SUCCESS;
    }
    assert!(
        arguments.list || kafka::libs().is_dir(),
        "no Kafka jars: run tests/kafka/fetch.sh first"
    );
    // They share the clusters, and one of them changes a password.
    arguments.test_threads = Some(1);
    let running = Arc::new(Mutex::new(Running(None)));
    let trials = Kind::ALL.into_iter().flat_map(|kind| {
        let running = Arc::clone(&running);
        let more = match kind {
            Kind::Kafka => cases::ON_KAFKA,
            Kind::BrokerLite => &[],
        };
        more.iter().chain(cases::ALL).map(move |(name, body)| {
            let running = Arc::clone(&running);
            Trial::test(format!("{}::{name}", kind.name()), move || {
                let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
                let done = running.on(kind).and_then(body);
                done.map_err(|error| format!("{error:#}").into())
            })
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// The clusters of one kind; those of the other end when they are asked for.
struct Running(Option<(&'static str, Clusters)>);

impl Running {
    fn on(&mut self, kind: Kind) -> anyhow::Result<&Clusters> {
        let name = kind.name();
        if self.0.as_ref().is_none_or(|(known, _)| *known != name) {
            self.0 = None;
            self.0 = Some((name, Clusters::start(kind)?));
        }
        let running = self.0.as_ref().map(|(_, clusters)| clusters);
        anyhow::Context::context(running, "they were started")
    }
}
