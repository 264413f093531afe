//! The `strait` program with a file of its own.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// A folder with `strait.toml` and what it refers to.
#[derive(Debug)]
pub struct Strait {
    folder: tempfile::TempDir,
    process: Option<Child>,
}

impl Strait {
    /// A flow from `east` to `west`, given by their properties; `flow` are lines of its own. `{folder}` in them
    /// is the strait's folder.
    pub fn new(east: &str, west: &str, flow: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let text = format!(
            "[clusters.east]\n{east}\n[clusters.west]\n{west}\n[http]\nlisten = \"\"\n\
             [[flows]]\nsource = \"east\"\ntarget = \"west\"\n{flow}\n"
        );
        let text = text.replace("{folder}", &folder.path().display().to_string());
        fs::write(folder.path().join("strait.toml"), text)?;
        Ok(Self {
            folder,
            process: None,
        })
    }

    /// Writes a file beside `strait.toml`.
    pub fn put(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.folder.path().join(name), text)?)
    }

    /// The configuration file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("strait.toml")
    }

    /// A subcommand: its exit code and what it printed.
    pub fn call(&self, subcommand: &str) -> Result<(i32, String)> {
        self.call_with(&[subcommand])
    }

    /// The same of several words.
    pub fn call_with(&self, words: &[&str]) -> Result<(i32, String)> {
        let output = self.command(words).output()?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok((output.status.code().unwrap_or(-1), text))
    }

    /// `strait run`.
    pub fn run(&mut self) -> Result<()> {
        let log = fs::File::create(self.folder.path().join("log"))?;
        let mut command = self.command(&["run"]);
        command.stdout(log.try_clone()?).stderr(log);
        self.process = Some(command.spawn()?);
        Ok(())
    }

    /// What `strait run` logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// SIGTERM; it must end well.
    pub fn terminate(&mut self) -> Result<()> {
        let mut process = self.process.take().context("strait does not run")?;
        kill_process(Pid::from_child(&process), Signal::TERM)?;
        let status = process.wait()?;
        ensure!(
            status.success(),
            "strait ended with {status}:\n{}",
            self.log()
        );
        Ok(())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
        command.args(words).arg(self.file()).stdin(Stdio::null());
        command
    }
}

impl Drop for Strait {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take()
            && let Err(error) = process.kill().and_then(|()| process.wait())
        {
            eprintln!("failed to stop strait: {error}");
        }
    }
}

/// Until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition()? {
        ensure!(Instant::now() < end, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
