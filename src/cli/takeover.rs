//! `strait checkpoint takeover`, and what it has in common with `strait export-mm2`.

use clap::Args;
use host::Host;
use strait::{
    app::App,
    config::{Config, FlowConfig},
    flow::handover::{
        MirrorMaker,
        takeover::{self, Outcome as Became, Request, Takeover},
    },
};

use super::{
    ConfigFile, Outcome,
    checkpoint::{one_flow, refuse_beside_a_process},
    print, print_json,
    table::{counted, lines},
};

/// Go on where MirrorMaker 2 stopped
///
/// Reads how far MirrorMaker 2 is from Kafka Connect's offsets topic on the target, and makes a checkpoint of each partition that
/// the flow selects. MirrorMaker 2 must be stopped, and the flow too; nothing of MirrorMaker 2's is changed, so it can still
/// go on instead.
///
/// MirrorMaker 2 writes its positions once a minute: after a crash the target holds more. What is behind a position is compared with
/// the source, record by record, and not copied again if it is the same. Where that cannot be told, it is
/// copied again, as by MirrorMaker 2 itself, and the table says so.
///
/// Ends with 0 if every partition goes on or begins as a new one; 4 if an operator has to see to some, or MirrorMaker 2 or the
/// flow runs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strait checkpoint takeover strait.toml --dry-run
                  MirrorMaker 2 on its own: what would be done
  strait checkpoint takeover strait.toml && strait run strait.toml
  strait checkpoint takeover strait.toml --connector mirror-source \\
                  --offsets-topic connect-offsets --group connect-cluster
                  its connectors on Kafka Connect
`strait export-mm2` is the way back. docs/COMING_FROM_MM2.md has all of it.")]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,

    /// The flow; may be left out if the file has one.
    #[arg(long, value_name = "NAME")]
    flow: Option<String>,

    #[command(flatten)]
    mirror: Mirror,

    /// Go by MirrorMaker 2's positions also where the flow has checkpoints already.
    #[arg(long)]
    force: bool,

    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Where MirrorMaker 2 keeps how far it is. Without options by the names that it takes on its own.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Mirror {
    /// What MirrorMaker 2 calls the source, if strait calls it otherwise.
    #[arg(long, value_name = "ALIAS")]
    pub(super) source_alias: Option<String>,

    /// Kafka Connect's topic of positions on the target: the worker's offset.storage.topic [default:
    /// mm2-offsets.ALIAS.internal].
    #[arg(long, value_name = "TOPIC", requires = "group")]
    pub(super) offsets_topic: Option<String>,

    /// The group of MirrorMaker 2's processes: Kafka Connect's group.id [default: ALIAS-mm2].
    #[arg(long, value_name = "GROUP")]
    pub(super) group: Option<String>,

    /// The source connector's name, where several wrote positions.
    #[arg(long, value_name = "NAME")]
    pub(super) connector: Option<String>,

    /// The connectors are stopped, though the group has members: other connectors run on the same Kafka Connect.
    #[arg(long)]
    pub(super) stopped: bool,
}

impl Mirror {
    pub(super) fn of(&self, flow: &FlowConfig) -> MirrorMaker {
        let alias = self.source_alias.as_deref().unwrap_or(&flow.source);
        let usual = MirrorMaker::dedicated(alias);
        MirrorMaker {
            offsets_topic: self.offsets_topic.clone().unwrap_or(usual.offsets_topic),
            group: self.group.clone().unwrap_or(usual.group),
            connector: self.connector.clone(),
            stopped: self.stopped,
            source: usual.source,
        }
    }
}

pub(super) async fn run(host: &Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    let config = arguments.file.load()?;
    let flow = one_flow(&config, arguments.flow.as_deref())?;
    let request = Request {
        mirror: arguments.mirror.of(flow),
        force: arguments.force,
        dry_run: arguments.dry_run,
    };
    let taken = take(host, &config, flow, &request).await?;
    if arguments.json {
        print_json(&taken)?;
    } else {
        print(&text(&taken))?;
    }
    Ok(outcome(&taken))
}

/// Takes one flow over.
pub(super) async fn take(
    host: &Host,
    config: &Config,
    flow: &FlowConfig,
    request: &Request,
) -> anyhow::Result<Takeover> {
    if !request.dry_run {
        refuse_beside_a_process(host, config, &flow.name).await?;
    }
    let app = App::new(config.clone(), host.clone());
    let flow = app.flow(&flow.name).expect("it is one of the file's");
    Ok(takeover::takeover(&flow, request).await?)
}

pub(super) fn outcome(taken: &Takeover) -> Outcome {
    match taken.is_complete() {
        true => Outcome::Done,
        false => Outcome::Different,
    }
}

pub(super) fn text(taken: &Takeover) -> String {
    let titles = [
        "partition",
        "on the target",
        "MirrorMaker 2's offset",
        "strait goes on at",
        "recognised",
        "what",
    ];
    let number =
        |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(taken.partitions.iter().map(|one| {
        vec![
            format!("{}-{}", one.topic, one.partition),
            one.target_topic.clone(),
            number(one.mirror_offset),
            number(one.source_offset),
            number(one.recognised.map(u64::cast_signed)),
            one.text.clone(),
        ]
    }));
    let mut text = lines(&rows);
    if !taken.others.is_empty() {
        text.push_str("positions that are of no use to the flow:\n");
        let rows = taken.others.iter().map(|one| {
            let partition = format!("{}-{}", one.topic, one.partition);
            vec![partition, one.mirror_offset.to_string(), one.text.clone()]
        });
        text.push_str(&lines(&rows.collect::<Vec<_>>()));
    }
    for note in &taken.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    let count = |became| {
        taken
            .partitions
            .iter()
            .filter(|one| one.outcome == became)
            .count()
    };
    text.push_str(&format!(
        "flow {}: {} taken over, {} with a checkpoint of strait's own, {} new, {} to see to\n",
        taken.flow,
        counted(count(Became::TakenOver), "partition"),
        count(Became::Kept),
        count(Became::New),
        count(Became::Left),
    ));
    if taken.dry_run {
        text.push_str("nothing was changed (--dry-run)\n");
    }
    text
}
