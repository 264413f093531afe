//! The programs that are compared, each started anew for every row.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use super::kafka::{free_port, libs};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copier {
    /// This repository's program with its defaults.
    Strait,
    /// MirrorMaker 2, tuned for throughput.
    MirrorMaker,
}

impl Copier {
    pub fn name(self) -> &'static str {
        match self {
            Self::Strait => "strait",
            Self::MirrorMaker => "MirrorMaker 2",
        }
    }

    /// Starts copying `topic` to `RUN.topic`.
    pub fn start(
        self,
        folder: &Path,
        run: &str,
        topic: &str,
        clusters: [&str; 2],
    ) -> Result<Child> {
        let log = fs::File::create(folder.join("copier.log"))?;
        let mut command = match self {
            Self::Strait => strait(folder, run, topic, clusters)?,
            Self::MirrorMaker => mirror_maker(folder, run, topic, clusters)?,
        };
        let command = command.stdin(Stdio::null());
        let command = command.stdout(log.try_clone()?).stderr(log);
        Ok(command.spawn()?)
    }
}

fn strait(folder: &Path, run: &str, topic: &str, [source, target]: [&str; 2]) -> Result<Command> {
    let file = folder.join("strait.toml");
    let text = format!(
        "[clusters.A]\nbootstrap.servers = \"{source}\"\n\
         [clusters.B]\nbootstrap.servers = \"{target}\"\n\
         [http]\nlisten = \"127.0.0.1:{}\"\n\
         [[flows]]\nname = \"{run}\"\nsource = \"A\"\ntarget = \"B\"\ntopics = [\"{topic}\"]\n\
         naming = \"{run}.{{topic}}\"\n",
        free_port()?
    );
    fs::write(&file, text)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command.arg("run").arg(file);
    Ok(command)
}

/// Larger fetches and batches, no limit on socket buffers, and a heap with which it does not run out of memory.
fn mirror_maker(
    folder: &Path,
    run: &str,
    topic: &str,
    [source, target]: [&str; 2],
) -> Result<Command> {
    let file = folder.join("mm2.properties");
    let text = format!(
        "clusters = {run}, B
{run}.bootstrap.servers = {source}
B.bootstrap.servers = {target}
{run}->B.enabled = true
{run}->B.topics = {topic}
B->{run}.enabled = false
B->{run}.emit.heartbeats.enabled = false
tasks.max = 4
replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset-syncs.topic.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
config.storage.replication.factor = 1
{run}.consumer.receive.buffer.bytes = -1
{run}.consumer.max.poll.records = 2000
{run}.consumer.fetch.max.bytes = 52428800
{run}.consumer.max.partition.fetch.bytes = 4194304
B.producer.send.buffer.bytes = -1
B.producer.batch.size = 524288
B.producer.linger.ms = 20
B.producer.buffer.memory = 134217728
"
    );
    fs::write(&file, text)?;
    let mut command = Command::new("java");
    command
        .args(["-Xms512m", "-Xmx2g", "-cp"])
        .arg(libs().join("*"))
        .arg("org.apache.kafka.connect.mirror.MirrorMaker")
        .arg(file);
    Ok(command)
}

/// What the process used: seconds of processor, and the most memory in bytes.
pub fn used(process: u32) -> Result<(f64, u64)> {
    // Fields 14 and 15 of /proc/PID/stat, counted behind the name in parentheses; proc(5).
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak
        .and_then(|line| line.split_whitespace().next())
        .context("VmHWM")?;
    Ok((ticks / 100.0, peak.parse::<u64>()? << 10))
}
