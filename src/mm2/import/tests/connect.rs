//! Connectors on Kafka Connect.

use super::*;

const SOURCE: &str = r#"{"name": "mirror", "config": {
    "connector.class": "org.apache.kafka.connect.mirror.MirrorSourceConnector", "name": "mirror",
    "source.cluster.alias": "A", "target.cluster.alias": "B",
    "source.cluster.bootstrap.servers": "a:1", "target.cluster.bootstrap.servers": "b:1",
    "source.cluster.security.protocol": "SASL_SSL", "source.cluster.sasl.mechanism": "PLAIN",
    "source.cluster.sasl.jaas.config": "x.PlainLoginModule required username=\"ann\" password=\"hunter2\";",
    "source.cluster.batch.size": "1", "topics": "orders,pay.*", "tasks.max": 8, "replication.factor": -1,
    "source.consumer.isolation.level": "read_committed", "consumer.isolation.level": "read_uncommitted",
    "consumer.auto.offset.reset": "latest", "producer.override.client.id": "id", "producer.override.linger.ms": "5",
    "key.converter": "org.apache.kafka.connect.converters.ByteArrayConverter", "exactly.once.support": "required",
    "sync.topic.acls.enabled": false, "offset-syncs.topic.location": "target", "transforms": ""
}}"#;
const CHECKPOINT: &str = r#"{"name": "points", "config": {
    "connector.class": "MirrorCheckpointConnector", "source.cluster.alias": "A", "target.cluster.alias": "B",
    "source.cluster.bootstrap.servers": "a:1", "target.cluster.bootstrap.servers": "b:1", "groups": "g", "tasks.max": "1",
    "sync.group.offsets.enabled": "true", "emit.checkpoints.enabled": "true", "refresh.groups.interval.seconds": "1"
}}"#;

#[test]
fn a_source_connector_is_a_flow() {
    let import = imported(SOURCE);
    let config = config(&import);
    let flow = &config.flows[0];
    assert_eq!((flow.name.as_str(), flow.topics.len()), ("A-to-B", 2));
    assert_eq!(flow.isolation, wire::Isolation::ReadCommitted);
    assert_eq!(
        (flow.defaults.start, flow.require),
        (Start::Latest, Require::ExactlyOnce)
    );
    assert_eq!(flow.defaults.replication_factor, -1);
    assert_eq!(config.clusters["A"].properties["sasl.username"], "ann");
    assert_eq!(config.clusters["B"].client_id(), "id");
    for (key, verdict, text) in [
        ("source.cluster.alias", Renamed, "source"),
        ("source.cluster.bootstrap.servers", Taken, ""),
        (
            "source.cluster.batch.size",
            NotNeeded,
            "ignores this here too",
        ),
        (
            "consumer.isolation.level",
            NotNeeded,
            "source.consumer.isolation.level takes its place",
        ),
        ("producer.override.linger.ms", NotNeeded, "strait sets it"),
        ("exactly.once.support", Renamed, "require"),
        ("tasks.max", NotNeeded, "no tasks"),
        ("transforms", NotNeeded, "by default"),
    ] {
        is(&import, key, verdict, text);
    }
    assert!(import.report.is_complete());
    assert!(!format!("{import:?}").contains("hunter2"));
    // The worker's topic and group are not the connector's to say; one of its own is.
    let names = [Some("A-to-B"), Some("A"), Some("A"), Some("mirror")];
    assert_eq!(kept(&import), [&names[..], &[None, None]].concat()[..]);
    let own = SOURCE.replace(
        "\"name\": \"mirror\",",
        "\"name\": \"mirror\", \"offsets.storage.topic\": \"own\",",
    );
    assert_eq!(kept(&imported(&own))[4], Some("own"));
    // Its checkpoint and heartbeat connectors are not there, so nothing of theirs is missing.
    let notes = import.report.notes.join("\n");
    assert!(
        !notes.contains("emit.checkpoints") && !notes.contains("emit.heartbeats"),
        "{notes}"
    );
}

#[test]
fn connectors_come_in_all_shapes() {
    let info = format!(
        "{{\"mirror\": {{\"info\": {SOURCE}, \"status\": {{}}}}, \"points\": {{\"info\": {CHECKPOINT}}}}}"
    );
    let array = format!("[{SOURCE}, {CHECKPOINT}]");
    for text in [info, array] {
        let import = imported(&text);
        assert_eq!(config(&import).flows.len(), 1);
        is(&import, "points: groups", Taken, "");
        is(
            &import,
            "points: sync.group.offsets.enabled",
            Renamed,
            "group_offsets = true",
        );
        is(
            &import,
            "points: source.cluster.bootstrap.servers",
            NotNeeded,
            "source connector",
        );
        is(&import, "points: tasks.max", NotNeeded, "no tasks");
        is(&import, "mirror: config.name", NotNeeded, "");
    }
    let files = [("one", SOURCE), ("two", CHECKPOINT)].map(|(name, text)| Input {
        name: name.to_owned(),
        bytes: text.as_bytes().to_vec(),
    });
    let import = import(&files, None).unwrap();
    assert!(
        import
            .report
            .keys
            .iter()
            .any(|line| line.file == "two" && line.key == "points: groups")
    );
    let bare: serde_json::Value = serde_json::from_str(SOURCE).unwrap();
    assert_eq!(
        config(&imported(&bare["config"].to_string())).flows.len(),
        1
    );
}

#[test]
fn connectors_between_the_same_clusters_keep_their_names() {
    let other = SOURCE
        .replace("\"mirror\"", "\"an other\"")
        .replace("orders,pay.*", "rest");
    let import = imported(&format!("[{SOURCE}, {other}]"));
    let names: Vec<_> = config(&import)
        .flows
        .into_iter()
        .map(|flow| flow.name)
        .collect();
    assert_eq!(names, ["mirror", "an_other"]);

    let elsewhere = other.replace("\"b:1\"", "\"c:1\"");
    let import = imported(&format!("[{SOURCE}, {elsewhere}]"));
    is(
        &import,
        "an other: target.cluster.bootstrap.servers",
        Refused,
        "two clusters have one alias",
    );
    let more = other.replace("\"b:1\"", "\"c:1, b:1\"");
    let import = imported(&format!("[{SOURCE}, {more}]"));
    is(
        &import,
        "an other: target.cluster.bootstrap.servers",
        NotNeeded,
        "takes its place",
    );
}

#[test]
fn what_is_no_connector_of_mirrormaker_is_told() {
    let other = CHECKPOINT.replace("MirrorCheckpointConnector", "x.Sink");
    let import = imported(&format!("[{SOURCE}, {other}]"));
    is(
        &import,
        "points: groups",
        NotNeeded,
        "no connector of MirrorMaker 2's",
    );
    for (text, reason) in [
        ("[]", "no connector"),
        ("{\"a\": 1}", "no connector"),
        ("{", "line 1"),
        (CHECKPOINT, "no MirrorSourceConnector"),
        (
            &SOURCE.replace("\"tasks.max\"", "\"enabled\": \"false\", \"x\""),
            "no MirrorSourceConnector",
        ),
        ("config.storage.topic = t", "worker's configuration"),
    ] {
        let error = super::super::import(&inputs(text), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
}
