//! The pure parts, each on facts made up for it.

use wire::client::{ConfigEntry, ConfigSource, Operation, Rights, TopicToBe};
use wire::error::ApiError;

use super::{
    brokers::Dialled,
    codes,
    rights::{End, Need, Resource, needs},
    settings::{Settings, TargetSettings},
    *,
};
use crate::{
    checkpoint::control_topic::{TopicKey, TopicRecord},
    config::Sources,
    flow::topics::create::LeftOut,
    survey::tests::{one, side},
};

fn config(flows: &str) -> Config {
    let text = format!(
        "[clusters.east]\nbootstrap.servers = \"east:9092\"\n[clusters.west]\nbootstrap.servers = \"west:9092\"\n{flows}"
    );
    let sources = Sources {
        variable: &|_| None,
        file: &|_| Err(std::io::ErrorKind::NotFound.into()),
    };
    Config::parse(&text, &sources).unwrap()
}

fn flow(more: &str) -> FlowConfig {
    let text = format!(
        "[[flows]]\nname = \"f\"\nsource = \"east\"\ntarget = \"west\"\ntopics = [\"orders\"]\n{more}"
    );
    config(&text).flows.remove(0)
}

fn report() -> FlowReport {
    FlowReport::empty(
        "f",
        Transport::Auto,
        [&side("east", "E"), &side("west", "W")].map(super::side),
    )
}

fn codes_of(notes: &[Note]) -> Vec<&str> {
    notes.iter().map(|note| note.code).collect()
}

/// All of `needs` is allowed save what `denied` picks.
fn facts(needs: &[Need], denied: impl Fn(&Need, Operation) -> bool) -> Facts {
    let rights = needs.iter().map(|need| {
        let all = need.required.iter().chain(&need.optional).copied();
        let allowed: Vec<_> = all.filter(|operation| !denied(need, *operation)).collect();
        let key = (need.end, need.resource.clone());
        (key, Ok(Some(Rights::new(&allowed))))
    });
    Facts {
        bootstrap: BTreeMap::from([
            (End::Source, "east:9092".to_owned()),
            (End::Target, "west:9092".to_owned()),
        ]),
        rights: rights.collect(),
        creates_any: false,
        absent: Vec::new(),
        settings: Ok(BTreeMap::new()),
        control: Ok(Default::default()),
        held: Vec::new(),
        writers: Ok(Default::default()),
        origins: Ok(Default::default()),
        expiration: Some(Ok(std::time::Duration::from_secs(86_400))),
    }
}

#[test]
fn the_documents_list_the_codes_there_are() {
    let text = include_str!("../../../docs/CHECK.md");
    for (title, list) in [
        ("## Problems", codes::PROBLEMS),
        ("## Warnings", codes::WARNINGS),
        ("## Passed", codes::PASSED),
    ] {
        let section = text.split(title).nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        let mut found: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
        found.sort_unstable();
        assert_eq!(found, list, "{title}");
    }
}

#[test]
fn a_missing_right_is_named_with_the_line_that_grants_it() {
    let survey = one(None, &[0]);
    let needs = needs(&flow(""), &survey);
    let target = |need: &Need| need.resource == Resource::Topic("east.orders".to_owned());
    let facts = facts(&needs, |need, operation| {
        target(need) && operation == Operation::Write
    });
    let mut found = report();
    found.look_at_rights(&needs, &facts);
    let [problem] = &found.problems[..] else {
        panic!("{:?}", found.problems)
    };
    assert_eq!(
        (problem.code, problem.message.as_str()),
        (
            "missing_right",
            "missing: Write on topic east.orders on west"
        )
    );
    assert_eq!(
        problem.fix.as_deref().unwrap(),
        "kafka-acls.sh --bootstrap-server west:9092 --add --allow-principal User:NAME --operation Write \
         --topic east.orders"
    );
    assert_eq!(
        (codes_of(&found.warnings), codes_of(&found.passed)),
        (vec![], vec![])
    );
}

#[test]
fn what_strait_names_itself_is_granted_by_prefix() {
    let survey = one(None, &[0]);
    let needs = needs(&flow(""), &survey);
    let facts = facts(
        &needs,
        |need, _| matches!(&need.resource, Resource::Group(group) if group.starts_with("strait.")),
    );
    let mut found = report();
    found.look_at_rights(&needs, &facts);
    let [problem] = &found.problems[..] else {
        panic!("{:?}", found.problems)
    };
    assert_eq!(problem.message, "missing: Read on group strait.f on west");
    assert!(
        problem
            .fix
            .as_deref()
            .unwrap()
            .ends_with("--operation Read --group strait. --resource-pattern-type prefixed")
    );
    let [warning] = &found.warnings[..] else {
        panic!("{:?}", found.warnings)
    };
    assert_eq!(warning.code, "optional_right");
    assert!(
        warning
            .message
            .starts_with("missing: Describe on groups strait.* on east: "),
        "{}",
        warning.message
    );
}

/// On the target of each group that is seen; on the source of all, where none is.
#[test]
fn a_group_that_will_not_be_synced_is_told() {
    let told = |survey: &Survey, flow: &FlowConfig| {
        let needs = needs(flow, survey);
        let facts = facts(&needs, |need, _| {
            need.optional.len() == 1 && need.required.is_empty()
        });
        let mut found = report();
        found.look_at_rights(&needs, &facts);
        let about = |note: &Note| note.message.contains("offsets");
        let notes = found.warnings.into_iter().filter(about);
        notes
            .map(|note| (note.message, note.fix.unwrap()))
            .collect::<Vec<_>>()
    };
    let mut survey = one(None, &[0]);
    let [(message, fix)] = &told(&survey, &flow(""))[..] else {
        panic!("{:?}", told(&survey, &flow("")));
    };
    let text = "missing: Read on group readers on west: its offsets are not synced";
    assert_eq!(message, text);
    assert!(fix.ends_with("--operation Read --group readers"), "{fix}");
    survey.groups.clear();
    for (groups, name, option) in [
        (r#"[".*"]"#, "groups", "'*'"),
        (r#"["readers"]"#, "group readers", "readers"),
    ] {
        let flow = flow(&format!("groups = {groups}"));
        let [(message, fix)] = &told(&survey, &flow)[..] else {
            panic!("{:?}", told(&survey, &flow));
        };
        let text = format!("missing: Describe on {name} on east: ");
        assert!(message.starts_with(&text), "{message}");
        assert!(fix.ends_with(&format!("--group {option}")), "{fix}");
    }
    assert!(told(&survey, &flow("group_offsets = false")).is_empty());
}

#[test]
fn what_topics_for_mirrormaker_2s_clients_take_is_asked_for() {
    let mut survey = one(None, &[0]);
    survey.mm2_topics = vec![
        ("heartbeats".to_owned(), true),
        ("east.heartbeats".to_owned(), false),
    ];
    let needs = needs(&flow(""), &survey);
    let facts = facts(
        &needs,
        |need, _| matches!(&need.resource, Resource::Topic(name) if name.ends_with("heartbeats")),
    );
    let mut found = report();
    found.look_at_rights(&needs, &facts);
    let told: Vec<_> = found
        .warnings
        .iter()
        .map(|note| note.message.as_str())
        .collect();
    let lack = "it is not kept for MirrorMaker 2's clients";
    assert_eq!(
        told,
        [
            format!("missing: Write on topic heartbeats on west: {lack}"),
            format!("missing: Write, Create on topic east.heartbeats on west: {lack}"),
        ]
    );
    assert!(found.problems.is_empty());
    // Told of groups without committing for them: they are read on the source only.
    let only_told = flow("group_offsets = false\nmm2_checkpoints = true");
    let of_groups = |survey: &Survey| {
        let needs = rights::needs(&only_told, survey).into_iter();
        let groups = needs
            .filter(|n| matches!(&n.resource, Resource::Group(g) if !g.starts_with("strait.")));
        groups
            .map(|need| (need.end, need.optional))
            .collect::<Vec<_>>()
    };
    assert_eq!(of_groups(&survey), []);
    survey.groups.clear();
    assert_eq!(
        of_groups(&survey),
        [(End::Source, vec![Operation::Describe])]
    );
}

#[test]
fn each_flow_takes_only_what_it_uses() {
    let wants = |flow: &FlowConfig, survey: &Survey, operation| {
        let needs = needs(flow, survey);
        let on_target = needs.into_iter().filter(|need| need.end == End::Target);
        let wanting = on_target.filter(|need| need.required.contains(&operation));
        wanting.map(|need| need.resource).collect::<Vec<_>>()
    };
    let topic = Resource::Topic("east.orders".to_owned());
    let control = Resource::Topic("strait.f.control".to_owned());
    let mut there = one(None, &[0]);
    assert_eq!(
        wants(&flow(""), &there, Operation::Create),
        std::slice::from_ref(&control)
    );
    there.control_exists = true;
    assert_eq!(wants(&flow(""), &there, Operation::Create), []);
    assert_eq!(wants(&flow(""), &there, Operation::Alter), []);
    let second = there.topics[0].partitions[0].clone();
    there.topics[0].partitions.push(second);
    assert_eq!(
        wants(&flow(""), &there, Operation::Alter),
        std::slice::from_ref(&topic),
        "it has to grow"
    );
    let mut new = one(None, &[0]);
    new.topics[0].existing = None;
    assert_eq!(
        wants(&flow(""), &new, Operation::Create),
        [topic.clone(), control]
    );
    let read = wants(&flow("transport = \"librdkafka\""), &there, Operation::Read);
    assert!(
        !read.contains(&topic),
        "only whole batches are read back: {read:?}"
    );

    let probe = Resource::Topic("strait.probe".to_owned());
    assert!(!wants(&flow(""), &new, Operation::Write).contains(&probe));
    let required = flow("require = \"exactly-once\"");
    assert!(wants(&required, &new, Operation::Write).contains(&probe));

    let needs = needs(&flow(""), &new);
    let mut facts = facts(&needs, |_, operation| operation == Operation::Create);
    facts.creates_any = true;
    let mut found = report();
    found.look_at_rights(&needs, &facts);
    assert_eq!(
        codes_of(&found.problems),
        [""; 0],
        "Create on the cluster is as good"
    );
    assert_eq!(codes_of(&found.passed), ["rights"]);
}

#[test]
fn rights_that_are_not_told_are_no_rights_that_are_missing() {
    let survey = one(None, &[0]);
    let needs = needs(&flow(""), &survey);
    let mut facts = facts(&needs, |_, _| true);
    for told in facts.rights.values_mut() {
        *told = Ok(None);
    }
    let mut found = report();
    found.look_at_rights(&needs, &facts);
    assert_eq!(codes_of(&found.problems), [""; 0]);
    assert_eq!(
        codes_of(&found.warnings),
        ["rights_unknown", "rights_unknown"]
    );
}

#[test]
fn a_topic_that_is_hidden_is_told_from_one_that_is_not_there() {
    let error = |code| ApiError {
        code,
        message: None,
    };
    let mut found = report();
    found.look_at_absent(
        &[
            ("hidden".to_owned(), error(29)),
            ("none".to_owned(), error(3)),
        ],
        "east:9092",
    );
    assert_eq!(
        found.problems[0].message,
        "missing: Read, DescribeConfigs on topic hidden on east"
    );
    assert!(
        found.warnings[0]
            .message
            .starts_with("east has no topic none")
    );
}

#[test]
fn brokers_that_are_not_reached_are_named_with_what_they_advertise() {
    let broker = |host: &str, failure: Option<&str>| Dialled {
        alias: "east".to_owned(),
        id: 2,
        host: host.to_owned(),
        port: 9092,
        near: false,
        failure: failure.map(str::to_owned),
    };
    let message = |broker: Dialled| {
        let mut found = report();
        found.look_at_brokers(&[broker]);
        found.problems.pop().map(|problem| problem.message)
    };
    assert_eq!(message(broker("localhost", None)), None);
    let refused = Some("localhost:9092: refused");
    let told = message(broker("localhost", refused)).unwrap();
    assert!(
        told.starts_with("broker 2 of east, which advertises localhost:9092, is not reached"),
        "{told}"
    );
    assert!(told.contains("advertised.listeners"), "{told}");
    let mut near = broker("127.0.0.1", refused);
    near.near = true;
    assert!(
        !message(near).unwrap().contains("advertised.listeners"),
        "this is that machine"
    );
    let unknown = broker("kafka-2", Some("failed to lookup address information: x"));
    assert!(
        message(unknown)
            .unwrap()
            .contains("does not know that name")
    );
    assert!(
        !message(broker("kafka-2", Some("timed out")))
            .unwrap()
            .contains("listeners")
    );
}

fn entries(pairs: &[(&str, &str)]) -> Vec<ConfigEntry> {
    let entry = |(name, value): &(&str, &str)| ConfigEntry {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
        source: ConfigSource::Default,
        read_only: false,
        sensitive: false,
    };
    pairs.iter().map(entry).collect()
}

fn compared(survey: &Survey, source: &[(&str, &str)], target: TargetSettings) -> FlowReport {
    let source = Ok(entries(source));
    let settings = BTreeMap::from([("orders".to_owned(), Settings { source, target })]);
    let mut found = report();
    found.look_at_settings(survey, &Ok(settings));
    found
}

#[test]
fn settings_by_which_records_are_lost_or_changed_are_told() {
    let survey = one(None, &[0]);
    let there = |source: &[_], target: &[_]| {
        let target = TargetSettings::There(Ok(entries(target)));
        compared(&survey, source, target)
    };
    let (create, log) = (
        ("message.timestamp.type", "CreateTime"),
        ("message.timestamp.type", "LogAppendTime"),
    );
    let before = |ms| ("message.timestamp.before.max.ms", ms);
    for (source, target, codes) in [
        (
            vec![("max.message.bytes", "10")],
            vec![("max.message.bytes", "9")],
            vec!["record_size"],
        ),
        (
            vec![("max.message.bytes", "9")],
            vec![("max.message.bytes", "10")],
            vec![],
        ),
        (vec![create], vec![log], vec!["timestamp_type"]),
        (vec![log], vec![log], vec![]),
        (
            vec![create, before("9")],
            vec![create, before("8")],
            vec!["timestamp_limit"],
        ),
        (vec![log, before("9")], vec![log, before("8")], vec![]),
        (
            vec![("retention.ms", "1")],
            vec![("retention.ms", "2")],
            vec!["configs_differ"],
        ),
        (vec![("segment.ms", "1")], vec![("segment.ms", "2")], vec![]),
    ] {
        let found = there(&source, &target);
        assert_eq!(codes_of(&found.warnings), codes, "{source:?} {target:?}");
        assert_eq!(
            codes_of(&found.passed),
            if codes.is_empty() {
                vec!["settings"]
            } else {
                vec![]
            }
        );
    }
    let found = there(&[], &[("min.insync.replicas", "2")]);
    assert_eq!(codes_of(&found.problems), ["min_insync_replicas"]);
}

#[test]
fn what_the_target_says_to_a_new_topic_is_told() {
    let mut survey = one(None, &[0]);
    survey.topics[0].existing = None;
    let refused = |code| {
        let error = ApiError {
            code,
            message: Some("policy".to_owned()),
        };
        codes_of(&compared(&survey, &[], TargetSettings::ToBe(Err(error), vec![])).problems)
            .join(" ")
    };
    assert_eq!(refused(44), "target_topic_refused");
    assert_eq!(refused(38), "replication_factor");
    assert_eq!(refused(29), "", "told with the rights");
    let left_out = LeftOut {
        name: "x".to_owned(),
        value: "1".to_owned(),
        reason: "unknown".to_owned(),
    };
    let configs = entries(&[("retention.ms", "2")]);
    let to_be = TopicToBe {
        replicas: Some(1),
        configs,
    };
    let found = compared(
        &survey,
        &[("retention.ms", "1")],
        TargetSettings::ToBe(Ok(to_be), vec![left_out]),
    );
    assert_eq!(
        codes_of(&found.warnings),
        ["config_left_out", "configs_differ"]
    );
}

#[test]
fn a_cycle_in_the_file_is_told_whether_there_is_such_a_topic_or_not() {
    let config = config(
        "[[flows]]\nname = \"there\"\nsource = \"east\"\ntarget = \"west\"\ntopics = [\"orders\"]\n\
         [[flows]]\nname = \"back\"\nsource = \"west\"\ntarget = \"east\"\ntopics = [\".*\"]\n",
    );
    let reports = |topic: bool| {
        let reports = [("there", "E", "W"), ("back", "W", "E")].map(|(name, from, to)| {
            let mut report = report();
            report.name = name.to_owned();
            report.source.cluster_id = Some(from.to_owned());
            report.target.cluster_id = Some(to.to_owned());
            if topic {
                let mut survey = one(None, &[0]);
                survey.topics[0].target = "orders".to_owned();
                report.topics = vec![row(&survey, &survey.topics[0])];
            }
            report
        });
        let mut reports = Report::new(&config.flows, reports.to_vec());
        // Both write to `orders` of the other side here, so nothing is shared.
        assert!(!reports.ready);
        reports
            .flows
            .iter_mut()
            .map(|flow| std::mem::take(&mut flow.problems))
            .collect::<Vec<_>>()
    };
    let [there, back] = &reports(true)[..] else {
        panic!()
    };
    assert_eq!(
        (codes_of(there), codes_of(back)),
        (vec!["cycle"], vec!["cycle"])
    );
    assert!(
        there[0]
            .message
            .contains("east:orders → west:orders → east:orders"),
        "{}",
        there[0].message
    );
    assert!(
        back[0]
            .message
            .contains("west:orders → east:orders → west:orders"),
        "{}",
        back[0].message
    );
    let found = reports(false).concat();
    assert_eq!(codes_of(&found), ["cycle"]);
    assert!(
        found[0].message.contains("would form a cycle"),
        "{}",
        found[0].message
    );
}

#[test]
fn two_aliases_of_one_cluster_are_told_once() {
    let mut second = report();
    second.name = "g".to_owned();
    second.target.cluster = "west-2".to_owned();
    let report = Report::new(&[], vec![report(), second]);
    assert!(report.ready);
    let warnings: Vec<_> = report
        .flows
        .iter()
        .flat_map(|flow| &flow.warnings)
        .collect();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].message, "west-2 and west are one cluster (W)");
}

fn plan(survey: &Survey, settings: Settings, flow: &FlowConfig) -> Vec<String> {
    let mut facts = facts(&[], |_, _| false);
    facts.settings = Ok(BTreeMap::from([("orders".to_owned(), settings)]));
    let record = |source: &str, gone_since_ms| TopicRecord {
        source_topic: source.to_owned(),
        target_topic: source.to_owned(),
        target_topic_id: Some(uuid::Uuid::from_u128(7)),
        start: None,
        created_ms: 0,
        given_up: Vec::new(),
        ways: Vec::new(),
        gone_since_ms,
    };
    let records = [
        record("orders", None),
        record("orders.old", Some(0)),
        record("orders.new", None),
        record("others", None),
    ];
    let topics = (0..).zip(records);
    let topics = topics.map(|(n, r)| (TopicKey::new(uuid::Uuid::from_u128(n + 1), ""), r));
    facts.control.as_mut().unwrap().topics = topics.collect();
    let mut report = report();
    report.make_plan(flow, survey, &facts);
    let text = |step: &super::plan::Step| {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "none".to_owned());
        let what = step.config.as_deref().unwrap_or(step.action);
        let (from, to) = (part(&step.from), part(&step.to));
        format!("{} {} {what} {from} {to}", step.sign(), step.topic)
    };
    report.plan.iter().map(text).collect()
}

#[test]
fn a_rule_that_holds_for_no_topic_is_told() {
    let rule =
        |pattern: &str| format!("[[flows.rules]]\nmatch = \"{pattern}\"\non_gap = \"latest\"\n");
    let rules = ["ord.*", "orders", "payments"].map(rule).concat();
    let mut found = report();
    found.look_at_rules(&flow(&rules), &one(None, &[0]));
    let told: Vec<_> = found
        .warnings
        .iter()
        .map(|note| note.message.as_str())
        .collect();
    assert!(
        matches!(&told[..], [second, third] if second.contains("\"orders\"") && third.contains("\"payments\"")),
        "{told:?}"
    );
    assert_eq!(codes_of(&found.warnings), ["rule_idle"; 2]);
}

#[test]
fn what_run_would_change_is_a_diff() {
    let set = |name: &str, value: &str| ConfigEntry {
        source: ConfigSource::Topic,
        ..entries(&[(name, value)]).remove(0)
    };
    let source = vec![
        set("retention.ms", "1"),
        set("segment.ms", "5"),
        set("x", "1"),
    ];
    let mut survey = one(None, &[0]);
    survey.topics[0].config.replication_factor = 3;
    let there = Settings {
        source: Ok(source.clone()),
        target: TargetSettings::There(Ok(vec![set("retention.ms", "2"), set("x", "1")])),
    };
    let deletes = flow("on_delete = \"delete\"");
    let wanted = [
        "! east.orders replicas 1 3",
        "+ east.orders segment.ms none 5",
        "~ east.orders retention.ms 2 1",
    ];
    let mut found = plan(&survey, there.clone(), &deletes);
    found.sort();
    assert_eq!(found, wanted);
    let second = survey.topics[0].partitions[0].clone();
    survey.topics[0].partitions.push(second);
    survey.topics[0].config.configs = std::sync::Arc::new(crate::config::ConfigRules {
        follow: false,
        ..Default::default()
    });
    let mut more = deletes.clone();
    more.topics = vec![crate::config::NamePattern::new("orders.*").unwrap()];
    let mut found = plan(&survey, there, &more);
    found.sort();
    assert_eq!(
        found,
        [
            "! east.orders replicas 1 3",
            "- orders.new delete_topic none none",
            "- orders.old delete_topic source gone since 1970-01-01T00:00:00Z none",
            "~ east.orders add_partitions 1 2",
        ]
    );
    survey.topics[0].existing = None;
    let left_out = LeftOut {
        name: "x".to_owned(),
        value: "1".to_owned(),
        reason: "unknown".to_owned(),
    };
    let new = Settings {
        source: Ok(source),
        target: TargetSettings::ToBe(Ok(TopicToBe::default()), vec![left_out]),
    };
    assert_eq!(
        plan(&survey, new, &flow("")),
        [
            "+ east.orders create_topic none 2",
            "+ east.orders retention.ms none 1",
            "+ east.orders segment.ms none 5",
        ]
    );
}

#[test]
fn what_is_made_anew_or_created_later_is_in_the_diff() {
    let settings = |target| Settings {
        source: Ok(Vec::new()),
        target,
    };
    let later = ApiError {
        code: 89,
        message: None,
    };
    let mut survey = one(None, &[0]);
    // The source has another `orders` now than the one that was copied to topic 7.
    survey.topics[0].source_id = uuid::Uuid::from_u128(9);
    survey.topics[0].existing.as_mut().unwrap().id = uuid::Uuid::from_u128(7);
    survey.topics[0].target = "orders".to_owned();
    let there = settings(TargetSettings::There(Ok(Vec::new())));
    let recreates = flow("on_recreate = \"recreate\"");
    assert_eq!(
        plan(&survey, there.clone(), &recreates),
        ["- orders recreate_topic none 1"]
    );
    assert_eq!(plan(&survey, there, &flow("")), [""; 0]);
    survey.topics[0].existing = None;
    let waits = settings(TargetSettings::ToBe(Err(later), Vec::new()));
    assert_eq!(
        plan(&survey, waits, &flow("")),
        ["+ orders create_topic none 1"]
    );
}
