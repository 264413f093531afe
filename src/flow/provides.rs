//! What a flow provides and over which transport, from what was asked for and what its target was seen to do. Pure.

use std::time::Duration;

use crate::{
    cluster::guarantee::{Probed, TOPIC},
    config::{FlowConfig, Require, Transport},
    status::{AT_LEAST_ONCE, EXACTLY_ONCE, LIBRDKAFKA, Provides, WIRE},
    worker::GUARD_MARGIN,
};

/// What a flow over `transport` provides on a target that was found to be `probed`. `expiration` is how long its leaders
/// remember producers; none: it does not tell.
///
/// `auto` takes our own clients, and librdkafka only where the probe saw that the target's leaders do not do what ours
/// rely on. No setting of a cluster asks for librdkafka: topics, groups and offsets are the wire client's in any case,
/// so what that does not have (Kerberos) is refused when the file is read.
pub fn provides(transport: Transport, probed: &Probed, expiration: Option<Duration>) -> Provides {
    let (carrier, why) = match (transport, probed) {
        (Transport::Auto, Probed::Passed) => (WIRE, "the target passes the probe".to_owned()),
        (Transport::Auto, Probed::Failed(what)) => (LIBRDKAFKA, failed(what)),
        (Transport::Auto, Probed::Not(_)) => (WIRE, "nothing is known against it".to_owned()),
        (Transport::Wire, _) => (WIRE, "as configured".to_owned()),
        (Transport::Librdkafka, _) => (LIBRDKAFKA, "as configured".to_owned()),
    };
    let (guarantee, reason) = match (transport, probed) {
        (Transport::Librdkafka, _) => (AT_LEAST_ONCE, LOOSE.to_owned()),
        (_, Probed::Passed) => (EXACTLY_ONCE, guarded(expiration)),
        (_, Probed::Not(why)) => (AT_LEAST_ONCE, format!("not probed: {why}")),
        (Transport::Wire, Probed::Failed(what)) => (AT_LEAST_ONCE, failed(what)),
        (Transport::Auto, Probed::Failed(what)) => {
            (AT_LEAST_ONCE, format!("{}; {LOOSE}", failed(what)))
        }
    };
    Provides {
        transport: Some(carrier.to_owned()),
        transport_reason: Some(why),
        guarantee: guarantee.to_owned(),
        guarantee_reason: reason,
    }
}

/// What librdkafka does not do.
const LOOSE: &str = "librdkafka writes without sequence continuity: what was not checkpointed is repeated after a crash";

/// Before, or without, a probe: nothing is decided yet, for the reason `why`, unless nothing depends on it.
pub fn unprobed(transport: Transport, why: &str) -> Provides {
    match transport {
        Transport::Librdkafka => provides(transport, &Probed::Not(why.to_owned()), None),
        Transport::Auto | Transport::Wire => Provides {
            transport: None,
            transport_reason: None,
            guarantee: AT_LEAST_ONCE.to_owned(),
            guarantee_reason: why.to_owned(),
        },
    }
}

/// What the flow's process `recorded` last, unless the file asks for something else now.
pub fn still_holds(transport: Transport, recorded: Option<&Provides>) -> Option<&Provides> {
    recorded.filter(|recorded| match transport {
        Transport::Auto => true,
        Transport::Wire => recorded.is_sealed(),
        Transport::Librdkafka => !recorded.is_sealed(),
    })
}

/// Why a flow does not run where it insists on more than it gets, and what to do.
pub fn refusal(flow: &FlowConfig, probed: &Probed, provides: &Provides) -> Option<String> {
    if flow.require == Require::Any || provides.is_exactly_once() {
        return None;
    }
    let way = match probed {
        Probed::Not(_) => format!("let strait Read, Write and Create topic {TOPIC} there"),
        Probed::Passed | Probed::Failed(_) => "copy to a cluster that passes".to_owned(),
    };
    Some(format!(
        "cluster {} does not give exactly-once, which `require` asks for: {}; {way}, or set require = \"any\"",
        flow.target, provides.guarantee_reason
    ))
}

/// Why the target's leaders are not relied on.
fn failed(what: &str) -> String {
    format!("the target fails the probe: {what}")
}

/// How much of what is written is guarded, in the words of docs/GUARANTEES.md.
fn guarded(expiration: Option<Duration>) -> String {
    let one = "nothing is guarded, one batch at a time";
    match expiration {
        None => format!("the target does not tell its producer.id.expiration.ms: {one}"),
        Some(expiration) => {
            let time = humantime::format_duration(expiration);
            if expiration <= GUARD_MARGIN {
                return format!("leaders remember producers for {time} only: {one}");
            }
            format!("leaders remember producers for {time}; what is older is not guarded")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    const DAY: Option<Duration> = Some(Duration::from_secs(86_400));

    fn bad() -> Probed {
        Probed::Failed("it takes anything".to_owned())
    }

    fn unknown() -> Probed {
        Probed::Not("no right".to_owned())
    }

    /// Transport, guarantee and its reason.
    fn of(transport: Transport, probed: &Probed, expiration: Option<Duration>) -> [String; 3] {
        let found = provides(transport, probed, expiration);
        [
            found.transport.unwrap_or_default(),
            found.guarantee,
            found.guarantee_reason,
        ]
    }

    #[test]
    fn rule_12_exactly_once_is_said_only_of_a_target_that_passed() {
        for transport in [Transport::Auto, Transport::Wire] {
            let found = of(transport, &Probed::Passed, DAY);
            let reason = "leaders remember producers for 1day; what is older is not guarded";
            assert_eq!(found, [WIRE, EXACTLY_ONCE, reason]);
            let found = of(transport, &unknown(), DAY);
            assert_eq!(found, [WIRE, AT_LEAST_ONCE, "not probed: no right"]);
        }
        let found = of(Transport::Wire, &bad(), DAY);
        let reason = "the target fails the probe: it takes anything";
        assert_eq!(found, [WIRE, AT_LEAST_ONCE, reason]);
        let found = of(Transport::Librdkafka, &Probed::Passed, DAY);
        assert_eq!(found, [LIBRDKAFKA, AT_LEAST_ONCE, LOOSE]);
    }

    #[test]
    fn what_is_not_guarded_is_said() {
        let reason = |expiration| of(Transport::Auto, &Probed::Passed, expiration)[2].clone();
        let unknown = reason(None);
        assert!(
            unknown.contains("does not tell its producer.id.expiration.ms"),
            "{unknown}"
        );
        assert!(
            unknown.ends_with("nothing is guarded, one batch at a time"),
            "{unknown}"
        );
        let short = reason(Some(Duration::from_secs(600)));
        assert!(
            short.starts_with("leaders remember producers for 10m only"),
            "{short}"
        );
    }

    #[test]
    fn auto_falls_back_where_the_probe_failed_and_nowhere_else() {
        let fallen = provides(Transport::Auto, &bad(), DAY);
        assert!(!fallen.is_sealed());
        let why = "the target fails the probe: it takes anything";
        assert_eq!(fallen.transport_reason.as_deref(), Some(why));
        assert!(fallen.guarantee_reason.starts_with(why), "{fallen:?}");
        assert!(fallen.guarantee_reason.ends_with(LOOSE), "{fallen:?}");
        for probed in [Probed::Passed, unknown()] {
            assert!(provides(Transport::Auto, &probed, None).is_sealed());
        }
        assert_eq!(unprobed(Transport::Auto, "not yet").transport, None);
        assert_eq!(
            unprobed(Transport::Librdkafka, "not yet").guarantee_reason,
            LOOSE
        );
    }

    #[test]
    fn what_was_recorded_holds_while_the_file_fits_it() {
        let sealed = &provides(Transport::Auto, &Probed::Passed, DAY);
        let fallen = &provides(Transport::Auto, &bad(), DAY);
        for (transport, recorded, holds) in [
            (Transport::Auto, sealed, true),
            (Transport::Auto, fallen, true),
            (Transport::Wire, sealed, true),
            (Transport::Wire, fallen, false),
            (Transport::Librdkafka, sealed, false),
        ] {
            let found = still_holds(transport, Some(recorded));
            assert_eq!(found, holds.then_some(recorded), "{transport:?}");
        }
    }

    #[test]
    fn who_insists_is_told_what_was_seen_and_what_to_do() {
        let text = "[clusters.east]\nbootstrap.servers = \"east:9092\"\n[clusters.west]\n\
            bootstrap.servers = \"west:9092\"\n[[flows]]\nsource = \"east\"\ntarget = \"west\"\n\
            topics = [\"t\"]\nrequire = \"exactly-once\"";
        let sources = Sources {
            variable: &|_| None,
            file: &|_| Err(std::io::ErrorKind::NotFound.into()),
        };
        let flow = Config::parse(text, &sources).unwrap().flows.remove(0);
        let refused = |probed: &Probed| {
            let provides = provides(flow.transport, probed, DAY);
            refusal(&flow, probed, &provides)
        };
        assert_eq!(refused(&Probed::Passed), None);
        let failed = refused(&bad()).unwrap();
        for part in [
            "cluster west",
            "the target fails the probe: it takes anything",
            "require = \"any\"",
        ] {
            assert!(failed.contains(part), "{failed}");
        }
        let unknown = refused(&unknown()).unwrap();
        assert!(unknown.contains(
            "not probed: no right; let strait Read, Write and Create topic strait.probe"
        ));
    }
}
