//! Clusters whose brokers go by names that nobody here can resolve.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use fast_socks5::server::{DnsResolveHelper, Socks5ServerProtocol, run_tcp_proxy};
use tokio::net::{TcpListener, TcpStream};
use wire::client::{Client, ClientSettings};

use super::*;

const EAST: (&str, u16) = ("kafka-1.east.invalid", 9092);
const WEST: (&str, u16) = ("kafka-1.west.invalid", 9092);

/// A cluster that tells its clients to come to `name`; that of the tests knows better.
async fn start((host, port): (&str, u16)) -> Cluster {
    let advertised = format!("advertised.listeners=PLAINTEXT://{host}:{port}");
    let mut cluster = Cluster::start_with(&[&advertised]).await;
    let address = cluster.broker.address();
    let name = (host.to_owned(), port);
    let mut settings = ClientSettings::new(vec![name.clone()], "test");
    let reached = (address.ip().to_string(), address.port());
    settings.address_map.insert(name, reached);
    cluster.client = Client::new(Host::real(), settings);
    cluster
}

/// Another's SOCKS5 proxy, and how many connections it was asked for.
async fn socks() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::default());
    let count = Arc::<AtomicUsize>::clone(&asked);
    let serve = async |stream: TcpStream| {
        let protocol = Socks5ServerProtocol::accept_no_auth(stream).await?;
        let (protocol, _, to) = protocol.read_command().await?.resolve_dns().await?;
        run_tcp_proxy(protocol, &to, Duration::from_secs(5), false).await
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move { drop(serve(stream).await) });
        }
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_are_reached_by_other_addresses_and_through_a_proxy() {
    let (east, west) = (start(EAST).await, start(WEST).await);
    let (proxy, asked) = socks().await;
    east.create("t", &[]).await;
    east.write("t", &["0", "1"]).await;
    let map = |(host, port), to| format!("address_map = {{ \"{host}:{port}\" = \"{to}\" }}");
    let running = run_text(&format!(
        "[clusters.east]\nbootstrap.servers = \"{}:{}\"\n[clusters.east.strait]\n{}\n\
         [clusters.west]\nbootstrap.servers = \"{}:{}\"\n[clusters.west.strait]\n{}\nproxy = \"socks5://{proxy}\"\n\
         [[flows]]\nname = \"f\"\nsource = \"east\"\ntarget = \"west\"\ntopics = [\"t\"]\n",
        EAST.0,
        EAST.1,
        map(EAST, east.broker.address()),
        WEST.0,
        WEST.1,
        map(WEST, west.broker.address()),
    ));
    await_read(&west, "t", &["0", "1"]).await;
    east.write("t", &["2"]).await;
    await_read(&west, "t", &["0", "1", "2"]).await;
    running.stop().await;
    assert!(asked.load(Ordering::Relaxed) >= 2);
}
