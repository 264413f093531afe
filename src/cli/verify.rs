//! `strait verify`.

use std::{io::IsTerminal, sync::Arc, time::Duration};

use clap::Args;
use host::Host;
use indicatif::{ProgressBar, ProgressStyle};
use strait::{
    config::{Config, FlowConfig},
    verify::{Progress, Report, verify},
};

use super::{ConfigFile, Outcome, print, print_json};

/// Compare source and target record by record
///
/// Count, order, key, value, headers and timestamp of every committed record, partition by partition, in
/// bounded memory. Records that are there twice are counted and are no difference: flows copy at least
/// once. Ends with 4 if something differs, or is not copied yet. A flow may run meanwhile.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,

    /// Only this flow; may be given several times.
    #[arg(long, value_name = "NAME")]
    flow: Vec<String>,

    /// Records behind the flow's checkpoint may be absent: what is not copied yet is no difference.
    #[arg(long)]
    up_to_checkpoint: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Between two lines of progress where there is no terminal.
const LINE_PERIOD: Duration = Duration::from_secs(10);
/// Between two looks for the bar.
const BAR_PERIOD: Duration = Duration::from_millis(200);

pub(super) async fn run(host: &Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    let config = arguments.file.load()?;
    let flows = selected(&config, &arguments.flow)?;
    let progress = Arc::new(Progress::default());
    let shown = tokio::spawn(show(Arc::clone(&progress)));
    let report = verify(host, &config, &flows, &progress).await;
    shown.abort();
    let report = report?;
    if arguments.json {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
    }
    Ok(match report.is_equal(arguments.up_to_checkpoint) {
        true => Outcome::Done,
        false => Outcome::Different,
    })
}

/// The named flows; all without a name.
pub(super) fn selected<'a>(
    config: &'a Config,
    names: &[String],
) -> anyhow::Result<Vec<&'a FlowConfig>> {
    for name in names {
        if !config.flows.iter().any(|flow| flow.name == *name) {
            let known: Vec<_> = config.flows.iter().map(|flow| flow.name.as_str()).collect();
            return Err(UnknownFlow {
                name: name.clone(),
                known: known.join(", "),
            }
            .into());
        }
    }
    let wanted = |flow: &&FlowConfig| names.is_empty() || names.contains(&flow.name);
    Ok(config.flows.iter().filter(wanted).collect())
}

/// The command line names a flow that the file does not have.
#[derive(Debug, thiserror::Error)]
#[error("there is no flow {name:?}; the file has {known}")]
pub(super) struct UnknownFlow {
    name: String,
    known: String,
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for partition in &report.different {
        let counts = &partition.counts;
        text.push_str(&format!(
            "{} {} -> {}: {} missing, {} altered, {} out of order, {} not copied yet\n",
            partition.flow,
            partition.source,
            partition.target,
            counts.missing,
            counts.altered,
            counts.out_of_order,
            counts.behind,
        ));
        for difference in &counts.differences {
            text.push_str(&format!("  {difference}\n"));
        }
    }
    let counts = &report.counts;
    text.push_str(&format!(
        "{} partitions, {} records compared: {} missing, {} altered, {} out of order, \
         {} not copied yet; {} repeated\n",
        report.partitions,
        counts.records,
        counts.missing,
        counts.altered,
        counts.out_of_order,
        counts.behind,
        counts.duplicated,
    ));
    if report.expired > 0 {
        let expired = report.expired;
        text.push_str(&format!(
            "{expired} records were removed by retention on one side\n"
        ));
    }
    if report.before > 0 {
        let before = report.before;
        text.push_str(&format!(
            "{before} records were on the target before the flow began\n"
        ));
    }
    text
}

/// A bar on a terminal, a line now and then elsewhere; on standard error.
async fn show(progress: Arc<Progress>) {
    if !std::io::stderr().is_terminal() {
        loop {
            tokio::time::sleep(LINE_PERIOD).await;
            let (compared, total) = progress.now();
            eprintln!("compared {compared} of {total} records");
        }
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} records, {per_sec}, {eta} left");
    let bar =
        ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    loop {
        let (compared, total) = progress.now();
        bar.set_length(total);
        bar.set_position(compared);
        tokio::time::sleep(BAR_PERIOD).await;
    }
}
