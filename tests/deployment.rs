//! The examples of how to run strait: that what they say of each other is true, as far as it can be read.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::time::Duration;

use strait::config::{Config, Sources};

const SIDECAR: &str = include_str!("../examples/kubernetes/sidecar.yaml");
const UNIT: &str = include_str!("../examples/systemd/strait.service");
const DOCKERFILE: &str = include_str!("../Dockerfile");
const BROKER_UNIT: &str = include_str!("../examples/systemd/broker-lite.service");
const BROKER_PROPERTIES: &str = include_str!("../examples/systemd/broker-lite.properties");

/// The value behind `key` in a file of `key: value` or `key=value` lines.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let mut lines = text.lines().map(str::trim_start);
    let line = lines.find_map(|line| line.strip_prefix(key));
    line.unwrap_or_else(|| panic!("no {key}"))
        .trim_matches([':', '=', ' '])
}

/// The block of text behind `key: |`.
fn block(text: &str, key: &str) -> String {
    let (_, after) = text.split_once(&format!("{key}: |\n")).unwrap();
    let lines = after
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "));
    lines
        .map(|line| format!("{}\n", line.trim_start()))
        .collect()
}

fn parse(text: &str) -> Config {
    let sources = Sources {
        variable: &|name| (name == "HOSTNAME").then(|| "application".to_owned()),
        file: &|_| Ok("secret".to_owned()),
    };
    Config::parse(text, &sources).unwrap()
}

#[test]
fn the_sidecar_has_time_to_drain_and_a_configuration_that_is_valid() {
    let config = parse(&block(SIDECAR, "strait.toml"));
    assert_eq!(config.flows[0].instance.as_deref(), Some("application"));
    let grace = value(SIDECAR, "terminationGracePeriodSeconds")
        .parse()
        .unwrap();
    // The last commits come after the drain.
    assert!(Duration::from_secs(grace) > config.limits.drain_timeout + Duration::from_secs(10));
    for line in [
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "restartPolicy: Always",
        "path: /live",
        "path: /ready",
    ] {
        assert!(SIDECAR.contains(line), "{line}");
    }
    let port = value(SIDECAR, "containerPort");
    assert!(DOCKERFILE.contains(&format!("STRAIT_HTTP_LISTEN=0.0.0.0:{port}")));
}

#[test]
fn the_unit_stops_in_time_and_leaves_what_a_restart_does_not_mend() {
    let config = parse(&std::fs::read_to_string("config/local.toml").unwrap());
    let stop = value(UNIT, "TimeoutStopSec").parse().unwrap();
    assert!(Duration::from_secs(stop) > config.limits.drain_timeout + Duration::from_secs(5));
    assert_eq!(value(UNIT, "RestartPreventExitStatus"), "2 3");
    assert_eq!(value(UNIT, "Restart="), "on-failure");
}

/// What comes with strait is refused by nothing that strait checks before it connects.
#[test]
fn ready_made_files_are_valid_and_without_cycles() {
    for file in std::fs::read_dir("config").unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let config = parse(&text);
        let web = strait::flow::topics::cycles::Web::new(&config.flows, str::to_owned);
        assert_eq!(web.by_pattern(), None);
    }
}

#[test]
fn the_brokers_unit_keeps_its_data_where_the_broker_looks() {
    let state = value(BROKER_UNIT, "StateDirectory=");
    let start = value(BROKER_UNIT, "ExecStart=");
    assert!(
        start.ends_with(&format!("--data /var/lib/{state}")),
        "{start}"
    );
    let secret = value(BROKER_UNIT, "LoadCredential=");
    let (name, _) = secret.split_once(':').unwrap();
    assert!(start.contains(&format!("--config ${{CREDENTIALS_DIRECTORY}}/{name}")));
    assert_eq!(value(BROKER_UNIT, "RestartPreventExitStatus"), "2");
    assert_eq!(value(BROKER_UNIT, "Restart="), "on-failure");
}

#[tokio::test]
async fn what_the_brokers_unit_begins_with_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = broker_lite::Config::new("", folder.path());
    config.apply_file(BROKER_PROPERTIES).unwrap();
    let loopback = "PLAINTEXT://127.0.0.1:";
    assert!(config.listen.starts_with(loopback), "{}", config.listen);
    config.listen = format!("{loopback}0");
    let broker = broker_lite::Broker::start(config, host::Host::real()).await;
    broker.unwrap().stop().await.unwrap();
}

/// One file, two images: strait's is the last, so that it is built without a name.
#[tokio::test]
async fn the_brokers_image_listens_where_it_says() {
    let (before, image) = DOCKERFILE.split_once(" AS broker-lite\n").unwrap();
    let (image, last) = image.split_once("\nFROM ").unwrap();
    assert!(before.contains(" AS build") && last.contains("ENTRYPOINT [\"strait\"]"));
    assert!(image.contains("USER 10001:10001"));
    let data = value(image, "VOLUME");
    assert!(image.contains(&format!(
        "ENTRYPOINT [\"broker-lite\", \"--data\", \"{data}\"]"
    )));
    let port = value(image, "EXPOSE");
    assert!(image.contains(&format!("CMD [\"--listen\", \":{port}\"]")));
    let folder = tempfile::tempdir().unwrap();
    let config = broker_lite::Config::new(":0", folder.path());
    let broker = broker_lite::Broker::start(config, host::Host::real()).await;
    let broker = broker.unwrap();
    assert!(broker.address().ip().is_unspecified());
    broker.stop().await.unwrap();
}
