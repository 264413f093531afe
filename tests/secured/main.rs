//! Apache Kafka with TLS, logins and an authorizer: `STRAIT_TEST_KAFKA=1`, Java 17, and the jars that
//! `tests/kafka/fetch.sh` copies.
//!
//! Two clusters; strait logs in to the source by SCRAM over TLS and shows the target a certificate. What
//! arrives is read by Kafka's own consumer.

#![allow(unreachable_pub, reason = "a program: nothing reaches in from outside")]

mod cases;
mod clusters;
#[path = "../scenarios/kafka.rs"]
#[expect(dead_code, reason = "the scenarios use more of it")]
mod kafka;
mod permissions;
mod strait;

use std::{process::ExitCode, sync::Arc};

use clusters::Clusters;
use libtest_mimic::{Arguments, Conclusion, Trial};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if std::env::var_os("STRAIT_TEST_KAFKA").is_none() {
        eprintln!("SKIPPED: TLS and logins on Apache Kafka (set STRAIT_TEST_KAFKA=1, see README)");
        return ExitCode::SUCCESS;
    }
    if arguments.list {
        return run(&arguments, None).exit_code();
    }
    assert!(
        kafka::libs().is_dir(),
        "no Kafka jars: run tests/kafka/fetch.sh first"
    );
    // They share the clusters, and one of them changes a password.
    arguments.test_threads = Some(1);
    match Clusters::start() {
        Ok(clusters) => run(&arguments, Some(Arc::new(clusters))).exit_code(),
        Err(error) => {
            eprintln!("failed to start the clusters: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, clusters: Option<Arc<Clusters>>) -> Conclusion {
    let trials = cases::ALL.iter().map(|(name, body)| {
        let clusters = clusters.clone();
        Trial::test(*name, move || {
            let clusters = clusters.ok_or("only listed")?;
            body(&clusters).map_err(|error| format!("{error:#}").into())
        })
    });
    libtest_mimic::run(arguments, trials.collect())
}
