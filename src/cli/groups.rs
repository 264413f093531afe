//! `strait groups`.

use clap::{Args, Subcommand};
use host::Host;
use strait::{
    app::App,
    flow::sync::groups::{
        back::{self, Outcome as Became, Partition, Returned, back},
        resume::{Resumed, resume},
    },
};

use super::{
    ConfigFile, Outcome,
    checkpoint::one_flow,
    print, print_json,
    table::{counted, lines},
};

/// Groups that moved over: have them follow the source again, or take them back there
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
    Return(Return),
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

/// Take groups back to the source, to where they are on the target
///
/// Commits on the SOURCE: the one thing that strait ever writes there. For each partition the offset map
/// tells which offset of the source is the one that the group committed on the target; who goes on there has read all before
/// it and reads nothing again. Where the source has lost records since, the place is marked with how many may be read
/// again, and none is passed over.
///
/// What the group committed on the source further on stays. What it read on the target behind the end of the copy the source
/// has only if a flow of the other direction brought it: that flow is told to commit for the group. Its consumers
/// must be stopped on both sides; the flow may run. Ends with 4 if something was left.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strait groups return strait.toml --dry-run
                  where all groups that moved over would go
  strait groups return strait.toml --group app --group reports")]
struct Return {
    #[command(flatten)]
    file: ConfigFile,

    /// The flow that copied from the source to the target; may be left out if the file has one.
    #[arg(long, value_name = "NAME")]
    flow: Option<String>,

    /// Only this group; may be given several times. Without it all that the flow's `groups` select.
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,

    /// Take groups also back to before what they committed on the source: they read that again.
    #[arg(long)]
    rewind: bool,

    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(host: &Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    match arguments.command {
        Command::Resume(arguments) => resume_group(host, arguments).await,
        Command::Return(arguments) => return_groups(host, arguments).await,
    }
}

async fn return_groups(host: &Host, arguments: Return) -> anyhow::Result<Outcome> {
    let config = arguments.file.load()?;
    let name = one_flow(&config, arguments.flow.as_deref())?.name.clone();
    let app = App::new(config, host.clone());
    let flow = app.flow(&name).expect("it is one of the file's");
    let request = back::Request {
        groups: arguments.group,
        rewind: arguments.rewind,
        dry_run: arguments.dry_run,
    };
    let returned = back(&flow, &request).await?;
    if arguments.json {
        print_json(&returned)?;
    } else {
        print(&returned_text(&returned))?;
    }
    Ok(match returned.is_whole() {
        true => Outcome::Done,
        false => Outcome::Different,
    })
}

async fn resume_group(host: &Host, arguments: Resume) -> anyhow::Result<Outcome> {
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

fn returned_text(returned: &Returned) -> String {
    let titles = [
        "group",
        "partition",
        "on the target",
        "on the source",
        "now there",
        "what",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for group in &returned.groups {
        rows.extend(group.partitions.iter().map(|one| row(&group.group, one)));
    }
    let mut text = match rows.len() {
        1 => "no group moved to the target\n".to_owned(),
        _ => lines(&rows),
    };
    for group in &returned.groups {
        if let Some(left) = &group.left {
            text.push_str(&format!("group {} is left alone: {left}\n", group.group));
        }
    }
    let went = returned.groups.iter().filter(|group| group.left.is_none());
    let partitions = went.flat_map(|group| &group.partitions);
    let moved = partitions
        .filter(|one| one.outcome == Became::Moves)
        .count();
    if returned.not_moved > 0 {
        let count = counted(returned.not_moved, "group");
        text.push_str(&format!(
            "{count} committed nothing on the target: strait did\n"
        ));
    }
    text.push_str(&match returned.dry_run {
        true => "nothing was changed (--dry-run)\n".to_owned(),
        false => format!("{} committed on the source\n", counted(moved, "offset")),
    });
    text
}

fn row(group: &str, one: &Partition) -> Vec<String> {
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let what = match one.outcome {
        Became::Moves => "goes there",
        Became::Same => "stays",
        Became::Kept => "keeps its own",
        Became::HandedOver => "handed over",
        Became::Left => "left",
    };
    let what = match one.text.as_str() {
        "" => what.to_owned(),
        text => format!("{what}: {text}"),
    };
    vec![
        group.to_owned(),
        format!("{}-{}", one.topic, one.partition),
        one.target_offset.to_string(),
        number(one.source_offset),
        number(one.before),
        what,
    ]
}
