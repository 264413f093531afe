//! `strait demo`.

use std::{sync::Mutex, time::Duration};

use anyhow::Context;
use clap::Args;
use host::Host;
use strait::demo::{self, Event, Sample, Settings};

use super::{Outcome, print, print_json};

/// See it work: two embedded brokers, a flow, crashes, and a compare at the end
///
/// Needs nothing installed and touches nothing outside a temporary folder. Produces realistic records in all
/// codecs, kills the flow's process and the target broker in the middle, and compares record by record.
/// Ends with 4 if a record is missing, altered or out of order.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How long records are produced.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u64).range(3..=600))]
    seconds: u64,

    /// Print one JSON object at the end, and nothing else.
    #[arg(long)]
    json: bool,

    /// Keep the folder with data, configuration and log, and say where it is.
    #[arg(long)]
    keep: bool,
}

pub(super) async fn run(host: &Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    let settings = Settings {
        duration: Duration::from_secs(arguments.seconds),
        program: std::env::current_exe().context("find this program")?,
        keep: arguments.keep,
    };
    let table = Table::default();
    let tell = |event: Event| {
        if !arguments.json {
            table.show(&event);
        }
    };
    let outcome = demo::run(host, &settings, &tell).await?;
    if arguments.json {
        print_json(&outcome)?;
    } else {
        print(&text(&outcome))?;
    }
    Ok(if outcome.is_proof() {
        Outcome::Done
    } else {
        Outcome::Different
    })
}

fn text(outcome: &demo::Outcome) -> String {
    let mut text = format!(
        "\n{} records produced, {} compared: {} missing, {} altered, {} out of order, \
         {} repeated after the crashes\n",
        outcome.produced,
        outcome.records,
        outcome.missing,
        outcome.altered,
        outcome.out_of_order,
        outcome.duplicated,
    );
    for difference in &outcome.differences {
        text.push_str(&format!("  {difference}\n"));
    }
    if outcome.is_proof() {
        let times = if outcome.duplicated == 0 {
            "exactly"
        } else {
            "at least"
        };
        text.push_str(&format!(
            "proved: every record arrived, unaltered and in order, {times} once\n"
        ));
    }
    if let Some(folder) = &outcome.folder {
        text.push_str(&format!("kept: {}\n", folder.display()));
    }
    text
}

/// Rows as they come, with rates between them.
#[derive(Debug, Default)]
struct Table(Mutex<Option<(std::time::Instant, Sample)>>);

impl Table {
    fn show(&self, event: &Event) {
        let line = match event {
            Event::Note(note) => format!("-- {note}\n"),
            Event::Sample(sample) => self.row(sample),
        };
        // A reader that went away must not stop the demo's clean-up.
        print(&line).ok();
    }

    fn row(&self, sample: &Sample) -> String {
        let mut last = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = std::time::Instant::now();
        let before = last.replace((now, *sample));
        // A process that was started again counts from 0.
        let rate = before
            .filter(|(_, old)| old.bytes <= sample.bytes)
            .map_or(0.0, |(at, old)| {
                (sample.bytes - old.bytes) as f64 / 1e6 / (now - at).as_secs_f64()
            });
        format!(
            "{:>9} produced {:>9} copied {:>7.1} MB/s {:>8} lag {:>7.1} ms/batch\n",
            sample.produced,
            sample.copied,
            rate,
            sample.lag,
            sample.latency.as_secs_f64() * 1e3,
        )
    }
}
