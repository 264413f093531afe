//! What becomes of client properties that are not in a cluster's table.

use super::report::Finding;
use crate::config::kept_property;

/// Properties that strait's own clients have, besides those of security. Everything else that clients have is tuning.
pub(super) const PLAIN: [&str; 4] = [
    "bootstrap.servers",
    "client.id",
    "client.rack",
    "connections.max.idle.ms",
];

/// Whether MirrorMaker 2 takes it for all clients of a cluster (`MirrorClientConfig.CLIENT_CONFIG_DEF`).
pub(super) fn is_common(name: &str) -> bool {
    matches!(name, "bootstrap.servers" | "security.protocol")
        || name.starts_with("ssl.")
        || name.starts_with("sasl.")
}

const TUNING: &str = "tuning of Java's client; strait's own keeps its sizes and times by `memory` under [limits] and by \
                      what it measures";
const LOGIN: &str = "strait logs in by SCRAM or PLAIN with a name and a password, by tokens of an OAuth issuer, or by a client certificate";

/// What is to be said of a property that strait does not take from anywhere.
pub(super) fn finding(name: &str) -> Finding {
    let beginning = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    match name {
        "interceptor.classes" => {
            Finding::not_supported("strait runs no code of others; records pass unopened")
        }
        "sasl.login.class" | "ssl.engine.factory.class" => {
            Finding::not_supported("strait runs no code of others")
        }
        _ if name.ends_with("callback.handler.class") => Finding::not_supported(LOGIN),
        _ if beginning(&["sasl.kerberos.", "sasl.oauthbearer."]) => Finding::not_supported(LOGIN),
        _ if beginning(&["sasl.login."]) => {
            Finding::not_needed("a setting of logins by token or Kerberos")
        }
        _ if beginning(&["ssl."]) => {
            Finding::not_needed("strait takes TLS 1.2 and 1.3 with what is safe today")
        }
        _ if beginning(&["sasl."]) => Finding::not_supported(LOGIN),
        "metric.reporters" | "auto.include.jmx.reporter" | "enable.metrics.push" => {
            Finding::not_needed(METRICS)
        }
        _ if beginning(&["metrics."]) => Finding::not_needed(METRICS),
        _ if beginning(&["confluent."]) => {
            Finding::not_needed("a setting of Confluent's own clients")
        }
        _ if name.ends_with("serializer") || name.ends_with("deserializer") => {
            Finding::not_needed("strait copies bytes as they are")
        }
        _ => match kept_property(name) {
            Some(reason) => Finding::not_needed(reason),
            None => Finding::not_needed(TUNING),
        },
    }
}

/// Of settings about metrics.
pub(super) const METRICS: &str = "strait has its own metrics, at /metrics (docs/METRICS.md)";
