//! A broker that is killed and started again goes on where it was.

use std::{net::SocketAddr, path::Path};

use broker_lite::{Broker, Config};
use kafka_protocol::messages::JoinGroupRequest;

use super::{
    RECORDS,
    client::{Client, Transcript},
    groups, members, records, transactions,
};

async fn start(folder: &Path) -> Broker {
    let config = Config::new("127.0.0.1:0", folder);
    Broker::start(config, host::Host::real()).await.unwrap()
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
