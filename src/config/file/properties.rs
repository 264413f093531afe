//! Which client properties a cluster may have, by librdkafka's names (its CONFIGURATION.md, 2.12).
//!
//! The names that may be set are in `properties.txt`; whether a value fits, librdkafka itself says.

use rdkafka::{ClientConfig, error::KafkaError};

/// How the names begin that are about an issuer of tokens.
pub(super) const OF_TOKENS: [&str; 2] = ["sasl.oauthbearer.", "https.ca."];

/// The names that may be set.
const SETTABLE: &str = include_str!("properties.txt");

/// Names that librdkafka knows and strait keeps for itself, and why.
const KEPT: &[(&[&str], &str)] = &[
    (
        &["group.id"],
        "strait sets it: a flow's group is `strait.` and the flow's name",
    ),
    (
        &["group.instance.id"],
        "strait sets it: from the flow's `instance`",
    ),
    (
        &[
            "group.protocol",
            "group.protocol.type",
            "group.remote.assignor",
            "heartbeat.interval.ms",
            "max.poll.interval.ms",
            "partition.assignment.strategy",
            "session.timeout.ms",
            "coordinator.query.interval.ms",
        ],
        "strait sets it: a flow's `assignment` decides who runs what",
    ),
    (
        &["auto.offset.reset"],
        "strait sets it: use the flow's `start`",
    ),
    (
        &["isolation.level"],
        "strait sets it: use the flow's `isolation`",
    ),
    (
        &[
            "auto.commit.enable",
            "auto.commit.interval.ms",
            "enable.auto.commit",
            "enable.auto.offset.store",
            "offset.store.method",
            "offset.store.path",
            "offset.store.sync.interval.ms",
        ],
        "strait sets it: progress is kept in checkpoints (the flow's `checkpoint_interval`)",
    ),
    (
        &[
            "acks",
            "delivery.report.only.error",
            "delivery.timeout.ms",
            "enable.gapless.guarantee",
            "enable.idempotence",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "message.send.max.retries",
            "message.timeout.ms",
            "produce.offset.report",
            "queuing.strategy",
            "request.required.acks",
            "retries",
            "transaction.timeout.ms",
            "transactional.id",
        ],
        "strait sets it: another value could lose or reorder records",
    ),
    (
        &["partitioner", "sticky.partitioning.linger.ms"],
        "strait sets it: a record keeps its partition",
    ),
    (
        &["compression.codec", "compression.type"],
        "strait sets it: records keep the codec of the source topic",
    ),
    (
        &[
            "batch.num.messages",
            "batch.size",
            "fetch.max.bytes",
            "fetch.message.max.bytes",
            "fetch.queue.backoff.ms",
            "max.partition.fetch.bytes",
            "message.max.bytes",
            "queue.buffering.max.kbytes",
            "queue.buffering.max.messages",
            "queued.max.messages.kbytes",
            "queued.min.messages",
            "receive.message.max.bytes",
        ],
        "strait sets it: all queue sizes derive from `memory` under [limits]",
    ),
    (
        &[
            "fetch.error.backoff.ms",
            "fetch.wait.max.ms",
            "linger.ms",
            "queue.buffering.max.ms",
            "reconnect.backoff.max.ms",
            "request.timeout.ms",
            "retry.backoff.ms",
            "topic.metadata.refresh.interval.ms",
        ],
        "strait sets it: its own values keep delay and recovery time low",
    ),
    (
        &[
            "allow.auto.create.topics",
            "check.crcs",
            "consume.callback.max.messages",
            "enable.partition.eof",
            "topic.blacklist",
        ],
        "strait sets it",
    ),
    (
        &["log.queue", "log.thread.name", "log_level"],
        "strait sets it: use `--log`",
    ),
    (&["statistics.interval.ms"], "strait sets it: see /metrics"),
    (
        &[
            "sasl.kerberos.keytab",
            "sasl.kerberos.kinit.cmd",
            "sasl.kerberos.min.time.before.relogin",
            "sasl.kerberos.principal",
            "sasl.kerberos.service.name",
        ],
        "Kerberos is not available in this version: use sasl.mechanism = SCRAM-SHA-512 or PLAIN, or a \
         client certificate",
    ),
    (
        &[
            "enable.sasl.oauthbearer.unsecure.jwt",
            "sasl.oauthbearer.assertion.algorithm",
            "sasl.oauthbearer.assertion.claim.aud",
            "sasl.oauthbearer.assertion.claim.exp.seconds",
            "sasl.oauthbearer.assertion.claim.iss",
            "sasl.oauthbearer.assertion.claim.jti.include",
            "sasl.oauthbearer.assertion.claim.nbf.seconds",
            "sasl.oauthbearer.assertion.claim.sub",
            "sasl.oauthbearer.assertion.file",
            "sasl.oauthbearer.assertion.jwt.template.file",
            "sasl.oauthbearer.assertion.private.key.file",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.metadata.authentication.type",
        ],
        "tokens come by the client credentials grant: sasl.oauthbearer.token.endpoint.url, .client.id and .client.secret",
    ),
    (
        &["enable.ssl.certificate.verification"],
        "brokers' certificates are always checked: give their CA, or the certificate itself, as \
         ssl.ca.location; where the name does not fit set ssl.endpoint.identification.algorithm = \"none\"",
    ),
    (
        &[
            "ssl.ca.certificate.stores",
            "ssl.cipher.suites",
            "ssl.crl.location",
            "ssl.curves.list",
            "ssl.engine.id",
            "ssl.engine.location",
            "ssl.providers",
            "ssl.sigalgs.list",
        ],
        "one of strait's two clients does not have it; both take TLS 1.2 and 1.3 with what is safe today",
    ),
    (
        &["plugin.library.paths"],
        "strait loads no code at run time",
    ),
];

/// The names that may be set.
pub(super) fn settable() -> impl Iterator<Item = &'static str> {
    SETTABLE.lines()
}

/// Why `name` may not be set, if librdkafka knows it and strait keeps it for itself.
pub(crate) fn kept(name: &str) -> Option<&'static str> {
    let of_name = KEPT.iter().find(|(names, _)| names.contains(&name));
    of_name.map(|(_, reason)| *reason)
}

/// Asks librdkafka whether it takes `value` for `name`; the error is a reason without the value.
pub(crate) fn check(name: &str, value: &str) -> Result<(), String> {
    // It is built without what it asks for tokens with (libcurl); strait's own client does, and looks at these itself.
    if OF_TOKENS.iter().any(|of| name.starts_with(of)) {
        return Ok(());
    }
    let mut config = ClientConfig::new();
    config.set(name, value);
    let Err(error) = config.create_native_config() else {
        return Ok(());
    };
    // librdkafka's text says what it wants, but often quotes the value.
    let reason = match &error {
        KafkaError::ClientConfig(_, reason, ..) => match reason.split_once("outside allowed range")
        {
            Some((_, range)) => format!("outside the allowed range {}", range.trim()),
            None if value.is_empty() || !reason.contains(value) => reason.trim().to_owned(),
            None => "not one of its values".to_owned(),
        },
        _ => "not a text".to_owned(),
    };
    Err(format!("librdkafka refuses the value: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn librdkafka_knows_every_name() {
        let known = |name: &str| match check(name, "") {
            Ok(()) => true,
            Err(reason) => !reason.contains("No such configuration property"),
        };
        let kept = KEPT.iter().flat_map(|(names, _)| names.iter().copied());
        for name in settable().chain(kept) {
            assert!(known(name), "{name}");
        }
        assert!(!known("no.such.name"));
    }

    /// Otherwise the operator's value would be overwritten without a word.
    #[test]
    fn what_the_clients_set_is_kept() {
        let source = include_str!("../../source/librdkafka/mod.rs");
        let sink = include_str!("../../sink/librdkafka/producer.rs");
        let set = regex::Regex::new(r#"\.set\(\s*"([a-z._]+)""#).unwrap();
        let mut names = 0;
        for name in [source, sink]
            .iter()
            .flat_map(|text| set.captures_iter(text))
        {
            assert!(kept(&name[1]).is_some(), "{}", &name[1]);
            names += 1;
        }
        assert!(names > 20, "{names}");
    }

    #[test]
    fn no_name_is_both_settable_and_kept() {
        for name in settable() {
            assert_eq!(kept(name), None, "{name}");
        }
    }

    #[test]
    fn a_refusal_never_shows_the_value() {
        for (name, value) in [
            ("socket.timeout.ms", "hunter2"),
            ("security.protocol", "hunter2"),
            ("socket.keepalive.enable", "hunter2"),
            ("socket.timeout.ms", "1234567"),
            ("client.id", "a\0hunter2"),
        ] {
            let reason = check(name, value).unwrap_err();
            assert!(!reason.contains(value), "{reason}");
        }
        assert!(check("socket.timeout.ms", "1000").is_ok());
        assert!(check("ssl.key.pem", "anything").is_ok());
    }
}
