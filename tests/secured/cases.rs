//! What must hold.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use host::Host;
use rdkafka::{
    ClientConfig,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use strait::{
    cluster::Cluster,
    config::{Config, Sources},
};
use tokio::net::{TcpListener, TcpStream};
use wire::client::{Client, ClientSettings, NewTopic};

use super::{
    bearers,
    clusters::{Clusters, PASSWORD, SESSION_MS, STRANGER, USER, mechanism},
    kafka::dump,
    permissions, rules,
    strait::{Strait, eventually},
};

type Case = fn(&Clusters) -> Result<()>;

/// The last one changes the password.
pub const ALL: &[(&str, Case)] = &[
    ("a_topic_is_copied_between_secured_clusters", |clusters| {
        copied(clusters, "orders", ORDERS)
    }),
    ("librdkafka_copies_between_secured_clusters", |clusters| {
        let flow = "name = \"other\"\ntopics = [\"payments\"]\ntransport = \"librdkafka\"";
        copied(clusters, "payments", flow)
    }),
    ("plain_logs_in", plain),
    (
        "tokens_let_in_and_are_renewed",
        bearers::tokens_let_in_and_are_renewed,
    ),
    ("rights_are_asked_for", rights),
    (
        "check_names_what_is_missing_and_the_lines_that_grant_it",
        permissions::check_names_what_is_missing,
    ),
    (
        "run_needs_its_section_of_the_permissions_only",
        permissions::run_needs_its_section_only,
    ),
    (
        "acls_need_their_section_and_follow",
        rules::acls_need_their_section_and_follow,
    ),
    (
        "users_follow_with_passwords_from_the_file",
        rules::users_follow_with_passwords_from_the_file,
    ),
    (
        "status_and_verify_need_their_sections_only",
        permissions::status_and_verify_need_theirs_only,
    ),
    ("a_strange_broker_is_named", strange_broker),
    ("a_missing_certificate_is_named", strange_client),
    ("the_wrong_protocol_is_named", wrong_protocol),
    ("a_wrong_password_is_named_and_mended", wrong_password),
    ("sessions_are_renewed_on_one_connection", renewed),
    ("a_password_rotates_while_strait_runs", rotated),
];

/// broker-lite has no quotas.
pub const ON_KAFKA: &[(&str, Case)] = &[(
    "quotas_need_their_section_and_follow",
    rules::quotas_need_their_section_and_follow,
)];

/// The usual flow.
const ORDERS: &str = "topics = [\"orders\"]";

/// The source, by SCRAM over TLS and Java's names; the password is in a file.
pub fn by_login(clusters: &Clusters, user: &str) -> String {
    format!(
        "bootstrap.servers = \"{}\"
security.protocol = \"SASL_SSL\"
sasl.mechanism = \"{mechanism}\"
sasl.jaas.config = 'org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{user}\" password=\"${{file:{{folder}}/password}}\";'
ssl.truststore.type = \"PEM\"
ssl.truststore.location = \"{}\"",
        clusters.source.login(),
        clusters.pem("ca").display(),
        mechanism = mechanism(user),
    )
}

/// The target, by a certificate and librdkafka's names.
pub fn by_certificate(clusters: &Clusters) -> String {
    let own = clusters.pem("strait");
    format!(
        "bootstrap.servers = \"{}\"
security.protocol = \"SSL\"
ssl.ca.location = \"{}\"
ssl.certificate.location = \"{}\"
ssl.key.location = \"{}\"",
        clusters.target.certificate(),
        clusters.pem("ca").display(),
        own.display(),
        own.display()
    )
}

fn secured(clusters: &Clusters, user: &str, flow: &str) -> Result<Strait> {
    let strait = Strait::new(&by_login(clusters, user), &by_certificate(clusters), flow)?;
    strait.put("password", &format!("{PASSWORD}\n"))?;
    Ok(strait)
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(future))
}

/// Writes `count` records into a topic of the source, as who may do everything.
pub fn produce(clusters: &Clusters, topic: &str, count: usize) -> Result<()> {
    let bootstrap = clusters.source.plain();
    let (host, port) = bootstrap.split_once(':').context("an address")?;
    let settings = ClientSettings::new(vec![(host.to_owned(), port.parse()?)], "test");
    let wanted = NewTopic {
        name: topic.to_owned(),
        partitions: 3,
        replication_factor: 1,
        configs: Vec::new(),
    };
    let client = Client::new(Host::real(), settings);
    // It may be there.
    block_on(async { client.create_topics(&[wanted], false).await })??;
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .create()?;
    for number in 0..count {
        let value = format!("order {number}");
        let record = BaseRecord::<str, str>::to(topic).payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    Ok(producer.flush(Duration::from_secs(20))?)
}

/// Topic, partition, offset and digest of a topic's records, by Kafka's own consumer, sorted.
pub fn records(bootstrap: &str, topic: &str) -> Result<Vec<String>> {
    let text = dump(bootstrap, &[topic.to_owned()])?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

pub fn silent_about_secrets(text: &str) -> Result<()> {
    ensure!(!text.contains("hunter2"), "a secret shows:\n{text}");
    Ok(())
}

fn copied(clusters: &Clusters, topic: &str, flow: &str) -> Result<()> {
    produce(clusters, topic, 500)?;
    let mut strait = secured(clusters, USER, flow)?;
    let (code, text) = strait.call("check")?;
    ensure!(code == 0, "check ended with {code}:\n{text}");
    strait.run()?;
    let same = |strait: &Strait| Ok(strait.call("verify")?.0 == 0);
    eventually("all is copied", || same(&strait)).with_context(|| strait.log())?;
    // Past the end of the first session.
    std::thread::sleep(Duration::from_millis(SESSION_MS + 1000));
    produce(clusters, topic, 500)?;
    eventually("the rest is copied", || same(&strait)).with_context(|| strait.log())?;
    let (code, text) = strait.call("status")?;
    ensure!(code == 0, "status ended with {code}:\n{text}");
    silent_about_secrets(&text)?;
    strait.terminate()?;
    silent_about_secrets(&strait.log())?;
    let (source, target) = (clusters.source.plain(), clusters.target.plain());
    let (wanted, got) = (records(&source, topic)?, records(&target, topic)?);
    ensure!(wanted.len() == 1000, "{} records", wanted.len());
    ensure!(wanted == got, "the target differs:\n{got:?}");
    Ok(())
}

fn plain(clusters: &Clusters) -> Result<()> {
    let east = format!(
        "bootstrap.servers = \"{}\"
security.protocol = \"SASL_SSL\"
sasl.mechanism = \"PLAIN\"
sasl.username = \"{USER}\"
sasl.password = \"plain\"
ssl.ca.location = \"{}\"",
        clusters.source.login(),
        clusters.pem("ca").display()
    );
    let strait = Strait::new(&east, &by_certificate(clusters), ORDERS)?;
    let (code, text) = strait.call("check")?;
    ensure!(code == 0, "check ended with {code}:\n{text}");
    Ok(())
}

/// `strait check` must end with 4 and say all of `says`.
fn says(strait: &Strait, says: &[&str]) -> Result<()> {
    let (code, text) = strait.call("check")?;
    for part in says {
        ensure!(text.contains(part), "should say {part:?}:\n{text}");
    }
    ensure!(code == 4, "check ended with {code}:\n{text}");
    silent_about_secrets(&text)
}

/// Otherwise the other cases would show nothing about rights.
fn rights(clusters: &Clusters) -> Result<()> {
    let strait = secured(clusters, STRANGER, ORDERS)?;
    let cluster = cluster(&strait)?;
    let names = ["orders".to_owned()];
    let topics = block_on(async { cluster.client().topics(Some(&names)).await })??;
    let error = topics[0].error.as_ref().context("refused")?.to_string();
    ensure!(error.contains("TOPIC_AUTHORIZATION_FAILED"), "{error}");
    Ok(())
}

fn strange_broker(clusters: &Clusters) -> Result<()> {
    let other = clusters.pem("other-ca").display().to_string();
    let ca = clusters.pem("ca").display().to_string();
    let strait = Strait::new(
        &by_login(clusters, USER).replace(&ca, &other),
        &by_certificate(clusters),
        ORDERS,
    )?;
    strait.put("password", PASSWORD)?;
    says(&strait, &["cluster east", "ssl.ca.location", "unreachable"])
}

fn strange_client(clusters: &Clusters) -> Result<()> {
    let west = by_certificate(clusters);
    let own = clusters.pem("strait").display().to_string();
    let other = west.replace(&own, &clusters.pem("other").display().to_string());
    let lines = west.lines().filter(|line| !line.contains(&own));
    let none: Vec<&str> = lines.collect();
    for west in [other, none.join("\n")] {
        let strait = Strait::new(&by_login(clusters, USER), &west, ORDERS)?;
        strait.put("password", PASSWORD)?;
        says(&strait, &["cluster west", "ssl.keystore.location"])?;
    }
    Ok(())
}

fn wrong_protocol(clusters: &Clusters) -> Result<()> {
    let west = by_certificate(clusters);
    let server = |address: &str| format!("bootstrap.servers = \"{address}\"");
    let (login, plain) = (clusters.source.login(), clusters.source.plain());
    let in_tls = by_login(clusters, USER).replace(&login, &plain);
    let cases = [
        (server(&login), "security.protocol"),
        (in_tls, "security.protocol"),
        (
            format!(
                "{}\nsecurity.protocol = \"SSL\"\nssl.ca.location = \"{}\"",
                server(&login),
                clusters.pem("ca").display()
            ),
            "security.protocol",
        ),
    ];
    for (east, advice) in cases {
        let strait = Strait::new(&east, &west, ORDERS)?;
        strait.put("password", PASSWORD)?;
        says(&strait, &["cluster east", advice])?;
    }
    Ok(())
}

fn wrong_password(clusters: &Clusters) -> Result<()> {
    let mut strait = secured(clusters, USER, ORDERS)?;
    strait.put("password", "hunter2-wrong")?;
    let advice = ["cluster east", "SCRAM-SHA-512", "sasl.password"];
    says(&strait, &advice)?;
    strait.run()?;
    eventually("it says what is wrong", || {
        Ok(strait.log().contains("sasl.password"))
    })?;
    strait.put("password", PASSWORD)?;
    produce(clusters, "orders", 100)?;
    eventually("it goes on by itself", || Ok(strait.call("verify")?.0 == 0))
        .with_context(|| strait.log())?;
    strait.terminate()?;
    silent_about_secrets(&strait.log())
}

/// The source as the file says.
fn cluster(strait: &Strait) -> Result<Cluster> {
    let config = Config::load(&strait.file(), &Sources::process())?;
    Ok(Cluster::new(&Host::real(), &config.clusters["east"]))
}

/// A relay to `address` that counts the connections through it.
async fn relay(address: String) -> Result<(u16, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut far = TcpStream::connect(&address).await?;
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
        anyhow::Ok(())
    });
    Ok((port, count))
}

/// Kafka closes a connection whose session is over at the next request (KIP-368).
fn renewed(clusters: &Clusters) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let login = clusters.source.login();
    let (port, count) = runtime.block_on(relay(login.clone()))?;
    let east = by_login(clusters, USER).replace(&login, &format!("127.0.0.1:{port}"));
    let strait = Strait::new(&east, &by_certificate(clusters), ORDERS)?;
    strait.put("password", PASSWORD)?;
    let cluster = cluster(&strait)?;
    let end = Instant::now() + Duration::from_millis(SESSION_MS * 5 / 2);
    while Instant::now() < end {
        runtime.block_on(cluster.id())?;
        std::thread::sleep(Duration::from_millis(10));
    }
    let connections = count.load(Ordering::Relaxed);
    ensure!(connections == 1, "{connections} connections");
    Ok(())
}

fn rotated(clusters: &Clusters) -> Result<()> {
    let mut strait = secured(clusters, USER, ORDERS)?;
    strait.run()?;
    let same = |strait: &Strait| Ok(strait.call("verify")?.0 == 0);
    eventually("all is copied", || same(&strait)).with_context(|| strait.log())?;
    clusters.source.change_password(USER, "hunter2-second")?;
    eventually(
        "it misses the new password when it renews its session",
        || Ok(strait.log().contains("sasl.password")),
    )
    .with_context(|| strait.log())?;
    produce(clusters, "orders", 100)?;
    strait.put("password", "hunter2-second\n")?;
    eventually("it goes on with the new password", || same(&strait))
        .with_context(|| strait.log())?;
    strait.terminate()?;
    silent_about_secrets(&strait.log())
}
