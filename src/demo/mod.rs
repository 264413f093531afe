//! The demo: two embedded brokers, realistic records, a flow in its own process, crashes in the middle,
//! and a comparison at the end.
//!
//! The flow is the real program on a real file; it is killed and started again, and so is the target
//! broker. Nothing outside a temporary folder is touched.

mod load;
mod stage;

use std::{path::PathBuf, sync::Arc, time::Duration};

use host::Host;
use serde::Serialize;

use crate::{
    config::{Config, Sources},
    verify::{self, Report, VerifyError},
};
use load::Load;
use stage::Stage;

/// How the demo runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long records are produced.
    pub duration: Duration,
    /// The program to run as the flow's process.
    pub program: PathBuf,
    /// Leave the folder with data, configuration and log where it is.
    pub keep: bool,
}

/// A moment of the demo.
#[derive(Clone, Debug)]
pub enum Event {
    /// Something happens.
    Note(String),
    /// How it is going.
    Sample(Sample),
}

/// One line of the live table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Records produced so far.
    pub produced: u64,
    /// Records copied by the flow's present process.
    pub copied: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Records that are still to come.
    pub lag: i64,
    /// Mean time from a batch's arrival to its acknowledgement.
    pub latency: Duration,
}

/// What the demo proved.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Records produced.
    pub produced: u64,
    /// Records that the comparison looked at.
    pub records: u64,
    /// Records that did not arrive.
    pub missing: u64,
    /// Records that arrived again after a crash.
    pub duplicated: u64,
    /// Records that follow another than their predecessor.
    pub out_of_order: u64,
    /// Records that arrived changed.
    pub altered: u64,
    /// The first differences, in words.
    pub differences: Vec<String>,
    /// Where data, configuration and log are, if they were kept.
    pub folder: Option<PathBuf>,
}

impl Outcome {
    /// Whether everything arrived as it was, in order.
    pub fn is_proof(&self) -> bool {
        (self.missing, self.out_of_order, self.altered) == (0, 0, 0)
            && self.records >= self.produced
    }

    fn new(produced: u64, report: Report, folder: Option<PathBuf>) -> Self {
        let counts = report.counts;
        Self {
            produced,
            records: counts.records,
            missing: counts.missing + counts.behind,
            duplicated: counts.duplicated,
            out_of_order: counts.out_of_order,
            altered: counts.altered,
            differences: counts.differences,
            folder,
        }
    }
}

/// Why the demo could not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// An embedded broker does not start.
    #[error("broker: {0}")]
    Broker(#[from] broker_lite::StartError),
    /// Files or processes fail.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the machine says.
        error: std::io::Error,
    },
    /// Records cannot be produced.
    #[error("produce: {0}")]
    Produce(#[from] rdkafka::error::KafkaError),
    /// Topics cannot be created.
    #[error("create topics: {0}")]
    Topics(String),
    /// The flow did not catch up.
    #[error("the flow did not catch up within {0:?}; its log is in {1}")]
    Late(Duration, PathBuf),
    /// The comparison failed.
    #[error(transparent)]
    Verify(#[from] Box<VerifyError>),
    /// The generated file is refused.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
}

/// Between two lines of the table.
const PERIOD: Duration = Duration::from_millis(500);
/// How long the flow may take to catch up after the last record.
const PATIENCE: Duration = Duration::from_secs(25);

/// Runs the demo; `tell` hears of every moment.
///
/// # Errors
/// If it cannot run to its end. What the comparison finds is in the outcome.
pub async fn run(
    host: &Host,
    settings: &Settings,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<Outcome, DemoError> {
    let mut stage = Stage::set(host, settings).await?;
    tell(Event::Note(format!(
        "two brokers on {} and {}",
        stage.source(),
        stage.target()
    )));
    let load = Load::start(stage.client(), settings.duration).await?;
    tell(Event::Note(format!(
        "{} topics, records in {}",
        load::TOPICS.len(),
        load::codecs()
    )));
    stage.start_flow()?;
    tell(Event::Note(
        "the flow runs in a process of its own".to_owned(),
    ));
    let third = settings.duration / 3;
    watch(host, &stage, &load, third, tell).await;
    stage.kill_flow()?;
    tell(Event::Note("kill -9 of the flow's process".to_owned()));
    watch(host, &stage, &load, PERIOD * 2, tell).await;
    stage.start_flow()?;
    tell(Event::Note(
        "the flow runs again and resumes from its checkpoints".to_owned(),
    ));
    watch(host, &stage, &load, third, tell).await;
    stage.kill_target().await;
    tell(Event::Note("the target broker is killed".to_owned()));
    watch(host, &stage, &load, PERIOD * 2, tell).await;
    stage.start_target(host).await?;
    tell(Event::Note(
        "the target broker is back, recovered from its log".to_owned(),
    ));
    while !load.is_done() {
        watch(host, &stage, &load, PERIOD, tell).await;
    }
    let produced = load.finish().await?;
    tell(Event::Note(format!(
        "{produced} records produced; the flow catches up"
    )));
    stage.stop_flow(host, PATIENCE).await?;
    tell(Event::Note(
        "comparing source and target record by record".to_owned(),
    ));
    let sources = Sources {
        variable: &|_| None,
        file: &|path| std::fs::read_to_string(path),
    };
    let config = Config::load(&stage.file(), &sources)?;
    let flows: Vec<_> = config.flows.iter().collect();
    let report = verify::verify(host, &config, &flows, &Arc::default())
        .await
        .map_err(Box::new)?;
    Ok(Outcome::new(produced, report, stage.end(settings.keep)))
}

/// Shows how it goes for `duration`.
async fn watch(
    host: &Host,
    stage: &Stage,
    load: &Load,
    duration: Duration,
    tell: &(dyn Fn(Event) + Sync),
) {
    let end = host.clock.monotonic() + duration;
    while host.clock.monotonic() < end {
        host.clock.sleep(PERIOD).await;
        if let Some(sample) = stage.sample(host).await {
            tell(Event::Sample(Sample {
                produced: load.produced(),
                ..sample
            }));
        }
    }
}
