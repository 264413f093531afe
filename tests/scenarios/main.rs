//! Scenarios: one body, many pairs of clusters.
//!
//! `cargo test` runs every scenario between two broker-lites inside the test process. With
//! `STRAIT_TEST_KAFKA=1` it runs them between two Apache Kafkas, and from each kind to the other,
//! instead, scenarios that are not about data (who runs what, what stops a worker) between two Kafkas only,
//! unless `STRAIT_TEST_PAIRS=all`; that needs Java 17 and the jars that `tests/kafka/fetch.sh` copies.
//! `STRAIT_TEST_TRANSPORT=librdkafka` runs those that depend on the transport over librdkafka instead of sealed.
//! `STRAIT_TEST_SCALE=10` makes the data of the larger scenarios ten times as large. `STRAIT_TEST_BROKERS=3` gives each
//! Kafka three brokers.
//!
//! The strait under test is the real program: a file, a process, signals. What must arrive is known
//! from the model ([`model`]), what did arrive is read by another client and compared with it.

#![allow(unreachable_pub, reason = "a program: nothing reaches in from outside")]

mod cases;
mod clients;
mod compare;
mod connect;
mod detour;
mod kafka;
mod mirror;
mod model;
mod pair;
mod side;
mod strait;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Trial};
use side::Kind;

fn main() -> ExitCode {
    compare::self_test();
    let mut arguments = Arguments::from_args();
    let kafka = std::env::var_os("STRAIT_TEST_KAFKA").is_some();
    let kinds: &[(Kind, Kind)] = if kafka {
        assert!(
            kafka::libs().is_dir(),
            "no Kafka jars: run tests/kafka/fetch.sh first"
        );
        // Scenarios mostly wait; each has a pair of Kafkas for itself.
        arguments.test_threads = arguments.test_threads.or(Some(2));
        &[
            (Kind::Kafka, Kind::Kafka),
            (Kind::Lite, Kind::Kafka),
            (Kind::Kafka, Kind::Lite),
        ]
    } else {
        eprintln!("SKIPPED: the pairs with Apache Kafka (set STRAIT_TEST_KAFKA=1, see README)");
        arguments.test_threads = arguments.test_threads.or(Some(4));
        &[(Kind::Lite, Kind::Lite)]
    };
    let runtime = tokio::runtime::Runtime::new().expect("a tokio runtime");
    let pool = Arc::new(pair::Pool::default());
    let all = std::env::var_os("STRAIT_TEST_PAIRS").is_some_and(|pairs| pairs == "all");
    let librdkafka = std::env::var_os("STRAIT_TEST_TRANSPORT").is_some();
    let mut trials = Vec::new();
    for &kinds in kinds {
        for case in cases::ALL {
            let told_already = kinds.0 != kinds.1 && !case.is_about_data()
                || librdkafka && case.is_about_processes();
            if told_already && !all || librdkafka && case.needs_exactly_once() {
                continue;
            }
            let (handle, pool) = (runtime.handle().clone(), Arc::clone(&pool));
            let name = format!("{}::{}", pair::name(kinds), case.name);
            let too_long = kafka && case.is_long() && cases::scale() == 1;
            if too_long {
                eprintln!(
                    "SKIPPED: {name}: takes longer than CI may; `just soak` runs it, CI between broker-lites"
                );
            }
            let trial = Trial::test(name, move || {
                handle
                    .block_on(pool.run(kinds, case))
                    .map_err(|error| format!("{error:#}").into())
            });
            trials.push(trial.with_ignored_flag(too_long));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    runtime.block_on(pool.stop());
    conclusion.exit_code()
}
