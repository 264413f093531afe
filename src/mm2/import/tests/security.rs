//! Logins, TLS, and secrets, which show nowhere.

use super::*;

const SASL: &str = "A.security.protocol = SASL_SSL\nA.sasl.mechanism = SCRAM-SHA-512\n";
const JAAS: &str =
    "A.sasl.jaas.config = org.apache.kafka.common.security.scram.ScramLoginModule required";

fn toml(import: &Import) -> &str {
    import.toml.as_deref().unwrap()
}

fn variables(import: &Import) -> Vec<&str> {
    let fill = import.report.fill.iter();
    fill.map(|fill| fill.variable.as_str()).collect()
}

#[test]
fn a_login_has_a_name_and_a_password_to_fill_in() {
    let import = imported(&with(&format!(
        "{SASL}{JAAS} username=\"ann\" password=\"hunter2\";\n"
    )));
    let config = config(&import);
    let a = &config.clusters["A"].properties;
    assert_eq!(a["sasl.username"], "ann");
    assert_eq!(a["sasl.password"], "value.of.A_SASL_PASSWORD");
    assert_eq!(variables(&import), ["A_SASL_PASSWORD"]);
    is(
        &import,
        "A.sasl.jaas.config",
        Renamed,
        "sasl.password = \"${A_SASL_PASSWORD}\"",
    );
    assert!(!format!("{import:?}").contains("hunter2"));
    // From the JVM's JAAS file.
    let import = imported(&with(SASL));
    assert_eq!(variables(&import), ["A_SASL_PASSWORD", "A_SASL_USERNAME"]);
}

#[test]
fn what_providers_refer_to_is_read_from_there_or_asked_for() {
    let providers = "config.providers = file, dir\n\
                     config.providers.file.class = org.apache.kafka.common.config.provider.FileConfigProvider\n\
                     config.providers.dir.class = org.apache.kafka.common.config.provider.DirectoryConfigProvider\n";
    let import = imported(&with(&format!(
        "{providers}{SASL}{JAAS} username=\"${{file:/etc/mm2.secrets:user}}\" password=\"${{dir:/run/secrets:pw}}\";\n"
    )));
    assert!(
        toml(&import).contains("\"${file:/run/secrets/pw}\""),
        "{}",
        toml(&import)
    );
    assert_eq!(
        import.report.fill[0].what,
        "the name of the login (user of /etc/mm2.secrets) of A"
    );
    is(
        &import,
        "config.providers.dir.class",
        NotNeeded,
        "variables to set",
    );

    let import = imported(&with(&format!(
        "{SASL}A.sasl.jaas.config = ${{file:/etc/mm2.secrets:jaas}}\n"
    )));
    assert_eq!(variables(&import), ["A_SASL_JAAS_CONFIG"]);
    let sources = Sources {
        variable: &|name| {
            let jaas = "x.ScramLoginModule required username=a password=b;";
            (name == "A_SASL_JAAS_CONFIG").then(|| jaas.to_owned())
        },
        file: &|_| Err(std::io::ErrorKind::NotFound.into()),
    };
    let config = Config::parse(toml(&import), &sources).unwrap();
    assert_eq!(config.clusters["A"].properties["sasl.password"], "b");
}

#[test]
fn a_login_by_tokens_goes_on_with_the_same_issuer() {
    let bearer = "A.security.protocol = SASL_SSL\nA.sasl.mechanism = OAUTHBEARER\n";
    let url = "A.sasl.oauthbearer.token.endpoint.url = https://issuer/token\n";
    let handler = "A.sasl.login.callback.handler.class = \
                   org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\n";
    let jaas = "A.sasl.jaas.config = org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                clientId=\"mm2\" clientSecret=\"hunter2\" scope=\"kafka\" extension_logicalCluster=\"lkc-1\";\n";
    let import = imported(&with(&format!("{bearer}{url}{handler}{jaas}")));
    let a = &config(&import).clusters["A"].properties;
    for (name, value) in [
        (
            "sasl.oauthbearer.token.endpoint.url",
            "https://issuer/token",
        ),
        ("sasl.oauthbearer.client.id", "mm2"),
        (
            "sasl.oauthbearer.client.secret",
            "value.of.A_SASL_OAUTHBEARER_CLIENT_SECRET",
        ),
        ("sasl.oauthbearer.scope", "kafka"),
        ("sasl.oauthbearer.extensions", "logicalCluster=lkc-1"),
    ] {
        assert_eq!(a[name], value);
    }
    is(
        &import,
        "A.sasl.jaas.config",
        Renamed,
        "sasl.oauthbearer.client.id",
    );
    is(
        &import,
        "A.sasl.login.callback.handler.class",
        NotNeeded,
        "",
    );
    assert!(!format!("{import:?}").contains("hunter2"));

    let since = "A.sasl.oauthbearer.client.credentials.client.id = mm2\n\
                 A.sasl.oauthbearer.client.credentials.client.secret = hunter2\n";
    let import = imported(&with(&format!("{bearer}{url}{since}")));
    assert_eq!(
        config(&import).clusters["A"].properties["sasl.oauthbearer.client.id"],
        "mm2"
    );
    assert_eq!(variables(&import), ["A_SASL_OAUTHBEARER_CLIENT_SECRET"]);
    assert!(!format!("{import:?}").contains("hunter2"));

    // All of it is elsewhere.
    let import = imported(&with(bearer));
    let wanted = ["CLIENT_ID", "CLIENT_SECRET", "TOKEN_ENDPOINT_URL"];
    let wanted = wanted.map(|name| format!("A_SASL_OAUTHBEARER_{name}"));
    assert_eq!(variables(&import), wanted);

    let more = jaas.replace("scope", "ssl.truststore.location");
    let import = imported(&with(&format!("{bearer}{url}{more}")));
    is(
        &import,
        "A.sasl.jaas.config",
        NotSupported,
        "`ssl.truststore.location`",
    );
}

#[test]
fn a_login_that_strait_has_not_is_stood_in_for() {
    for (lines, key, text) in [
        (
            "A.security.protocol = SASL_PLAINTEXT\n",
            "A.security.protocol",
            "not by GSSAPI",
        ),
        (
            "A.security.protocol = SASL_SSL\nA.sasl.mechanism = OAUTHBEARER\nA.sasl.login.callback.handler.class = x.Mine\n",
            "A.sasl.mechanism",
            "not by OAUTHBEARER",
        ),
        (
            "A.security.protocol = SASL_SSL\nA.sasl.mechanism = AWS_MSK_IAM\n",
            "A.sasl.mechanism",
            "not by AWS_MSK_IAM",
        ),
    ] {
        let import = imported(&with(&format!(
            "{lines}A.sasl.jaas.config = x.Login required secret=\"hunter2\";\n\
             A.sasl.client.callback.handler.class = x.Y\nA.sasl.kerberos.service.name = kafka\n"
        )));
        is(&import, key, NotSupported, text);
        is(&import, "A.sasl.jaas.config", NotSupported, "a login by");
        is(
            &import,
            "A.sasl.client.callback.handler.class",
            NotSupported,
            "",
        );
        assert_eq!(variables(&import), ["A_SASL_PASSWORD", "A_SASL_USERNAME"]);
        config(&import);
        assert!(!format!("{import:?}").contains("hunter2"));
    }
}

#[test]
fn stores_of_java_come_with_the_commands_that_convert_them() {
    let import = imported(&with(
        "A.security.protocol = SSL\nA.ssl.truststore.location = /t.jks\nA.ssl.truststore.password = hunter2\n\
         A.ssl.keystore.location = /k.p12\nA.ssl.keystore.type = PKCS12\nA.ssl.keystore.password = hunter2\n\
         A.ssl.key.password = hunter2\nA.ssl.endpoint.identification.algorithm =\nA.ssl.cipher.suites = X\n",
    ));
    is(
        &import,
        "A.ssl.truststore.location",
        Renamed,
        "`keytool -importkeystore -srckeystore /t.jks",
    );
    is(
        &import,
        "A.ssl.keystore.location",
        Renamed,
        "`openssl pkcs12 -in /k.p12 -out /k.p12.pem`",
    );
    is(
        &import,
        "A.ssl.key.password",
        Renamed,
        "${A_SSL_KEY_PASSWORD}",
    );
    is(&import, "A.ssl.truststore.password", NotNeeded, "has none");
    is(
        &import,
        "A.ssl.endpoint.identification.algorithm",
        Renamed,
        "none",
    );
    is(&import, "A.ssl.cipher.suites", NotNeeded, "safe today");
    let text = toml(&import);
    for line in [
        "ssl.truststore.location = \"/t.jks.pem\"",
        "ssl.keystore.location = \"/k.p12.pem\"",
        "ssl.keystore.type = \"PEM\"",
    ] {
        assert!(text.contains(line), "{text}");
    }
    config(&import);
    assert!(!format!("{import:?}").contains("hunter2"));
}

#[test]
fn stores_in_pem_stay() {
    let import = imported(&with(
        "ssl.truststore.type = PEM\nssl.truststore.location = /ca.pem\nsecurity.protocol = SSL\n\
         A.ssl.keystore.type = PEM\nA.ssl.keystore.key = hunter2\nA.ssl.keystore.certificate.chain = ${env:CHAIN}\n\
         B.security.protocol = PLAINTEXT\n",
    ));
    is(&import, "ssl.truststore.location", Taken, "");
    is(&import, "security.protocol", Taken, "");
    is(
        &import,
        "A.ssl.keystore.key",
        Renamed,
        "${A_SSL_KEYSTORE_KEY}",
    );
    assert!(toml(&import).contains("ssl.keystore.certificate.chain = \"${CHAIN}\""));
    assert!(
        !toml(&import)
            .split("[clusters.B]")
            .nth(1)
            .unwrap()
            .contains("ssl.")
    );
    let import = imported(&with(
        "A.ssl.truststore.location = /ca.pem\nA.sasl.mechanism = PLAIN\n",
    ));
    is(
        &import,
        "A.ssl.truststore.location",
        NotNeeded,
        "security.protocol = PLAINTEXT",
    );
    is(
        &import,
        "A.sasl.mechanism",
        NotNeeded,
        "security.protocol = PLAINTEXT",
    );
}

#[test]
fn one_cluster_has_one_login() {
    let import = imported(&with(&format!(
        "B->A.enabled = true\n{SASL}{JAAS} username=a password=hunter2;\nA.producer.sasl.jaas.config = x.ScramLoginModule \
         required username=b password=hunter2;\nA.consumer.sasl.jaas.config = x.ScramLoginModule required username=c \
         password=hunter2;\nA.admin.security.protocol = SASL_SSL\n"
    )));
    assert_eq!(
        config(&import).clusters["A"].properties["sasl.username"],
        "c"
    );
    is(&import, "A.consumer.sasl.jaas.config", Renamed, "");
    is(
        &import,
        "A.producer.sasl.jaas.config",
        NotSupported,
        "one set of properties",
    );
    is(&import, "A.sasl.jaas.config", NotNeeded, "takes its place");
    is(
        &import,
        "A.admin.security.protocol",
        NotNeeded,
        "takes its place",
    );
}

const BEGINNINGS: &str = "A. B. C. A->B. B->A. A.consumer. B.producer. A->B.source.consumer. A->B.consumer. \
    A->B.producer.override. A->B.source.cluster. A.admin. B.consumer.";
const NAMES: &str = "security.protocol sasl.mechanism sasl.jaas.config sasl.kerberos.service.name ssl.truststore.location \
    ssl.truststore.type ssl.truststore.password ssl.truststore.certificates ssl.keystore.location ssl.keystore.type \
    ssl.keystore.key ssl.keystore.certificate.chain ssl.key.password ssl.endpoint.identification.algorithm \
    bootstrap.servers client.id client.rack acks connections.max.idle.ms isolation.level auto.offset.reset \
    exactly.once.source.support group.id offset.flush.interval.ms transforms.x.type no.such.key";
const VALUES: &str = "true false 1 -1 hunter2 ${env:X} ${file:/f:k} ${dir:/d:k} ${ a:1,b:2 SSL PEM SASL_SSL SASL_PLAINTEXT \
    PLAINTEXT PLAIN SCRAM-SHA-256 GSSAPI a++ a,b.* latest none https identity all é \u{1}";

const SECURITY: [(&str, [&str; 3]); 12] = [
    ("sasl.mechanism", ["PLAIN", "SCRAM-SHA-512", "GSSAPI"]),
    (
        "sasl.jaas.config",
        [
            "x.PlainLoginModule required username=a password=b;",
            "${env:J}",
            "odd",
        ],
    ),
    ("ssl.truststore.type", ["PEM", "JKS", "PKCS12"]),
    ("ssl.truststore.location", ["/t", "${dir:/d:t}", "${env:T}"]),
    (
        "ssl.truststore.certificates",
        ["pem", "${dir:/d:c}", "${env:C}"],
    ),
    ("ssl.truststore.password", ["p", "", "${env:P}"]),
    ("ssl.keystore.type", ["PEM", "JKS", "PKCS12"]),
    ("ssl.keystore.location", ["/k", "${dir:/d:k}", "${env:K}"]),
    (
        "ssl.keystore.certificate.chain",
        ["pem", "${dir:/d:c}", "${env:C}"],
    ),
    ("ssl.keystore.key", ["pem", "${dir:/d:y}", "${env:Y}"]),
    ("ssl.key.password", ["p", "${dir:/d:p}", "${env:P}"]),
    (
        "ssl.endpoint.identification.algorithm",
        ["", "https", "${env:A}"],
    ),
];

/// Names of all kinds under all beginnings, with values of all kinds.
fn any_lines() -> impl Strategy<Value = Vec<(String, String)>> {
    let mut beginnings: Vec<_> = BEGINNINGS
        .split(' ')
        .filter(|text| !text.is_empty())
        .collect();
    beginnings.push("");
    let mut names: Vec<_> = include_str!("../fixtures/connector_keys.txt")
        .lines()
        .collect();
    names.extend(NAMES.split_whitespace());
    names.push("");
    let mut values: Vec<_> = VALUES.split_whitespace().collect();
    values.extend([
        "",
        "\"'\\ \n",
        "x.PlainLoginModule required username=\"u\" password=\"hunter2\";",
    ]);
    let [beginnings, names, values] = [beginnings, names, values].map(prop::sample::select);
    let line = (beginnings, names, values);
    let line =
        line.prop_map(|(beginning, name, value)| (format!("{beginning}{name}"), value.to_owned()));
    prop::collection::vec(line, 0..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every key has one line, no secret shows, and what is made loads: that it does not is the only error there is.
    #[test]
    fn whatever_is_written_every_key_is_told_of(lines in any_lines()) {
        let escape = |text: &str| -> String {
            text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
        };
        let mut wanted: std::collections::BTreeSet<String> =
            ["clusters", "A.bootstrap.servers", "B.bootstrap.servers", "A->B.enabled"].map(str::to_owned).into();
        let mut text = String::new();
        for (name, value) in &lines {
            text.push_str(&format!("{}={}\n", escape(name), escape(value)));
            wanted.insert(name.clone());
        }
        text.push_str(&with("A->B.enabled = true\n"));
        let import = import(&inputs(&text), None).unwrap();
        let told: Vec<_> = import.report.keys.iter().map(|line| line.key.clone()).collect();
        prop_assert_eq!(told, wanted.into_iter().collect::<Vec<_>>());
        let refused = import.report.of(Refused).next().is_some();
        prop_assert_eq!(import.toml.is_none(), refused);
        let secret = ["ssl.key", "ssl.truststore.password", "sasl.jaas"];
        if !lines.iter().any(|(name, value)| value.contains("hunter2") && !secret.iter().any(|part| name.contains(part))) {
            prop_assert!(!format!("{import:?}").contains("hunter2"), "{import:?}");
        }
    }

    /// Whatever goes together or does not.
    #[test]
    fn whatever_secures_a_cluster_what_is_made_loads(
        protocol in prop::sample::select(vec!["SSL", "SASL_SSL", "SASL_PLAINTEXT", "PLAINTEXT"]),
        chosen in prop::collection::vec(prop::option::of(0usize..3), SECURITY.len()),
    ) {
        let lines = SECURITY.iter().zip(chosen).filter_map(|((name, values), chosen)| {
            Some(format!("A.{name} = {}\n", values[chosen?]))
        });
        let text: String = lines.collect();
        let import = imported(&with(&format!("A.security.protocol = {protocol}\n{text}")));
        prop_assert!(import.toml.is_some());
    }

    #[test]
    fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut text = with("").into_bytes();
        text.extend(bytes);
        let _read = import(&[Input { name: "in".to_owned(), bytes: text }], None);
    }
}
