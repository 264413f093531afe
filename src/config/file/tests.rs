//! Rules of the configuration file, each with the mistake that it answers.

use std::{collections::BTreeMap, io, num::NonZeroU64, path::Path, time::Duration};

use proptest::prelude::*;
use wire::Isolation;

use super::{
    ConfigFile, HttpFile, LimitsFile, cluster::StraitFile, configs::ConfigsFile, flow::FlowFile,
    rule::RuleFile,
};
use crate::config::{
    Assignment, Config, HttpConfig, Limits, Naming, OnExisting, OnGap, OnPoison, Rate, Require,
    Sources, Start, TopicConfig, Transport,
};

const SOURCES: Sources<'static> = Sources {
    variable: &|name| match name {
        "PASSWORD" => Some("hunter2".to_owned()),
        "EAST" => Some("east:9092".to_owned()),
        _ => None,
    },
    file: &|path| match path.to_str() {
        Some("/run/secret") => Ok("hunter2\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    },
};

/// A valid file: `flow` is added to the flow, `rest` to the end.
fn file(east: &str, flow: &str, rest: &str) -> String {
    format!(
        "[clusters.east]\nbootstrap.servers = \"east:9092\"\n{east}\n\
         [clusters.west]\nbootstrap.servers = \"west:9092\"\n\
         [[flows]]\nsource = \"east\"\ntarget = \"west\"\ntopics = [\"orders\"]\n{flow}\n{rest}\n"
    )
}

pub(super) fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, &SOURCES).map_err(|error| error.in_file("t.toml").to_string())
}

#[track_caller]
pub(super) fn refused(text: &str, reasons: &[&str]) {
    let error = parse(text).expect_err(text);
    for reason in reasons {
        assert!(error.contains(reason), "{error}\nshould say: {reason}");
    }
    assert!(!error.contains("hunter2"), "{error}");
}

fn with_cluster(line: &str) -> String {
    file(line, "", "")
}

pub(super) fn with_flow(line: &str) -> String {
    file("", line, "")
}

/// An image sets it; the file wins.
#[test]
fn the_environment_gives_the_default_of_where_to_listen() {
    let parse = |listen: &'static str, text: &str| {
        let variable = move |name: &str| (name == "STRAIT_HTTP_LISTEN").then(|| listen.to_owned());
        let sources = Sources {
            variable: &variable,
            ..SOURCES
        };
        Config::parse(text, &sources).map(|config| config.http.listen)
    };
    let set = file("", "", "[http]\nlisten = \"127.0.0.1:1\"");
    let listen = |text: &str| Some(text.to_owned());
    assert_eq!(
        parse("0.0.0.0:9465", &file("", "", "")).unwrap(),
        listen("0.0.0.0:9465")
    );
    assert_eq!(parse("0.0.0.0:9465", &set).unwrap(), listen("127.0.0.1:1"));
    assert_eq!(parse("", &file("", "", "")).unwrap(), None);
    let error = parse("9465", &file("", "", "")).unwrap_err().to_string();
    assert!(error.contains("STRAIT_HTTP_LISTEN"), "{error}");
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = parse(&file("", "", "")).unwrap();
    assert_eq!(config.http, HttpConfig::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.limits.memory, 64 << 20);
    let flow = &config.flows[0];
    assert_eq!(flow.name, "east-to-west");
    assert_eq!(flow.group(), "strait.east-to-west");
    assert_eq!(flow.naming, Naming::Identity);
    assert_eq!(flow.defaults.start, Start::Earliest);
    assert_eq!(flow.isolation, Isolation::ReadCommitted);
    assert_eq!(flow.defaults.replication_factor, -1);
    assert_eq!(flow.checkpoint_interval, Duration::from_secs(1));
    let east = &config.clusters["east"];
    assert_eq!(east.bootstrap, [("east".to_owned(), 9092)]);
    assert_eq!(east.client_id(), "strait");
}

#[test]
fn every_value_can_be_set() {
    let flow = "name = \"a.b\"\nexclude = [\"x\"]\nnaming = \"from-{source}.{topic}\"\n\
                start = 2026-01-01T00:00:00Z\nisolation = \"read_uncommitted\"\n\
                replication_factor = \"3\"\ncheckpoint_interval = \"500ms\"\ntransport = \"librdkafka\"";
    let rest = "[http]\nlisten = \"\"\npartition_metrics = false\n\
                [limits]\nmemory = \"1GiB\"\ndrain_timeout = \"1m\"";
    let config = parse(&file("[clusters.east.strait]", flow, rest));
    let config = config.unwrap();
    let flow = &config.flows[0];
    assert_eq!(flow.name, "a.b");
    assert!(flow.exclude[0].matches("x"));
    assert_eq!(
        flow.naming,
        Naming::Template("from-{source}.{topic}".to_owned())
    );
    assert_eq!(flow.defaults.start, Start::Time(1_767_225_600_000));
    assert_eq!(flow.isolation, Isolation::ReadUncommitted);
    assert_eq!(flow.defaults.replication_factor, 3);
    assert_eq!(flow.checkpoint_interval, Duration::from_millis(500));
    assert_eq!(config.http.listen, None);
    assert!(!config.http.partition_metrics);
    assert_eq!(config.limits.memory, 1 << 30);
    assert_eq!(config.limits.drain_timeout, Duration::from_secs(60));
    assert_eq!(config.limits.state_dir, None);
    assert_eq!(config.flows[0].assignment, Assignment::Shared);
    assert_eq!(config.flows[0].instance, None);
}

#[test]
fn a_typo_in_each_table_is_answered_with_the_nearest_key() {
    refused(
        &file("", "", "[limit]"),
        &["t.toml:11: limit:", "did you mean \"limits\"?"],
    );
    refused(
        &file("", "", "[http]\nlisen = \"\""),
        &["t.toml:12: http.lisen", "\"listen\""],
    );
    refused(
        &file("", "", "[limits]\nmemmory = 1"),
        &["limits.memmory", "\"memory\""],
    );
    refused(
        &with_flow("checkpoint_intervall = \"1s\""),
        &["flows[0].", "\"checkpoint_interval\""],
    );
    refused(
        &with_cluster("sasl.pasword = \"hunter2\""),
        &["t.toml:3: clusters.east.sasl.pasword", "\"sasl.password\""],
    );
    refused(
        &with_cluster("[clusters.east.strait]\nproxi = 1"),
        &["strait.proxi", "\"proxy\""],
    );
    refused(
        &with_flow("zzzzzz = 1"),
        &["zzzzzz: unknown key\n"].map(str::trim_end),
    );
}

#[test]
fn nested_tables_become_dotted_names() {
    let config = parse(&with_cluster(
        "socket = { keepalive.enable = true, timeout.ms = 20_000 }\n\
         \"api.version.request\" = true\napi.version.request.timeout.ms = 0x10",
    ));
    let config = config.unwrap();
    let properties = &config.clusters["east"].properties;
    assert_eq!(properties["socket.keepalive.enable"], "true");
    assert_eq!(properties["socket.timeout.ms"], "20000");
    assert_eq!(properties["api.version.request"], "true");
    assert_eq!(properties["api.version.request.timeout.ms"], "16");
    refused(
        &with_cluster("\"client.id\" = 1\nclient.id = 2"),
        &["client.id: given twice"],
    );
    refused(
        &with_cluster("client.id = [1]"),
        &["a single value is wanted here, not a list"],
    );
}

#[test]
fn a_value_that_also_begins_a_name_must_be_quoted() {
    let value_first = "api.version.request = true\napi.version.request.timeout.ms = 1000";
    let value_last = "api.version.request.timeout.ms = 1000\napi.version.request = true";
    refused(&with_cluster(value_first), &["t.toml:4:", "must be quoted"]);
    refused(&with_cluster(value_last), &["t.toml:4:", "must be quoted"]);
}

#[test]
fn references_are_replaced() {
    let config = parse(&with_cluster(
        "client.id = \"$${x}\"\nsasl.username = \"${EAST}\"\nsasl.password = \"${file:/run/secret}\"\n\
         security.protocol = \"SASL_PLAINTEXT\"\nsasl.mechanism = \"PLAIN\"",
    ));
    let properties = config.unwrap().clusters["east"].properties.clone();
    assert_eq!(properties["client.id"], "${x}");
    assert_eq!(properties["sasl.username"], "east:9092");
    assert_eq!(properties["sasl.password"], "hunter2");
    refused(
        &with_cluster("client.id = \"${NOT_SET}\""),
        &["t.toml:3:", "NOT_SET is not set"],
    );
    refused(
        &with_cluster("client.id = \"${file:/none}\""),
        &["${file:/none}"],
    );
}

#[test]
fn secrets_never_show() {
    let config = parse(&with_cluster(
        "sasl.username = \"hunter2\"\nsasl.password = \"${PASSWORD}\"\n\
         security.protocol = \"SASL_PLAINTEXT\"\nsasl.mechanism = \"PLAIN\"",
    ));
    let shown = format!("{:?}", config.unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
    for line in [
        "socket.timeout.ms = \"${PASSWORD}\"",
        "socket.timeout.ms = \"hunter2\"",
        "security.protocol = \"${PASSWORD}\"",
        "sasl.pasword = \"${PASSWORD}\"",
        "sasl.password = [\"hunter2\"]",
        "sasl.password = \"hunter2",
        "sasl.password = hunter2",
        "sasl.password = \"\\hunter2\"",
        "sasl.password = 1hunter2",
        "sasl.jaas.config = \"x.PlainLoginModule required password=hunter2\"",
        "ssl.truststore.password = \"hunter2\"",
        "ssl.keystore.password = \"hunter2\"",
        "security.protocol = \"SSL\"\nssl.ca.pem = \"hunter2\"",
        "security.protocol = \"SSL\"\nssl.key.pem = \"hunter2\"\nssl.certificate.pem = \"hunter2\"",
        "security.protocol = \"SASL_SSL\"\nsasl.mechanism = \"${PASSWORD}\"",
        "sasl.password = \"hunter2\"",
        "[clusters.east.strait]\nproxy = \"${PASSWORD}\"",
    ] {
        refused(&with_cluster(line), &["t.toml:"]);
    }
    for line in [
        "start = \"${PASSWORD}\"",
        "topics = [\"${PASSWORD}(\"]",
        "naming = \"${PASSWORD}\"",
    ] {
        let text = with_flow(line).replace("topics = [\"orders\"]\ntopics", "topics");
        refused(&text, &["t.toml:", "${PASSWORD}"]);
    }
    refused(&with_flow("name = \"${PASSWORD} \""), &["flows[0].name"]);
}

#[test]
fn client_properties_are_checked() {
    refused(
        &with_cluster("socket.timeout.ms = 1"),
        &["outside the allowed range 10..300000"],
    );
    refused(&with_cluster("group.id = \"g\""), &["a flow's group is"]);
    refused(
        &with_cluster("enable.idempotence = false"),
        &["could lose or reorder"],
    );
    refused(
        &with_cluster("auto.offset.reset = \"latest\""),
        &["`start`"],
    );
    refused(
        &with_cluster("ssl.truststore.location = \"/t.jks\""),
        &["keytool -importkeystore"],
    );
    refused(
        &with_cluster("metadata.broker.list = \"x\""),
        &["is given as well"],
    );
    assert!(parse(&with_cluster("security.protocol = \"PLAINTEXT\"")).is_ok());
    let text = file("", "", "").replace("\"east:9092\"", "\"east:x\"");
    refused(
        &text,
        &["clusters.east.bootstrap.servers", "HOST:PORT is wanted"],
    );
    let text = file("", "", "").replace("bootstrap.servers = \"east:9092\"", "");
    refused(
        &text,
        &["t.toml:1: clusters.east: `bootstrap.servers` is missing"],
    );
}

#[test]
fn a_login_must_be_whole_and_understood() {
    let with = |lines: &[&str]| with_cluster(&lines.join("\n"));
    let (sasl, scram) = (
        "security.protocol = \"SASL_PLAINTEXT\"",
        "sasl.mechanism = \"SCRAM-SHA-256\"",
    );
    let login = "sasl.username = \"ann\"\nsasl.password = \"hunter2\"";
    assert!(parse(&with(&[sasl, scram, login])).is_ok());
    let plural = scram.replace("mechanism", "mechanisms");
    let config = parse(&with(&[sasl, &plural, login])).unwrap();
    assert_eq!(
        config.clusters["east"].properties["sasl.mechanism"],
        "SCRAM-SHA-256"
    );
    refused(
        &with(&[sasl, login]),
        &["t.toml:3:", "`sasl.mechanism` is missing"],
    );
    refused(
        &with(&[sasl, scram]),
        &["t.toml:4:", "`sasl.username` is missing"],
    );
    refused(
        &with(&[scram, login]),
        &["has no effect without security.protocol = SASL_SSL"],
    );
    for mechanism in ["GSSAPI", "AWS_MSK_IAM"] {
        let line = format!("sasl.mechanism = \"{mechanism}\"");
        let says = [
            "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER",
            "client certificate",
        ];
        refused(&with(&[sasl, &line, login]), &says);
    }
    refused(
        &with(&["sasl.kerberos.principal = \"x\""]),
        &["Kerberos is not available"],
    );
    refused(
        &with(&["sasl.oauthbearer.config = \"x\""]),
        &["client credentials grant"],
    );
}

#[test]
fn a_login_by_tokens_must_be_whole_and_needs_our_own_clients() {
    let of = |lines: &[&str], flow: &str| file(&lines.join("\n"), flow, "");
    let [sasl, bearer, url, id, secret] = [
        "security.protocol = \"SASL_PLAINTEXT\"",
        "sasl.mechanism = \"OAUTHBEARER\"",
        "sasl.oauthbearer.token.endpoint.url = \"https://issuer/token\"",
        "sasl.oauthbearer.client.id = \"ann\"",
        "sasl.oauthbearer.client.secret = \"${PASSWORD}\"",
    ];
    let whole = [sasl, bearer, url, id, secret];
    let config = parse(&of(&whole, "")).unwrap();
    assert_eq!(config.flows[0].transport, Transport::Wire);
    assert!(!format!("{config:?}").contains("hunter2"));
    let text = of(&whole, "transport = \"librdkafka\"");
    refused(
        &text,
        &[
            "flows[0].transport",
            "knows no token endpoint, which cluster east needs",
        ],
    );
    for missing in 2..whole.len() {
        let lines = whole.iter().enumerate().filter(|(at, _)| *at != missing);
        let lines: Vec<_> = lines.map(|(_, line)| *line).collect();
        let name = whole[missing].split(' ').next().unwrap();
        refused(
            &of(&lines, ""),
            &["clusters.east", &format!("`{name}` is missing")],
        );
    }
    for (more, parts) in [
        (
            "sasl.password = \"hunter2\"",
            ["sasl.password", "has no effect"],
        ),
        (
            "sasl.oauthbearer.extensions = \"a=b,auth=c\"",
            ["extensions", "NAME=VALUE"],
        ),
        (
            "https.ca.location = \"/none.pem\"",
            ["https.ca.location", "/none.pem"],
        ),
        (
            "https.ca.pem = \"hunter2\"",
            ["clusters.east", "certificate"],
        ),
    ] {
        refused(&of(&[&whole[..], &[more]].concat(), ""), &parts);
    }
    let plain = [sasl, "sasl.mechanism = \"PLAIN\"", url];
    refused(
        &of(&plain, ""),
        &["token.endpoint.url", "without sasl.mechanism = OAUTHBEARER"],
    );
    let ftp = url.replace("https", "ftp");
    refused(
        &of(&[sasl, bearer, &ftp, id, secret], ""),
        &["https://HOST/PATH"],
    );
}

#[test]
fn tls_must_be_whole_and_wanted() {
    let with = |lines: &[&str]| with_cluster(&lines.join("\n"));
    let tls = "security.protocol = \"SSL\"";
    refused(
        &with(&["ssl.ca.location = \"/ca.pem\""]),
        &["has no effect without security.protocol = SSL"],
    );
    refused(
        &with(&[tls, "ssl.ca.location = \"/none.pem\""]),
        &[
            "t.toml:4:",
            "ssl.ca.location",
            "cannot read the file \"/none.pem\"",
        ],
    );
    refused(
        &with(&[tls, "ssl.ca.location = \"/run/secret\""]),
        &["no certificate in PEM"],
    );
    refused(
        &with(&[tls, "ssl.ca.pem = \"x\"\nssl.ca.location = \"/run/secret\""]),
        &["`ssl.ca.pem` is given as well"],
    );
    refused(
        &with(&[tls, "ssl.key.location = \"/run/secret\""]),
        &["certificate is missing"],
    );
    refused(
        &with(&[tls, "enable.ssl.certificate.verification = false"]),
        &["always checked"],
    );
    refused(
        &with(&[tls, "ssl.crl.location = \"/x\""]),
        &["does not have it"],
    );
}

#[test]
fn flows_are_checked() {
    let replaced = |from: &str, to: &str| file("", "", "").replace(from, to);
    refused(
        &replaced("\"west\"\ntopics", "\"wets\"\ntopics"),
        &["\"wets\": no such cluster", "\"west\"?"],
    );
    refused(
        &replaced("\"west\"\ntopics", "\"east\"\ntopics"),
        &["the same cluster"],
    );
    refused(
        &replaced("source = \"east\"\n", ""),
        &["flows[0]: `source` is missing"],
    );
    refused(
        &replaced("topics = [\"orders\"]", ""),
        &["`topics` is missing"],
    );
    refused(&replaced("[\"orders\"]", "[]"), &["write [\".*\"] for all"]);
    refused(
        &replaced("[\"orders\"]", "\"orders\""),
        &["a list is wanted here"],
    );
    refused(
        &replaced("[\"orders\"]", "[\"a\",\n\"b(\"]"),
        &["t.toml:10: flows[0].topics[1]: \"b(\": not a regular expression: unclosed group"],
    );
    refused(&with_flow("name = \"a b\""), &["letters, digits"]);
    refused(&with_flow("naming = \"x\""), &["one {topic}"]);
    refused(&with_flow("naming = \"{topic}{topic}\""), &["one {topic}"]);
    refused(
        &with_flow("naming = \"{sauce}.{topic}\""),
        &["{source} are wanted"],
    );
    refused(&with_flow("start = \"now\""), &["RFC 3339"]);
    refused(
        &with_flow("isolation = \"x\""),
        &["\"read_committed\" or \"read_uncommitted\""],
    );
    refused(&with_flow("replication_factor = 0"), &["1 or more"]);
    refused(
        &with_flow("checkpoint_interval = \"0s\""),
        &["10 ms to 1 h"],
    );
    refused(&with_flow("checkpoint_interval = 5"), &["with its unit"]);
    let again = "[[flows]]\nsource = \"east\"\ntarget = \"west\"\ntopics = [\"a\"]";
    refused(
        &file("", "", again),
        &["t.toml:11: flows[1]: another flow is named \"east-to-west\""],
    );
    refused(
        "[clusters.\"a b\"]\nbootstrap.servers = \"x\"",
        &["letters, digits"],
    );
    refused(
        "[clusters.a]\nbootstrap.servers = \"x\"",
        &["t.toml: no flow"],
    );
    refused("flows = 1", &["a list is wanted"]);
    refused(
        &file("", "", "[limits]\nmemory = \"5s\""),
        &["limits.memory", "a size is wanted"],
    );
    refused(&file("", "", "[limits]\nmemory = 1"), &["1 MiB to 4 GiB"]);
    refused(&file("", "", "[http]\nlisten = \"9465\""), &["HOST:PORT"]);
}

#[test]
fn a_process_has_a_name_and_a_folder() {
    let config = parse(&with_flow("assignment = \"solo\"\ninstance = \"a.1\"")).unwrap();
    assert_eq!(config.flows[0].assignment, Assignment::Solo);
    assert_eq!(config.flows[0].instance.as_deref(), Some("a.1"));
    refused(
        &with_flow("assignment = \"split\""),
        &["\"shared\" or \"solo\""],
    );
    refused(&with_flow("instance = \"a b\""), &["letters, digits"]);
    let config = parse(&file("", "", "[limits]\nstate_dir = \"/s\"")).unwrap();
    assert_eq!(config.limits.state_dir.as_deref(), Some(Path::new("/s")));
    refused(
        &file("", "", "[limits]\nstate_dir = \"\""),
        &["path of a folder"],
    );
}

#[test]
fn what_this_version_does_not_have_is_refused() {
    for line in ["on_poison = \"quarantine\"", "source_commits = true"] {
        refused(&with_flow(line), &["not available in this version"]);
    }
    let works = "transport = \"auto\"\nrequire = \"any\"\nsource_commits = false";
    assert!(parse(&with_flow(works)).is_ok());
}

#[test]
fn a_cluster_may_be_reached_by_other_addresses_and_through_a_proxy() {
    let text = "[clusters.east.strait]\naddress_map = { \"kafka-1.internal:9092\" = \"localhost:19092\" }\n\
                proxy = \"socks5://proxy:1080\"\nproxy_username = \"ann\"\nproxy_password = \"${PASSWORD}\"";
    let config = parse(&with_cluster(text)).unwrap();
    let east = &config.clusters["east"];
    let there = |host: &str, port| (host.to_owned(), port);
    let map = [(there("kafka-1.internal", 9092), there("localhost", 19092))];
    assert_eq!(east.address_map, BTreeMap::from(map));
    assert!(east.security.has_proxy() && east.needs_wire().is_some());
    assert!(config.clusters["west"].needs_wire().is_none());
    assert_eq!(config.flows[0].transport, Transport::Wire, "no choice");
    assert!(!format!("{east:?}").contains("hunter2"));

    let with = |cluster: &str, flow: &str| {
        let text = with_cluster(&format!("[clusters.east.strait]\n{cluster}"));
        text.replace("topics = [", &format!("{flow}\ntopics = ["))
    };
    let proxy = "proxy = \"http://proxy:3128\"";
    let text = with(proxy, "transport = \"librdkafka\"");
    refused(&text, &["transport", "no proxy", "cluster east"]);
    let text = with(proxy, "transport = \"auto\"");
    assert_eq!(parse(&text).unwrap().flows[0].transport, Transport::Wire);
    let text = with("producer_id_expiration = \"1h\"", "");
    let east = &parse(&text).unwrap().clusters["east"];
    assert_eq!(east.producer_id_expiration, Some(Duration::from_secs(3600)));
    for (lines, parts) in [
        (
            "producer_id_expiration = \"soon\"",
            ["producer_id_expiration", "soon"],
        ),
        ("proxy = \"ftp://p:1\"", ["east.strait.proxy", "socks5://"]),
        (
            "proxy = \"http://ann:x@p:1\"",
            ["proxy", "`proxy_username`"],
        ),
        ("proxy_password = \"x\"", ["proxy_password", "no `proxy`"]),
        (
            "proxy = \"http://p:1\"\nproxy_username = \"x\"",
            ["proxy", "go together"],
        ),
        (
            "address_map = { \"a:1\" = \"b:0\" }",
            ["address_map.a:1", "HOST:PORT"],
        ),
        (
            "address_map = { \"a:x\" = \"b:1\" }",
            ["address_map.a:x", "HOST:PORT"],
        ),
        ("address_map = \"a\"", ["address_map", "a table"]),
    ] {
        refused(&with(lines, ""), &parts);
    }
}

#[test]
fn exactly_once_may_be_required_of_all_transports_but_librdkafka() {
    let flow = |text: &str| parse(&with_flow(text)).map(|mut config| config.flows.remove(0));
    assert_eq!(flow("").unwrap().require, Require::Any);
    for transport in ["", "transport = \"auto\"\n", "transport = \"wire\"\n"] {
        let flow = flow(&format!("{transport}require = \"exactly-once\""));
        assert_eq!(flow.unwrap().require, Require::ExactlyOnce);
    }
    let both = "transport = \"librdkafka\"\nrequire = \"exactly-once\"";
    refused(
        &with_flow(both),
        &["\"exactly-once\": cannot be had with transport"],
    );
    refused(
        &with_flow("require = \"all\""),
        &["\"any\" or \"exactly-once\" is wanted"],
    );
}

#[test]
fn the_first_rule_that_matches_the_whole_name_holds_and_leaves_the_rest_to_the_flow() {
    let flow = parse(&with_flow(
        "start = \"latest\"\nreplication_factor = 2\non_gap = \"latest\"\nrate_bytes = \"1MiB\"\n\
         [[flows.rules]]\nmatch = \"pay.*\"\nstart = \"earliest\"\non_poison = \"skip\"\nrate_records = 7\n\
         [[flows.rules]]\nmatch = \"payments|orders\"\non_existing = \"append\"\non_gap = \"earliest\"\n\
         rate_bytes = \"1KiB\"\nreplication_factor = -1",
    ));
    let flow = flow.unwrap().flows.remove(0);
    let defaults = TopicConfig {
        start: Start::Latest,
        replication_factor: 2,
        on_gap: OnGap::Latest,
        ..TopicConfig::default()
    };
    assert_eq!(flow.topic("other"), &defaults);
    assert_eq!(flow.topic("orders2"), &defaults, "no part of a name");
    let pay = TopicConfig {
        start: Start::Earliest,
        on_poison: OnPoison::Skip,
        rate: Rate {
            bytes: None,
            records: NonZeroU64::new(7),
        },
        ..defaults.clone()
    };
    assert_eq!(flow.topic("payments"), &pay, "the second one matches too");
    let orders = TopicConfig {
        replication_factor: -1,
        on_existing: OnExisting::Append,
        on_gap: OnGap::Earliest,
        rate: Rate {
            bytes: NonZeroU64::new(1024),
            records: None,
        },
        ..defaults
    };
    assert_eq!(flow.topic("orders"), &orders);
    let whole = Rate {
        bytes: NonZeroU64::new(1 << 20),
        records: None,
    };
    assert_eq!(
        flow.rate, whole,
        "a flow's limit is that of all its topics together"
    );
}

#[test]
fn rules_are_checked() {
    let with_rule = |line: &str| with_flow(&format!("[[flows.rules]]\n{line}"));
    refused(
        &with_rule("start = \"latest\""),
        &["t.toml:10: flows[0].rules[0]: `match` is missing"],
    );
    refused(
        &with_rule("match = \"a(\""),
        &["t.toml:11: flows[0].rules[0].match: \"a(\": not a regular expression"],
    );
    refused(
        &with_rule("mtach = \"a\""),
        &["t.toml:11: flows[0].rules[0].mtach: unknown key; did you mean \"match\"?"],
    );
    for key in FlowFile::KEYS {
        if !RuleFile::KEYS.contains(key) {
            let line = format!("match = \"a\"\n{key} = \"east\"");
            let place = format!("t.toml:12: flows[0].rules[0].{key}: holds for the whole flow");
            refused(&with_rule(&line), &[&place]);
        }
    }
    refused(&with_flow("rules = 1"), &["a list is wanted here"]);
    refused(&with_flow("rules = [1]"), &["a table is wanted here"]);
    assert!(parse(&with_flow("rules = []")).is_ok());
    for (line, reason) in [
        ("start = \"now\"", "RFC 3339"),
        ("replication_factor = 0", "1 or more"),
        (
            "on_gap = \"skip\"",
            "\"stop\" or \"earliest\" or \"latest\" is wanted",
        ),
        ("on_poison = \"drop\"", "\"stop\" or \"skip\" is wanted"),
        (
            "on_poison = \"quarantine\"",
            "not available in this version; \"stop\" or \"skip\" is",
        ),
        (
            "on_existing = \"merge\"",
            "\"stop\" or \"append\" is wanted",
        ),
        ("rate_bytes = \"5s\"", "a size is wanted"),
        ("rate_records = 0.5", "a whole number is wanted"),
        ("rate_records = -1", "a whole number is wanted"),
    ] {
        refused(&with_flow(line), &["flows[0].", reason]);
        refused(
            &with_rule(&format!("match = \"a\"\n{line}")),
            &["flows[0].rules[0].", reason],
        );
    }
}

/// The text of the shipped file `name`.
fn shipped(name: &str) -> String {
    std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("config")
            .join(name),
    )
    .unwrap()
}

#[test]
fn shipped_files_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        parse(&shipped(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        read += 1;
    }
    assert!(read >= 2);
}

#[test]
fn the_reference_holds_the_built_in_defaults() {
    let reference = parse(&shipped("reference.toml")).unwrap();
    let least = parse(
        "[clusters.east]\nbootstrap.servers = \"127.0.0.1:19092\"\n\
         [clusters.west]\nbootstrap.servers = \"127.0.0.1:29092\"\n\
         [[flows]]\nsource = \"east\"\ntarget = \"west\"\ntopics = [\".*\"]",
    );
    assert_eq!(format!("{reference:?}"), format!("{:?}", least.unwrap()));
}

#[test]
fn the_reference_lists_every_key() {
    let text = shipped("reference.toml");
    let (before, configs) = text.split_once("[flows.configs]").unwrap();
    let (configs, after) = configs.split_once("[[flows.rules]]").unwrap();
    for key in ConfigsFile::KEYS {
        let listed = |line: &&str| line.starts_with(&format!("{key} ="));
        assert_eq!(configs.lines().filter(listed).count(), 1, "{key}");
    }
    let text = format!("{before}[flows.configs]\n# [[flows.rules]]{after}");
    let tables = [
        FlowFile::KEYS,
        HttpFile::KEYS,
        LimitsFile::KEYS,
        StraitFile::KEYS,
    ];
    for key in tables.concat() {
        let listed = |line: &str| {
            let line = line.trim_start_matches("# ");
            let value = line.strip_prefix(key);
            value.is_some_and(|rest| rest.starts_with(" ="))
                || line.starts_with(&format!("[[flows.{key}]]"))
                || line.starts_with(&format!("[flows.{key}]"))
        };
        assert_eq!(text.lines().filter(|line| listed(line)).count(), 1, "{key}");
    }
    let (_, rule) = text.split_once("[[flows.rules]]").unwrap();
    let (rule, _) = rule.split_once("\n\n").unwrap();
    for key in RuleFile::KEYS {
        assert!(rule.contains(key), "{key} of a rule");
    }
    for table in ConfigFile::KEYS {
        assert!(text.contains(&format!("[{table}")), "{table}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(?s).{0,200}") {
        let _refused = parse(&text).is_err();
    }

    /// Valid files with random parts cut out or put in reach deeper than random text does.
    #[test]
    fn no_edit_makes_it_panic(
        from in 0usize..4000,
        cut in 0usize..30,
        put in "([a-z.${}\\[\\]\"=#\n]|flows|clusters|\\$\\{PASSWORD\\}){0,8}",
    ) {
        let mut text: Vec<char> = shipped("reference.toml")
            .replace("# ", "")
            .lines()
            .filter(|line| line.contains('=') || line.starts_with('['))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
            .chars()
            .collect();
        let from = from.min(text.len());
        let to = (from + cut).min(text.len());
        text.splice(from..to, put.chars());
        let text: String = text.into_iter().collect();
        if let Err(error) = parse(&text) {
            prop_assert!(!error.contains("hunter2"), "{}", error);
        }
    }
}
