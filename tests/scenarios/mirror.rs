//! MirrorMaker 2 as its operators run it on its own: a file, a process, signals.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{kafka::java, side::Side};

/// Its configuration and, while it runs, its process.
#[derive(Debug)]
pub struct MirrorMaker {
    folder: tempfile::TempDir,
    process: Option<Child>,
}

impl MirrorMaker {
    /// From `source`, called `alias`, to `target`, under the names that topics have; positions are written every three
    /// seconds instead of once a minute.
    pub fn new(alias: &str, source: &Side, target: &Side, topics: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let text = format!(
            "clusters = {alias}, west
{alias}.bootstrap.servers = {}
west.bootstrap.servers = {}
{alias}->west.enabled = true
{alias}->west.topics = {topics}
west->{alias}.enabled = false
west->{alias}.emit.heartbeats.enabled = false
replication.policy.class = org.apache.kafka.connect.mirror.IdentityReplicationPolicy
tasks.max = 2
replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset-syncs.topic.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
config.storage.replication.factor = 1
sync.topic.acls.enabled = false
west.offset.flush.interval.ms = 3000
west.session.timeout.ms = 6000
west.heartbeat.interval.ms = 1500
west.scheduled.rebalance.max.delay.ms = 0
west.plugin.discovery = service_load
",
            source.bootstrap(),
            target.bootstrap(),
        );
        fs::write(folder.path().join("mm2.properties"), text)?;
        Ok(Self {
            folder,
            process: None,
        })
    }

    /// Starts it.
    pub fn run(&mut self) -> Result<()> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let process = java("org.apache.kafka.connect.mirror.MirrorMaker")
            .arg(self.folder.path().join("mm2.properties"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
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

    /// SIGTERM: it writes its positions and leaves its group.
    pub fn terminate(&mut self) -> Result<()> {
        let mut process = self.process.take().context("MirrorMaker 2 does not run")?;
        kill_process(Pid::from_child(&process), Signal::TERM)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while process.try_wait()?.is_none() {
            if Instant::now() > deadline {
                process.kill()?;
                process.wait()?;
                ensure!(
                    false,
                    "MirrorMaker 2 did not stop within 60 s:\n{}",
                    self.log()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("mm2.log")
    }
}

impl Drop for MirrorMaker {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("failed to stop MirrorMaker 2: {error}");
        }
    }
}
