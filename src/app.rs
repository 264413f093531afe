//! The whole process: builds everything from the configuration, runs all flows, and ends them.
//!
//! One token ends it all: workers drain, the last checkpoints are committed, what was late is named. A
//! flow that cannot run at all ends the others in the same way.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use host::{BoxFuture, Clock, Host};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    base::budget::Budget,
    cluster::{Cluster, guarantee::Once},
    config::{Config, FlowConfig},
    flow::{
        Board, Flow, FlowError,
        adjust::{AdjustError, Changes, Desk, Request},
        status::Phase,
        topics::cycles::{Cycle, Web},
    },
    http::{Server, StatusSource},
    status::Report,
    telemetry::{self, Outages, gauges},
};

/// Why the process ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A flow could not run.
    #[error("flow {flow}: {error}")]
    Flow {
        /// Its name.
        flow: String,
        /// Why.
        error: FlowError,
    },
    /// Records would come back to the flow that has copied them.
    #[error(
        "topics form a cycle: {0}: leave them out of one of the flows (`topics`, `exclude`), or give one of them \
         another `naming`"
    )]
    Cycle(Cycle),
    /// A flow's task failed.
    #[error("a flow failed: {0}")]
    Panic(String),
    /// The process cannot hear of signals.
    #[error("signals: {0}")]
    Signals(std::io::Error),
}

impl AppError {
    /// What the process's exit code should be (DESIGN "Contract").
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Flow { error, .. } if error.is_config() => 2,
            Self::Flow { error, .. } if error.is_fenced() => 3,
            Self::Cycle(_) => 2,
            _ => 1,
        }
    }
}

/// All flows of a process, ready to run.
#[derive(Debug)]
pub struct App {
    config: Config,
    host: Host,
    status: Arc<Status>,
    /// Of the targets, by alias: each is probed once.
    probes: BTreeMap<String, Arc<Once>>,
}

/// What the flows of a process tell.
#[derive(Debug)]
pub struct Status {
    boards: Vec<Arc<Board>>,
    /// By flow.
    desks: BTreeMap<String, Arc<Desk>>,
    clock: Arc<dyn Clock>,
    outages: Vec<Outages>,
    budget: Budget,
    partition_metrics: bool,
    started_ms: i64,
}

impl Status {
    /// The flows, in the order of the configuration.
    pub fn boards(&self) -> &[Arc<Board>] {
        &self.boards
    }
}

impl StatusSource for Status {
    fn adjust(&self, request: Request) -> BoxFuture<'_, Result<Changes, AdjustError>> {
        Box::pin(async move {
            let Some(desk) = self.desks.get(&request.flow) else {
                let flow = &request.flow;
                return Err(AdjustError::Unknown(format!("no flow {flow} runs here")));
            };
            desk.ask(request, &*self.clock).await
        })
    }

    fn snapshot(&self) -> Report {
        let flows = self.boards.iter().map(|board| board.status()).collect();
        Report { flows }
    }

    fn measure(&self) {
        for (board, outages) in self.boards.iter().zip(&self.outages) {
            let status = board.status();
            gauges::flow(&status, self.partition_metrics);
            let aliases = [&status.source, &status.target];
            for (alias, count) in aliases.into_iter().zip(board.connections()) {
                gauges::connections(&status.name, alias, count);
            }
            gauges::cluster(&status.name, &status.source, !outages.source.is_away());
            gauges::cluster(&status.name, &status.target, !outages.target.is_away());
        }
        let (in_flight, budget) = (self.budget.in_flight(), self.budget.total());
        gauges::process(in_flight, budget, self.started_ms);
    }

    fn readiness(&self) -> Result<(), String> {
        for board in &self.boards {
            match board.phase() {
                Phase::Running => {}
                Phase::Waiting { reason, .. } => return Err(reason),
                Phase::Starting => return Err("both sides are being reached".to_owned()),
                Phase::Draining | Phase::Ended => return Err("it is stopping".to_owned()),
            }
        }
        Ok(())
    }
}

/// Runs all flows until `stop`, then drains and commits.
///
/// # Errors
/// If a flow cannot run at all. A worker that stops is no error.
pub async fn run(config: Config, host: Host, stop: CancellationToken) -> Result<(), AppError> {
    App::new(config, host).run(stop).await
}

/// A token that SIGTERM and SIGINT cancel.
///
/// # Errors
/// If the operating system does not let the process listen to them.
pub fn stop_on_signals() -> Result<CancellationToken, AppError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Signals)?;
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!("{name}: stopping");
        cancel.cancel();
    });
    Ok(stop)
}

impl App {
    /// Connects to nothing yet.
    pub fn new(config: Config, host: Host) -> Self {
        let clock = &host.clock;
        let flows = config.flows.iter();
        let boards = flows
            .clone()
            .map(|flow| Arc::new(Board::new(flow, Arc::clone(clock))));
        let outages = flows.map(|flow| Outages::new(&flow.name, &flow.source, &flow.target));
        let names = config.flows.iter().map(|flow| flow.name.clone());
        let status = Status {
            boards: boards.collect(),
            outages: outages.collect(),
            budget: Budget::new(config.limits.memory),
            partition_metrics: config.http.partition_metrics,
            started_ms: clock.wall_ms(),
            desks: names.map(|name| (name, Arc::default())).collect(),
            clock: Arc::clone(clock),
        };
        let targets = config.flows.iter().map(|flow| flow.target.clone());
        let probes = targets.map(|alias| (alias, Arc::default())).collect();
        Self {
            config,
            host,
            status: Arc::new(status),
            probes,
        }
    }

    /// What the flows tell, from now until after they ended.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Runs all flows until `stop`, then drains and commits.
    ///
    /// # Errors
    /// If a flow cannot run at all. A worker that stops is no error.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        // Two aliases of one cluster are found out once the clusters are reached.
        let web = Web::new(&self.config.flows, str::to_owned);
        if let Some(cycle) = web.by_pattern() {
            return Err(AppError::Cycle(cycle));
        }
        let ended = CancellationToken::new();
        let server = self.serve(&ended).await;
        // A flow that fails stops the others; a stop from outside stops all.
        let stop = stop.child_token();
        let outcome = self.run_flows(&Arc::new(web), &stop).await;
        ended.cancel();
        if let Some(server) = server {
            server.ended().await;
        }
        outcome
    }

    /// The flow of this name, for a command that does not run it.
    pub fn flow(&self, name: &str) -> Option<Flow> {
        let web = Arc::new(Web::new(&self.config.flows, str::to_owned));
        let at = self
            .config
            .flows
            .iter()
            .position(|flow| flow.name == name)?;
        Some(self.make(at, &web))
    }

    /// The flow at this place of the configuration.
    fn make(&self, at: usize, web: &Arc<Web>) -> Flow {
        let config: &FlowConfig = &self.config.flows[at];
        let cluster = |alias: &String| Cluster::new(&self.host, &self.config.clusters[alias]);
        Flow {
            file: self.config.file.clone(),
            source: cluster(&config.source),
            target: cluster(&config.target),
            config: config.clone(),
            web: Arc::clone(web),
            host: self.host.clone(),
            budget: self.status.budget.clone(),
            drain_timeout: self.config.limits.drain_timeout,
            state_dir: self.config.limits.state_dir.clone(),
            probe: Arc::clone(&self.probes[&config.target]),
            outages: self.status.outages[at].clone(),
            board: Arc::clone(&self.status.boards[at]),
            desk: Arc::clone(&self.status.desks[&config.name]),
        }
    }

    async fn run_flows(&self, web: &Arc<Web>, stop: &CancellationToken) -> Result<(), AppError> {
        let mut running = JoinSet::new();
        for (at, config) in self.config.flows.iter().enumerate() {
            let flow = self.make(at, web);
            let (name, stop) = (config.name.clone(), stop.clone());
            running.spawn(async move { (name, flow.run(stop).await) });
        }
        let mut outcome = Ok(());
        while let Some(ended) = running.join_next().await {
            let ended = match ended {
                Ok((_, Ok(()))) => continue,
                Ok((flow, Err(error))) => AppError::Flow { flow, error },
                Err(error) => AppError::Panic(error.to_string()),
            };
            stop.cancel();
            // The first one is the cause.
            outcome = outcome.and(Err(ended));
        }
        outcome
    }

    /// The HTTP server, if there is to be one and its address is free.
    async fn serve(&self, ended: &CancellationToken) -> Option<Server> {
        let listen = self.config.http.listen.as_ref()?;
        let metrics = recorder(&self.host)?;
        let status = Arc::clone(&self.status) as Arc<dyn StatusSource>;
        match Server::start(&self.host, listen, status, metrics, ended.clone()).await {
            Ok(server) => {
                tracing::info!(address = %server.address(), "status and metrics over HTTP");
                Some(server)
            }
            Err(error) => {
                tracing::warn!(%listen, %error, "going on without HTTP");
                None
            }
        }
    }
}

/// The recorder of the process: there is one, however often flows are run in it.
fn recorder(host: &Host) -> Option<PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || match telemetry::metrics::install(Arc::clone(&host.clock)) {
        Ok(handle) => Some(handle),
        Err(error) => {
            tracing::warn!(%error, "going on without metrics");
            None
        }
    };
    RECORDER.get_or_init(install).clone()
}
