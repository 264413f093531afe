//! What is counted, as Prometheus reads it.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use kafka_protocol::messages::{MetadataRequest, metadata_request::MetadataRequestTopic};

use super::{Running, client};

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_what_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start_in(folder, &[], |config| {
        config.metrics = Some("127.0.0.1:0".to_owned());
    })
    .await;
    let (address, metrics) = (running.broker.address(), running.broker.metrics_address());
    let text = tokio::task::spawn_blocking(move || {
        let mut raw = client::Client::connect(address);
        for _ in 0..3 {
            raw.call(12, &MetadataRequest::default());
        }
        let topic = MetadataRequestTopic::default().with_name(Some(client::text("?").into()));
        raw.call(
            12,
            &MetadataRequest::default().with_topics(Some(vec![topic])),
        );
        let mut http = TcpStream::connect(metrics.unwrap()).unwrap();
        http.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        http.read_to_string(&mut text).unwrap();
        text
    })
    .await
    .unwrap();
    for line in [
        "broker_lite_connections 1",
        "broker_lite_partitions 0",
        "broker_lite_requests_total{api=\"Metadata\",outcome=\"answered\"} 4",
        "broker_lite_errors_total{api=\"Metadata\",error=\"INVALID_TOPIC_EXCEPTION\"} 1",
        "broker_lite_requests_total{api=\"Metadata\",outcome=\"closed\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
