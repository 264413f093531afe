use std::{sync::Mutex, time::Duration};

use host::{bounded, sim::SimClock};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn report() -> Report {
    let json = json!({ "flows": [{
        "name": "f", "source": "east", "target": "west", "phase": "waiting", "cluster": "west",
        "reason": "refused", "guarantee": "at-least-once", "guarantee_reason": "why", "lag": 7, "records": 5,
        "bytes": 50, "stopped": 0, "partitions": [], "troubles": [],
    }] });
    serde_json::from_value(json).unwrap()
}

#[derive(Debug)]
struct Fake(Mutex<Result<(), String>>);

impl StatusSource for Fake {
    fn snapshot(&self) -> Report {
        report()
    }

    fn measure(&self) {
        ::metrics::gauge!("known").set(7.0);
    }

    fn readiness(&self) -> Result<(), String> {
        self.0.lock().unwrap().clone()
    }

    fn adjust(&self, request: Request) -> BoxFuture<'_, Result<Changes, AdjustError>> {
        Box::pin(async move {
            match request.flow.as_str() {
                "f" => Ok(Changes {
                    flow: request.flow,
                    dry_run: request.dry_run,
                    changes: Vec::new(),
                    notes: Vec::new(),
                }),
                other => Err(AdjustError::Unknown(other.to_owned())),
            }
        })
    }
}

struct Running {
    host: Host,
    clock: SimClock,
    status: Arc<Fake>,
    server: Server,
    stop: CancellationToken,
}

async fn start() -> Running {
    let clock = SimClock::new(0);
    let host = Host {
        clock: Arc::new(clock.clone()),
        ..Host::real()
    };
    let recorder = PrometheusBuilder::new().build_recorder();
    ::metrics::with_local_recorder(&recorder, || ::metrics::counter!("seen_total").increment(3));
    let status = Arc::new(Fake(Mutex::new(Ok(()))));
    let stop = CancellationToken::new();
    let source: Arc<dyn StatusSource> = Arc::clone(&status) as Arc<dyn StatusSource>;
    let server = Server::start(
        &host,
        "127.0.0.1:0",
        source,
        recorder.handle(),
        stop.clone(),
    );
    let server = server.await.unwrap();
    Running {
        host,
        clock,
        status,
        server,
        stop,
    }
}

impl Running {
    async fn connect(&self) -> Box<dyn host::ByteStream> {
        let address = self.server.address();
        let stream = self.host.net.connect("127.0.0.1", address.port()).await;
        stream.unwrap()
    }

    /// The whole answer to a GET.
    async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        self.ask(&request).await
    }

    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // Ends because the server closes the connection.
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn each_path_answers() {
    let running = start().await;
    assert!(running.get("/live").await.starts_with("HTTP/1.1 200"));
    let url = format!("http://{}", running.server.address());
    let status = client::status(&running.host, &url.parse().unwrap()).await;
    assert_eq!(status.unwrap(), report());
    let metrics = running.get("/metrics").await;
    assert!(
        metrics.contains("seen_total 3") && metrics.contains("known 7"),
        "{metrics}"
    );
    let status = running.get("/v1/status").await;
    assert!(
        status.contains("application/json") && status.contains("\"phase\":\"waiting\""),
        "{status}"
    );
    let ready = running.get("/ready").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("\"ready\":true"));
    *running.status.0.lock().unwrap() = Err("west is not reached".to_owned());
    let ready = running.get("/ready").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("west is not reached"));
    assert!(running.get("/live").await.starts_with("HTTP/1.1 200"));
    running.stop.cancel();
    running.server.ended().await;
}

#[tokio::test]
async fn silent_connections_are_cut_and_make_room() {
    let running = start().await;
    let mut silent = Vec::new();
    for _ in 0..bounded::MAX_CONNECTIONS {
        silent.push(running.connect().await);
    }
    let answer = running.get("/live");
    tokio::pin!(answer);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut answer).await;
    assert!(early.is_err(), "served beyond the cap");
    running.clock.advance(bounded::MAX_LIFETIME);
    assert!(answer.await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn checkpoints_are_changed_by_json_and_what_the_flow_says_comes_back() {
    let running = start().await;
    let address: client::Address = format!("http://{}", running.server.address())
        .parse()
        .unwrap();
    let ask = async |flow: &str| {
        let request = Request {
            flow: flow.to_owned(),
            topic: "t".to_owned(),
            partition: None,
            action: crate::flow::adjust::Action::Reset,
            dry_run: true,
        };
        client::adjust(&Host::real(), &address, &request)
            .await
            .unwrap()
    };
    let changes = ask("f").await.unwrap();
    assert!(changes.dry_run && changes.flow == "f");
    assert_eq!(ask("g").await, Err(AdjustError::Unknown("g".to_owned())));
    // As a web page would send it.
    let body = r#"{"flow":"f","topic":"t","partition":null,"action":"reset"}"#;
    let post = |kind: &str, host: &str| {
        format!(
            "POST /v1/checkpoint HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for (request, code) in [
        (post("text/plain", "127.0.0.1"), "415"),
        (post("application/json", "evil.example"), "403"),
        (post("application/json", "127.0.0.1"), "200"),
    ] {
        let answer = running.ask(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{answer}");
    }
}

#[tokio::test]
async fn a_taken_port_is_an_error_and_not_a_panic() {
    let running = start().await;
    let taken = running.server.address().to_string();
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let status = Arc::clone(&running.status) as Arc<dyn StatusSource>;
    let again = Server::start(&running.host, &taken, status, metrics, running.stop.clone()).await;
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}
