//! How a cluster is found again.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Mutex};

use broker_lite::Broker;
use host::{BoxFuture, ByteStream, Listener, Net};
use wire::{
    Isolation, TopicPartition,
    client::OffsetSpec,
    record::{BatchBuilder, Codec},
};

use super::*;

/// Names that can be given another address, in front of the machine's network.
#[derive(Debug, Default)]
struct Names {
    addresses: Mutex<BTreeMap<String, SocketAddr>>,
    asked: Mutex<usize>,
}

impl Names {
    fn set(&self, name: &str, address: SocketAddr) {
        let mut addresses = self.addresses.lock().unwrap();
        addresses.insert(name.to_owned(), address);
    }
}

impl Net for Names {
    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        let known = self.addresses.lock().unwrap().get(host).copied();
        let Some(address) = known else {
            return Box::pin(async move { host::net::Tcp.connect(host, port).await });
        };
        *self.asked.lock().unwrap() += 1;
        Box::pin(async move {
            let host = address.ip().to_string();
            host::net::Tcp.connect(&host, address.port()).await
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move { host::net::Tcp.listen(address).await })
    }
}

/// The only broker goes, and comes back at another address with another name for it: everything that was known is
/// wrong save for the bootstrap name, which stands for another address too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_moved_to_other_addresses_is_found_by_its_bootstrap_name() {
    let folder = tempfile::tempdir().unwrap();
    let start = async || {
        let config = broker_lite::Config::new("127.0.0.1:0", folder.path());
        Broker::start(config, Host::real()).await.unwrap()
    };
    let names = Arc::new(Names::default());
    let host = Host {
        net: Arc::<Names>::clone(&names),
        ..Host::real()
    };
    let bootstrap = vec![("kafka.example".to_owned(), 9092)];
    let client = Client::new(host, ClientSettings::new(bootstrap, "test"));
    let partition = TopicPartition::new("t", 0);
    let write = async || {
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(1, None, Some(b"v"), &[]);
        client.produce(&partition, batch.build(0).unwrap()).await
    };
    let mut broker = start().await;
    names.set("kafka.example", broker.address());
    let topic = wire::client::NewTopic {
        name: "t".to_owned(),
        partitions: 1,
        replication_factor: -1,
        configs: Vec::new(),
    };
    client.create_topics(&[topic], false).await.unwrap();
    for written in 1..4 {
        let mut tries = 0;
        // What may have been written is not written again by the client itself.
        while write().await.is_err() {
            tries += 1;
            assert!(tries < 3);
        }
        let wanted = [(partition.clone(), OffsetSpec::Latest)];
        let ends = client.list_offsets(&wanted, Isolation::ReadUncommitted);
        let end = ends.await.unwrap().remove(0).1.unwrap();
        assert_eq!(end.offset, written);
        client.dial(1).await.unwrap();
        broker.stop().await.unwrap();
        assert!(client.dial(1).await.is_err());
        broker = start().await;
        names.set("kafka.example", broker.address());
    }
    assert!(*names.asked.lock().unwrap() >= 3);
}

/// A partition that was added a moment ago, right after its topic was asked for: the answer from before lacks it.
#[tokio::test]
async fn a_partition_that_was_just_added_is_not_missing() {
    let folder = tempfile::tempdir().unwrap();
    let config = broker_lite::Config::new("127.0.0.1:0", folder.path());
    let broker = Broker::start(config, Host::real()).await.unwrap();
    let bootstrap = vec![("127.0.0.1".to_owned(), broker.address().port())];
    let client = Client::new(Host::real(), ClientSettings::new(bootstrap, "test"));
    let topic = wire::client::NewTopic {
        name: "t".to_owned(),
        partitions: 1,
        replication_factor: -1,
        configs: Vec::new(),
    };
    client.create_topics(&[topic], false).await.unwrap();
    // A clock that stands still: what was asked is remembered throughout.
    let leaders = leaders::Leaders::new(client.clone(), Arc::new(host::sim::SimClock::new(0)));
    let (there, added) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
    let leader = leaders.of(&there).await.unwrap();
    assert_eq!(leaders.of(&added).await, Err(leaders::NoLeader::Missing));
    client
        .create_partitions(&[("t".to_owned(), 2)])
        .await
        .unwrap();
    assert_eq!(leaders.of(&added).await, Ok(leader));
    broker.stop().await.unwrap();
}
