//! `strait check`.

use clap::Args;
use host::Host;
use strait::survey::check::{self, FlowReport, Report, SideReport};

use super::{
    ConfigFile, Outcome, print, print_json,
    table::{count, counted, lines, size},
};

/// Connect to both sides and print what would be replicated and what is missing
///
/// Loads the configuration, asks both clusters of every flow, and changes nothing on either. Ends
/// with 4 if something keeps a flow, or one of its partitions, from running. Records are counted by
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
    text.push_str(&match problems {
        0 => "ready\n".to_owned(),
        _ => format!("not ready: {}\n", counted(problems, "problem")),
    });
    text
}

fn flow_text(flow: &FlowReport) -> String {
    let mut text = format!(
        "flow {}: {} to {}\nguarantee: {} ({})\n",
        flow.name,
        side(&flow.source),
        side(&flow.target),
        flow.guarantee,
        flow.guarantee_reason,
    );
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
    for problem in &flow.problems {
        text.push_str(&format!(
            "problem ({}): {}\n",
            problem.code, problem.message
        ));
    }
    for warning in &flow.warnings {
        text.push_str(&format!(
            "warning ({}): {}\n",
            warning.code, warning.message
        ));
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
