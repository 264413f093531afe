//! Which consumer groups' offsets are known on the target.

use super::{
    flow::{Notes, patterns},
    report::{Finding, KeyId, Keys},
    setup::Flow,
};

/// Those whose offsets follow, or are at least in checkpoints.
pub(super) struct Groups {
    /// Whether they are committed.
    pub(super) follow: bool,
    pub(super) wanted: Vec<String>,
    pub(super) excluded: Vec<String>,
}

/// MirrorMaker 2's default of `groups.exclude`.
const EXCLUDED: [&str; 3] = ["console-consumer-.*", "connect-.*", "__.*"];
const NONE_FOLLOW: &str = "no offsets of groups follow, nor are there checkpoints";

/// The groups of a flow, whose keys about them are marked; none: nothing is known of them. MirrorMaker 2 writes them only where
/// it emits checkpoints as well (`MirrorCheckpointConnector.taskConfigs`).
pub(super) fn groups(flow: &mut Flow, keys: &mut Keys<'_>, notes: &mut Notes) -> Option<Groups> {
    let emitted = flow.peek("emit.checkpoints.enabled");
    let emitted = flow.checkpoints && emitted.is_none_or(|key| is_true(keys, key));
    let follow = follow(flow, keys, notes, emitted);
    let count = follow || emitted;
    filter(flow, keys, count);
    let wanted = selection(flow, keys, "groups", count);
    let old = flow.take("groups.blacklist", keys);
    let excluded = selection(flow, keys, "groups.exclude", count);
    if let Some(key) = old {
        let text = "MirrorMaker 2 ignores this since 4.0: it is groups.exclude there";
        keys.mark(key, Finding::not_needed(text));
    }
    let all = || vec![".*".to_owned()];
    let usual = || EXCLUDED.map(str::to_owned).to_vec();
    count.then(|| Groups {
        follow,
        wanted: wanted.unwrap_or_else(all),
        excluded: excluded.unwrap_or_else(usual),
    })
}

fn is_true(keys: &Keys<'_>, key: KeyId) -> bool {
    keys.value(key).eq_ignore_ascii_case("true")
}

/// Whether offsets follow.
fn follow(flow: &mut Flow, keys: &mut Keys<'_>, notes: &mut Notes, emitted: bool) -> bool {
    let Some(key) = flow.take("sync.group.offsets.enabled", keys) else {
        let text = "MirrorMaker 2 writes no offsets of consumer groups unless sync.group.offsets.enabled says so, and so does \
                    this file; group_offsets = true has them follow on the target, exactly and within seconds";
        notes.insert((4, text.to_owned()));
        return false;
    };
    let (finding, follow) = match keys.value(key).to_lowercase().as_str() {
        "true" if emitted => (Finding::renamed("group_offsets = true"), true),
        "true" => (
            Finding::not_needed("MirrorMaker 2 does it only if it emits checkpoints"),
            false,
        ),
        "false" => (Finding::renamed("group_offsets = false"), false),
        _ => (
            Finding::not_supported("neither true nor false: MirrorMaker 2 refuses it too"),
            false,
        ),
    };
    keys.mark(key, finding);
    follow
}

fn filter(flow: &mut Flow, keys: &mut Keys<'_>, count: bool) {
    let Some(key) = flow.take("group.filter.class", keys) else {
        return;
    };
    let usual = keys.value(key).rsplit('.').next() == Some("DefaultGroupFilter");
    let finding = match (usual, count) {
        (true, _) => Finding::not_needed("what MirrorMaker 2 has by default"),
        (false, false) => Finding::not_needed(NONE_FOLLOW),
        (false, true) => Finding::refused(
            "which groups it selects cannot be told: say it by `groups` and `groups.exclude`, without this key",
        ),
    };
    keys.mark(key, finding);
}

/// The patterns of `name`, if it is set and counts.
fn selection(flow: &mut Flow, keys: &mut Keys<'_>, name: &str, count: bool) -> Option<Vec<String>> {
    let key = flow.take(name, keys)?;
    if !count {
        keys.mark(key, Finding::not_needed(NONE_FOLLOW));
        return None;
    }
    let finding = match name {
        "groups" => Finding::taken(),
        _ => Finding::renamed("groups_exclude"),
    };
    keys.mark(key, finding);
    Some(patterns(keys, key))
}
