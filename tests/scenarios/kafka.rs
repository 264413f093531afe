//! Apache Kafka in its own process: one node, broker and controller, from Maven jars.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use host::Host;
use wire::client::{Client, ClientSettings};

/// The folder of the package that these tests belong to: the repository's root, or one of its folders.
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// What a node has beyond the usual.
#[derive(Debug, Default)]
pub struct Extra<'a> {
    /// Further listeners, name and port.
    pub listeners: &'a [(&'a str, u16)],
    /// Lines of the node's properties.
    pub settings: &'a str,
    /// Users that log in by SCRAM, as `StorageTool --add-scram` wants them.
    pub users: &'a [&'a str],
}

/// A running node; stopped by drop.
#[derive(Debug)]
pub struct Kafka {
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

impl Kafka {
    /// Formats a folder and starts a node on a free port.
    pub fn start(extra: &Extra<'_>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (port, controller) = (free_port()?, free_port()?);
        let properties = folder.path().join("server.properties");
        fs::write(
            &properties,
            server_properties(port, controller, &folder.path().join("data"), extra),
        )?;
        let id = "c3RyYWl0LXRlc3QtY2x1cw";
        // Two clusters must not have one id: strait refuses to copy a cluster into itself.
        let id = format!("{}{:05}", &id[..17], port);
        let format = java("kafka.tools.StorageTool")
            .args(["format", "-t", &id, "-c"])
            .arg(&properties)
            .args(extra.users.iter().flat_map(|user| ["--add-scram", user]))
            .output()
            .context("run java; the Kafka pairs need Java 17")?;
        ensure!(
            format.status.success(),
            "format: {}",
            String::from_utf8_lossy(&format.stderr)
        );
        let mut kafka = Self {
            folder,
            port,
            process: None,
        };
        kafka.resume()?;
        Ok(kafka)
    }

    /// Starts the node again on its port and data.
    pub fn resume(&mut self) -> Result<()> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let process = java("kafka.Kafka")
            .arg(self.folder.path().join("server.properties"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.process = Some(process);
        self.await_ready()
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// `HOST:PORT` for clients.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("kafka.log")
    }

    /// Ready is when a client gets metadata, not when the port is open.
    fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(90);
        let bootstrap = self.bootstrap();
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
            ensure!(Instant::now() < deadline, "Kafka is not ready after 90 s");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("failed to stop Kafka on port {}: {error}", self.port);
        }
    }
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
    let mut command = Command::new("java");
    let log4j = root().join("tests/kafka/log4j2.properties");
    command
        .args(["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC"])
        .arg(format!("-Dlog4j2.configurationFile={}", log4j.display()))
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
    let Some((host, Ok(port))) = bootstrap
        .rsplit_once(':')
        .map(|(host, port)| (host, port.parse()))
    else {
        return false;
    };
    let patience = Duration::from_secs(1);
    let settings = ClientSettings {
        connect_timeout: patience,
        request_timeout: patience,
        retry_for: patience,
        ..ClientSettings::new(vec![(host.to_owned(), port)], "tests")
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

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn server_properties(port: u16, controller: u16, data: &Path, extra: &Extra<'_>) -> String {
    let more = extra.settings;
    let listeners: String = extra
        .listeners
        .iter()
        .map(|(name, port)| format!(",{name}://127.0.0.1:{port}"))
        .collect();
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{listeners}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_SSL,CERTIFICATE:SSL
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=4194304
{more}
",
        data = data.display()
    )
}
