//! `strait run`.

use clap::Args;
use host::Host;
use strait::app;

use super::{ConfigFile, Outcome};

/// Replicate until SIGTERM or SIGINT
///
/// Runs every flow of the file. Waits for a cluster that is down, resumes where it stopped, and
/// serves /live, /ready, /metrics and /v1/status at [http] listen. A partition that stops for a
/// reason that needs a person does not stop the others; `strait status` shows it.
///
/// On SIGTERM or SIGINT it waits up to [limits] drain_timeout for what is in flight, writes the
/// last checkpoints, and ends with 0.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) async fn run(host: &Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    let config = arguments.file.load()?;
    let stop = app::stop_on_signals()?;
    app::run(config, host.clone(), stop).await?;
    Ok(Outcome::Done)
}
