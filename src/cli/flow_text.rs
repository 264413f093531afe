//! A flow's status for people: short, however many partitions there are.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use strait::status::{
    Configs, FlowStatus, Follows, Groups, Member, PartitionStatus, Phase, Provides,
};

use super::table::{count, counted, lines};

/// Topics, and remarks about partitions, that are shown unless all are asked for.
const SHOWN: usize = 20;

/// The flow in one line.
pub(super) fn summary(flow: &FlowStatus) -> String {
    let mut parts = vec![
        format!("flow {}: {} to {}", flow.name, flow.source, flow.target),
        flow.provides.guarantee.clone(),
    ];
    match &flow.phase {
        Some(Phase::Waiting { reason, .. }) => parts.push(reason.clone()),
        Some(phase) => parts.push(phase.name().to_owned()),
        None => {}
    }
    if let Some(records) = flow.records {
        parts.push(format!("{} copied", count(records.cast_signed())));
    }
    let noun = if flow.lag == 1 { "record" } else { "records" };
    parts.push(format!("{} {noun} to copy", count(flow.lag)));
    if let Some(ms) = flow.lag_ms.filter(|ms| *ms > 0) {
        parts.push(format!("{} late", late(Some(ms))));
    }
    parts.push(format!("{} stopped", counted(flow.stopped, "partition")));
    parts.join(", ")
}

/// All there is to say: every partition, or the topics that are furthest behind.
pub(super) fn text(flow: &FlowStatus, every: bool) -> String {
    let mut text = summary(flow) + "\n";
    text.push_str(&reason_line(&flow.provides));
    if let Some(members) = &flow.members {
        text.push_str(&member_line(members));
    }
    let partitions = &flow.partitions;
    if every {
        text.push_str(&partition_table(partitions));
    } else {
        text.push_str(&topic_table(partitions));
    }
    let mut notes: Vec<_> = partitions.iter().filter_map(note).collect();
    let more = notes.len().saturating_sub(SHOWN);
    if !every && more > 0 {
        notes.truncate(SHOWN);
        notes.push(format!(
            "and {} more like these; --partitions shows all\n",
            count(more as i64)
        ));
    }
    text.extend(notes);
    for trouble in &flow.troubles {
        text.push_str(&format!(
            "trouble ({}): {}: {}\n",
            trouble.code, trouble.topic, trouble.text
        ));
    }
    if let Some(groups) = &flow.groups {
        text.push_str(&groups_text(groups));
    }
    for (kind, rules) in [
        ("ACL", &flow.acls),
        ("quota", &flow.quotas),
        ("SCRAM user", &flow.users),
    ] {
        if let Some(rules) = rules {
            text.push_str(&rules_text(kind, rules));
        }
    }
    if let Some(configs) = &flow.configs {
        text.push_str(&configs_text(configs));
    }
    text
}

/// What becomes of rules of one kind.
fn rules_text(kind: &str, rules: &Follows) -> String {
    if let Some(reason) = &rules.off {
        return format!("{kind}s do not follow: {reason}\n");
    }
    let mut text = format!(
        "{} on the target as on the source",
        counted(rules.follow, kind)
    );
    for (count, what) in [(rules.left_out, "left out"), (rules.unknown, "not known")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text.push('\n');
    let left = rules.left.iter().take(SHOWN);
    text.extend(left.map(|left| format!("{kind} left out: {}: {}\n", left.rule, left.text)));
    text.push_str(&and_more(rules.left_out, &format!("{kind}s left out")));
    text
}

/// What becomes of the offsets of groups.
fn groups_text(groups: &Groups) -> String {
    if let Some(reason) = &groups.off {
        return format!("group offsets are not synced: {reason}\n");
    }
    let mut text = format!("{} synced", counted(groups.synced, "group"));
    for (count, what) in [
        (groups.inexact, "not exact"),
        (groups.waiting, "waiting"),
        (groups.unknown, "not known"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {} {what}", counted(count, "offset")));
        }
    }
    text.push_str(&format!(", {} left alone\n", groups.left_alone));
    let left = groups.left.iter().take(SHOWN);
    text.extend(
        left.map(|left| format!("group {} ({}): {}\n", left.group, left.reason, left.text)),
    );
    text.push_str(&and_more(groups.left_alone, "groups left alone"));
    text
}

/// How the configs of topics follow.
fn configs_text(configs: &Configs) -> String {
    let mut text = match &configs.off {
        Some(reason) => format!("configs of topics do not follow: {reason}\n"),
        None => format!(
            "configs of {} follow: {} changed, {} set back\n",
            counted(configs.topics, "topic"),
            configs.changed,
            configs.set_back
        ),
    };
    let notes = configs.notes.iter().take(SHOWN);
    text.extend(notes.map(|note| format!("config ({}): {}\n", note.code, note.text)));
    text.push_str(&and_more(configs.noted, "notes on configs"));
    text
}

/// How many of `all` are not shown, if there are any.
fn and_more(all: usize, what: &str) -> String {
    match all.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("and {} more {what}\n", count(more as i64)),
    }
}

/// Which way the records take, and what the guarantee rests on.
fn reason_line(provides: &Provides) -> String {
    let reason = &provides.guarantee_reason;
    match &provides.transport {
        Some(transport) => format!("  over {transport}: {reason}\n"),
        None => format!("  {reason}\n"),
    }
}

fn member_line(members: &[Member]) -> String {
    if members.is_empty() {
        return "  no process runs it at the moment\n".to_owned();
    }
    let members = members.iter().map(|member| {
        let leads = if member.leader { " and leads" } else { "" };
        let Member { name, host, .. } = member;
        let runs = counted(member.partitions, "partition");
        format!("{name} on {host} runs {runs}{leads}")
    });
    format!("  {}\n", members.collect::<Vec<_>>().join("; "))
}

/// What is told of one topic.
#[derive(Default)]
struct Topic {
    partitions: usize,
    lag: i64,
    lag_ms: Option<i64>,
}

fn topic_table(partitions: &[PartitionStatus]) -> String {
    let mut topics: BTreeMap<[&str; 2], Topic> = BTreeMap::new();
    for partition in partitions {
        let key = [partition.topic.as_str(), partition.target_topic.as_str()];
        let topic = topics.entry(key).or_default();
        topic.partitions += 1;
        topic.lag += partition.lag.unwrap_or(0);
        topic.lag_ms = topic.lag_ms.max(partition.lag_ms);
    }
    let mut topics: Vec<_> = topics.into_iter().collect();
    topics.sort_by_key(|(_, topic)| Reverse((topic.lag_ms, topic.lag)));
    let rest = topics.split_off(topics.len().min(SHOWN));
    topics.sort_by_key(|(names, _)| *names);
    let mut rows = vec![row([
        "topic",
        "on the target",
        "partitions",
        "to copy",
        "late",
    ])];
    rows.extend(topics.iter().map(|([source, target], topic)| {
        let (number, lag) = (topic.partitions.to_string(), count(topic.lag));
        row([source, target, &number, &lag, &late(topic.lag_ms)])
    }));
    let mut text = lines(&rows);
    if !rest.is_empty() {
        let lag: i64 = rest.iter().map(|(_, topic)| topic.lag).sum();
        text.push_str(&format!(
            "  and {} more topics, {} to copy in them; --partitions shows all\n",
            count(rest.len() as i64),
            count(lag),
        ));
    }
    text
}

fn partition_table(partitions: &[PartitionStatus]) -> String {
    let titles = [
        "partition",
        "on the target",
        "next",
        "end",
        "to copy",
        "late",
        "state",
        "owner",
    ];
    let number = |number: Option<i64>| number.map_or("-".to_owned(), count);
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    let mut rows = vec![row(titles)];
    rows.extend(partitions.iter().map(|one| {
        vec![
            format!("{}-{}", one.topic, one.partition),
            one.target_topic.clone(),
            number(one.source_offset),
            number(one.source_end),
            number(one.lag),
            late(one.lag_ms),
            word(&one.state),
            word(&one.owner),
        ]
    }));
    lines(&rows)
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// What is unusual about a partition.
fn note(partition: &PartitionStatus) -> Option<String> {
    let name = format!("{}-{}", partition.topic, partition.partition);
    let words = partition.text.as_deref();
    let mut text = String::new();
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
    if let Some(held) = partition.held_ms {
        let held = late(Some(held));
        text.push_str(&format!(
            "held by an open transaction: {name}: for {held}\n"
        ));
    }
    if let Some(unknown) = &partition.unknown {
        text.push_str(&format!("unknown: {name}: {unknown}\n"));
    }
    (!text.is_empty()).then_some(text)
}

/// A lag for people, in its two largest units; "-": not known.
fn late(ms: Option<i64>) -> String {
    let Some(ms) = ms else {
        return "-".to_owned();
    };
    let seconds = Duration::from_secs(ms.max(0).unsigned_abs() / 1000);
    let all = humantime::format_duration(seconds).to_string();
    all.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Milliseconds since 1970 by RFC 3339.
pub(super) fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn partition(topic: &str, partition: i32, lag: i64) -> PartitionStatus {
        PartitionStatus {
            topic: topic.to_owned(),
            partition,
            target_topic: format!("east.{topic}"),
            lag: Some(lag),
            lag_ms: Some(lag * 65),
            state: Some("running".to_owned()),
            ..PartitionStatus::default()
        }
    }

    /// A flow of two topics, as its process tells it.
    pub(in crate::cli) fn flow() -> FlowStatus {
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
            provides: Provides {
                transport: Some("wire".to_owned()),
                transport_reason: Some("as configured".to_owned()),
                guarantee: "exactly-once".to_owned(),
                guarantee_reason: "leaders remember producers for 1day".to_owned(),
            },
            lag: 1_003,
            lag_ms: Some(65_000),
            checkpoint_age_ms: None,
            lease_age_ms: None,
            members: None,
            records: Some(5_000),
            bytes: Some(9),
            stopped: 1,
            partitions: vec![partition("a", 0, 1), retrying, stopped],
            troubles: Vec::new(),
            groups: None,
            acls: None,
            quotas: None,
            users: None,
            configs: None,
        }
    }

    #[test]
    fn a_process_and_the_clusters_are_shown_alike() {
        let shown = "flow f: east to west, exactly-once, running, 5,000 copied, 1,003 records to copy, 1m 5s late, \
            1 partition stopped\n\
            \x20 over wire: leaders remember producers for 1day\n\
            \x20 topic  on the target  partitions  to copy   late\n\
            \x20 a      east.a                  2        3     0s\n\
            \x20 b      east.b                  1    1,000  1m 5s\n\
            retrying: a-1: no answer\n\
            stopped: b-0: record_refused at offset 7: too large\n";
        let mut flow = flow();
        assert_eq!(text(&flow, false), shown);
        (flow.phase, flow.records, flow.lag_ms) = (None, None, None);
        for partition in &mut flow.partitions {
            (partition.text, partition.state) = (None, None);
        }
        flow.partitions[2].stopped_since_ms = Some(0);
        flow.members = Some(vec![Member {
            name: "pod-1".to_owned(),
            host: "10.0.0.1".to_owned(),
            partitions: 3,
            leader: true,
        }]);
        let seen = text(&flow, false);
        let lines: Vec<_> = seen.lines().collect();
        assert_eq!(
            lines[..3],
            [
                "flow f: east to west, exactly-once, 1,003 records to copy, 1 partition stopped",
                "  over wire: leaders remember producers for 1day",
                "  pod-1 on 10.0.0.1 runs 3 partitions and leads"
            ]
        );
        assert_eq!(
            lines.last(),
            Some(&"stopped: b-0: record_refused at offset 7 since 1970-01-01T00:00:00Z")
        );
    }

    #[test]
    fn a_large_flow_is_told_in_short_unless_all_is_asked_for() {
        let mut flow = flow();
        let topic = |number: i64| format!("t{number:04}");
        flow.partitions = (0..2_000)
            .map(|number| PartitionStatus {
                reason: Some("source_denied".to_owned()),
                ..partition(&topic(number), 0, number)
            })
            .collect();
        let short = text(&flow, false);
        assert!(short.lines().count() < 50, "{short}");
        // The latest topics are shown, by name.
        let first = short.lines().position(|line| line.contains("t1980"));
        let last = short.lines().position(|line| line.contains("t1999"));
        assert!(first < last && first.is_some(), "{short}");
        let rest = "and 1,980 more topics, 1,959,210 to copy in them; --partitions shows all";
        assert!(short.contains(rest), "{short}");
        assert!(short.contains("and 1,980 more like these; --partitions shows all"));
        let all = text(&flow, true);
        assert_eq!(all.matches("source_denied").count(), 2_000);
        assert_eq!(all.matches("east.t").count(), 2_000);
    }

    #[test]
    fn every_partition_has_a_line_if_they_are_asked_for() {
        let mut flow = flow();
        flow.partitions.truncate(1);
        flow.partitions[0].owner = Some("pod-1".to_owned());
        flow.partitions[0].lag_ms = None;
        let seen = text(&flow, true);
        assert_eq!(
            seen.lines().nth(3).unwrap_or_default(),
            "  a-0        east.a            -    -        1     -  running  pod-1"
        );
    }
}
