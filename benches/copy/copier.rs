//! The programs that are compared, and how each is started.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::Result;

use super::{
    kafka::{free_port, libs},
    workload::{TOPIC, Workload},
};

/// A program that copies topics.
#[derive(Clone, Copy, Debug)]
pub enum Copier {
    /// This repository's program with its defaults.
    Strait,
    /// MirrorMaker 2, tuned.
    MirrorMaker,
}

impl Copier {
    /// For the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strait => "strait",
            Self::MirrorMaker => "MirrorMaker 2",
        }
    }

    /// The topic it writes.
    pub fn target_topic(self) -> String {
        match self {
            Self::Strait => TOPIC.to_owned(),
            Self::MirrorMaker => format!("A.{TOPIC}"),
        }
    }

    /// Starts copying from `source` to `target`.
    pub fn start(
        self,
        folder: &Path,
        source: &str,
        target: &str,
        workload: &Workload,
    ) -> Result<Child> {
        let log = fs::File::create(folder.join("copier.log"))?;
        let mut command = match self {
            Self::Strait => strait(folder, source, target)?,
            Self::MirrorMaker => mirror_maker(folder, source, target, &workload.codec)?,
        };
        let command = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command.spawn()?)
    }
}

fn strait(folder: &Path, source: &str, target: &str) -> Result<Command> {
    let file = folder.join("strait.toml");
    let text = format!(
        "[clusters.A]\nbootstrap.servers = \"{source}\"\n\
         [clusters.B]\nbootstrap.servers = \"{target}\"\n\
         [http]\nlisten = \"127.0.0.1:{}\"\n\
         [[flows]]\nsource = \"A\"\ntarget = \"B\"\ntopics = [\"{TOPIC}\"]\n",
        free_port()?
    );
    fs::write(&file, text)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command.arg("run").arg(file);
    Ok(command)
}

/// Larger fetches and batches, no limit on socket buffers, as many tasks as help on two cores, and a
/// heap with which it does not run out of memory.
fn mirror_maker(folder: &Path, source: &str, target: &str, codec: &str) -> Result<Command> {
    let file = folder.join("mm2.properties");
    let text = format!(
        "clusters = A, B
A.bootstrap.servers = {source}
B.bootstrap.servers = {target}
A->B.enabled = true
A->B.topics = {TOPIC}
B->A.enabled = false
B->A.emit.heartbeats.enabled = false
tasks.max = 4
replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset-syncs.topic.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
config.storage.replication.factor = 1
A.consumer.receive.buffer.bytes = -1
A.consumer.max.poll.records = 2000
A.consumer.fetch.max.bytes = 52428800
A.consumer.max.partition.fetch.bytes = 4194304
B.producer.batch.size = 524288
B.producer.linger.ms = 20
B.producer.buffer.memory = 134217728
B.producer.compression.type = {codec}
"
    );
    fs::write(&file, text)?;
    let mut command = Command::new("java");
    command
        .args(["-Xms512m", "-Xmx3g", "-cp"])
        .arg(libs().join("*"))
        .arg("org.apache.kafka.connect.mirror.MirrorMaker")
        .arg(file);
    Ok(command)
}
