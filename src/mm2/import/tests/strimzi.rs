//! Strimzi's `KafkaMirrorMaker2`. What its operator makes of one is in `KafkaMirrorMaker2Connectors` (2026-08).

use super::*;

const REST: &str = r#"
      sourceConnector:
        tasksMax: 4
        autoRestart: {enabled: true}
        config:
          replication.factor: -1
          sync.topic.acls.enabled: "false"
          topics: overruled
          consumer.isolation.level: read_committed
      checkpointConnector:
        config:
          sync.group.offsets.enabled: "true"
          checkpoints.topic.replication.factor: -1
      topicsPattern: "orders, pay.*"
      groupsPattern: ".*"
"#;

const TARGET: &str = r#"alias: west
      bootstrapServers: west:9093
      tls:
        trustedCertificates:
          - {secretName: west-ca, pattern: "*.crt"}
      authentication:
        type: tls
        certificateAndKey: {secretName: me, certificate: user.crt, key: user.key}
      config:
        offset.storage.replication.factor: -1
        exactly.once.source.support: enabled
        producer.client.id: id
"#;

const SOURCE: &str = r#"alias: east
        bootstrapServers: east:9093
        tls:
          trustedCertificates:
            - {secretName: east-ca, certificate: ca.crt}
        authentication:
          type: scram-sha-512
          username: ann
          passwordSecret: {secretName: ann, password: pw}
        config:
          batch.size: 1
"#;

fn v1() -> String {
    format!(
        "apiVersion: kafka.strimzi.io/v1\nkind: KafkaMirrorMaker2\nmetadata: {{name: m, namespace: ns}}\nspec:\n  replicas: 2\n  \
         resources: {{limits: {{cpu: 1}}}}\n  target:\n      {TARGET}      groupId: g\n  mirrors:\n    - source:\n        \
         {SOURCE}{}",
        REST.trim_start_matches('\n')
    )
}

fn v1beta2() -> String {
    format!(
        "apiVersion: kafka.strimzi.io/v1beta2\nkind: KafkaMirrorMaker2\nmetadata: {{name: m, namespace: ns}}\nspec:\n  \
         connectCluster: west\n  clusters:\n    - {}    - {}  mirrors:\n    - sourceCluster: east\n      targetCluster: west\n{}",
        TARGET,
        SOURCE.replace("\n  ", "\n"),
        REST.trim_start_matches('\n')
    )
}

#[test]
fn both_versions_are_the_same_flow() {
    let [new, old] = [v1(), v1beta2()].map(|text| imported(&text));
    let names = [
        "east-to-west",
        "east",
        "east",
        "east->west.MirrorSourceConnector",
    ]
    .map(Some);
    let all = |group| {
        [
            &names[..],
            &[Some("mirrormaker2-cluster-offsets"), Some(group)],
        ]
        .concat()
    };
    assert_eq!(kept(&new)[..], all("g"));
    assert_eq!(kept(&old)[..], all("mirrormaker2-cluster"));
    let said = v1beta2().replace(
        "producer.client.id: id",
        "producer.client.id: id\n        group.id: g\n        offset.storage.topic: o",
    );
    assert_eq!(kept(&imported(&said))[4..], [Some("o"), Some("g")]);
    let said = v1().replace("groupId: g", "groupId: g\n      offsetStorageTopic: o");
    assert_eq!(kept(&imported(&said))[4..], [Some("o"), Some("g")]);
    let sorted = |import: &Import| {
        let mut lines: Vec<_> = import
            .toml
            .as_ref()
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&new), sorted(&old));
    let config = config(&new);
    let flow = &config.flows[0];
    assert_eq!(
        (flow.source.as_str(), flow.target.as_str()),
        ("east", "west")
    );
    let topics: Vec<_> = flow
        .topics
        .iter()
        .map(crate::config::NamePattern::text)
        .collect();
    assert_eq!(topics, ["orders", "pay.*"]);
    assert_eq!(flow.isolation, wire::Isolation::ReadCommitted);
    assert_eq!(
        (flow.require, flow.defaults.replication_factor),
        (Require::ExactlyOnce, -1)
    );
    let [east, west] = ["east", "west"].map(|alias| &config.clusters[alias].properties);
    assert_eq!(east["security.protocol"], "SASL_SSL");
    assert_eq!(
        (
            east["sasl.mechanism"].as_str(),
            east["sasl.username"].as_str()
        ),
        ("SCRAM-SHA-512", "ann")
    );
    assert_eq!(west["security.protocol"], "SSL");
    assert_eq!(west["client.id"], "id");
}

#[test]
fn secrets_of_kubernetes_become_variables() {
    let import = imported(&v1());
    let fill: Vec<_> = import
        .report
        .fill
        .iter()
        .map(|fill| (fill.variable.as_str(), fill.what.as_str()))
        .collect();
    let wanted = [
        (
            "EAST_SASL_PASSWORD",
            "the password of the login (pw of ns/ann) of east",
        ),
        (
            "EAST_SSL_TRUSTSTORE_CERTIFICATES",
            "the certificates to trust (PEM) (ca.crt of ns/east-ca) of east",
        ),
        (
            "WEST_SSL_KEYSTORE_CERTIFICATE_CHAIN",
            "the certificate and those up to its CA (PEM) (user.crt of ns/me) of west",
        ),
        (
            "WEST_SSL_KEYSTORE_KEY",
            "the private key (PEM) (user.key of ns/me) of west",
        ),
        (
            "WEST_SSL_TRUSTSTORE_CERTIFICATES",
            "the certificates to trust (PEM) (*.crt of ns/west-ca) of west",
        ),
    ];
    assert_eq!(fill, wanted);
}

#[test]
fn every_key_under_spec_is_told_of() {
    let import = imported(&v1());
    are(
        &import,
        "
         spec.replicas | not_needed | share
         spec.resources | not_needed | pods
         spec.target.alias | renamed | [clusters.ALIAS]
         spec.target.bootstrapServers | renamed | bootstrap.servers
         spec.target.groupId | not_needed | positions
         spec.target.tls | renamed | security.protocol
         spec.target.authentication.type | renamed | ssl.keystore
         spec.target.authentication.certificateAndKey | renamed | ssl.keystore
         spec.target.config.offset.storage.replication.factor | not_needed | strait.FLOW
         spec.target.config.exactly.once.source.support | renamed | require
         spec.mirrors[0].source.authentication.type | renamed | sasl.mechanism
         spec.mirrors[0].source.authentication.username | renamed | sasl.username
         spec.mirrors[0].source.authentication.passwordSecret | renamed | sasl.password
         spec.mirrors[0].source.config.batch.size | not_needed | ignores this here too
         spec.mirrors[0].sourceConnector.tasksMax | not_needed | no tasks
         spec.mirrors[0].sourceConnector.autoRestart | not_needed | tries again
         spec.mirrors[0].sourceConnector.config.topics | not_needed | topicsPattern takes its place
         spec.mirrors[0].topicsPattern | taken | 
         spec.mirrors[0].groupsPattern | taken | 
         spec.mirrors[0].checkpointConnector.config.sync.group.offsets.enabled | renamed | group_offsets",
    );
    let unread: Vec<_> = import
        .report
        .keys
        .iter()
        .filter(|line| line.text.contains("does not know"))
        .collect();
    assert!(unread.is_empty(), "{unread:?}");
}

#[test]
fn logins_that_strait_has_not_are_stood_in_for() {
    let scram = "type: scram-sha-512\n          username: ann\n          passwordSecret: {secretName: ann, password: pw}\n";
    let with = |login: &str| imported(&v1().replace(scram, login));
    let oauth = with(
        "type: oauth\n          tokenEndpointUri: https://x/token\n          clientId: mm2\n          \
         clientSecret: {secretName: s, key: k}\n          accessToken: {secretName: s, key: t}\n",
    );
    let path = "spec.mirrors[0].source.authentication";
    is(&oauth, &format!("{path}.tokenEndpointUri"), Renamed, "");
    is(
        &oauth,
        &format!("{path}.clientSecret"),
        Renamed,
        "sasl.oauthbearer.client.secret",
    );
    is(
        &oauth,
        &format!("{path}.accessToken"),
        NotSupported,
        "oauth",
    );
    let found = config(&oauth);
    let source = found
        .clusters
        .values()
        .find(|one| one.needs_wire().is_some());
    let source = &source.unwrap().properties;
    assert_eq!(
        source["sasl.oauthbearer.token.endpoint.url"],
        "https://x/token"
    );
    let custom = with(
        "type: custom\n          sasl: true\n          config:\n            sasl.mechanism: PLAIN\n            \
         sasl.jaas.config: x.PlainLoginModule required username=bob password=hunter2;\n",
    );
    assert_eq!(
        config(&custom).clusters["east"].properties["sasl.username"],
        "bob"
    );
    is(
        &custom,
        "spec.mirrors[0].source.authentication.config.sasl.mechanism",
        Taken,
        "",
    );
    assert!(!format!("{custom:?}").contains("hunter2"));
}

#[test]
fn lists_and_several_documents_are_read() {
    let user = "kind: KafkaUser\nmetadata: {name: u}\n---\n";
    assert_eq!(config(&imported(&format!("{user}{}", v1()))).flows.len(), 1);
    let one: serde_json::Value = serde_saphyr::from_str(&v1()).unwrap();
    let mut other = one.clone();
    other["metadata"]["name"] = "n".into();
    other["spec"]["target"]["alias"] = "north".into();
    let list = serde_json::json!({"kind": "List", "items": [one, other]}).to_string();
    let import = imported(&list);
    assert_eq!(config(&import).flows.len(), 2);
    is(&import, "n: spec.replicas", NotNeeded, "");
    for (text, reason) in [
        ("kind: KafkaMirrorMaker2\nspec: [", "no YAML"),
        ("kind: KafkaMirrorMaker2\n", "without `spec`"),
        (
            "kind: KafkaMirrorMaker2\nspec: {target: {alias: b}, mirrors: [{topicsPattern: x}]}",
            "no flow",
        ),
        ("kind: X # of KafkaMirrorMaker2", "no KafkaMirrorMaker2"),
    ] {
        let error = super::super::import(&inputs(text), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_is_too_much(cut in 0usize..1200, with in "[ -~\n]{0,12}") {
        for text in [v1(), v1beta2()] {
            let at = cut.min(text.len());
            let broken = format!("{}{with}{}", &text[..at], &text[at..]);
            let _read = super::super::import(&inputs(&broken), None);
        }
    }
}
