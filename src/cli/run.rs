//! `strait run`.

use clap::Args;
use host::Host;
use strait::app;

use super::{ConfigFile, Outcome};

/// Replicate until SIGTERM or SIGINT
///
/// Goes on where its checkpoints on the target say. A cluster that is down is waited for. At a stop, what
/// is in flight is acknowledged and checkpointed first, as long as `limits.drain_timeout` allows.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) async fn run(host: Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    let config = arguments.file.load()?;
    app::run(config, host, app::stop_on_signals()?).await?;
    Ok(Outcome::Done)
}
