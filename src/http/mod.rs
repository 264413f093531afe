//! What the process says about itself over HTTP: `/live`, `/ready`, `/metrics`, `/v1/status`; and what it may be asked
//! to do: `POST /v1/checkpoint`.
//!
//! The latter from this machine only, see [`guard`]; the others change nothing. Every answer closes its connection, and
//! a connection has a few seconds in all, so the few that are served at a time cannot be held by a slow or silent
//! peer.

pub mod client;
mod guard;
mod listener;

use std::{fmt::Debug, io, net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{ConnectInfo, DefaultBodyLimit, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use guard::Peer;
use host::{BoxFuture, Host, bounded::BoundedListener};
use listener::Bounded;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    flow::adjust::{AdjustError, Changes, Request},
    status::Report,
    telemetry::metrics,
};

/// Longest request body that is taken, in bytes.
const MAX_BODY: usize = 64 << 10;

/// Who knows how the process is doing.
pub trait StatusSource: Send + Sync + Debug {
    /// Everything about the flows of this process, for `/v1/status`. Holds no secrets.
    fn snapshot(&self) -> Report;

    /// Sets what is known at this moment in the recorder of this thread, for `/metrics`.
    fn measure(&self);

    /// Whether the configuration is valid, both sides were reached and memberships are joined; the
    /// error is the reason why not yet. A stopped worker changes nothing here.
    fn readiness(&self) -> Result<(), String>;

    /// Changes checkpoints of a flow of this process, for `/v1/checkpoint`.
    fn adjust(&self, request: Request) -> BoxFuture<'_, Result<Changes, AdjustError>>;
}

/// A running server. It ends when its token is cancelled.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug)]
struct Shared {
    status: Arc<dyn StatusSource>,
    metrics: PrometheusHandle,
}

impl Server {
    /// Listens on `listen`, written `HOST:PORT`, until `stop`. Fails if the address cannot be
    /// bound, which must not keep the flows from running: the caller warns and goes on.
    pub async fn start(
        host: &Host,
        listen: &str,
        status: Arc<dyn StatusSource>,
        metrics: PrometheusHandle,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let listener = host.net.listen(listen).await?;
        let address = listener.local_address()?;
        let listener = BoundedListener::new(listener, Arc::clone(&host.clock));
        let listener = Bounded(listener);
        let app = Router::new()
            .route("/live", get(live))
            .route("/ready", get(ready))
            .route("/metrics", get(render))
            .route("/v1/status", get(status_now))
            .route("/v1/checkpoint", post(checkpoint))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(Shared { status, metrics });
        let task = tokio::spawn(async move {
            let app = app.into_make_service_with_connect_info::<Peer>();
            let server = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned());
            if let Err(error) = server.await {
                tracing::warn!(%error, "the HTTP server ended");
            }
        });
        Ok(Self { address, task })
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends when the token was cancelled and the last answer is out.
    pub async fn ended(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the HTTP server failed");
        }
    }
}

/// The event loop answers, nothing more.
async fn live() -> Response {
    json_reply(StatusCode::OK, &json!({ "live": true }))
}

async fn ready(State(shared): State<Shared>) -> Response {
    match shared.status.readiness() {
        Ok(()) => json_reply(StatusCode::OK, &json!({ "ready": true })),
        Err(reason) => json_reply(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "ready": false, "reason": reason }),
        ),
    }
}

async fn render(State(shared): State<Shared>) -> Response {
    let text = "text/plain; version=0.0.4; charset=utf-8";
    let known = metrics::once(|| shared.status.measure());
    reply(StatusCode::OK, text, shared.metrics.render() + &known)
}

async fn status_now(State(shared): State<Shared>) -> Response {
    json_reply(StatusCode::OK, &shared.status.snapshot())
}

async fn checkpoint(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    request: Result<Json<Request>, JsonRejection>,
) -> Response {
    if let Err(reason) = guard::admits(peer, &headers) {
        return json_reply(
            StatusCode::FORBIDDEN,
            &json!({ "error": "forbidden", "reason": reason }),
        );
    }
    let request = match request {
        Ok(Json(request)) => request,
        Err(error) => {
            let body = json!({ "error": "malformed", "reason": error.body_text() });
            return json_reply(error.status(), &body);
        }
    };
    match shared.status.adjust(request).await {
        Ok(changes) => json_reply(StatusCode::OK, &changes),
        Err(error) => {
            let status = match error {
                AdjustError::Unknown(_) => StatusCode::NOT_FOUND,
                AdjustError::Refused(_) => StatusCode::CONFLICT,
                AdjustError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            json_reply(status, &error)
        }
    }
}

fn json_reply(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => reply(status, "application/json", text + "\n"),
        Err(error) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            reply(status, "text/plain; charset=utf-8", format!("{error}\n"))
        }
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONNECTION, "close"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests;
