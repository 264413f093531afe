//! A broker that is killed and started again goes on where it was.

use std::{net::SocketAddr, path::Path};

use broker_lite::{Broker, Config};
use host::Host;
use kafka_protocol::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, JoinGroupRequest,
    describe_configs_request::DescribeConfigsResource,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};
use wire::{
    TopicPartition,
    client::{Client as Produces, ClientSettings},
    record::{BatchBuilder, Codec},
};

use super::{
    RECORDS,
    client::{Client, Transcript, text},
    groups, members, records, transactions,
};

async fn start(folder: &Path) -> Broker {
    let config = Config::new("127.0.0.1:0", folder);
    Broker::start(config, Host::real()).await.unwrap()
}

/// Runs `scene` against the broker and tells what it noted.
async fn noted(
    broker: &Broker,
    scene: impl FnOnce(SocketAddr, &mut Transcript) + Send + 'static,
) -> Vec<String> {
    let address = broker.address();
    let run = move || {
        let mut transcript = Transcript::default();
        scene(address, &mut transcript);
        transcript.lines
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// A static member in a stable group, with an offset, and a transaction that stays open.
fn before(address: SocketAddr, t: &mut Transcript) {
    super::prepare(address);
    let mut c = Client::connect(address);
    let join = members::join("restart", "", Some("x"), &["range"]);
    let member = members::joined(t, "x", &c.call(members::JOIN, &join));
    let sync = members::sync("restart", &member, 1, &[(&member, "mine")]);
    members::synced(t, "sync", &c.call(members::SYNC, &sync));
    groups::commit(&mut c, t, "member", "restart", &member, 1, 9);
    let held = transactions::init(&mut c, t, "init", "open", transactions::NOTHING);
    let parts: [(&str, &[i32]); 1] = [(RECORDS, &[0])];
    transactions::add(&mut c, t, "open", 3, "open", held, &parts);
    records::write_inside(&mut c, t, "open", held, 0);
    t.note(format!("producer {}", held.id));
}

fn after(address: SocketAddr, t: &mut Transcript) {
    let mut c = Client::connect(address);
    let join = members::join("restart", "", Some("x"), &["range"]);
    c.send(members::JOIN, &join);
    let joined = c.receive::<JoinGroupRequest>(members::JOIN);
    t.note(format!(
        "generation {} skip {}",
        joined.generation_id, joined.skip_assignment
    ));
    let sync = members::sync("restart", &joined.member_id, 1, &[]);
    members::synced(t, "sync", &c.call(members::SYNC, &sync));
    groups::fetch(&mut c, t, "restart");
    transactions::describe(&mut c, t, "open");
    records::read(&mut c, t);
    let held = transactions::held(&mut c, "open");
    transactions::end(&mut c, t, "done", 3, "open", held, true);
    records::read(&mut c, t);
    let next = transactions::init(&mut c, t, "another", "another", transactions::NOTHING);
    t.note(format!("newer producer {}", next.id > held.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_offsets_and_transactions_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    noted(&broker, before).await;
    broker.kill().await;
    let broker = start(folder.path()).await;
    let lines = noted(&broker, after).await;
    let has = |line: &str| {
        let found = lines.iter().any(|l| l.starts_with(line));
        assert!(found, "no {line:?} in {lines:#?}");
    };
    has("generation 1 skip true");
    has(r#"sync: 0 type Some("consumer") protocol Some("range") assignment b"mine""#);
    has("fetch 9 all true stable true: restart: 0, coordination-0: 0 109 5 Some(4096)");
    has(r#"describe "open": 0 Ongoing P1 epoch 0 timeout 60000 started true"#);
    has("read 1: end 2 stable 0 aborted [] []");
    has("end 3 commit true, done: 0");
    has(r#"read 1: end 3 stable 3 aborted [] ["0 P1/0 transactional true", "2 P1/0 Commit"]"#);
    has("newer producer true");
    broker.stop().await.unwrap();
}

/// `ConfigResource.Type`
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// The largest batch of a topic, and where it has that from.
fn largest(address: SocketAddr, t: &mut Transcript) {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(RECORDS))
        .with_configuration_keys(Some(vec![text("max.message.bytes")]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let answer = Client::connect(address).call(4, &request);
    let config = &answer.results[0].configs[0];
    let value = config.value.as_deref().unwrap_or_default();
    t.note(format!("{value} from {}", config.config_source));
}

/// Gives all brokers, or this one, a largest batch for topics that have none of their own.
fn limit(address: SocketAddr, broker: &str, bytes: &str) {
    let config = AlterableConfig::default()
        .with_name(text("message.max.bytes"))
        .with_value(Some(text(bytes)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text(broker))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = Client::connect(address).call(1, &request);
    assert_eq!(answer.responses[0].error_code, 0);
}

/// Whether a batch of two thousand bytes is taken.
async fn takes(broker: &Broker) -> bool {
    let bootstrap = vec![("127.0.0.1".to_owned(), broker.address().port())];
    let client = Produces::new(Host::real(), ClientSettings::new(bootstrap, "restart"));
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(1, None, Some(&[7; 2000]), &[]);
    let partition = TopicPartition::new(RECORDS, 0);
    client
        .produce(&partition, batch.build(0).unwrap())
        .await
        .is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_topics_inherit_survives_a_kill_and_is_acted_on() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let limits = |address: SocketAddr, t: &mut Transcript| {
        super::prepare(address);
        largest(address, t);
        limit(address, "", "1000");
        largest(address, t);
        limit(address, "1", "1500");
        largest(address, t);
    };
    let lines = noted(&broker, limits).await;
    assert_eq!(lines, ["1048588 from 5", "1000 from 3", "1500 from 2"]);
    assert!(!takes(&broker).await, "at once");
    broker.kill().await;
    let broker = start(folder.path()).await;
    assert_eq!(noted(&broker, largest).await, ["1500 from 2"]);
    assert!(!takes(&broker).await, "after a kill");
    let more = |address: SocketAddr, _: &mut Transcript| limit(address, "1", "5000");
    noted(&broker, more).await;
    assert!(takes(&broker).await, "when it may be more");
    broker.stop().await.unwrap();
}
