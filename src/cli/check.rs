//! `strait check`.

use clap::Args;
use host::Host;
use strait::survey::check::{self, FlowReport, Note, Report, SideReport};

use super::{
    ConfigFile, Outcome, print, print_json,
    table::{count, counted, lines, size},
};

/// Connect to both sides and print what would be replicated and what is missing
///
/// Loads the configuration, asks both clusters of every flow, and changes nothing on either, save
/// that it tries the target with a few small records in a topic of its own, strait.probe. Ends
/// with 4 if something keeps a flow, or one of its partitions, from running; warnings do not. docs/CHECK.md explains
/// the codes in parentheses. Records are counted by
/// offsets, so compacted topics and transactions show more than they hold; bytes are those on the disks of
/// the source's leaders, compressed.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(host: &Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    let config = arguments.file.load()?;
    let report = check::run(host, &config).await;
    if arguments.json {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
    }
    Ok(match report.ready {
        true => Outcome::Done,
        false => Outcome::Different,
    })
}

fn text(report: &Report) -> String {
    let mut text: String = report.flows.iter().map(flow_text).collect();
    let problems = report.flows.iter().map(|flow| flow.problems.len()).sum();
    let warnings = report.flows.iter().map(|flow| flow.warnings.len()).sum();
    let warned = match warnings {
        0 => String::new(),
        _ => format!(", {}", counted(warnings, "warning")),
    };
    text.push_str(&match problems {
        0 => format!("ready{warned}\n"),
        _ => format!("not ready: {}{warned}\n", counted(problems, "problem")),
    });
    text
}

fn flow_text(flow: &FlowReport) -> String {
    let mut text = format!(
        "flow {}: {} to {}\nguarantee: {} ({})\n",
        flow.name,
        side(&flow.source),
        side(&flow.target),
        flow.provides.guarantee,
        flow.provides.guarantee_reason,
    );
    if let (Some(transport), Some(why)) =
        (&flow.provides.transport, &flow.provides.transport_reason)
    {
        text.push_str(&format!("transport: {transport} ({why})\n"));
    }
    if !flow.topics.is_empty() {
        let titles = [
            "topic",
            "on the target",
            "partitions",
            "bytes",
            "records",
            "to copy",
        ];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        rows.extend(flow.topics.iter().map(|topic| {
            let new = if topic.target_exists {
                ""
            } else {
                " (to be created)"
            };
            vec![
                topic.source.clone(),
                format!("{}{new}", topic.target),
                topic.partitions.to_string(),
                topic.bytes.map_or_else(|| "-".to_owned(), size),
                count(topic.records),
                count(topic.lag),
            ]
        }));
        text.push_str(&lines(&rows));
    }
    let marks = [
        ("ok", &flow.passed),
        ("warning", &flow.warnings),
        ("problem", &flow.problems),
    ];
    for (mark, notes) in marks {
        for Note { code, message, fix } in notes {
            text.push_str(&format!("  {mark:<7}  {message} ({code})\n"));
            if let Some(fix) = fix {
                text.push_str(&format!("           {fix}\n"));
            }
        }
    }
    text.push('\n');
    text
}

fn side(side: &SideReport) -> String {
    match (&side.cluster_id, side.brokers) {
        (Some(id), Some(brokers)) => {
            format!(
                "{} (cluster {id}, {})",
                side.cluster,
                counted(brokers, "broker")
            )
        }
        _ => side.cluster.clone(),
    }
}
