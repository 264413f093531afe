//! The command line: one file per subcommand, each prints and decides nothing.

mod check;
mod checkpoint;
mod demo;
mod export_mm2;
mod flow_text;
mod groups;
mod import_mm2;
mod run;
mod status;
mod table;
mod takeover;
mod verify;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use host::Host;
use strait::{
    app::AppError,
    config::{Config, ConfigError, Sources},
    flow::adjust::AdjustError,
    mm2::import::ImportError,
    telemetry::logs::{self, LogError},
};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed while running
  2  bad usage or configuration
  3  fenced: another process has its name, or runs its flow beside it
  4  a difference was found, or not ready";

const FIRST_STEPS: &str = "\
Start here:
  strait check strait.toml     what would be replicated, and what is missing
  strait run strait.toml       replicate until SIGTERM or SIGINT
  strait status strait.toml    how far it is
  strait verify strait.toml    compare both sides, record by record
  strait checkpoint --help     where partitions go on, and how to change it
  strait groups --help         consumer groups that moved over
  strait import-mm2 --help     a strait.toml from MirrorMaker 2's configuration, and going on where it stopped
  strait export-mm2 --help     and the way back

A first strait.toml:
  [clusters.east]
  bootstrap.servers = \"127.0.0.1:19092\"
  [clusters.west]
  bootstrap.servers = \"127.0.0.1:29092\"
  [[flows]]
  source = \"east\"
  target = \"west\"
  topics = [\"orders\", \"payments\\\\..*\"]

config/reference.toml lists every key.";

/// Copies Kafka topics from one cluster to another, keeps every partition's order, and resumes
/// where it stopped.
#[derive(Debug, Parser)]
#[command(name = "strait", version, after_help = EXIT_CODES)]
#[command(after_long_help = format!("{FIRST_STEPS}\n\n{EXIT_CODES}"))]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Which log lines to show: a level (error, warn, info, debug, trace), also per target, as in
    /// "info,librdkafka=debug". Without it RUST_LOG is taken, else "info".
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,

    /// The form of log lines. They go to standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Check(check::Arguments),
    Status(status::Arguments),
    Verify(verify::Arguments),
    Checkpoint(checkpoint::Arguments),
    Groups(groups::Arguments),
    Demo(demo::Arguments),
    #[command(name = "import-mm2")]
    ImportMm2(import_mm2::Arguments),
    #[command(name = "export-mm2")]
    ExportMm2(export_mm2::Arguments),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The configuration file of a command.
#[derive(Debug, Args)]
struct ConfigFile {
    /// Configuration file (TOML).
    #[arg(value_name = "FILE")]
    path: PathBuf,
}

/// How a command ended, besides failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It did what was asked.
    Done,
    /// It found a difference, or what it looked at is not ready.
    Different,
}

/// Does what the command line asks for.
pub(crate) async fn main(cli: Cli) -> ExitCode {
    let result = dispatch(cli).await;
    let code = match &result {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Different) => 4,
        Err(error) => exit_code(error),
    };
    if let Err(error) = result {
        eprintln!("strait: {error:#}");
    }
    ExitCode::from(code)
}

async fn dispatch(cli: Cli) -> anyhow::Result<Outcome> {
    let variable = std::env::var("RUST_LOG").ok();
    let format = match cli.log_format {
        LogFormat::Text => logs::Format::Text,
        LogFormat::Json => logs::Format::Json,
    };
    logs::init(cli.log.or(variable).as_deref(), format)?;
    let host = Host::real();
    match cli.command {
        Command::Run(arguments) => run::run(&host, arguments).await,
        Command::Check(arguments) => check::run(&host, arguments).await,
        Command::Status(arguments) => status::run(&host, arguments).await,
        Command::Verify(arguments) => verify::run(&host, arguments).await,
        Command::Checkpoint(arguments) => checkpoint::run(&host, arguments).await,
        Command::Groups(arguments) => groups::run(&host, arguments).await,
        Command::Demo(arguments) => demo::run(&host, arguments).await,
        Command::ImportMm2(arguments) => import_mm2::run(&host, arguments).await,
        Command::ExportMm2(arguments) => export_mm2::run(&host, arguments).await,
    }
}

/// By the class of the error, wherever in the chain it is.
fn exit_code(error: &anyhow::Error) -> u8 {
    let known = error.chain().find_map(|cause| {
        let usage = cause.is::<verify::UnknownFlow>() || cause.is::<checkpoint::NoFlow>();
        let refused = cause.is::<import_mm2::Refused>() || cause.is::<ImportError>();
        if usage || refused || cause.is::<ConfigError>() || cause.is::<LogError>() {
            return Some(2);
        }
        if let Some(error) = cause.downcast_ref::<AdjustError>() {
            return Some(match error {
                AdjustError::Unknown(_) => 2,
                AdjustError::Refused(_) => 4,
                AdjustError::Unavailable(_) => 1,
            });
        }
        cause.downcast_ref::<AppError>().map(AppError::exit_code)
    });
    known.unwrap_or(1)
}

impl ConfigFile {
    /// Reads the file with the process's environment.
    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.path, &Sources::process())
    }
}

/// Writes a result to standard output. A reader that has seen enough is no failure.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes a result as one JSON object.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(print(&text)?)
}

#[cfg(test)]
mod tests;
