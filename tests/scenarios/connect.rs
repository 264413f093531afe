//! Kafka Connect as its operators run it in distributed mode: a worker's file, a process, and connectors over REST.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::Child,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{
    kafka::{free_port, java},
    side::Side,
};

/// How long the worker may take for one answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A worker: its file and, while it runs, its process.
#[derive(Debug)]
pub struct Worker {
    folder: tempfile::TempDir,
    rest: u16,
    process: Option<Child>,
}

impl Worker {
    /// On `cluster`, of this group; positions are written every three seconds instead of once a minute.
    pub fn new(cluster: &Side, group: &str, offsets_topic: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let rest = free_port()?;
        let text = format!(
            "bootstrap.servers = {}
group.id = {group}
offset.storage.topic = {offsets_topic}
config.storage.topic = {group}-configs
status.storage.topic = {group}-status
offset.storage.replication.factor = 1
config.storage.replication.factor = 1
status.storage.replication.factor = 1
key.converter = org.apache.kafka.connect.converters.ByteArrayConverter
value.converter = org.apache.kafka.connect.converters.ByteArrayConverter
header.converter = org.apache.kafka.connect.converters.ByteArrayConverter
listeners = http://127.0.0.1:{rest}
offset.flush.interval.ms = 3000
session.timeout.ms = 6000
heartbeat.interval.ms = 1500
scheduled.rebalance.max.delay.ms = 0
plugin.discovery = service_load
",
            cluster.bootstrap(),
        );
        fs::write(folder.path().join("worker.properties"), text)?;
        Ok(Self {
            folder,
            rest,
            process: None,
        })
    }

    /// `connect-distributed`.
    pub fn run(&mut self) -> Result<()> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let process = java("org.apache.kafka.connect.cli.ConnectDistributed")
            .arg(self.folder.path().join("worker.properties"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.process = Some(process);
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// What the worker answers over REST, which has to be a yes.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(("127.0.0.1", self.rest))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // Without chunks and without keeping the connection.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        let code = head.split_whitespace().nth(1).context("no HTTP status")?;
        ensure!(code.starts_with('2'), "{method} {path}: {head}\n{body}");
        match body.trim() {
            "" => Ok(Value::Null),
            body => Ok(serde_json::from_str(body)?),
        }
    }

    /// Whether the connector is in this state, with all its tasks.
    pub fn is(&self, connector: &str, state: &str) -> Result<()> {
        let told = self.ask("GET", &format!("/connectors/{connector}/status"), None)?;
        let tasks = told["tasks"].as_array().context("tasks")?;
        // One that is stopped has none.
        let has_tasks = tasks.is_empty() == (state == "STOPPED");
        if told["connector"]["state"] != state
            || !has_tasks
            || tasks.iter().any(|task| task["state"] != state)
        {
            bail!("not {state}: {told}");
        }
        Ok(())
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("connect.log")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("failed to stop Kafka Connect: {error}");
        }
    }
}
