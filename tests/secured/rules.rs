//! Rules that follow on the target: who may do what, and how much.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};

use super::{
    cases::produce,
    clusters::Clusters,
    kafka::java,
    permissions::{allow, check, flow_with, run, same},
    strait::eventually,
};

/// Rules of the source appear on the target as its own tools list them, save that nobody may write; what was there stays.
pub fn acls_need_their_section_and_follow(clusters: &Clusters) -> Result<()> {
    let (user, topic) = ("ruler", "ruled");
    produce(clusters, topic, 100)?;
    allow(clusters, &["run"], user, topic)?;
    let [east, west] = [clusters.source.plain(), clusters.target.plain()];
    let rule = |cluster: &str, what: &str| {
        format!("kafka-acls.sh --bootstrap-server {cluster} --force {what}")
    };
    let to_ben = "--allow-principal User:ben --operation Read --operation Write --topic ruled";
    run(&[
        rule(&east, &format!("--add {to_ben}")),
        rule(
            &east,
            "--add --allow-principal User:ben --operation All --group ruled --resource-pattern-type prefixed",
        ),
        rule(
            &west,
            "--add --allow-principal User:ida --operation Write --topic ruled",
        ),
    ])?;
    let mut strait = flow_with(clusters, user, topic, "acls = \"read\"")?;
    check(
        &strait,
        0,
        &[
            "missing: Describe on the cluster on east: ACLs do not follow",
            "missing: Describe, Alter on the cluster on west: ACLs do not follow",
        ],
    )?;
    strait.run()?;
    eventually("it says that it may not", || {
        Ok(strait.log().contains("CLUSTER_AUTHORIZATION_FAILED"))
    })
    .with_context(|| strait.log())?;
    allow(clusters, &["acls"], user, topic)?;
    eventually("the rules follow", || {
        let rules = rules(&west, "User:ben")?;
        Ok(rules
            == [
                "group prefixed ruled READ ALLOW",
                "topic literal ruled READ ALLOW",
            ])
    })
    .with_context(|| strait.log())?;
    run(&[rule(&east, &format!("--remove {to_ben}"))])?;
    eventually("and go", || {
        Ok(rules(&west, "User:ben")? == ["group prefixed ruled READ ALLOW"])
    })
    .with_context(|| strait.log())?;
    ensure!(rules(&west, "User:ida")? == ["topic literal ruled WRITE ALLOW"]);
    eventually("all is copied", || same(clusters, topic, 100)).with_context(|| strait.log())?;
    strait.terminate()
}

/// Who logs in to the source may log in to the target with the password of the file; who has none there is told. After the
/// case above: its user has the rights.
pub fn users_follow_with_passwords_from_the_file(clusters: &Clusters) -> Result<()> {
    let (user, topic) = ("ruler", "ruled");
    for newcomer in ["newcomer", "unknown"] {
        clusters.source.change_password(newcomer, "welcome-1")?;
    }
    let table = "[flows.scram_users]\nnewcomer = \"${file:{folder}/newcomer}\"";
    let mut strait = flow_with(clusters, user, topic, table)?;
    strait.put("newcomer", "welcome-1\n")?;
    strait.run()?;
    eventually("the user follows", || {
        let log = strait.log();
        Ok(
            log.contains("rule set on the target: login of newcomer by SCRAM-SHA-512")
                && log.contains("scram_users has no password for it"),
        )
    })
    .with_context(|| strait.log())?;
    ensure!(!strait.log().contains("welcome"), "{}", strait.log());
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", clusters.target.login())
        .set("security.protocol", "SASL_SSL")
        .set("ssl.ca.location", clusters.pem("ca").display().to_string())
        .set("sasl.mechanism", "SCRAM-SHA-512")
        .set("sasl.username", "newcomer")
        .set("sasl.password", "welcome-1")
        .create()?;
    let found = consumer.fetch_metadata(None, Duration::from_secs(20));
    ensure!(found.context("newcomer logs in")?.brokers().len() == 1);
    strait.terminate()
}

/// The rules of somebody as Kafka's tool lists them: resource, pattern, name, operation, permission.
fn rules(cluster: &str, principal: &str) -> Result<Vec<String>> {
    let mut command = java("org.apache.kafka.tools.AclCommand");
    let list = [
        "--bootstrap-server",
        cluster,
        "--list",
        "--principal",
        principal,
    ];
    let output = command.args(list).output()?;
    let text = String::from_utf8(output.stdout)?;
    let value = |line: &str, key: &str| {
        let (_, rest) = line.split_once(key)?;
        Some(rest.split([',', ')', '`']).next()?.to_owned())
    };
    let (mut resource, mut rules) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some(kind) = value(line, "resourceType=") {
            let [name, pattern] =
                ["name=", "patternType="].map(|key| value(line, key).unwrap_or_default());
            resource = format!("{} {} {name}", kind.to_lowercase(), pattern.to_lowercase());
        } else if line.contains(&format!("principal={principal},")) {
            let [operation, may] =
                ["operation=", "permissionType="].map(|key| value(line, key).unwrap_or_default());
            rules.push(format!("{resource} {operation} {may}"));
        }
    }
    rules.sort();
    Ok(rules)
}

/// What Kafka's own tool set on the source it shows on the target, save where somebody set another value there.
pub fn quotas_need_their_section_and_follow(clusters: &Clusters) -> Result<()> {
    let (user, topic) = ("metered", "metered");
    produce(clusters, topic, 100)?;
    allow(clusters, &["run"], user, topic)?;
    let [east, west] = [clusters.source.plain(), clusters.target.plain()];
    // Nobody logs in as this one: quotas hold for all tests on these clusters.
    let paul = ["--entity-type", "users", "--entity-name", "paul"];
    let all = ["--entity-type", "clients", "--entity-default"];
    configure(
        &east,
        &paul,
        "--add-config",
        "producer_byte_rate=1048576,consumer_byte_rate=9",
    )?;
    configure(&east, &all, "--add-config", "request_percentage=12.5")?;
    configure(&west, &paul, "--add-config", "consumer_byte_rate=7")?;
    let mut strait = flow_with(clusters, user, topic, "quotas = true")?;
    check(
        &strait,
        0,
        &[
            "missing: DescribeConfigs on the cluster on east: quotas do not follow",
            "missing: DescribeConfigs, AlterConfigs on the cluster on west: quotas do not follow",
        ],
    )?;
    strait.run()?;
    eventually("it says that it may not", || {
        Ok(strait.log().contains("CLUSTER_AUTHORIZATION_FAILED"))
    })
    .with_context(|| strait.log())?;
    allow(clusters, &["quotas"], user, topic)?;
    let is = |entity: &[&str], wanted: &[&str]| -> Result<bool> {
        let found = quotas(&west, entity)?;
        Ok(found.iter().map(String::as_str).eq(wanted.iter().copied()))
    };
    eventually("the quotas follow", || {
        let of_paul = is(
            &paul,
            &["consumer_byte_rate=7.0", "producer_byte_rate=1048576.0"],
        )?;
        Ok(of_paul && is(&all, &["request_percentage=12.5"])?)
    })
    .with_context(|| strait.log())?;
    let log = strait.log();
    ensure!(log.contains("rule left out: the target has 7"), "{log}");
    configure(&east, &paul, "--add-config", "producer_byte_rate=2097152")?;
    configure(&east, &all, "--delete-config", "request_percentage")?;
    eventually("their changes, too", || {
        let of_paul = is(
            &paul,
            &["consumer_byte_rate=7.0", "producer_byte_rate=2097152.0"],
        )?;
        Ok(of_paul && is(&all, &[])?)
    })
    .with_context(|| strait.log())?;
    strait.terminate()
}

fn configure(cluster: &str, entity: &[&str], action: &str, what: &str) -> Result<()> {
    let mut command = java("kafka.admin.ConfigCommand");
    command.args(["--bootstrap-server", cluster, "--alter"]);
    let output = command.args(entity).args([action, what]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(text.contains("Completed updating"), "{what}: {text}");
    Ok(())
}

/// What Kafka's tool shows, as `name=value`, by name.
fn quotas(cluster: &str, entity: &[&str]) -> Result<Vec<String>> {
    let mut command = java("kafka.admin.ConfigCommand");
    command.args(["--bootstrap-server", cluster, "--describe"]);
    let output = command.args(entity).output()?;
    let text = String::from_utf8(output.stdout)?;
    // It shows SCRAM credentials as well.
    let lines = text.lines().filter(|line| line.starts_with("Quota"));
    let words = lines.flat_map(|line| line.split([' ', ',']));
    let found: BTreeSet<_> = words
        .filter(|word| word.contains('='))
        .map(str::to_owned)
        .collect();
    Ok(found.into_iter().collect())
}
