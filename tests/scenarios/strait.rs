//! The `strait` program as an operator runs it: a file, a process, signals.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{kafka::free_port, side::Side};

/// One flow's file and, while it runs, its process.
#[derive(Debug)]
pub struct Strait {
    folder: tempfile::TempDir,
    http: u16,
    process: Option<Child>,
}

impl Strait {
    /// Writes the file: a flow from `source` to `target`, with `flow` added to its table.
    pub fn new(source: &Side, target: &Side, flow: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let http = free_port()?;
        // Over the default transport, unless the whole run is about another one.
        let transport = std::env::var("STRAIT_TEST_TRANSPORT");
        let transport = transport.map(|name| format!("transport = \"{name}\"\n"));
        let transport = transport.unwrap_or_default();
        let text = format!(
            "[clusters.east]\nbootstrap.servers = \"{}\"\n\
             [clusters.west]\nbootstrap.servers = \"{}\"\n\
             [http]\nlisten = \"127.0.0.1:{http}\"\n\
             [[flows]]\nsource = \"east\"\ntarget = \"west\"\n{transport}{flow}\n",
            source.bootstrap(),
            target.bootstrap(),
        );
        fs::write(folder.path().join("strait.toml"), text)?;
        Ok(Self {
            folder,
            http,
            process: None,
        })
    }

    /// Sets `[limits] memory`.
    pub fn limit_memory(&self, memory: &str) -> Result<()> {
        self.edit(|text| format!("[limits]\nmemory = \"{memory}\"\n{text}"))
    }

    /// Changes the file; a running process has read it already.
    pub fn edit(&self, change: impl FnOnce(String) -> String) -> Result<()> {
        let path = self.folder.path().join("strait.toml");
        fs::write(&path, change(fs::read_to_string(&path)?))?;
        Ok(())
    }

    /// `strait run`.
    pub fn run(&mut self) -> Result<()> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let process = self
            .command(&["run"])
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start strait")?;
        self.process = Some(process);
        Ok(())
    }

    /// Any other subcommand on the same file: its exit code and what it printed.
    pub fn call(&self, arguments: &[&str]) -> Result<(i32, String)> {
        Ok(told(&self.command(arguments).output()?))
    }

    /// `strait checkpoint` with this action and what follows it: its exit code and what it printed.
    pub fn checkpoint(&self, arguments: &[&str]) -> Result<(i32, String)> {
        self.act("checkpoint", arguments)
    }

    /// The same of `strait groups`.
    pub fn groups(&self, arguments: &[&str]) -> Result<(i32, String)> {
        self.act("groups", arguments)
    }

    /// A whole line, as an operator types it; the name of its file stands for this one's.
    pub fn line(&self, line: &str) -> Result<(i32, String)> {
        let mut words = line.split_whitespace();
        ensure!(words.next() == Some("strait"), "{line}");
        let path = self.folder.path().join("strait.toml");
        let words = words.map(|word| match word.ends_with(".toml") {
            true => path.as_os_str(),
            false => word.as_ref(),
        });
        let output = Command::new(env!("CARGO_BIN_EXE_strait"))
            .args(words)
            .stdin(Stdio::null())
            .output()?;
        Ok(told(&output))
    }

    fn act(&self, command: &str, arguments: &[&str]) -> Result<(i32, String)> {
        let (action, rest) = arguments.split_first().context("an action")?;
        let output = Command::new(env!("CARGO_BIN_EXE_strait"))
            .args([command, action])
            .arg(self.folder.path().join("strait.toml"))
            .args(rest)
            .output()?;
        Ok(told(&output))
    }

    /// Where the running process answers.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// `strait status --json`, asked of the running process.
    pub fn status_by_url(&self) -> Result<String> {
        let url = format!("http://127.0.0.1:{}", self.http);
        let output = Command::new(env!("CARGO_BIN_EXE_strait"))
            .args(["status", "--json", "--url", &url])
            .output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Any signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref().context("strait does not run")?;
        Ok(kill_process(Pid::from_child(process), signal)?)
    }

    /// SIGTERM, as systemd and Kubernetes do; the exit status.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().context("strait does not run")?;
        kill_process(Pid::from_child(&process), Signal::TERM)?;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = process.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                process.kill()?;
                process.wait()?;
                ensure!(false, "strait did not stop within 30 s:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether the process is there.
    pub fn is_running(&mut self) -> Result<bool> {
        match &mut self.process {
            None => Ok(false),
            Some(process) => Ok(process.try_wait()?.is_none()),
        }
    }

    /// The exit code of a process that ended by itself.
    pub fn exit_code(&mut self) -> Result<i32> {
        let process = self.process.as_mut().context("strait does not run")?;
        let status = process.try_wait()?.context("strait still runs")?;
        Ok(status.code().unwrap_or(-1))
    }

    /// Peak resident memory of the running process in bytes (`VmHWM`).
    pub fn peak_memory(&self) -> Result<u64> {
        let process = self.process.as_ref().context("strait does not run")?;
        let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
        let line = status
            .lines()
            .find(|l| l.starts_with("VmHWM:"))
            .context("VmHWM")?;
        let kilobytes: u64 = line.split_whitespace().nth(1).context("VmHWM")?.parse()?;
        Ok(kilobytes * 1024)
    }

    /// GET from the running process: the status code and the body.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: strait\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        let code = head
            .split_whitespace()
            .nth(1)
            .context("no HTTP status")?
            .parse()?;
        Ok((code, body.to_owned()))
    }

    /// What it logged so far, over all its runs.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Leaves the file and the log where they are, for whoever looks into a failure, and says where.
    pub fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
        let (subcommand, rest) = arguments.split_first().expect("a subcommand");
        command
            .arg(subcommand)
            .arg(self.folder.path().join("strait.toml"))
            .args(rest)
            .stdin(Stdio::null());
        command
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("strait.log")
    }
}

impl Drop for Strait {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("failed to stop strait: {error}");
        }
    }
}

/// Exit code, and all that was printed.
fn told(output: &Output) -> (i32, String) {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), text)
}
