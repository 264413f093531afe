//! `strait check`.

use std::collections::BTreeMap;

use clap::Args;
use host::Host;
use strait::{
    app::App,
    config::Config,
    survey::check::{self, FlowReport, Note, Report, SideReport, TopicReport, plan::Step},
};

use super::{
    ConfigFile, Outcome, print, print_json,
    table::{count, counted, lines, size},
};

/// Topics of a flow that are printed one by one.
const MANY_TOPICS: usize = 100;
/// A plan of more steps is shortened, to so many of each kind.
const MANY_STEPS: usize = 100;
const FEW_STEPS: usize = 20;

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

    /// Print one JSON object, with everything in it.
    #[arg(long)]
    json: bool,

    /// Print every topic and every step of the plan, also where they are many.
    #[arg(long)]
    all: bool,

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
        print(&text(&report, arguments.all))?;
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

fn text(report: &Report, all: bool) -> String {
    let flows = report.flows.iter().map(|flow| flow_text(flow, all));
    let mut text: String = flows.collect();
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

fn flow_text(flow: &FlowReport, all: bool) -> String {
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
        text.push_str(&topics_text(&flow.topics, all));
    }
    if !flow.plan.is_empty() {
        text.push_str("plan for the target's topics:\n");
        text.push_str(&plan_text(&flow.plan, all));
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

/// The topics, the first ones if they are many.
fn topics_text(topics: &[TopicReport], all: bool) -> String {
    let titles = [
        "topic",
        "on the target",
        "partitions",
        "bytes",
        "records",
        "to copy",
    ];
    let shown = shown(topics.len(), MANY_TOPICS, all);
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(topics[..shown].iter().map(|topic| {
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
    let mut text = lines(&rows);
    let rest = &topics[shown..];
    if !rest.is_empty() {
        let number = |number: usize| count(i64::try_from(number).unwrap_or(i64::MAX));
        text.push_str(&format!(
            "  and {} more topics: {} partitions, {}, {} records, {} to copy (--all prints each)\n",
            number(rest.len()),
            number(rest.iter().map(|topic| topic.partitions).sum()),
            size(rest.iter().filter_map(|topic| topic.bytes).sum()),
            count(rest.iter().map(|topic| topic.records).sum()),
            count(rest.iter().map(|topic| topic.lag).sum()),
        ));
    }
    text
}

/// The diff; where it is long, the first lines of each kind, so that a deletion does not drown in what is created.
fn plan_text(plan: &[Step], all: bool) -> String {
    if shown(plan.len(), MANY_STEPS, all) == plan.len() {
        return plan.iter().map(step_text).collect();
    }
    let mut kinds: BTreeMap<(&str, char), Vec<&Step>> = BTreeMap::new();
    for step in plan {
        let kind = (step.action, step.sign());
        kinds.entry(kind).or_default().push(step);
    }
    let kind_text = |((action, sign), steps): ((&str, char), Vec<&Step>)| {
        let shown = shown(steps.len(), FEW_STEPS, false);
        let mut text: String = steps[..shown].iter().map(|step| step_text(step)).collect();
        let rest = steps.len() - shown;
        if rest > 0 {
            let what = match action {
                "create_topic" => "topics to create",
                "add_partitions" => "topics that get partitions",
                "delete_topic" => "topics to delete",
                "recreate_topic" => "topics to make anew",
                "set_config" => "configs to set",
                "unset_config" => "configs to take away",
                _ => "topics that differ",
            };
            let rest = count(i64::try_from(rest).unwrap_or(i64::MAX));
            text.push_str(&format!(
                "  {sign} {rest} more {what} (--all prints each)\n"
            ));
        }
        text
    };
    kinds.into_iter().map(kind_text).collect()
}

/// How many of so many lines are printed, of which `most` are not too many.
fn shown(lines: usize, most: usize, all: bool) -> usize {
    if all || lines <= most { lines } else { most }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(index: usize) -> TopicReport {
        TopicReport {
            source: format!("t{index}"),
            target: format!("t{index}"),
            target_exists: false,
            partitions: 2,
            records: 10,
            bytes: Some(1 << 10),
            lag: 3,
            checkpoints: 0,
        }
    }

    fn step(index: usize, action: &'static str) -> Step {
        Step {
            topic: format!("t{index}"),
            action,
            config: None,
            from: None,
            to: Some("2".to_owned()),
        }
    }

    #[test]
    fn of_many_topics_the_first_are_printed_and_the_rest_is_added_up() {
        let topics: Vec<_> = (0..10_000).map(topic).collect();
        let text = topics_text(&topics, false);
        assert_eq!(text.lines().count(), 1 + MANY_TOPICS + 1);
        let rest = "  and 9,900 more topics: 19,800 partitions, 9.7 MiB, 99,000 records, 29,700 to copy (--all \
                    prints each)";
        assert_eq!(text.lines().last(), Some(rest));
        assert_eq!(topics_text(&topics, true).lines().count(), 1 + 10_000);
        let text = topics_text(&topics[..MANY_TOPICS], false);
        assert_eq!(text.lines().count(), 1 + MANY_TOPICS);
    }

    #[test]
    fn a_long_plan_shows_some_of_each_kind() {
        let mut plan: Vec<_> = (0..10_000)
            .map(|index| step(index, "create_topic"))
            .collect();
        plan.push(step(7, "delete_topic"));
        plan.sort();
        let text = plan_text(&plan, false);
        assert_eq!(text.lines().count(), FEW_STEPS + 1 + 1);
        assert!(text.contains("\n  + 9,980 more topics to create (--all prints each)\n"));
        assert!(text.contains("  - topic t7"), "{text}");
        assert_eq!(plan_text(&plan, true).lines().count(), 10_001);
        assert_eq!(
            plan_text(&plan[..MANY_STEPS], false).lines().count(),
            MANY_STEPS
        );
    }
}
