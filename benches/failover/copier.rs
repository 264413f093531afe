//! The programs that are compared: strait, and MirrorMaker 2 with its defaults and with the best that it can be set to.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Result, bail};

use super::kafka::{free_port, java_with};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copier {
    /// This repository's program with its defaults.
    Strait,
    /// Offsets of groups are synced, at its own intervals.
    MirrorMaker,
    /// With `offset.lag.max` 0, and every interval a second.
    MirrorMakerBest,
}

impl Copier {
    pub fn named(name: &str) -> Result<Self> {
        Ok(match name.trim() {
            "strait" => Self::Strait,
            "mirrormaker" => Self::MirrorMaker,
            "mirrormaker-best" => Self::MirrorMakerBest,
            other => bail!("COPIERS: no {other:?}"),
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Strait => "strait",
            Self::MirrorMaker => "MirrorMaker 2",
            Self::MirrorMakerBest => "MirrorMaker 2, best",
        }
    }

    /// When offsets that did not change for so long do not change any more: positions, checkpoints and offsets of groups are written
    /// one after the other, by MirrorMaker 2 once a minute each.
    pub fn settles_within(self) -> Duration {
        Duration::from_secs(match self {
            Self::Strait | Self::MirrorMakerBest => 30,
            Self::MirrorMaker => 200,
        })
    }

    /// Starts copying everything under its own name.
    pub fn start(self, folder: &Path, clusters: [&str; 2], topics: &[&str]) -> Result<Child> {
        let log = fs::File::create(folder.join("copier.log"))?;
        let mut command = match self {
            Self::Strait => strait(folder, clusters, topics)?,
            Self::MirrorMaker => mirror_maker(folder, clusters, topics, "")?,
            Self::MirrorMakerBest => mirror_maker(folder, clusters, topics, BEST)?,
        };
        let command = command.stdin(Stdio::null());
        let command = command.stdout(log.try_clone()?).stderr(log);
        Ok(command.spawn()?)
    }
}

const BEST: &str = "offset.lag.max = 0
refresh.groups.interval.seconds = 1
emit.checkpoints.interval.seconds = 1
sync.group.offsets.interval.seconds = 1
B.offset.flush.interval.ms = 1000
";

fn strait(folder: &Path, [source, target]: [&str; 2], topics: &[&str]) -> Result<Command> {
    let file = folder.join("strait.toml");
    let text = format!(
        "[clusters.A]\nbootstrap.servers = \"{source}\"\n\
         [clusters.B]\nbootstrap.servers = \"{target}\"\n\
         [http]\nlisten = \"127.0.0.1:{}\"\n\
         [[flows]]\nsource = \"A\"\ntarget = \"B\"\ntopics = {topics:?}\n",
        free_port()?
    );
    fs::write(&file, text)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command.arg("run").arg(file);
    Ok(command)
}

/// Kept names, committed records only, and what lets it copy fast.
fn mirror_maker(
    folder: &Path,
    [source, target]: [&str; 2],
    topics: &[&str],
    more: &str,
) -> Result<Command> {
    let file = folder.join("mm2.properties");
    let topics = topics.join(",");
    let text = format!(
        "clusters = A, B
A.bootstrap.servers = {source}
B.bootstrap.servers = {target}
A->B.enabled = true
A->B.topics = {topics}
B->A.enabled = false
B->A.emit.heartbeats.enabled = false
replication.policy.class = org.apache.kafka.connect.mirror.IdentityReplicationPolicy
sync.group.offsets.enabled = true
sync.topic.acls.enabled = false
tasks.max = 4
replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset-syncs.topic.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
config.storage.replication.factor = 1
A.consumer.isolation.level = read_committed
A.consumer.receive.buffer.bytes = -1
A.consumer.max.poll.records = 2000
B.producer.batch.size = 524288
B.producer.linger.ms = 20
{more}"
    );
    fs::write(&file, text)?;
    let mut command = java_with(2048, &[], "org.apache.kafka.connect.mirror.MirrorMaker");
    command.arg(file);
    Ok(command)
}
