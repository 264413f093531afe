//! `strait status`.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write as _},
    time::Duration,
};

use clap::Args;
use host::Host;
use strait::{
    app,
    config::Config,
    http,
    status::{FlowStatus, PartitionStatus, Phase, Report},
    survey::status::Observer,
};

use super::{
    ConfigFile, Outcome, print, print_json,
    table::{count, counted, lines},
};

/// Between two looks with --watch.
const PERIOD: Duration = Duration::from_secs(2);

/// Show how far every flow is
///
/// Asks both clusters of every flow for checkpoints and offsets, so no running process is needed;
/// with --url, asks one running process instead. Both give the same JSON (docs/status.md); what only the
/// other one knows is null.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: Option<ConfigFile>,

    /// Ask one running process instead.
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

    /// Look again every 2 seconds until stopped: a table on a terminal, else a line for each flow; with
    /// --json one object per line. A look that fails is told in its place.
    #[arg(long)]
    watch: bool,
}

pub(super) async fn run(host: &Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    let config = match &arguments.file {
        Some(file) => Some(file.load()?),
        None => None,
    };
    let view = View::new(host, &arguments, config.as_ref())?;
    if arguments.watch {
        watch(host, &view, arguments.json).await?;
    } else {
        let report = view.look(host).await?;
        if arguments.json {
            print_json(&report)?;
        } else {
            print(&text(&report))?;
        }
    }
    Ok(Outcome::Done)
}

/// Who is asked.
enum View<'a> {
    Clusters(Observer<'a>),
    Process(&'a http::client::Address),
}

impl<'a> View<'a> {
    fn new(
        host: &Host,
        arguments: &'a Arguments,
        config: Option<&'a Config>,
    ) -> anyhow::Result<Self> {
        match (&arguments.url, config) {
            (Some(url), _) => Ok(Self::Process(url)),
            (None, Some(config)) => Ok(Self::Clusters(Observer::new(host, config))),
            (None, None) => anyhow::bail!("neither a file nor --url"),
        }
    }

    async fn look(&self, host: &Host) -> anyhow::Result<Report> {
        Ok(match self {
            Self::Clusters(observer) => observer.look().await?,
            Self::Process(url) => http::client::status(host, url).await?,
        })
    }
}

/// Until a signal, or until nobody reads any more.
async fn watch(host: &Host, view: &View<'_>, json: bool) -> anyhow::Result<()> {
    let stop = app::stop_on_signals()?;
    let terminal = io::stdout().is_terminal();
    loop {
        let report = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            report = view.look(host) => report,
        };
        let shown = match (json, terminal) {
            (true, _) => json_line(&report)?,
            // Clear the screen and begin at its upper left (ECMA-48 ED and CUP).
            (false, true) => format!("\x1b[2J\x1b[H{}", report.map_or_else(failed, |r| text(&r))),
            (false, false) => plain_lines(&time(host.clock.wall_ms()), &report),
        };
        let mut out = io::stdout().lock();
        match out.write_all(shown.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
        drop(out);
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = host.clock.sleep(PERIOD) => {}
        }
    }
}

fn failed(error: anyhow::Error) -> String {
    format!("{error:#}\n")
}

fn json_line(report: &anyhow::Result<Report>) -> serde_json::Result<String> {
    let line = match report {
        Ok(report) => serde_json::to_string(report)?,
        Err(error) => serde_json::json!({ "error": format!("{error:#}") }).to_string(),
    };
    Ok(line + "\n")
}

fn plain_lines(time: &str, report: &anyhow::Result<Report>) -> String {
    match report {
        Ok(report) => report
            .flows
            .iter()
            .map(|flow| format!("{time} {}\n", summary(flow)))
            .collect(),
        Err(error) => format!("{time} {error:#}\n"),
    }
}

fn text(report: &Report) -> String {
    report
        .flows
        .iter()
        .map(flow_text)
        .collect::<Vec<_>>()
        .join("\n")
}

fn summary(flow: &FlowStatus) -> String {
    let mut text = format!("flow {}: {} to {}, ", flow.name, flow.source, flow.target);
    match &flow.phase {
        Some(Phase::Waiting { reason, .. }) => text.push_str(&format!("{reason}, ")),
        Some(phase) => text.push_str(&format!("{}, ", phase.name())),
        None => {}
    }
    if let Some(records) = flow.records {
        text.push_str(&format!("{} copied, ", count(records.cast_signed())));
    }
    let noun = if flow.lag == 1 { "record" } else { "records" };
    let stopped = counted(flow.stopped, "partition");
    text.push_str(&format!(
        "{} {noun} to copy, {stopped} stopped",
        count(flow.lag)
    ));
    text
}

fn flow_text(flow: &FlowStatus) -> String {
    let mut text = summary(flow) + "\n" + &topic_table(&flow.partitions);
    for partition in &flow.partitions {
        note(&mut text, partition);
    }
    for trouble in &flow.troubles {
        text.push_str(&format!(
            "trouble ({}): {}: {}\n",
            trouble.code, trouble.topic, trouble.text
        ));
    }
    text
}

fn topic_table(partitions: &[PartitionStatus]) -> String {
    let mut topics: BTreeMap<[&str; 2], (usize, i64)> = BTreeMap::new();
    for partition in partitions {
        let key = [partition.topic.as_str(), partition.target_topic.as_str()];
        let (number, lag) = topics.entry(key).or_default();
        *number += 1;
        *lag += partition.lag.unwrap_or(0);
    }
    let titles = ["topic", "on the target", "partitions", "to copy"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(topics.iter().map(|([source, target], (number, lag))| {
        vec![
            (*source).to_owned(),
            (*target).to_owned(),
            number.to_string(),
            count(*lag),
        ]
    }));
    lines(&rows)
}

/// What is unusual about a partition.
fn note(text: &mut String, partition: &PartitionStatus) {
    let name = format!("{}-{}", partition.topic, partition.partition);
    let words = partition.text.as_deref();
    if let Some(reason) = &partition.reason {
        text.push_str(&format!("stopped: {name}: {reason}"));
        if let Some(offset) = partition.stopped_offset.filter(|offset| *offset >= 0) {
            text.push_str(&format!(" at offset {offset}"));
        }
        if let Some(since) = partition.stopped_since_ms {
            text.push_str(&format!(" since {}", time(since)));
        }
        if let Some(words) = words {
            text.push_str(&format!(": {words}"));
        }
        text.push('\n');
    } else if let (Some(state), Some(words)) = (&partition.state, words) {
        text.push_str(&format!("{state}: {name}: {words}\n"));
    }
    if let Some(unknown) = &partition.unknown {
        text.push_str(&format!("unknown: {name}: {unknown}\n"));
    }
}

/// Milliseconds since 1970 by RFC 3339.
fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flow of two topics, as its process tells it.
    fn flow() -> FlowStatus {
        let partition = |topic: &str, partition, lag| PartitionStatus {
            topic: topic.to_owned(),
            partition,
            target_topic: format!("east.{topic}"),
            lag: Some(lag),
            state: Some("running".to_owned()),
            ..PartitionStatus::default()
        };
        let mut stopped = partition("b", 0, 1_000);
        stopped.reason = Some("record_refused".to_owned());
        stopped.text = Some("too large".to_owned());
        stopped.stopped_offset = Some(7);
        let mut retrying = partition("a", 1, 2);
        retrying.state = Some("retrying".to_owned());
        retrying.text = Some("no answer".to_owned());
        FlowStatus {
            name: "f".to_owned(),
            source: "east".to_owned(),
            target: "west".to_owned(),
            phase: Some(Phase::Running),
            member: None,
            leader: None,
            guarantee: String::new(),
            guarantee_reason: String::new(),
            lag: 1_003,
            records: Some(5_000),
            bytes: Some(9),
            stopped: 1,
            partitions: vec![partition("a", 0, 1), retrying, stopped],
            troubles: Vec::new(),
        }
    }

    #[test]
    fn a_process_and_the_clusters_are_shown_alike() {
        let shown = "flow f: east to west, running, 5,000 copied, 1,003 records to copy, 1 partition stopped\n\
            \x20 topic  on the target  partitions  to copy\n\
            \x20 a      east.a                  2        3\n\
            \x20 b      east.b                  1    1,000\n\
            retrying: a-1: no answer\n\
            stopped: b-0: record_refused at offset 7: too large\n";
        let mut flow = flow();
        assert_eq!(flow_text(&flow), shown);
        (flow.phase, flow.records) = (None, None);
        for partition in &mut flow.partitions {
            (partition.text, partition.state) = (None, None);
        }
        flow.partitions[2].stopped_since_ms = Some(0);
        let seen = flow_text(&flow);
        let (first, last) = (seen.lines().next(), seen.lines().last());
        assert_eq!(
            first,
            Some("flow f: east to west, 1,003 records to copy, 1 partition stopped")
        );
        assert_eq!(
            last,
            Some("stopped: b-0: record_refused at offset 7 since 1970-01-01T00:00:00Z")
        );
    }

    #[test]
    fn a_watch_tells_failures_in_their_place() {
        let failure = Err(anyhow::anyhow!("cluster east: gone"));
        assert_eq!(plain_lines("now", &failure), "now cluster east: gone\n");
        assert_eq!(
            json_line(&failure).unwrap(),
            "{\"error\":\"cluster east: gone\"}\n"
        );
        let report = Ok(Report {
            flows: vec![flow(), flow()],
        });
        assert_eq!(plain_lines("now", &report).lines().count(), 2);
        assert_eq!(json_line(&report).unwrap().lines().count(), 1);
    }
}
