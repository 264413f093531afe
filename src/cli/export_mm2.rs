//! `strait export-mm2`.

use clap::Args;
use host::Host;
use strait::{
    app::App,
    flow::handover::export::{Export, Request, export},
};

use super::{
    ConfigFile, Outcome,
    checkpoint::{one_flow, refuse_beside_a_process},
    print, print_json,
    table::{counted, lines},
    takeover::Mirror,
};

/// Have MirrorMaker 2 go on where strait stopped
///
/// Writes the flow's checkpoints into Kafka Connect's offsets topic on the target, as MirrorMaker 2 itself would have: started
/// again, it goes on behind them. Stop strait first, with SIGTERM, so that its checkpoints tell of all that is on the
/// target; and leave MirrorMaker 2 stopped until this is done. strait's checkpoints stay.
///
/// MirrorMaker 2 must copy to topics of the same names, which only its configuration can say. It copies at least once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strait export-mm2 strait.toml --dry-run
                  for MirrorMaker 2 on its own: what would be written
  strait export-mm2 strait.toml
  strait export-mm2 strait.toml --connector mirror-source --stopped \\
                  --offsets-topic connect-offsets --group connect-cluster
                  for its connectors on Kafka Connect: PUT /connectors/NAME/stop
                  before, and /connectors/NAME/resume after it")]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,

    /// The flow; may be left out if the file has one.
    #[arg(long, value_name = "NAME")]
    flow: Option<String>,

    #[command(flatten)]
    mirror: Mirror,

    /// Partitions of the offsets topic, if it has to be made (offset.storage.partitions).
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,

    /// Its replicas, if it has to be made (offset.storage.replication.factor); -1: the target's default.
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    replication_factor: i16,

    /// Say what would be written, and write nothing.
    #[arg(long)]
    dry_run: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(host: &Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    let config = arguments.file.load()?;
    let flow = one_flow(&config, arguments.flow.as_deref())?;
    let request = Request {
        mirror: arguments.mirror.of(flow),
        partitions: arguments.partitions,
        replication_factor: arguments.replication_factor,
        dry_run: arguments.dry_run,
    };
    let name = flow.name.clone();
    if !request.dry_run {
        refuse_beside_a_process(host, &config, &name).await?;
    }
    let app = App::new(config, host.clone());
    let flow = app.flow(&name).expect("it is one of the file's");
    let exported = export(&flow, &request).await?;
    if arguments.json {
        print_json(&exported)?;
    } else {
        print(&text(&exported))?;
    }
    Ok(Outcome::Done)
}

fn text(exported: &Export) -> String {
    let titles = ["partition", "MirrorMaker 2's offset", "what"];
    let number =
        |number: Option<i64>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(exported.partitions.iter().map(|one| {
        let offset = match one.written {
            true => format!("{} -> {}", number(one.before), number(one.mirror_offset)),
            false => number(one.mirror_offset),
        };
        vec![
            format!("{}-{}", one.topic, one.partition),
            offset,
            one.text.clone(),
        ]
    }));
    let mut text = lines(&rows);
    for note in &exported.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    let Export {
        connector,
        offsets_topic,
        ..
    } = exported;
    let written = exported.partitions.iter().filter(|one| one.written).count();
    let made = if exported.creates_topic {
        ", which had to be made"
    } else {
        ""
    };
    text.push_str(&format!(
        "{} of connector {connector} in {offsets_topic}{made}\n",
        counted(written, "position")
    ));
    text.push_str(match exported.dry_run {
        true => "nothing was written (--dry-run)\n",
        false => "start MirrorMaker 2, and leave strait stopped\n",
    });
    text
}
