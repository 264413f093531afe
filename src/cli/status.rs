//! `strait status`.

use clap::Args;
use host::Host;
use strait::{
    http,
    survey::status::{self, FlowStatus, Report},
};

use super::{
    ConfigFile, Outcome, print, print_json,
    table::{count, counted, lines},
};

/// Show how far every flow is
///
/// Asks both clusters of every flow for checkpoints and offsets, so no running process is needed;
/// with --url, asks one running process instead.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: Option<ConfigFile>,

    /// Ask one running process instead, and print its answer (JSON).
    #[arg(
        long,
        value_name = "http://HOST:PORT",
        conflicts_with = "path",
        required_unless_present = "path"
    )]
    url: Option<http::client::Address>,

    /// Print one JSON object, with every partition.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(host: &Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    if let Some(url) = &arguments.url {
        print_json(&http::client::status(host, url).await?)?;
    } else if let Some(file) = &arguments.file {
        let report = status::run(host, &file.load()?).await?;
        if arguments.json {
            print_json(&report)?;
        } else {
            print(&text(&report))?;
        }
    }
    Ok(Outcome::Done)
}

fn text(report: &Report) -> String {
    report
        .flows
        .iter()
        .map(flow_text)
        .collect::<Vec<_>>()
        .join("\n")
}

fn flow_text(flow: &FlowStatus) -> String {
    let mut text = format!(
        "flow {}: {} to {}, {} to copy, {} stopped\n",
        flow.name,
        flow.source,
        flow.target,
        counted_records(flow.lag),
        counted(flow.stopped, "partition"),
    );
    let titles = ["topic", "on the target", "partitions", "to copy"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(flow.topics.iter().map(|topic| {
        vec![
            topic.source.clone(),
            topic.target.clone(),
            topic.partitions.len().to_string(),
            count(topic.lag),
        ]
    }));
    text.push_str(&lines(&rows));
    for topic in &flow.topics {
        for partition in &topic.partitions {
            let name = format!("{}-{}", topic.source, partition.partition);
            if let Some(stopped) = &partition.stopped {
                let since = jiff::Timestamp::from_millisecond(stopped.since_ms)
                    .map_or_else(|_| "?".to_owned(), |time| time.to_string());
                text.push_str(&format!(
                    "stopped: {name} at offset {}: {} (since {since})\n",
                    stopped.source_offset, stopped.reason
                ));
            }
            if let Some(unknown) = &partition.unknown {
                text.push_str(&format!("unknown: {name}: {unknown}\n"));
            }
        }
    }
    text
}

fn counted_records(records: i64) -> String {
    let noun = if records == 1 { "record" } else { "records" };
    format!("{} {noun}", count(records))
}
