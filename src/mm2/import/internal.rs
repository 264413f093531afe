//! The topics that MirrorMaker 2's clients read, and MirrorMaker 2 itself.

use super::{
    report::{Finding, KeyId, Keys},
    setup::Flow,
};

/// What is to be kept on the target.
#[derive(Default)]
pub(super) struct Internal {
    /// How often heartbeats are written; none: not at all.
    pub(super) heartbeats: Option<String>,
    pub(super) checkpoints: bool,
    pub(super) offset_syncs: bool,
    /// Replicas of these topics.
    pub(super) replication_factor: i16,
}

/// MirrorMaker 2's default of all three factors.
const FACTOR: i16 = 3;
const WRONG: &str = "neither true nor false: MirrorMaker 2 refuses it too";
const NO_TOPIC: &str = "is about a topic that is not kept";
const ON_THE_SOURCE: &str = "MirrorMaker 2 keeps this topic on the source, for its own checkpoints; strait writes nothing there \
                             and needs none. mm2_offset_syncs = true keeps it on the target";

/// The keys of `flow` about them, which are marked.
pub(super) fn internal(flow: &mut Flow, keys: &mut Keys<'_>) -> Internal {
    let mut internal = Internal {
        heartbeats: heartbeats(flow, keys),
        checkpoints: switch(flow, keys, "emit.checkpoints.enabled", "mm2_checkpoints"),
        offset_syncs: offset_syncs(flow, keys),
        replication_factor: FACTOR,
    };
    internal.checkpoints &= flow.checkpoints;
    let factors = [
        ("checkpoints.topic.replication.factor", internal.checkpoints),
        (
            "heartbeats.topic.replication.factor",
            internal.heartbeats.is_some(),
        ),
        (
            "offset-syncs.topic.replication.factor",
            internal.offset_syncs,
        ),
    ];
    let mut factor = None;
    for (name, is_kept) in factors {
        if let Some(key) = flow.take(name, keys) {
            let finding = replication_factor(keys.value(key), is_kept, &mut factor);
            keys.mark(key, finding);
        }
    }
    internal.replication_factor = factor.unwrap_or(FACTOR);
    separator(flow, keys);
    internal
}

/// One factor for all three topics: the first that counts.
fn replication_factor(value: &str, is_kept: bool, factor: &mut Option<i16>) -> Finding {
    if !is_kept {
        return Finding::not_needed(NO_TOPIC);
    }
    match value.parse() {
        Ok(wanted @ (-1 | 1..)) if *factor.get_or_insert(wanted) == wanted => {
            Finding::renamed(format!("mm2_replication_factor = {wanted}"))
        }
        Ok(-1 | 1..) => Finding::not_supported(
            "strait has one factor for these topics, mm2_replication_factor: create this one beforehand",
        ),
        _ => Finding::not_supported("1 or more is wanted, or -1: MirrorMaker 2 refuses it too"),
    }
}

/// What `name` says, as the key `new`; MirrorMaker 2 has all of them on by default.
fn switch(flow: &mut Flow, keys: &mut Keys<'_>, name: &str, new: &str) -> bool {
    let Some(key) = flow.take(name, keys) else {
        return true;
    };
    let (finding, on) = read(keys, key, new);
    keys.mark(key, finding);
    on
}

fn read(keys: &Keys<'_>, key: KeyId, new: &str) -> (Finding, bool) {
    match keys.value(key).to_lowercase().as_str() {
        "true" => (Finding::renamed(format!("{new} = true")), true),
        "false" => (Finding::renamed(format!("{new} = false")), false),
        _ => (Finding::not_supported(WRONG), false),
    }
}

fn heartbeats(flow: &mut Flow, keys: &mut Keys<'_>) -> Option<String> {
    let on = switch(flow, keys, "emit.heartbeats.enabled", "mm2_heartbeats");
    let on = on && flow.heartbeats;
    let Some(key) = flow.take("emit.heartbeats.interval.seconds", keys) else {
        return on.then(|| "1s".to_owned());
    };
    let (finding, interval) = match (on, keys.value(key).parse::<i64>()) {
        (false, _) => (Finding::not_needed(NO_TOPIC), None),
        // As in MirrorMaker 2 (`MirrorHeartbeatConfig.emitHeartbeatsInterval`).
        (true, Ok(..=0)) => (Finding::renamed("mm2_heartbeats = false"), None),
        (true, Ok(seconds @ 1..=3600)) => {
            let interval = format!("{seconds}s");
            let new = format!("mm2_heartbeats_interval = \"{interval}\"");
            (Finding::renamed(new), Some(interval))
        }
        (true, Ok(_)) => {
            let text = "an hour is the most, and what this file has";
            (Finding::not_supported(text), Some("1h".to_owned()))
        }
        (true, Err(_)) => (
            Finding::not_supported("a number of seconds is wanted: MirrorMaker 2 refuses it too"),
            Some("1s".to_owned()),
        ),
    };
    keys.mark(key, finding);
    interval
}

/// Only where MirrorMaker 2 has that topic on the target.
fn offset_syncs(flow: &mut Flow, keys: &mut Keys<'_>) -> bool {
    let location = flow.take("offset-syncs.topic.location", keys);
    let on_target = location.is_some_and(|key| keys.value(key).eq_ignore_ascii_case("target"));
    let mut on = on_target;
    if let Some(key) = flow.take("emit.offset-syncs.enabled", keys) {
        let (finding, wanted) = match on_target {
            true => read(keys, key, "mm2_offset_syncs"),
            false => (Finding::not_needed(ON_THE_SOURCE), false),
        };
        on = wanted;
        keys.mark(key, finding);
    }
    if let Some(key) = location {
        let finding = match (on_target, on) {
            (true, true) => Finding::renamed("mm2_offset_syncs = true"),
            (true, false) => Finding::not_needed(NO_TOPIC),
            (false, _) => Finding::not_needed(ON_THE_SOURCE),
        };
        keys.mark(key, finding);
    }
    on
}

/// Whether internal topics have the separator of the others.
fn separator(flow: &mut Flow, keys: &mut Keys<'_>) {
    let name = "replication.policy.internal.topic.separator.enabled";
    let custom = flow.peek("replication.policy.separator");
    let is_custom = custom.is_some_and(|key| keys.value(key) != ".");
    let Some(key) = flow.take(name, keys) else {
        return;
    };
    let finding = match keys.value(key).eq_ignore_ascii_case("false") && is_custom {
        true => Finding::not_supported(
            "strait's names of internal topics have the separator of `naming`: clients are to have it without this key",
        ),
        false => Finding::not_needed("internal topics have the separator of `naming`"),
    };
    keys.mark(key, finding);
}
