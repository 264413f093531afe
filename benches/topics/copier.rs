//! strait or MirrorMaker 2 as a process, with its defaults.

use std::{
    fmt, fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::kafka::{free_port, libs};

/// Between two looks at what a process has used: the last one before it ends counts.
const LOOK: Duration = Duration::from_millis(20);

/// One that copies; killed by drop.
pub struct Copier {
    name: &'static str,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// Seconds.
    pub cpu: f64,
    /// Bytes that are resident.
    pub memory: u64,
    /// The most of it so far.
    pub peak: u64,
}

impl Measured {
    /// Of the process with this number; proc(5).
    pub fn of(id: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let field = |name| -> Result<u64> {
            let line = status.lines().find(|line| line.starts_with(name));
            let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
            Ok(kilobytes.context("status")?.parse::<u64>()? * 1024)
        };
        Ok(Self {
            cpu: ticks.iter().sum::<f64>() / 100.0,
            memory: field("VmRSS")?,
            peak: field("VmHWM")?,
        })
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, memory, peak } = self;
        let (memory, peak) = (memory >> 20, peak >> 20);
        write!(f, "{cpu:.1} CPU seconds, {memory} MiB, at most {peak} MiB")
    }
}

impl Copier {
    pub fn new(name: &str, [source, target]: [String; 2]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (name, file, text) = match name {
            "strait" => ("strait", "strait.toml", strait([&source, &target])?),
            "mirrormaker" => (
                "mirrormaker",
                "mm2.properties",
                mirror_maker([&source, &target]),
            ),
            other => bail!("{other} is no copier"),
        };
        fs::write(folder.path().join(file), text)?;
        Ok(Self {
            name,
            folder,
            child: None,
        })
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What a topic is called on the target.
    pub fn target(&self, topic: &str) -> String {
        let topic = match topic.starts_with("t-") {
            true => topic.to_owned(),
            false => format!("t-{topic}"),
        };
        match self.name {
            "strait" => topic,
            _ => format!("A.{topic}"),
        }
    }

    pub fn is_copy(&self, topic: &str) -> bool {
        topic.starts_with(&self.target("t-"))
    }

    /// Plans only, if it can: what that costs and how much it prints.
    pub fn plan(&self) -> Result<Option<String>> {
        if self.name != "strait" {
            return Ok(None);
        }
        let (begun, path) = (Instant::now(), self.folder.path().join("plan"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_strait"))
            .arg("check")
            .arg(self.folder.path().join("strait.toml"))
            .stdin(Stdio::null())
            .stdout(fs::File::create(&path)?)
            .spawn()?;
        let mut used = Measured::default();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            // One that has just ended tells nothing any more.
            used = Measured::of(child.id()).unwrap_or(used);
            std::thread::sleep(LOOK);
        };
        ensure!(status.success(), "check ended with {status}");
        let lines = fs::read_to_string(path)?.lines().count();
        Ok(Some(format!(
            "{:.1?}, {used}, {lines} lines",
            begun.elapsed()
        )))
    }

    pub fn start(&mut self) -> Result<()> {
        let log = fs::File::create(self.folder.path().join("log"))?;
        let mut command = match self.name {
            "strait" => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
                command
                    .arg("run")
                    .arg(self.folder.path().join("strait.toml"));
                command
            }
            _ => {
                let mut command = Command::new("java");
                command
                    .args(["-Xms256m", "-Xmx3g", "-cp"])
                    .arg(libs().join("*"))
                    .arg("org.apache.kafka.connect.mirror.MirrorMaker")
                    .arg(self.folder.path().join("mm2.properties"));
                command
            }
        };
        let command = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    pub fn measure(&self) -> Result<Measured> {
        Measured::of(self.child.as_ref().context("it does not run")?.id())
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let ended = child.kill().and_then(|()| child.wait());
            if let Err(error) = ended {
                eprintln!("failed to stop {}: {error}", self.name);
            }
        }
    }
}

fn strait([source, target]: [&str; 2]) -> Result<String> {
    Ok(format!(
        "[clusters.A]\nbootstrap.servers = \"{source}\"\n\
         [clusters.B]\nbootstrap.servers = \"{target}\"\n\
         [http]\nlisten = \"127.0.0.1:{}\"\n\
         [[flows]]\nsource = \"A\"\ntarget = \"B\"\ntopics = [\"t-.*\"]\n",
        free_port()?
    ))
}

/// Its defaults, save for replication factors, which one node cannot give.
fn mirror_maker([source, target]: [&str; 2]) -> String {
    let factors = [
        "",
        "checkpoints.topic.",
        "heartbeats.topic.",
        "offset-syncs.topic.",
        "offset.storage.",
        "status.storage.",
        "config.storage.",
    ];
    let factors: String = factors
        .map(|of| format!("{of}replication.factor = 1\n"))
        .concat();
    format!(
        "clusters = A, B\nA.bootstrap.servers = {source}\nB.bootstrap.servers = {target}\n\
         A->B.enabled = true\nA->B.topics = t-.*\nB->A.enabled = false\n\
         B->A.emit.heartbeats.enabled = false\n{factors}"
    )
}
