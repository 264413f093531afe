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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copier {
    /// This repository's program with its defaults: sealed batches.
    Strait,
    /// The same over librdkafka on both sides, as for clusters that the wire client does not speak to.
    Librdkafka,
    /// MirrorMaker 2, tuned.
    MirrorMaker,
}

impl Copier {
    /// For the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strait => "strait",
            Self::Librdkafka => "strait, librdkafka",
            Self::MirrorMaker => "MirrorMaker 2",
        }
    }

    /// The topic it writes.
    pub fn target_topic(self) -> String {
        match self {
            Self::Strait | Self::Librdkafka => TOPIC.to_owned(),
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
            Self::Strait => strait(folder, [source, target], "wire", workload)?,
            Self::Librdkafka => strait(folder, [source, target], "librdkafka", workload)?,
            Self::MirrorMaker => mirror_maker(folder, [source, target], workload)?,
        };
        let command = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command.spawn()?)
    }
}

fn strait(
    folder: &Path,
    [source, target]: [&str; 2],
    transport: &str,
    workload: &Workload,
) -> Result<Command> {
    let file = folder.join("strait.toml");
    let secured = workload.ca.as_ref().map_or_else(String::new, |ca| {
        format!(
            "security.protocol = \"SSL\"\nssl.ca.location = \"{}\"\n",
            ca.display()
        )
    });
    let text = format!(
        "[clusters.A]\nbootstrap.servers = \"{source}\"\n{secured}\
         [clusters.B]\nbootstrap.servers = \"{target}\"\n{secured}\
         [http]\nlisten = \"127.0.0.1:{}\"\n\
         [[flows]]\nsource = \"A\"\ntarget = \"B\"\ntopics = [\"{TOPIC}\"]\ntransport = \"{transport}\"\n",
        free_port()?
    );
    fs::write(&file, text)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command.arg("run").arg(file);
    Ok(command)
}

/// Larger fetches and batches, no limit on socket buffers, as many tasks as help on two cores, and a
/// heap with which it does not run out of memory.
fn mirror_maker(
    folder: &Path,
    [source, target]: [&str; 2],
    workload: &Workload,
) -> Result<Command> {
    let file = folder.join("mm2.properties");
    let secured = workload.ca.as_ref().map_or_else(String::new, |ca| {
        let of = |side| {
            format!(
                "{side}.security.protocol = SSL\n{side}.ssl.truststore.type = PEM\n\
                 {side}.ssl.truststore.location = {}\n",
                ca.display()
            )
        };
        of("A") + &of("B")
    });
    let codec = &workload.codec;
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
{secured}"
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
