//! What comes of MirrorMaker 2's configurations. What MirrorMaker 2 itself makes of them was asked of Kafka 4.1.1
//! (`MirrorMakerConfig`, `MirrorSourceConfig`, `DefaultReplicationPolicy`) where a test says so.

use proptest::prelude::*;

use super::*;
use crate::config::{DefaultsFrom, NamePattern, OnPoison, Require, Start};

fn inputs(text: &str) -> Vec<Input> {
    vec![Input {
        name: "in".to_owned(),
        bytes: text.as_bytes().to_vec(),
    }]
}

#[track_caller]
fn imported(text: &str) -> Import {
    import(&inputs(text), None).unwrap()
}

/// Two clusters and a flow, and more lines.
fn with(lines: &str) -> String {
    format!(
        "clusters = A, B\nA.bootstrap.servers = a:1\nB.bootstrap.servers = b:1\nA->B.enabled = true\n{lines}"
    )
}

/// As strait loads it, whatever it refers to being there.
fn config(import: &Import) -> Config {
    let sources = Sources {
        variable: &|name| match name {
            "STRAIT_HTTP_LISTEN" => None,
            name if name.contains("CERTIFICATE") || name.ends_with("STORE_KEY") => {
                Some(include_str!("stand_in.pem").to_owned())
            }
            name => Some(format!("value.of.{name}")),
        },
        file: &|_| Ok(include_str!("stand_in.pem").to_owned()),
    };
    Config::parse(import.toml.as_ref().unwrap(), &sources).unwrap()
}

/// Flow, source and its alias, connector, topic and group of what a takeover has to be told.
#[track_caller]
fn kept(import: &Import) -> [Option<&str>; 6] {
    let [one] = &import.report.positions[..] else {
        panic!("{:?}", import.report.positions);
    };
    let texts = [&one.flow, &one.source, &one.source_alias].map(|text| Some(text.as_str()));
    let [flow, source, alias] = texts;
    let [connector, topic, group] =
        [&one.connector, &one.offsets_topic, &one.group].map(Option::as_deref);
    [flow, source, alias, connector, topic, group]
}

/// The verdict and text of one key.
#[track_caller]
fn line<'a>(import: &'a Import, key: &str) -> (Verdict, &'a str) {
    let mut lines = import.report.keys.iter().filter(|line| line.key == key);
    let line = lines.next().unwrap_or_else(|| panic!("no {key}"));
    assert!(lines.next().is_none(), "{key} twice");
    (line.verdict, &line.text)
}

#[track_caller]
fn is(import: &Import, key: &str, verdict: Verdict, text: &str) {
    let (found, said) = line(import, key);
    assert!(
        found == verdict && said.contains(text),
        "{key}: {found:?} {said}"
    );
}

/// Several of them, `KEY | VERDICT | TEXT` in a line each.
#[track_caller]
fn are(import: &Import, lines: &str) {
    for wanted in lines.trim().lines() {
        let [key, verdict, text] = wanted.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{wanted}");
        };
        let verdict = serde_json::from_value(verdict.into()).unwrap();
        is(import, key.trim(), verdict, text);
    }
}

use crate::config::Sources;
use Verdict::{NotNeeded, NotSupported, Refused, Renamed, Taken};

#[test]
fn a_flow_is_as_mirrormaker_has_it() {
    let import = imported(&with(""));
    let config = config(&import);
    let flow = &config.flows[0];
    assert_eq!((flow.source.as_str(), flow.target.as_str()), ("A", "B"));
    assert_eq!(flow.naming, crate::config::Naming::Prefix);
    assert_eq!(flow.defaults.replication_factor, 2);
    assert_eq!(config.clusters["A"].bootstrap, [("a".to_owned(), 1)]);
    let selection = crate::flow::topics::selection::Selection::new(flow);
    // Of `DefaultReplicationPolicy` and `MirrorSourceConnector.isCycle`, asked of 4.1.1.
    for (topic, selected) in [
        ("orders", true),
        ("orders.internal", true),
        ("C.orders", true),
        ("orders.replica", false),
        ("__consumer_offsets", false),
        ("mm2-offset-syncs.B.internal", false),
        ("A.checkpoints.internal", false),
        ("B.orders", false),
        ("C.B.orders", false),
        ("Bx.orders", true),
        ("xB.orders", true),
        ("B.", true),
    ] {
        assert_eq!(selection.selects(topic, false), selected, "{topic}");
    }
    assert!(import.report.is_complete());
    is(&import, "clusters", Renamed, "[clusters.ALIAS]");
    is(&import, "A->B.enabled", Taken, "");
}

/// As `MirrorMakerConfig` and `MirrorSourceConfig.sourceConsumerConfig` of 4.1.1 put them together.
#[test]
fn what_counts_is_what_counts_in_mirrormaker() {
    let import = imported(&with(
        "A.consumer.isolation.level = read_committed\nA->B.consumer.isolation.level = read_uncommitted\n\
         A->B.source.consumer.auto.offset.reset = latest\nA.consumer.auto.offset.reset = earliest\n\
         A->B.source.cluster.bootstrap.servers = x:1\nB.consumer.client.rack = unread\n\
         A.client.rack = ignored\nA.consumer.client.rack = r\ntopics = top\nA->B.topics = own\nA.topics = ignored\n\
         consumer.fetch.max.bytes = 1\noffset.flush.interval.ms = 1\nB.offset.flush.interval.ms = 1\n\
         use.defaults.from = source\noffset.storage.topic = t\nC->B.topics = x\nB->A.topics = y\nB->A.enabled = false\n\
         A->B.consumer.bootstrap.servers = y:1\nfoo.bar = 1\nB.producer.client.id = id\nreplication.factor = 4\n",
    ));
    let config = config(&import);
    let flow = &config.flows[0];
    assert_eq!(flow.isolation, wire::Isolation::ReadCommitted);
    assert_eq!(flow.defaults.start, Start::Latest);
    assert_eq!(flow.topics[0].text(), "own");
    assert_eq!(flow.defaults.replication_factor, 4);
    let (a, b) = (&config.clusters["A"], &config.clusters["B"]);
    assert_eq!((a.bootstrap[0].0.as_str(), a.rack()), ("a", Some("r")));
    assert_eq!((b.client_id(), b.rack()), ("id", None));
    are(
        &import,
        "
         A.consumer.isolation.level | renamed | isolation = \"read_committed\"
         A->B.consumer.isolation.level | not_needed | A.consumer.isolation.level takes its place
         A->B.source.consumer.auto.offset.reset | renamed | start = \"latest\"
         A->B.source.cluster.bootstrap.servers | not_needed | A.bootstrap.servers takes its place
         A->B.consumer.bootstrap.servers | not_needed | A.bootstrap.servers takes its place
         A.client.rack | not_needed | ignores this here too
         B.consumer.client.rack | not_needed | move no records
         topics | not_needed | A->B.topics takes its place
         A.topics | not_needed | it counts as SOURCE->TARGET.topics
         consumer.fetch.max.bytes | not_needed | it counts as CLUSTER.consumer
         offset.flush.interval.ms | not_needed | it counts as TARGET.offset.flush.interval.ms
         B.offset.flush.interval.ms | not_needed | checkpoint_interval
         use.defaults.from | not_needed | ignores this here too
         offset.storage.topic | not_needed | strait.FLOW
         C->B.topics | not_needed | no such pair
         B->A.topics | not_needed | the flow is off
         B->A.enabled | not_needed | is left out
         foo.bar | not_needed | ignores this here too
         replication.factor | renamed | replication_factor",
    );
}

#[test]
fn what_strait_does_not_do_is_not_claimed() {
    let import = imported(&with(
        "sync.topic.acls.enabled = false\nemit.checkpoints.enabled = true\n\
         A->B.no.such.key = 1\nrefresh.topics.enabled = false\n",
    ));
    is(&import, "sync.topic.acls.enabled", NotNeeded, "");
    is(
        &import,
        "emit.checkpoints.enabled",
        Renamed,
        "mm2_checkpoints = true",
    );
    is(&import, "A->B.no.such.key", NotSupported, "misspelt");
    is(
        &import,
        "refresh.topics.enabled",
        NotSupported,
        "name the topics",
    );
    assert!(!import.report.is_complete());
    let notes = import.report.notes.join("\n");
    assert!(notes.contains("heartbeats") && !notes.contains("acls"));
}

/// `DefaultConfigPropertyFilter` of 4.1.1.
#[test]
fn configs_follow_as_mirror_maker_2_has_them_follow() {
    let rules = |lines: &str| {
        let import = imported(&with(lines));
        let flow = config(&import).flows.remove(0);
        (import, flow.defaults.configs)
    };
    let (_, usual) = rules("");
    assert!(usual.follow && usual.excludes("min.insync.replicas"));
    assert!(usual.excludes("message.timestamp.type") && !usual.excludes("retention.ms"));
    assert_eq!(usual.defaults_from, DefaultsFrom::Target);
    let (import, own) = rules(
        "sync.topic.configs.interval.seconds = 7\nA->B.config.properties.exclude = a.*, b\n\
         A->B.use.defaults.from = source\nconfig.property.filter.class = x.DefaultConfigPropertyFilter\n",
    );
    assert!(own.excludes("ab") && own.excludes("b") && !own.excludes("min.insync.replicas"));
    assert_eq!(own.defaults_from, DefaultsFrom::Source);
    assert_eq!(own.interval.as_secs(), 7);
    are(
        &import,
        "
         sync.topic.configs.interval.seconds | renamed | interval
         A->B.config.properties.exclude | renamed | exclude
         A->B.use.defaults.from | renamed | defaults_from
         config.property.filter.class | not_needed | by default",
    );
    let (import, none) = rules("sync.topic.configs.enabled = false\n");
    assert!(!none.follow);
    is(
        &import,
        "sync.topic.configs.enabled",
        Renamed,
        "follow = false",
    );
    let import = imported(&with("A->B.config.properties.exclude = (?=a)b\n"));
    is(&import, "A->B.config.properties.exclude", Refused, "");
    let (import, _) = rules("A->B.config.property.filter.class = org.example.Mine\n");
    is(
        &import,
        "A->B.config.property.filter.class",
        NotSupported,
        "exclude",
    );
}

#[test]
fn groups_follow_where_mirror_maker_2_writes_their_offsets() {
    let on = "sync.group.offsets.enabled = true\n";
    let import = imported(&with(&format!("{on}groups = a.*, b\n")));
    is(
        &import,
        "sync.group.offsets.enabled",
        Renamed,
        "group_offsets = true",
    );
    is(&import, "groups", Taken, "");
    let flow = config(&import).flows.remove(0);
    let names = |group: &str| {
        let any = |patterns: &[NamePattern]| patterns.iter().any(|p| p.matches(group));
        any(&flow.groups) && !any(&flow.groups_exclude)
    };
    assert!(flow.group_offsets && names("ab") && names("b") && !names("c"));
    let import = imported(&with(&format!(
        "{on}groups.exclude = x\ngroup.filter.class = a.DefaultGroupFilter\n"
    )));
    is(&import, "groups.exclude", Renamed, "groups_exclude");
    is(&import, "group.filter.class", NotNeeded, "");
    let flow = config(&import).flows.remove(0);
    assert!(flow.groups_exclude.iter().any(|p| p.matches("x")));
    assert!(!flow.groups_exclude.iter().any(|p| p.matches("connect-x")));
    let import = imported(&with(on));
    let flow = config(&import).flows.remove(0);
    for excluded in ["console-consumer-1", "connect-x", "__x"] {
        assert!(flow.groups_exclude.iter().any(|p| p.matches(excluded)));
    }
    let refused = imported(&with(&format!(
        "{on}group.filter.class = org.example.Mine\n"
    )));
    is(&refused, "group.filter.class", Refused, "cannot be told");
    for (off, verdict, text) in [
        // Its checkpoints are of these.
        ("", Taken, ""),
        ("sync.group.offsets.enabled = false\n", Taken, ""),
        (
            "sync.group.offsets.enabled = true\nemit.checkpoints.enabled = false\n",
            NotNeeded,
            "nor are there checkpoints",
        ),
    ] {
        let import = imported(&with(&format!("{off}groups = g\n")));
        is(&import, "groups", verdict, text);
        assert!(!config(&import).flows[0].group_offsets, "{off}");
    }
}

#[test]
fn choices_have_names_in_strait() {
    let import = imported(&with(
        "errors.tolerance = all\nB.exactly.once.source.support = enabled\nreplication.policy.separator = _\n\
         A->B.topics.blacklist = x, __.*\n",
    ));
    let config = config(&import);
    let flow = &config.flows[0];
    assert_eq!(
        (flow.defaults.on_poison, flow.require),
        (OnPoison::Skip, Require::ExactlyOnce)
    );
    assert_eq!(
        flow.naming,
        crate::config::Naming::Template("{source}_{topic}".to_owned())
    );
    let exclude: Vec<_> = flow
        .exclude
        .iter()
        .map(crate::config::NamePattern::text)
        .collect();
    assert_eq!(exclude, ["x", "(.*_)?B_.+"]);
    is(
        &import,
        "replication.policy.separator",
        Renamed,
        "naming = \"{source}_{topic}\"",
    );
    is(&import, "A->B.topics.blacklist", Renamed, "exclude");
    let import = imported(&with(
        "errors.tolerance = none\nB.exactly.once.source.support = preparing\n",
    ));
    is(&import, "errors.tolerance", NotNeeded, "");
    is(&import, "B.exactly.once.source.support", NotNeeded, "");
}

/// Neither direction copies what came from the other; under kept names nothing tells, and strait says so at once.
#[test]
fn two_ways_are_no_cycle_unless_names_are_kept() {
    let both = with("B->A.enabled = true\n");
    let import = imported(&both);
    assert_eq!(config(&import).flows.len(), 2);
    assert!(
        !import.report.notes[0].contains("cycle"),
        "{:?}",
        import.report.notes
    );
    for package in ["org.apache.kafka", "io.strimzi.kafka"] {
        let policy = format!(
            "replication.policy.class = {package}.connect.mirror.IdentityReplicationPolicy\n"
        );
        let import = imported(&(both.clone() + &policy));
        assert!(import.report.notes[0].contains("A:topic → B:topic → A:topic"));
        is(
            &import,
            "replication.policy.class",
            Renamed,
            "naming = \"identity\"",
        );
    }
}

#[test]
fn what_would_copy_something_else_is_refused() {
    for (lines, key, text) in [
        ("topics = (?!tmp).*", "topics", "a negative lookahead `(?!`"),
        (
            "A->B.topics.exclude = a++, b",
            "A->B.topics.exclude",
            "the pattern `a++` has a possessive quantifier",
        ),
        ("topics = b{1,2}", "topics", "the pattern `b{1`"),
        ("topics =", "topics", "no topic"),
        (
            "replication.policy.class = com.example.Policy",
            "replication.policy.class",
            "cannot be told",
        ),
        (
            "topic.filter.class = com.example.Filter",
            "topic.filter.class",
            "cannot be told",
        ),
        ("A->B.transforms = route", "A->B.transforms", "as they are"),
        (
            "replication.factor = two",
            "replication.factor",
            "1 or more",
        ),
        (
            "A.security.protocol = SSLL",
            "A.security.protocol",
            "itself has to be written",
        ),
        (
            "replication.policy.separator = /",
            "replication.policy.separator",
            "no text",
        ),
    ] {
        let import = imported(&with(lines));
        is(&import, key, Refused, text);
        assert!(
            import.toml.is_none() && !import.report.is_complete(),
            "{lines}"
        );
    }
}

#[test]
fn what_is_no_configuration_is_refused() {
    for (text, reason) in [
        ("bootstrap.servers = a:1", "no `clusters`"),
        (
            "clusters = A, B\nA->B.enabled = false",
            "SOURCE->TARGET.enabled = true",
        ),
        ("clusters = A\nk = \\u00", "line 2"),
    ] {
        let error = import(&inputs(text), None).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn odd_aliases_get_names() {
    let import =
        imported("clusters = a b, a_b\na\\ b.bootstrap.servers = x:1\na\\ b->a_b.enabled = true\n");
    let config = config(&import);
    let names: Vec<_> = config.clusters.keys().map(String::as_str).collect();
    assert_eq!(names, ["a_b", "a_b_2"]);
    assert!(
        import
            .report
            .notes
            .iter()
            .any(|note| note.contains("The cluster a_b is called a_b_2"))
    );
    assert_eq!(import.report.fill[0].variable, "A_B_2_BOOTSTRAP_SERVERS");
}

/// The names of `MirrorSourceConfig`, `MirrorCheckpointConfig` and `MirrorHeartbeatConfig` of 4.1.1.
#[test]
fn every_key_of_the_connectors_is_known() {
    for name in include_str!("fixtures/connector_keys.txt").lines() {
        assert!(
            flow_keys::is_of_a_connector(name) || name.ends_with("plugin.version"),
            "{name} at the top"
        );
        let import = imported(&with(&format!("A->B.{name} = true\n")));
        let (verdict, text) = line(&import, &format!("A->B.{name}"));
        assert!(!text.contains("misspelt"), "{name}: {verdict:?} {text}");
    }
}

mod connect;
mod internal;
mod security;
mod strimzi;

/// By `MirrorMakerConfig.workerConfig` of 4.1.1.
#[test]
fn a_takeover_is_told_where_positions_are() {
    let usual = imported(&with(""));
    let names = [Some("A-to-B"), Some("A"), Some("A"), None];
    let all = |topic, group| [&names[..], &[Some(topic), Some(group)]].concat();
    assert_eq!(kept(&usual)[..], all("mm2-offsets.A.internal", "A-mm2"));
    let named = imported(&with(
        "B.offset.storage.topic = o\nB.group.id = g\ngroup.id = no",
    ));
    assert_eq!(kept(&named)[..], all("o", "g"));
    let both = imported(&with(
        "B.offset.storage.topic = o\noffset.storage.topic = top",
    ));
    assert_eq!(kept(&both)[..], all("top", "A-mm2"));
    let odd = imported(&with("").replace('A', "A+b"));
    assert_eq!(
        kept(&odd)[..3],
        [Some("A_b-to-B"), Some("A_b"), Some("A+b")]
    );
}
