//! `strait status`.

use std::{
    io::{self, IsTerminal, Write as _},
    time::Duration,
};

use clap::Args;
use host::Host;
use strait::{app, config::Config, http, status::Report, survey::status::Observer};

use super::{
    ConfigFile, Outcome,
    flow_text::{self, summary, time},
    print, print_json,
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

    /// Show every partition, not only the topics that are furthest behind.
    #[arg(long, conflicts_with = "json")]
    partitions: bool,

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
        watch(host, &view, &arguments).await?;
    } else {
        let report = view.look(host).await?;
        if arguments.json {
            print_json(&report)?;
        } else {
            print(&text(&report, arguments.partitions))?;
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
async fn watch(host: &Host, view: &View<'_>, arguments: &Arguments) -> anyhow::Result<()> {
    let stop = app::stop_on_signals()?;
    let terminal = io::stdout().is_terminal();
    loop {
        let report = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            report = view.look(host) => report,
        };
        let shown = match (arguments.json, terminal) {
            (true, _) => json_line(&report)?,
            // Clear the screen and begin at its upper left (ECMA-48 ED and CUP).
            (false, true) => {
                let every = arguments.partitions;
                let shown = report.map_or_else(failed, |report| text(&report, every));
                format!("\x1b[2J\x1b[H{shown}")
            }
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

fn text(report: &Report, every: bool) -> String {
    let flows = report.flows.iter();
    let texts = flows.map(|flow| flow_text::text(flow, every));
    texts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{super::flow_text::tests::flow, *};

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
