//! What a broker counts, for Prometheus. Each broker of a process counts for itself.
//!
//! `GET /metrics` on the address of `--metrics`. Whoever reaches it may read it: bind it where only the scraper is.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc};

use axum::{Router, extract::State as Shared, http::header, routing::get};
use host::bounded::{BoundedListener, BoundedStream};
use kafka_protocol::{ResponseError, messages::ApiKey};
use metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder, counter, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio_util::sync::CancellationToken;

use crate::{api::API, state::State};

/// Counters and gauges of one broker.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Errors are counted once there are some: of all APIs and codes few ever come together.
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    /// Connections that are open.
    pub(crate) connections: Gauge,
    /// Connections that were one too many.
    pub(crate) connections_refused: Counter,
    /// Logins that failed.
    pub(crate) logins_refused: Counter,
    /// Of requests, with their lengths.
    pub(crate) bytes_in: Counter,
    /// Of answers, with their lengths.
    pub(crate) bytes_out: Counter,
    topics: Gauge,
    partitions: Gauge,
    log_bytes: Gauge,
    apis: BTreeMap<i16, OfApi>,
}

/// What became of the requests of one API.
#[derive(Debug)]
pub(crate) struct OfApi {
    pub(crate) answered: Counter,
    /// Ended the connection: malformed, or not to be answered.
    pub(crate) closed: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let recorder = Arc::new(PrometheusBuilder::new().build_recorder());
        let (handle, kept) = (recorder.handle(), Arc::clone(&recorder));
        metrics::with_local_recorder(&*recorder, || Self {
            recorder: kept,
            handle,
            connections: gauge!("broker_lite_connections"),
            connections_refused: counter!("broker_lite_connections_refused_total"),
            logins_refused: counter!("broker_lite_logins_refused_total"),
            bytes_in: counter!("broker_lite_received_bytes_total"),
            bytes_out: counter!("broker_lite_sent_bytes_total"),
            topics: gauge!("broker_lite_topics"),
            partitions: gauge!("broker_lite_partitions"),
            log_bytes: gauge!("broker_lite_log_bytes"),
            apis: API
                .iter()
                .map(|api| (api.key as i16, OfApi::new(api.key)))
                .collect(),
        })
    }

    /// The counters of an API; none for one that is not served.
    pub(crate) fn api(&self, key: i16) -> Option<&OfApi> {
        self.apis.get(&key)
    }

    /// Counts an error that an answer has so many times, by Kafka's name for it.
    pub(crate) fn errors(&self, api: ApiKey, code: i16, times: u64) {
        let name = match ResponseError::try_from_code(code) {
            Some(error) => screaming(&format!("{error:?}")),
            None => code.to_string(),
        };
        let labels = vec![
            Label::new("api", format!("{api:?}")),
            Label::new("error", name),
        ];
        let key = Key::from_parts("broker_lite_errors_total", labels);
        let about = Metadata::new(module_path!(), Level::INFO, None);
        let counter = self.recorder.register_counter(&key, &about);
        counter.increment(times);
    }

    /// Everything as text, as it is now.
    fn render(&self, state: &State) -> String {
        let topics = state.topics.all();
        let (mut partitions, mut bytes) = (0, 0u64);
        for partition in topics.iter().flat_map(|topic| topic.partitions()) {
            partitions += 1;
            bytes = bytes.saturating_add(partition.size().unwrap_or(0));
        }
        #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
        {
            self.topics.set(topics.len() as f64);
            self.log_bytes.set(bytes as f64);
        }
        self.partitions.set(f64::from(partitions));
        self.handle.render()
    }
}

impl OfApi {
    fn new(key: ApiKey) -> Self {
        let requests = |outcome: &'static str| {
            let labels = vec![
                Label::new("api", format!("{key:?}")),
                Label::new("outcome", outcome),
            ];
            counter!("broker_lite_requests_total", labels)
        };
        Self {
            answered: requests("answered"),
            closed: requests("closed"),
        }
    }
}

/// `NotLeaderOrFollower` as Kafka writes it, `NOT_LEADER_OR_FOLLOWER`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for (at, c) in name.char_indices() {
        if at > 0 && c.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}

/// The bounded listener as axum wants it.
struct Scrapers(BoundedListener);

impl axum::serve::Listener for Scrapers {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        let failed =
            |error: &io::Error| tracing::warn!(%error, "cannot accept a connection for metrics");
        self.0.accept(failed).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_address()
    }
}

/// Listens on `address`, and serves until `stop`.
pub(crate) async fn serve(
    address: &str,
    state: Arc<State>,
    stop: CancellationToken,
) -> io::Result<(SocketAddr, impl Future<Output = ()> + Send + 'static)> {
    let socket = state.host.net.listen(address).await?;
    let bound = socket.local_address()?;
    let scrapers = Scrapers(BoundedListener::new(socket, Arc::clone(&state.host.clock)));
    let app = Router::new()
        .route("/metrics", get(render))
        .with_state(state);
    let serve = async move {
        let server = axum::serve(scrapers, app).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = server.await {
            tracing::warn!(%error, "the server of metrics ended");
        }
    };
    Ok((bound, serve))
}

async fn render(
    Shared(state): Shared<Arc<State>>,
) -> ([(header::HeaderName, &'static str); 2], String) {
    let headers = [
        (
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        ),
        // Nobody holds a connection between two scrapes.
        (header::CONNECTION, "close"),
    ];
    (headers, state.metrics.render(&state))
}
