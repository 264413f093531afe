//! Each listener tells its own address.

use broker_lite::{Broker, Config, StartError};
use kafka_protocol::messages::{DescribeClusterRequest, FindCoordinatorRequest, MetadataRequest};

use super::{Running, client};

#[tokio::test(flavor = "multi_thread")]
async fn each_tells_its_own_address() {
    let running = Running::start(&[
        "listeners=IN://127.0.0.1:0,OUT://127.0.0.1:0",
        "listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT",
        "advertised.listeners=OUT://outside.example:443",
    ])
    .await;
    let inside = running.address("IN");
    let expected = [
        (inside, "127.0.0.1", i32::from(inside.port())),
        (running.address("OUT"), "outside.example", 443),
    ];
    tokio::task::spawn_blocking(move || {
        for (address, host, port) in expected {
            let mut raw = client::Client::connect(address);
            let metadata = raw.call(12, &MetadataRequest::default());
            let broker = &metadata.brokers[0];
            assert_eq!((&*broker.host, broker.port), (host, port));
            let group = FindCoordinatorRequest::default().with_key(client::text("g"));
            let coordinator = raw.call(2, &group);
            assert_eq!((&*coordinator.host, coordinator.port), (host, port));
            let cluster = raw.call(1, &DescribeClusterRequest::default());
            let broker = &cluster.brokers[0];
            assert_eq!((&*broker.host, broker.port), (host, port));
        }
    })
    .await
    .unwrap();
    running.broker.stop().await.unwrap();
}

#[tokio::test]
async fn settings_that_do_not_fit_are_refused_before_anything_is_bound() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new("127.0.0.1:0", folder.path());
    config.apply("listeners=SSL://127.0.0.1:0").unwrap();
    let error = Broker::start(config, host::Host::real()).await.unwrap_err();
    assert!(
        matches!(&error, StartError::Settings(why) if why.contains("ssl.keystore")),
        "{error}"
    );
    let made = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(made, 0, "nor is anything made");
}
