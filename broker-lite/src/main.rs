//! The `broker-lite` program.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use broker_lite::{Broker, Config, StartError};
use clap::Parser;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// A light Kafka-protocol broker: one node, durable, small. For development, tests and demos.
///
/// Prints one line when it is ready. SIGTERM and SIGINT end it cleanly. Exit codes: 0 done, 1 failed while
/// running, 2 bad usage or settings.
///
/// Example: broker-lite --listen 127.0.0.1:9092 --data /var/lib/broker-lite --set num.partitions=3
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment)]
struct Arguments {
    /// Where to listen, in plain text and for everyone: think before you leave loopback. Or a list of
    /// NAME://HOST:PORT, as `listeners` of --set. Port 0 takes a free one; without HOST it is every address. Wins
    /// over the file
    /// [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Folder of all data; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "broker-lite-data")]
    data: PathBuf,
    /// Settings by Kafka's names (node.id, num.partitions, ...), as server.properties or, if its name ends in .toml,
    /// in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to serve metrics for Prometheus, on /metrics
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<String>,
    /// A user that logs in by SCRAM, if the data folder does not know it yet:
    /// SCRAM-SHA-512=[name=NAME,password=PASSWORD]
    #[arg(long, value_name = "USER")]
    add_scram: Vec<String>,
    /// One setting; wins over the file
    #[arg(long = "set", value_name = "key=value")]
    settings: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let config = match configure(&arguments) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("broker-lite: {error:#}");
            return ExitCode::from(2);
        }
    };
    raise_file_limit();
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broker-lite: {error:#}");
            match error.downcast_ref() {
                Some(StartError::Settings(_)) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Each partition holds a file open, each connection a socket; the soft limit is often 1024 for the sake of programs
/// that use `select`.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

fn configure(arguments: &Arguments) -> anyhow::Result<Config> {
    let mut config = Config::new("127.0.0.1:9092", &arguments.data);
    if let Some(path) = &arguments.config {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("read {}", path.display()))?;
        let is_toml = path
            .extension()
            .is_some_and(|extension| extension == "toml");
        let applied = match is_toml {
            true => config.apply_toml(&text),
            false => config.apply_file(&text),
        };
        applied.with_context(|| path.display().to_string())?;
    }
    if let Some(listen) = &arguments.listen {
        config.apply(&format!("listeners={listen}"))?;
    }
    for setting in &arguments.settings {
        config.apply(setting)?;
    }
    config.metrics.clone_from(&arguments.metrics);
    for user in &arguments.add_scram {
        config.add_scram(user)?;
    }
    Ok(config)
}

async fn run(config: Config) -> anyhow::Result<()> {
    let data = config.data.display().to_string();
    let broker = Broker::start(config, host::Host::real()).await?;
    let (address, cluster) = (broker.address(), broker.cluster_id());
    let listeners: Vec<_> = broker
        .addresses()
        .iter()
        .map(|(name, address)| format!("{name}://{address}"))
        .collect();
    let listeners = listeners.join(",");
    let metrics = broker.metrics_address();
    let metrics = metrics.map_or_else(String::new, |address| format!(" metrics={address}"));
    // Before anybody is told that it is there.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    println!(
        "broker-lite ready listen={address} data={data} cluster={cluster} listeners={listeners}{metrics}"
    );
    std::io::stdout()
        .flush()
        .context("write to standard output")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    broker.stop().await.context("make the data durable")
}
