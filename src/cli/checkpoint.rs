//! `strait checkpoint`.

use clap::{Args, Subcommand};
use host::Host;
use serde::Serialize;
use strait::{
    app::App,
    config::{Config, FlowConfig},
    flow::adjust::{self, Action, AdjustError, Changes, Position, Request, To, offline},
    http::{self, client::Address},
    status::{PartitionStatus, Report},
    survey::status::Observer,
};

use super::{
    ConfigFile, Outcome,
    flow_text::time,
    print, print_json,
    table::{count, lines},
    takeover,
    verify::selected,
};

/// List, move or forget the checkpoints of a flow, or take them over from MirrorMaker 2
///
/// A checkpoint says where a partition goes on. They are the committed offsets of group strait.FLOW on the target.
/// While a flow runs, only its own process can change them: ask that with --url.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Set(Set),
    Reset(Reset),
    Takeover(takeover::Arguments),
}

/// Show every partition's checkpoint
///
/// Asks both clusters; no running process is needed.
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    file: ConfigFile,

    /// Only this flow.
    #[arg(long, value_name = "NAME")]
    flow: Option<String>,

    /// Only this topic, by its name on the source.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,

    /// Only this partition.
    #[arg(long, value_name = "N")]
    partition: Option<i32>,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Go on at another source offset
///
/// What the target holds stays as it is, and what is copied from there on is written behind it: going back
/// copies records again, going forward leaves records out. Setting a partition to where it is starts it again
/// after a stop. The partition begins a new epoch of its producer, so that nothing of before can come late.
#[derive(Debug, Args)]
struct Set {
    #[command(flatten)]
    what: What,

    /// A source offset, "earliest", "latest", or a time by RFC 3339 (the first record that is not older).
    #[arg(long, value_name = "OFFSET|earliest|latest|TIME")]
    to: To,
}

/// Forget checkpoints: the partitions start as new ones do
///
/// By `start` and `on_existing`. Of a whole topic (no --partition) also which target topic it was copied to: one that is
/// gone is created again, one that was created anew is taken as it is.
#[derive(Debug, Args)]
struct Reset {
    #[command(flatten)]
    what: What,
}

/// What to change, and how.
#[derive(Debug, Args)]
struct What {
    #[command(flatten)]
    file: ConfigFile,

    /// The flow; may be left out if the file has one.
    #[arg(long, value_name = "NAME")]
    flow: Option<String>,

    /// The topic, by its name on the source.
    #[arg(long, value_name = "TOPIC")]
    topic: String,

    /// One partition; without it all of the topic.
    #[arg(long, value_name = "N")]
    partition: Option<i32>,

    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,

    /// Ask the running process that copies the partition, from its own machine.
    #[arg(long, value_name = "http://HOST:PORT")]
    url: Option<Address>,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The command line names no flow where the file has several.
#[derive(Debug, thiserror::Error)]
#[error("which flow? --flow is wanted; the file has {known}")]
pub(super) struct NoFlow {
    known: String,
}

pub(super) async fn run(host: &Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    match arguments.command {
        Command::List(arguments) => list(host, arguments).await,
        Command::Set(Set { what, to }) => change(host, what, Action::Set(to)).await,
        Command::Reset(Reset { what }) => change(host, what, Action::Reset).await,
        Command::Takeover(arguments) => takeover::run(host, arguments).await,
    }
}

async fn change(host: &Host, what: What, action: Action) -> anyhow::Result<Outcome> {
    let config = what.file.load()?;
    let flow = one_flow(&config, what.flow.as_deref())?;
    let request = Request {
        flow: flow.name.clone(),
        topic: what.topic,
        partition: what.partition,
        action,
        dry_run: what.dry_run,
    };
    let changes = match &what.url {
        Some(url) => http::client::adjust(host, url, &request).await??,
        None => {
            if !request.dry_run {
                refuse_beside_a_process(host, &config, &request.flow).await?;
            }
            let app = App::new(config.clone(), host.clone());
            let flow = app.flow(&request.flow).expect("it is one of the file's");
            offline::adjust(&flow, &request).await?
        }
    };
    if what.json {
        print_json(&changes)?;
    } else {
        print(&text(&changes))?;
    }
    Ok(Outcome::Done)
}

/// A process that runs a flow alone is no member of its group: nothing but its own HTTP server shows that it is there.
pub(super) async fn refuse_beside_a_process(
    host: &Host,
    config: &Config,
    flow: &str,
) -> anyhow::Result<()> {
    let Some(listen) = &config.http.listen else {
        return Ok(());
    };
    let url = format!("http://{}", listen.replace("0.0.0.0", "127.0.0.1"));
    let Ok(address) = url.parse::<Address>() else {
        return Ok(());
    };
    let Ok(report) = http::client::status(host, &address).await else {
        return Ok(());
    };
    if report.flows.iter().all(|running| running.name != flow) {
        return Ok(());
    }
    Err(AdjustError::Refused(format!(
        "flow {flow} runs in the process at {url}: stop that first, or, to set or reset checkpoints, add --url {url} to \
         this command"
    ))
    .into())
}

pub(super) fn one_flow<'a>(
    config: &'a Config,
    name: Option<&str>,
) -> anyhow::Result<&'a FlowConfig> {
    let names: Vec<String> = name.map(str::to_owned).into_iter().collect();
    match selected(config, &names)?[..] {
        [flow] => Ok(flow),
        _ => {
            let known: Vec<_> = config.flows.iter().map(|flow| flow.name.as_str()).collect();
            let known = known.join(", ");
            Err(NoFlow { known }.into())
        }
    }
}

fn text(changes: &Changes) -> String {
    let titles = [
        "partition",
        "on the target",
        "source offset",
        "target offset",
        "stopped",
        "meaning",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(changes.changes.iter().map(|change: &adjust::Change| {
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        let offset = |position: Option<&Position>| match position {
            None => "none".to_owned(),
            Some(at) => at
                .source_offset
                .map_or_else(|| "unknown".to_owned(), |offset| offset.to_string()),
        };
        let target = |position: Option<&Position>| {
            position.map_or_else(|| "none".to_owned(), |at| at.target_offset.to_string())
        };
        let stopped = before.and_then(|before| before.stopped.clone());
        vec![
            format!("{}-{}", change.topic, change.partition),
            change.target_topic.clone(),
            format!("{} -> {}", offset(before), offset(after)),
            format!("{} -> {}", target(before), target(after)),
            stopped.unwrap_or_else(|| "-".to_owned()),
            change.meaning.clone(),
        ]
    }));
    let mut text = lines(&rows);
    for note in &changes.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text.push_str(if changes.dry_run {
        "nothing was changed (--dry-run)\n"
    } else {
        "done\n"
    });
    text
}

/// The checkpoints of a file's flows.
#[derive(Debug, Serialize)]
struct Listed {
    checkpoints: Vec<Row>,
}

/// One partition's checkpoint; null where there is none.
#[derive(Debug, Serialize)]
struct Row {
    flow: String,
    topic: String,
    partition: i32,
    target_topic: String,
    source_offset: Option<i64>,
    target_offset: Option<i64>,
    source_end: Option<i64>,
    lag: Option<i64>,
    stopped: Option<StoppedRow>,
    unreadable: Option<String>,
}

#[derive(Debug, Serialize)]
struct StoppedRow {
    reason: String,
    source_offset: Option<i64>,
    since_ms: Option<i64>,
}

async fn list(host: &Host, arguments: List) -> anyhow::Result<Outcome> {
    let config = arguments.file.load()?;
    let names: Vec<String> = arguments.flow.clone().into_iter().collect();
    selected(&config, &names)?;
    let report = Observer::new(host, &config).look().await?;
    let checkpoints = rows(&report, &arguments);
    if arguments.json {
        print_json(&Listed { checkpoints })?;
    } else {
        print(&table(&checkpoints))?;
    }
    Ok(Outcome::Done)
}

fn rows(report: &Report, wanted: &List) -> Vec<Row> {
    let flows = report.flows.iter();
    let flows = flows.filter(|flow| wanted.flow.as_ref().is_none_or(|name| *name == flow.name));
    let partitions = flows.flat_map(|flow| flow.partitions.iter().map(move |one| (flow, one)));
    let partitions = partitions.filter(|(_, one)| {
        let topic = wanted
            .topic
            .as_ref()
            .is_none_or(|topic| *topic == one.topic);
        topic
            && wanted
                .partition
                .is_none_or(|number| number == one.partition)
    });
    let row = |flow: &str, one: &PartitionStatus| Row {
        flow: flow.to_owned(),
        topic: one.topic.clone(),
        partition: one.partition,
        target_topic: one.target_topic.clone(),
        source_offset: one.source_offset,
        target_offset: one.target_offset,
        source_end: one.source_end,
        lag: one.lag,
        stopped: one.reason.clone().map(|reason| StoppedRow {
            reason,
            source_offset: one.stopped_offset,
            since_ms: one.stopped_since_ms,
        }),
        unreadable: one.unknown.clone(),
    };
    partitions.map(|(flow, one)| row(&flow.name, one)).collect()
}

fn table(rows: &[Row]) -> String {
    let titles = [
        "flow",
        "partition",
        "on the target",
        "source offset",
        "target offset",
        "to copy",
        "stopped",
    ];
    let mut table = vec![titles.map(str::to_owned).to_vec()];
    table.extend(rows.iter().map(|row| {
        let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), count);
        let stopped = row.stopped.as_ref().map(|stopped| {
            let at = stopped
                .source_offset
                .filter(|at| *at >= 0)
                .map(|at| format!(" at {at}"))
                .unwrap_or_default();
            let since = stopped
                .since_ms
                .map(|ms| format!(" since {}", time(ms)))
                .unwrap_or_default();
            format!("{}{at}{since}", stopped.reason)
        });
        vec![
            row.flow.clone(),
            format!("{}-{}", row.topic, row.partition),
            row.target_topic.clone(),
            number(row.source_offset),
            number(row.target_offset),
            number(row.lag),
            stopped
                .or_else(|| row.unreadable.clone())
                .unwrap_or_default(),
        ]
    }));
    lines(&table)
}
