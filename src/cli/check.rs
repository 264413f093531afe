//! `strait check`.

use clap::Args;
use host::Host;
use strait::{
    app::App,
    config::Config,
    survey::check::{self, FlowReport, Note, Report, SideReport, plan::Step},
};

use super::{
    ConfigFile, Outcome, print, print_json,
    table::{count, counted, lines, size},
};

/// Connect to both sides and print what would be replicated and what is missing
///
/// Loads the configuration, asks both clusters of every flow, and changes nothing on either, save
/// that it tries the target with a few small records in a topic of its own, strait.probe. What `run` would change about the
/// target's topics is printed as a diff: + added, ~ changed, - taken away, ! differs and stays so. Ends
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

    /// Change the target's topics as the plan says, once: create topics, add partitions, set configs; no topic is
    /// deleted, save those that are made anew (on_recreate = "recreate"). Only in flows without problems. Ends with 4 if something of the plan is left.
    #[arg(long)]
    apply: bool,
}

pub(super) async fn run(host: &Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    let config = arguments.file.load()?;
    let mut report = check::run(host, &config).await;
    let mut left = false;
    if arguments.apply {
        report = apply(host, &config, &report).await;
        let plans = report.flows.iter().flat_map(|flow| &flow.plan);
        left = plans.filter(|step| step.is_applied()).count() > 0;
    }
    if arguments.json {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
    }
    Ok(match report.ready && !left {
        true => Outcome::Done,
        false => Outcome::Different,
    })
}

/// Does what the plans of flows without problems say; how it is then.
async fn apply(host: &Host, config: &Config, before: &Report) -> Report {
    let app = App::new(config.clone(), host.clone());
    let mut refused = Vec::new();
    for flow in before.flows.iter().filter(|flow| flow.problems.is_empty()) {
        let flow_to_apply = app
            .flow(&flow.name)
            .filter(|_| flow.plan.iter().any(Step::is_applied));
        let Some(ready) = flow_to_apply else {
            continue;
        };
        let reasons = match ready.apply_once().await {
            Ok(applied) => applied.refused,
            Err(error) => vec![error.to_string()],
        };
        refused.extend(
            reasons
                .into_iter()
                .map(|reason| (flow.name.clone(), reason)),
        );
    }
    let mut after = check::run(host, config).await;
    for (name, reason) in refused {
        let flow = after.flows.iter_mut().find(|flow| flow.name == name);
        if let Some(flow) = flow {
            flow.not_applied(reason);
        }
    }
    after
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
    if !flow.plan.is_empty() {
        text.push_str("plan for the target's topics:\n");
        text.extend(flow.plan.iter().map(step_text));
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

/// One line of the diff.
fn step_text(step: &Step) -> String {
    let Step {
        topic,
        action,
        config,
        from,
        to,
    } = step;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let (from, to, config) = (part(from), part(to), part(config));
    let text = match *action {
        "create_topic" => format!("topic {topic} with {to} partitions"),
        "set_config" if step.from.is_none() => format!("{config} of {topic}: {to}"),
        "set_config" => format!("{config} of {topic}: {from} -> {to}"),
        "unset_config" => format!("{config} of {topic}: {from} -> the target's default"),
        "add_partitions" => format!("partitions of {topic}: {from} -> {to}"),
        "recreate_topic" => {
            let since = step.from.as_ref().map(|from| format!(", {from}"));
            let since = since.unwrap_or_default();
            format!(
                "topic {topic}: its source was made anew{since}; deleted, and made anew with {to} partitions"
            )
        }
        "delete_topic" if step.from.is_none() => {
            format!("topic {topic}: its source is gone, deleted after delete_grace")
        }
        "delete_topic" => format!("topic {topic}: {from}, deleted after delete_grace"),
        "more_partitions" => format!("partitions of {topic}: {from}, its source has {to}"),
        _ => format!("replicas of {topic}: {from}, replication_factor is {to}"),
    };
    format!("  {} {text}\n", step.sign())
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
