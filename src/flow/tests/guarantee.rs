//! What a flow provides on a target that does this or that (EXACTNESS 12), and over which transport.

use std::sync::{Arc, Mutex};

use broker_lite::faults::{ApiKey, Fault, Hook, ResponseError, What};

use super::{adjust::request, *};
use crate::{
    cluster::guarantee::TOPIC,
    flow::adjust::{Action, Request, To},
    status::Provides,
    survey,
    testing::listener,
};

/// From now on the target refuses `api` for `topic`, or for all.
fn refuse(pair: &Pair, api: ApiKey, error: ResponseError, topic: Option<&str>) -> Hook {
    let fault = Fault::new(api, What::Refuse(error)).always();
    let fault = match topic {
        Some(topic) => fault.topic(topic),
        None => fault,
    };
    pair.west.broker.faults().set(fault).unwrap()
}

fn config(pair: &Pair, flow: &str) -> Config {
    let (east, west) = (pair.east.broker.address(), pair.west.broker.address());
    parse(&config_text(east, west, flow))
}

/// What is told of the flow where nobody runs it.
async fn from_outside(pair: &Pair, flow: &str) -> Provides {
    let config = config(pair, flow);
    let report = survey::status::run(&Host::real(), &config).await.unwrap();
    report.flows[0].provides.clone()
}

async fn check(pair: &Pair, flow: &str) -> survey::check::FlowReport {
    let config = config(pair, flow);
    let mut report = survey::check::run(&Host::real(), &config).await;
    report.flows.remove(0)
}

/// All that is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// On one thread, whose log is read.
#[tokio::test]
async fn rule_12_auto_falls_back_where_the_probe_fails_and_moves_back_later() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::dispatcher::set_default(&listener(subscriber));
    let pair = Pair::start().await;
    let flow = "topics = [\"t\"]";
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1"]).await;
    let invalid = ResponseError::InvalidRequest;
    let hook = refuse(&pair, ApiKey::DescribeProducers, invalid, None);
    let running = pair.run(flow);
    pair.await_read("t", &["1"]).await;
    let provides = running.status().provides;
    assert_eq!(provides.transport.as_deref(), Some("librdkafka"));
    assert_eq!(provides.guarantee, "at-least-once");
    let why = "the target fails the probe: it does not tell what it remembers of producers";
    assert!(provides.guarantee_reason.starts_with(why), "{provides:?}");
    running.stop().await;
    assert_eq!(from_outside(&pair, flow).await, provides);
    let found = check(&pair, flow).await;
    assert_eq!((&found.provides, found.problems.len()), (&provides, 0));
    assert!(found.warnings.iter().any(|one| one.code == "at_least_once"));
    // A command asks the leader for nothing that the flow's transport does without.
    let set = Request {
        dry_run: true,
        ..request("t", Action::Set(To::Earliest))
    };
    pair.adjust(flow, &set).await.unwrap();

    hook.remove();
    let running = pair.run(flow);
    pair.east.write("t", &["2"]).await;
    pair.await_read("t", &["1", "2"]).await;
    let provides = running.status().provides;
    assert_eq!(provides.transport.as_deref(), Some("wire"));
    assert_eq!(provides.guarantee, "exactly-once");
    running.stop().await;
    assert_eq!(from_outside(&pair, flow).await, provides);
    let text = log.text();
    for part in [
        "the flow provides at-least-once only",
        "moved from librdkafka to wire",
        "the flow provides exactly-once",
    ] {
        assert_eq!(text.matches(part).count(), 1, "{part:?} in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_12_what_may_not_be_probed_is_not_promised_and_runs_unless_it_is_required() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1"]).await;
    let denied = ResponseError::TopicAuthorizationFailed;
    let hook = refuse(&pair, ApiKey::CreateTopics, denied, Some(TOPIC));
    let required = "topics = [\"t\"]\nrequire = \"exactly-once\"";
    let found = check(&pair, required).await;
    assert_eq!(found.problems[0].code, "guarantee");
    let error = pair.run(required).ended().await.unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    for part in [
        "cluster west",
        "not probed: strait may not use topic strait.probe",
        "Create",
    ] {
        assert!(error.to_string().contains(part), "{error}");
        assert!(found.problems[0].message.contains(part), "{found:?}");
    }
    assert!(!pair.west.exists("t").await, "nothing was copied");

    let running = pair.run("topics = [\"t\"]");
    pair.await_read("t", &["1"]).await;
    let provides = running.status().provides;
    assert_eq!(provides.transport.as_deref(), Some("wire"));
    assert_eq!(provides.guarantee, "at-least-once");
    running.stop().await;

    hook.remove();
    let found = check(&pair, required).await;
    assert!(found.problems.is_empty(), "{found:?}");
    assert!(found.passed.iter().any(|one| one.code == "guarantee"));
    let running = pair.run(required);
    pair.east.write("t", &["2"]).await;
    pair.await_read("t", &["1", "2"]).await;
    assert_eq!(running.status().provides, found.provides);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_12_what_is_required_and_cannot_be_found_out_now_is_waited_for() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1"]).await;
    let few = ResponseError::NotEnoughReplicas;
    let hook = refuse(&pair, ApiKey::Produce, few, Some(TOPIC));
    let running = pair.run("topics = [\"t\"]\nrequire = \"exactly-once\"");
    eventually("waiting", async || match running.status().phase {
        Some(Phase::Waiting { reason, .. }) if reason.contains("strait.probe cannot be used") => {
            Ok(())
        }
        other => Err(format!("{other:?}")),
    })
    .await;
    hook.remove();
    pair.await_read("t", &["1"]).await;
    running.stop().await;
}
