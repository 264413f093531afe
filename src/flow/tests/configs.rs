//! Configs of topics, by what the target has.

use wire::client::ConfigOp;

use super::*;
use crate::status::Configs;

/// What is set on a topic, as `name=value`.
async fn set_on(cluster: &Cluster, topic: &str) -> Vec<String> {
    let described = cluster
        .client
        .describe_topic_configs(&[topic.to_owned()])
        .await
        .unwrap();
    let Ok(configs) = &described[0].1 else {
        return vec!["no topic".to_owned()];
    };
    let set = configs
        .iter()
        .filter(|config| config.source == wire::client::ConfigSource::Topic);
    let mut set: Vec<_> = set
        .map(|config| {
            format!(
                "{}={}",
                config.name,
                config.value.clone().unwrap_or_default()
            )
        })
        .collect();
    set.sort();
    set
}

async fn alter(cluster: &Cluster, topic: &str, changes: &[(&str, Option<&str>)]) {
    let op = |value: Option<&str>| match value {
        Some(value) => ConfigOp::Set(value.to_owned()),
        None => ConfigOp::Delete,
    };
    let changes = changes.iter();
    let changes = changes.map(|(name, value)| ((*name).to_owned(), op(*value)));
    let changes = vec![(topic.to_owned(), changes.collect())];
    let outcomes = cluster.client.alter_topic_configs(&changes).await.unwrap();
    outcomes[0].1.clone().unwrap();
}

async fn await_set(cluster: &Cluster, topic: &str, wanted: &[&str]) {
    eventually(&format!("{topic} with {wanted:?}"), async || {
        let found = set_on(cluster, topic).await;
        match found == wanted {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    })
    .await;
}

async fn await_configs(running: &Running, what: &str, holds: impl Fn(&Configs) -> bool) {
    eventually(what, async || match running.status().configs {
        Some(configs) if holds(&configs) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// What is set on a topic of the source at first.
const CONFIGS: [(&str, &str); 4] = [
    ("retention.ms", "1000"),
    ("segment.bytes", "1048576"),
    ("max.message.bytes", "2000000"),
    ("message.timestamp.type", "LogAppendTime"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_on_either_side_follows_the_source() {
    let pair = Pair::start().await;
    pair.east.create("t", &CONFIGS).await;
    pair.east.create("kept", &CONFIGS[..1]).await;
    pair.east.create("fixed", &CONFIGS[..2]).await;
    let flow = "topics = [\".*\"]\n[flows.configs]\ninterval = \"1s\"\nkeep = [\"max.*\"]\n\
                [[flows.rules]]\nmatch = \"kept\"\nconfigs.follow = false\n\
                [[flows.rules]]\nmatch = \"fixed\"\nconfigs.set = { \"retention.ms\" = \"7\" }";
    let running = pair.run(flow);
    await_configs(&running, "all topics looked at", |configs| {
        configs.looked == 2
    })
    .await;
    let first = [
        "max.message.bytes=2000000",
        "retention.ms=1000",
        "segment.bytes=1048576",
    ];
    assert_eq!(set_on(&pair.west, "t").await, first);
    assert_eq!(
        set_on(&pair.west, "fixed").await,
        ["retention.ms=7", "segment.bytes=1048576"]
    );
    let status = running.status().configs.unwrap();
    assert_eq!(
        (status.changed, status.set_back, status.topics),
        (0, 0, 2),
        "{status:?}"
    );

    alter(
        &pair.east,
        "t",
        &[("retention.ms", Some("2000")), ("segment.bytes", None)],
    )
    .await;
    alter(
        &pair.east,
        "t",
        &[
            ("cleanup.policy", Some("compact")),
            ("max.message.bytes", None),
        ],
    )
    .await;
    alter(&pair.east, "kept", &[("retention.ms", Some("2000"))]).await;
    alter(
        &pair.west,
        "t",
        &[
            ("flush.ms", Some("5")),
            ("message.timestamp.type", Some("LogAppendTime")),
        ],
    )
    .await;
    let wanted = [
        "cleanup.policy=compact",
        "max.message.bytes=2000000",
        "message.timestamp.type=LogAppendTime",
        "retention.ms=2000",
    ];
    await_set(&pair.west, "t", &wanted).await;
    assert_eq!(set_on(&pair.west, "kept").await, ["retention.ms=1000"]);
    await_configs(&running, "the counts", |c| {
        (c.changed, c.set_back) == (3, 1)
    })
    .await;
    running.stop().await;
}

/// What the target refuses and what cannot hold there is told, and keeps nothing else back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_target_does_not_take_is_told_and_the_rest_follows() {
    let pair = Pair::start().await;
    let configs = [("retention.ms", "1000"), ("min.insync.replicas", "3")];
    pair.east.create("t", &configs).await;
    pair.west.create("t", &[("retention.ms", "5")]).await;
    let flow = "topics = [\"t\"]\n[flows.configs.set]\nno.such.config = 1\nsegment.ms = \"x\"\n\
                [[flows.rules]]\nmatch = \"t\"\nreplication_factor = 2";
    let running = pair.run(flow);
    await_configs(&running, "four notes", |configs| configs.noted == 4).await;
    let status = running.status().configs.unwrap();
    let mut told: Vec<_> = status
        .notes
        .iter()
        .map(|note| {
            (
                note.code.as_str(),
                note.config.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    told.sort();
    let wanted = [
        ("config_left_out", "min.insync.replicas"),
        ("config_refused", "no.such.config"),
        ("config_refused", "segment.ms"),
        ("replicas_differ", ""),
    ];
    assert_eq!(told, wanted, "{status:?}");
    assert_eq!((status.changed, status.set_back), (1, 0));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defaults_of_the_source_hold_where_that_is_asked_for() {
    let east = Cluster::start_with(&["log.retention.ms=7777"]).await;
    let pair = Pair {
        east,
        west: Cluster::start().await,
    };
    pair.east.create("new", &[]).await;
    pair.east.create("old", &[]).await;
    pair.west
        .create("old", &[("cleanup.policy", "compact")])
        .await;
    let running = pair.run("topics = [\".*\"]\n[flows.configs]\ndefaults_from = \"source\"");
    let has = |set: &[String], wanted: &str| set.iter().any(|one| one == wanted);
    eventually("the source's defaults", async || {
        let (old, new) = (
            set_on(&pair.west, "old").await,
            set_on(&pair.west, "new").await,
        );
        let old_is = has(&old, "retention.ms=7777") && has(&old, "cleanup.policy=delete");
        match old_is && has(&new, "retention.ms=7777") {
            true => Ok(()),
            false => Err(format!("{old:?} {new:?}")),
        }
    })
    .await;
    running.stop().await;
}
