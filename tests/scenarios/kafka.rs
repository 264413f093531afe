//! Apache Kafka in processes of its own, from Maven jars: one node, broker and controller, or several of them.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use host::Host;
use wire::client::{Client, ClientSettings};

/// The folder of the package that these tests belong to: the repository's root, or one of its folders.
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// For nodes to be ready, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(240);

/// What nodes have beyond the usual.
#[derive(Debug, Default)]
pub struct Extra<'a> {
    /// Further listeners, name and port.
    pub listeners: &'a [(&'a str, u16)],
    /// Lines of the nodes' properties.
    pub settings: &'a str,
    /// Users that log in by SCRAM, as `StorageTool --add-scram` wants them.
    pub users: &'a [&'a str],
    /// Another way in ([`Detour`]).
    pub detour: bool,
    /// Options of Java.
    pub java: &'a [&'a str],
}

/// A running cluster; stopped by drop.
#[derive(Debug)]
pub struct Kafka {
    folder: tempfile::TempDir,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    port: u16,
    controller: u16,
    detour: Option<Detour>,
    /// Megabytes.
    heap: u32,
    java: Vec<String>,
    folder: PathBuf,
    process: Option<Child>,
}

/// Where whoever comes by this listener is told to connect to, and where that has to lead.
#[derive(Clone, Copy, Debug)]
pub struct Detour {
    /// The port that is told; nobody listens there by itself.
    pub told: u16,
    /// The port that the broker listens on.
    pub real: u16,
}

impl Kafka {
    /// Formats folders and starts so many nodes on free ports. Three have three replicas of everything, two of which
    /// must be in sync.
    pub fn start(brokers: usize, extra: &Extra<'_>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let heap = if brokers == 1 { 512 } else { 256 };
        let nodes = (1..=brokers).map(|number| {
            let detour = || {
                let (told, real) = (free_port()?, free_port()?);
                anyhow::Ok(Detour { told, real })
            };
            Ok(Node {
                port: free_port()?,
                controller: free_port()?,
                detour: extra.detour.then(detour).transpose()?,
                heap,
                java: extra.java.iter().map(ToString::to_string).collect(),
                folder: folder.path().join(format!("node-{number}")),
                process: None,
            })
        });
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        let id = "c3RyYWl0LXRlc3QtY2x1cw";
        // Two clusters must not have one id: strait refuses to copy a cluster into itself.
        let id = format!("{}{:05}", &id[..17], nodes[0].port);
        let formats = nodes.iter().enumerate().map(|(index, node)| {
            fs::create_dir(&node.folder)?;
            fs::write(node.properties(), server_properties(index, &nodes, extra))?;
            java("kafka.tools.StorageTool")
                .args(["format", "-t", &id, "-c"])
                .arg(node.properties())
                .args(extra.users.iter().flat_map(|user| ["--add-scram", user]))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .context("run java; the Kafka pairs need Java 17")
        });
        for format in formats.collect::<Result<Vec<_>>>()? {
            let output = format.wait_with_output()?;
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "format: {errors}");
        }
        let mut kafka = Self { folder, nodes };
        kafka.resume()?;
        Ok(kafka)
    }

    /// Starts the nodes that are down again, on their ports and data, and waits until all are ready.
    pub fn resume(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if node.process.is_none() {
                node.start()?;
            }
        }
        self.nodes.iter_mut().try_for_each(Node::await_ready)
    }

    /// `kill -9` of all nodes.
    pub fn kill(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Node::kill)
    }

    /// How many nodes there are.
    pub fn brokers(&self) -> usize {
        self.nodes.len()
    }

    /// `kill -9` of one of them.
    pub fn kill_one(&mut self, index: usize) -> Result<()> {
        self.nodes[index].kill()
    }

    /// Starts one of them again, and does not wait for it.
    pub fn start_one(&mut self, index: usize) -> Result<()> {
        self.nodes[index].start()
    }

    /// The process of one of them, for signals; none while it is down.
    pub fn process(&self, index: usize) -> Option<&Child> {
        self.nodes[index].process.as_ref()
    }

    /// `HOST:PORT,...` for clients.
    pub fn bootstrap(&self) -> String {
        servers(self.nodes.iter().map(|node| node.port))
    }

    /// The same for those who come by the detour.
    pub fn detoured(&self) -> String {
        servers(self.detours().iter().map(|detour| detour.told))
    }

    /// The detours of the nodes, if they have some.
    pub fn detours(&self) -> Vec<Detour> {
        self.nodes.iter().filter_map(|node| node.detour).collect()
    }

    /// Leaves data and logs where they are, for whoever looks into a failure, and says where.
    pub fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }
}

impl Node {
    fn start(&mut self) -> Result<()> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let process = java_with(self.heap, &self.java, "kafka.Kafka")
            .arg(self.properties())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.process = Some(process);
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("kafka.log")
    }

    /// Ready is when a client gets metadata, not when the port is open.
    fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let bootstrap = servers([self.port].into_iter());
        loop {
            if let Some(process) = &mut self.process
                && let Some(status) = process.try_wait()?
            {
                bail!(
                    "Kafka ended with {status}: {}",
                    fs::read_to_string(self.log_path())?
                );
            }
            if answers(&bootstrap) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "Kafka is not ready after {PATIENCE:?}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("failed to stop Kafka at {}: {error}", self.bootstrap());
        }
    }
}

fn servers(ports: impl Iterator<Item = u16>) -> String {
    let servers: Vec<_> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
    servers.join(",")
}

/// The repository's root.
fn root() -> &'static Path {
    let mut folders = Path::new(PACKAGE).ancestors();
    let root = folders.find(|folder| folder.join("tests/kafka/fetch.sh").is_file());
    root.expect("tests/kafka/fetch.sh is in the repository")
}

/// Where `tests/kafka/fetch.sh` put the jars.
pub fn libs() -> PathBuf {
    root().join(".kafka/libs")
}

/// `java` with Kafka on its class path, ready for arguments.
pub fn java(class: &str) -> Command {
    java_with(512, &[], class)
}

/// The same with so many megabytes of heap at most, and other options.
pub fn java_with(heap: u32, options: &[String], class: &str) -> Command {
    let mut command = Command::new("java");
    let log4j = root().join("tests/kafka/log4j2.properties");
    command
        .args(["-Xms128m", "-XX:+UseSerialGC"])
        .arg(format!("-Xmx{heap}m"))
        .arg(format!("-Dlog4j2.configurationFile={}", log4j.display()))
        .args(options)
        .arg("-cp")
        .arg(libs().join("*"))
        .arg(class)
        .stdin(Stdio::null());
    command
}

/// What an independent Java consumer reads from `topics`: lines of topic, partition, offset, digest.
pub fn dump(bootstrap: &str, topics: &[String]) -> Result<String> {
    let source = root().join("tests/kafka/Dump.java");
    let output = java(source.to_str().context("path is UTF-8")?)
        .arg(bootstrap)
        .args(topics)
        .output()?;
    std::io::stderr().write_all(&output.stderr)?;
    ensure!(
        output.status.success(),
        "Dump.java ended with {}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether a client gets metadata from `bootstrap`.
pub fn answers(bootstrap: &str) -> bool {
    let servers = bootstrap.split(',').map(|server| {
        let (host, port) = server.rsplit_once(':')?;
        Some((host.to_owned(), port.parse().ok()?))
    });
    let Some(servers) = servers.collect::<Option<Vec<(String, u16)>>>() else {
        return false;
    };
    let patience = Duration::from_secs(3);
    let settings = ClientSettings {
        connect_timeout: patience,
        request_timeout: patience,
        retry_for: patience,
        ..ClientSettings::new(servers, "tests")
    };
    let ask = async {
        let client = Client::new(Host::real(), settings);
        let cluster = client.describe_cluster().await;
        cluster.is_ok_and(|cluster| cluster.controller.is_some())
    };
    let ask = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.is_ok_and(|runtime| runtime.block_on(ask))
    };
    // Made, used and dropped on a thread of its own, since the caller may be in a runtime already.
    std::thread::spawn(ask).join().unwrap_or(false)
}

/// A port that was free a moment ago, below those that Linux gives to connections: whoever connects somewhere
/// meanwhile does not take it. Processes that run side by side begin at different ones.
pub fn free_port() -> Result<u16> {
    const PORTS: std::ops::Range<u32> = 10_000..32_768;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(101);
    for _ in PORTS {
        let next = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.start + next % PORTS.len() as u32)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}

fn server_properties(index: usize, nodes: &[Node], extra: &Extra<'_>) -> String {
    let (node, more) = (&nodes[index], extra.settings);
    let mut listeners: String = extra
        .listeners
        .iter()
        .map(|(name, port)| format!(",{name}://127.0.0.1:{port}"))
        .collect();
    let mut told = listeners.clone();
    if let Some(detour) = node.detour {
        listeners += &format!(",DETOUR://127.0.0.1:{}", detour.real);
        told += &format!(",DETOUR://127.0.0.1:{}", detour.told);
    }
    let voters: Vec<_> = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| format!("{}@127.0.0.1:{}", index + 1, node.controller))
        .collect();
    let replicas = nodes.len().min(3);
    let in_sync = replicas.div_ceil(2);
    // A broker that does not show itself is given up soon, so that there is much to see in a short time.
    let several = if nodes.len() > 1 {
        "broker.session.timeout.ms=6000\nbroker.heartbeat.interval.ms=1000"
    } else {
        ""
    };
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{told}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DETOUR:PLAINTEXT,LOGIN:SASL_SSL,CERTIFICATE:SSL,PASSWORD:SASL_PLAINTEXT,TOKEN:SASL_PLAINTEXT
log.dirs={data}
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=1
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.cleaner.threads=1
log.cleaner.backoff.ms=1000
log.cleaner.dedupe.buffer.size=4194304
{several}
{more}
",
        id = index + 1,
        voters = voters.join(","),
        port = node.port,
        controller = node.controller,
        data = node.folder.join("data").display()
    )
}
