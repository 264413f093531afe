//! Conformance: the same raw requests go to broker-lite and to Apache Kafka 4.1, and what comes back is compared
//! field by field. Kafka is right: where the two differ, broker-lite gets mended, or [`known`] says why not.
//!
//! `STRAIT_TEST_KAFKA=1`, Java 17, and the jars that `tests/kafka/fetch.sh` copies. One broker of each kind serves
//! all cases, one case after the other; a case makes topics, groups and ids of its own names.

#![allow(unreachable_pub, reason = "a program: nothing reaches in from outside")]

mod batches;
mod cases;
mod compare;
mod fields;
#[path = "../../broker-lite/tests/partitions/handmade.rs"]
mod handmade;
#[path = "../scenarios/kafka.rs"]
#[expect(dead_code, reason = "the scenarios use more of it")]
mod kafka;
mod known;
mod mask;
mod talk;
mod tokens;

use std::{
    net::{SocketAddr, ToSocketAddrs},
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context, Result};
use broker_lite::{Broker, Config};
use cases::{Case, OPEN_SETTINGS, SECURED_SETTINGS};
use compare::Verdict;
use libtest_mimic::{Arguments, Conclusion, Trial};
use talk::Talk;

/// Answers that were compared and found to be the same.
static ANSWERS: AtomicUsize = AtomicUsize::new(0);

fn main() -> ExitCode {
    fields::self_test();
    compare::self_test();
    let mut arguments = Arguments::from_args();
    if std::env::var_os("STRAIT_TEST_KAFKA").is_none() {
        eprintln!("SKIPPED: broker-lite beside Apache Kafka (set STRAIT_TEST_KAFKA=1, see README)");
        return ExitCode::SUCCESS;
    }
    if arguments.list {
        return run(&arguments, None).exit_code();
    }
    assert!(
        kafka::libs().is_dir(),
        "no Kafka jars: run tests/kafka/fetch.sh first"
    );
    // They share the brokers, and some list all that is there.
    arguments.test_threads = Some(1);
    match beside(&arguments) {
        Ok(conclusion) => conclusion.exit_code(),
        Err(error) => {
            eprintln!("failed to start the brokers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Starts both brokers, runs the cases, and stops them.
fn beside(arguments: &Arguments) -> Result<Conclusion> {
    let (port, token_port) = (kafka::free_port()?, kafka::free_port()?);
    let settings = format!(
        "{SECURED_SETTINGS}\nlistener.name.token.sasl.enabled.mechanisms=OAUTHBEARER\n{}",
        tokens::settings("token")
    );
    let of_kafka = settings.clone();
    let secured = thread::spawn(move || {
        let extra = kafka::Extra {
            listeners: &[("PASSWORD", port), ("TOKEN", token_port)],
            settings: &of_kafka,
            // Kafka reads keys only from where its process is told that it may.
            java: &[&format!(
                "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={}",
                tokens::url()
            )],
            ..kafka::Extra::default()
        };
        kafka::Kafka::start(1, &extra)
    });
    let extra = kafka::Extra {
        settings: OPEN_SETTINGS,
        ..kafka::Extra::default()
    };
    let kafka = kafka::Kafka::start(1, &extra)?;
    let secured = secured.join().ok().context("the thread ended")??;
    let runtime = tokio::runtime::Runtime::new()?;
    let (folder, secured_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let host = host::Host::real();
    let mut config = Config::new("127.0.0.1:0", folder.path());
    config.apply_file(OPEN_SETTINGS)?;
    let lite = runtime.block_on(Broker::start(config, host.clone()))?;
    let mut config = Config::new("127.0.0.1:0", secured_folder.path());
    let listeners = "listeners=PLAINTEXT://127.0.0.1:0,PASSWORD://127.0.0.1:0,TOKEN://127.0.0.1:0
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PASSWORD:SASL_PLAINTEXT,TOKEN:SASL_PLAINTEXT";
    config.apply_file(listeners)?;
    config.apply_file(&settings)?;
    let secured_lite = runtime.block_on(Broker::start(config, host))?;
    let address = address(&kafka)?;
    cases::prepare(address);
    cases::prepare(self::address(&secured)?);
    let pairs = Pairs {
        open: (lite.address(), address),
        secured: (
            secured_lite.addresses()[1].1,
            SocketAddr::from(([127, 0, 0, 1], port)),
        ),
        tokens: (
            secured_lite.addresses()[2].1,
            SocketAddr::from(([127, 0, 0, 1], token_port)),
        ),
    };
    let conclusion = run(arguments, Some(pairs));
    let answers = ANSWERS.load(Ordering::Relaxed);
    eprintln!("{answers} answers of broker-lite are those of Kafka");
    runtime.block_on(lite.stop())?;
    runtime.block_on(secured_lite.stop())?;
    Ok(conclusion)
}

/// Addresses of broker-lite and Kafka: of two that let everyone in, of two where clients log in and have rights, and of
/// listeners of these that take signed tokens.
#[derive(Clone, Copy)]
struct Pairs {
    open: (SocketAddr, SocketAddr),
    secured: (SocketAddr, SocketAddr),
    tokens: (SocketAddr, SocketAddr),
}

fn address(kafka: &kafka::Kafka) -> Result<SocketAddr> {
    let address = kafka.bootstrap().to_socket_addrs()?.next();
    address.context("Kafka has an address")
}

fn run(arguments: &Arguments, brokers: Option<Pairs>) -> Conclusion {
    let open = brokers.map(|pairs| pairs.open);
    let secured = brokers.map(|pairs| pairs.secured);
    let open = cases::ALL.iter().map(|case| (case, open));
    let secured = cases::SECURED.iter().map(|case| (case, secured));
    let tokens = brokers.map(|pairs| pairs.tokens);
    let tokens = cases::TOKENS.iter().map(|case| (case, tokens));
    let trials = open.chain(secured).chain(tokens).map(|(case, brokers)| {
        Trial::test(case.name, move || {
            let (lite, kafka) = brokers.ok_or("only listed")?;
            match compared(case, lite, kafka) {
                Verdict::Same { answers } if answers > 0 => {
                    ANSWERS.fetch_add(answers, Ordering::Relaxed);
                    Ok(())
                }
                Verdict::Same { .. } => Err("nothing was asked".into()),
                Verdict::Different(report) => Err(report.into()),
            }
        })
    });
    libtest_mimic::run(arguments, trials.collect())
}

/// Both brokers are asked at once.
fn compared(case: &Case, lite: SocketAddr, kafka: SocketAddr) -> Verdict {
    let (ours, theirs) = thread::scope(|scope| {
        let theirs = scope.spawn(|| told(case, kafka));
        (told(case, lite), theirs.join())
    });
    match theirs {
        Ok(theirs) => compare::compare(case.name, &ours, &theirs),
        Err(_) => Verdict::Different("the talk with Kafka broke off".to_owned()),
    }
}

fn told(case: &Case, address: SocketAddr) -> Vec<talk::Entry> {
    let mut talk = Talk::new(address);
    (case.run)(&mut talk);
    talk.entries
}
