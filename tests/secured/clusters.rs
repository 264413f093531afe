//! The two clusters, of Kafka or of broker-lite, their certificates, users and rights.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

use broker_lite::{Broker, Config};
use tokio::runtime::Runtime;

use super::kafka::{Extra, Kafka, free_port, java};
use super::tokens;

/// The user of the source and its password at the start.
pub const USER: &str = "ann";
pub const PASSWORD: &str = "hunter2-first";
/// A user that has no rights.
pub const STRANGER: &str = "stranger";
/// How long a login holds: short, so that it is renewed while the tests run.
pub const SESSION_MS: u64 = 4000;

/// Both, and a folder with PEM files: `ca`, `strait` (certificate and key), `other-ca`, `other` (signed by
/// it).
#[derive(Debug)]
pub struct Clusters {
    pub source: Cluster,
    pub target: Cluster,
    folder: tempfile::TempDir,
}

/// Whose brokers they are.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Kafka,
    BrokerLite,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Kafka, Self::BrokerLite];

    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::BrokerLite => "broker-lite",
        }
    }
}

/// One node with three doors.
#[derive(Debug)]
pub struct Cluster {
    node: Node,
    login: u16,
    certificate: u16,
}

#[derive(Debug)]
enum Node {
    Kafka(Kafka),
    /// In this process; it ends with its runtime.
    BrokerLite {
        broker: Broker,
        _runtime: Runtime,
        _folder: tempfile::TempDir,
    },
}

impl Clusters {
    /// Makes certificates, starts both, and gives rights.
    pub fn start(kind: Kind) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for (ca, client) in [("ca", "strait"), ("other-ca", "other")] {
            let issuer = authority(folder.path(), ca)?;
            if ca == "ca" {
                certify(folder.path(), &issuer, "broker")?;
            }
            certify(folder.path(), &issuer, client)?;
        }
        let path = folder.path().to_owned();
        let target = std::thread::spawn(move || Cluster::start(kind, &path));
        let source = Cluster::start(kind, folder.path())?;
        let target = target.join().ok().context("the thread ended")??;
        let clusters = Self {
            source,
            target,
            folder,
        };
        clusters.give_rights()?;
        Ok(clusters)
    }

    /// The PEM file of that name.
    pub fn pem(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).with_extension("pem")
    }

    /// What README says that strait needs, and no more.
    fn give_rights(&self) -> Result<()> {
        let (source, target) = (self.source.plain(), self.target.plain());
        let read = ["Read", "DescribeConfigs"];
        let write = ["Read", "Write", "Create", "DescribeConfigs"];
        let certificate = "User:CN=strait";
        let user = format!("User:{USER}");
        let topics = ["--topic", "orders", "--topic", "payments"];
        let commands = [
            allow(&source, &user, &read, &topics)?,
            allow(&target, certificate, &write, &topics)?,
            allow(
                &target,
                certificate,
                &write,
                &["--topic", "strait.", "--resource-pattern-type", "prefixed"],
            )?,
            allow(
                &target,
                certificate,
                &["Read"],
                &["--group", "strait.", "--resource-pattern-type", "prefixed"],
            )?,
        ];
        // All are waited for, whatever becomes of the first.
        let ended: Vec<_> = commands.into_iter().map(finished).collect();
        ended.into_iter().collect()
    }
}

impl Cluster {
    fn start(kind: Kind, folder: &Path) -> Result<Self> {
        let (login, certificate) = (free_port()?, free_port()?);
        let folder = folder.display();
        let module = "org.apache.kafka.common.security";
        let (tokens, keys) = (tokens::settings("login"), tokens::url());
        let keys = format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys}");
        let more = format!(
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN,OAUTHBEARER
{tokens}
listener.name.login.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.login.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.login.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{USER}=\"plain\";
connections.max.reauth.ms={SESSION_MS}
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.certificate.ssl.client.auth=required"
        );
        let listeners = [("LOGIN", login), ("CERTIFICATE", certificate)];
        let users = [USER, STRANGER]
            .into_iter()
            .chain(super::permissions::USERS);
        let users = users.map(|user| {
            let mechanism = mechanism(user);
            format!("{mechanism}=[name={user},password={PASSWORD}]")
        });
        let users: Vec<_> = users.collect();
        let users: Vec<_> = users.iter().map(String::as_str).collect();
        let extra = Extra {
            listeners: &listeners,
            settings: &more,
            users: &users,
            java: &[&keys],
            ..Extra::default()
        };
        Ok(Self {
            node: match kind {
                Kind::Kafka => Node::Kafka(Kafka::start(1, &extra)?),
                Kind::BrokerLite => Node::light(&extra)?,
            },
            login,
            certificate,
        })
    }

    /// For who may do everything.
    pub fn plain(&self) -> String {
        match &self.node {
            Node::Kafka(kafka) => kafka.bootstrap(),
            Node::BrokerLite { broker, .. } => broker.address().to_string(),
        }
    }

    /// TLS and a login.
    pub fn login(&self) -> String {
        format!("127.0.0.1:{}", self.login)
    }

    /// TLS with a client certificate.
    pub fn certificate(&self) -> String {
        format!("127.0.0.1:{}", self.certificate)
    }

    /// Gives a topic more partitions.
    pub fn grow(&self, topic: &str, partitions: u32) -> Result<()> {
        let mut command = java("org.apache.kafka.tools.TopicCommand");
        command.args([
            "--bootstrap-server",
            &self.plain(),
            "--alter",
            "--topic",
            topic,
        ]);
        command.args(["--partitions", &partitions.to_string()]);
        finished(command.stdout(Stdio::null()).spawn()?)
    }

    /// Gives the user another password.
    pub fn change_password(&self, user: &str, password: &str) -> Result<()> {
        let config = format!("{}=[password={password}]", mechanism(user));
        let mut command = java("kafka.admin.ConfigCommand");
        command.args(["--bootstrap-server", &self.plain(), "--alter"]);
        command.args(["--add-config", &config]);
        command.args(["--entity-type", "users", "--entity-name", user]);
        finished(command.stdout(Stdio::null()).spawn()?)
    }
}

impl Node {
    /// The same settings, listeners and users, for broker-lite.
    fn light(extra: &Extra<'_>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut config = Config::new("127.0.0.1:0", folder.path());
        let listeners = extra.listeners.iter();
        let listeners: String = listeners
            .map(|(name, port)| format!(",{name}://127.0.0.1:{port}"))
            .collect();
        config.apply(&format!("listeners=PLAINTEXT://127.0.0.1:0{listeners}"))?;
        config.apply(
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,LOGIN:SASL_SSL,CERTIFICATE:SSL",
        )?;
        config.apply_file(extra.settings)?;
        for user in extra.users {
            config.add_scram(user)?;
        }
        let runtime = Runtime::new()?;
        Ok(Self::BrokerLite {
            broker: runtime.block_on(Broker::start(config, host::Host::real()))?,
            _runtime: runtime,
            _folder: folder,
        })
    }
}

fn allow(bootstrap: &str, who: &str, what: &[&str], on: &[&str]) -> Result<Child> {
    let mut command = java("org.apache.kafka.tools.AclCommand");
    command.args(["--bootstrap-server", bootstrap, "--add"]);
    command.args(["--allow-principal", who]).args(on);
    for operation in what {
        command.args(["--operation", operation]);
    }
    Ok(command.stdout(Stdio::null()).spawn()?)
}

/// The mechanism by which a user logs in; Kafka changes one of a user at a time.
pub fn mechanism(user: &str) -> &'static str {
    match user {
        STRANGER => "SCRAM-SHA-256",
        _ => "SCRAM-SHA-512",
    }
}

pub fn finished(mut command: Child) -> Result<()> {
    let status = command.wait()?;
    ensure!(status.success(), "Kafka's tool ended with {status}");
    Ok(())
}

fn authority(folder: &Path, name: &str) -> Result<Issuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    fs::write(folder.join(name).with_extension("pem"), certificate)?;
    Ok(Issuer::new(params, key))
}

/// Key and certificate in one file, as Java wants it.
fn certify(folder: &Path, issuer: &Issuer<'static, KeyPair>, name: &str) -> Result<()> {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?.pem();
    let both = format!("{}{certificate}", key.serialize_pem());
    fs::write(folder.join(name).with_extension("pem"), both)?;
    Ok(())
}
