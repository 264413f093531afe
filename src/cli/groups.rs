//! `strait groups`.

use clap::{Args, Subcommand};
use host::Host;
use strait::{
    app::App,
    flow::sync::groups::resume::{Resumed, resume},
};

use super::{ConfigFile, Outcome, checkpoint::one_flow, print, print_json, table::lines};

/// Have groups that were left alone follow the source again
///
/// Offsets that a group committed on the source follow on the target while nobody else commits for it there. Once its
/// consumers have moved over, strait leaves it alone.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Resume(Resume),
}

/// Overwrite what a group's consumers committed on the target
///
/// For a group whose consumers are back at the source, or that was on the target before strait. Within seconds its
/// offsets on the target are those of the source again, also where that is further back or ahead. Its consumers there
/// must be stopped; the flow may run.
#[derive(Debug, Args)]
struct Resume {
    #[command(flatten)]
    file: ConfigFile,

    /// The flow; may be left out if the file has one.
    #[arg(long, value_name = "NAME")]
    flow: Option<String>,

    /// The group.
    #[arg(long, value_name = "GROUP")]
    group: String,

    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(host: &Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    let Command::Resume(arguments) = arguments.command;
    let config = arguments.file.load()?;
    let name = one_flow(&config, arguments.flow.as_deref())?.name.clone();
    let app = App::new(config, host.clone());
    let flow = app.flow(&name).expect("it is one of the file's");
    let resumed = resume(&flow, &arguments.group, arguments.dry_run).await?;
    if arguments.json {
        print_json(&resumed)?;
    } else {
        print(&text(&resumed))?;
    }
    Ok(Outcome::Done)
}

fn text(resumed: &Resumed) -> String {
    let titles = ["partition on the target", "committed there"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(resumed.partitions.iter().map(|one| {
        let partition = format!("{}-{}", one.topic, one.partition);
        vec![partition, one.target_offset.to_string()]
    }));
    let group = &resumed.group;
    let end = match resumed.dry_run {
        true => "nothing was changed (--dry-run)\n".to_owned(),
        false => format!("group {group} follows the source again\n"),
    };
    lines(&rows) + &end
}
