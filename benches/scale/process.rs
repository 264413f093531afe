//! One process of the flow, and what the system says about it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use super::kafka::free_port;

/// What a process may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A process with a file and a folder of its own; killed by drop.
pub struct Process {
    folder: tempfile::TempDir,
    http: u16,
    child: Option<Child>,
}

impl Process {
    /// Of the flow `name` over the topics that begin with its name.
    pub fn new(name: &str, index: usize, [source, target]: &[String; 2]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let http = free_port()?;
        let text = format!(
            "[clusters.A]\nbootstrap.servers = \"{source}\"\n\
             [clusters.B]\nbootstrap.servers = \"{target}\"\n\
             [http]\nlisten = \"127.0.0.1:{http}\"\npartition_metrics = false\n\
             [[flows]]\nname = \"{name}\"\nsource = \"A\"\ntarget = \"B\"\ntopics = [\"{name}-.*\"]\n\
             instance = \"i{index}\"\n"
        );
        fs::write(folder.path().join("strait.toml"), text)?;
        Ok(Self {
            folder,
            http,
            child: None,
        })
    }

    /// `strait run`.
    pub fn start(&mut self) -> Result<()> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
        command
            .arg("run")
            .arg(self.folder.path().join("strait.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// How many partitions run here; 0 if it does not say.
    pub fn running(&self) -> usize {
        let name = "strait_workers{";
        let text = self.metrics().unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with(name));
        let running = lines.filter(|line| line.contains("state=\"running\""));
        running
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum::<f64>() as usize
    }

    fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: strait\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// CPU seconds so far: fields 14 and 15 of `/proc/PID/stat`, counted behind the name; proc(5).
    pub fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()?))?;
        let (_, fields) = stat.rsplit_once(')').context("stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum::<f64>() / 100.0)
    }

    /// A line of `/proc/PID/status` in bytes.
    pub fn memory(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()?))?;
        let line = status.lines().find(|line| line.starts_with(field));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(kilobytes.context("status")?.parse::<u64>()? * 1024)
    }

    fn id(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("it does not run")?.id())
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("strait.log")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("failed to stop strait: {error}");
        }
    }
}
