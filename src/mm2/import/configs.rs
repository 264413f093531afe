//! Which configs of topics follow on the target.

use super::{
    flow::patterns,
    flow_keys,
    report::{Finding, Keys},
    setup::Flow,
};

/// `[flows.configs]`.
pub(super) struct Configs {
    pub(super) follow: bool,
    /// In seconds; none: strait's own.
    pub(super) interval: Option<u32>,
    pub(super) exclude: Vec<String>,
    pub(super) from_source: bool,
}

/// MirrorMaker 2's default of `config.properties.exclude` (4.1), and what 4.3 means to add to it: its patterns there begin
/// with `log.`, which names of topics' configs do not.
const EXCLUDED: [&str; 7] = [
    r"follower\.replication\.throttled\.replicas",
    r"leader\.replication\.throttled\.replicas",
    r"message\.timestamp\.difference\.max\.ms",
    r"message\.timestamp\.(before|after)\.max\.ms",
    r"message\.timestamp\.type",
    r"unclean\.leader\.election\.enable",
    r"min\.insync\.replicas",
];

/// What a flow does, whose keys about it are marked.
pub(super) fn configs(flow: &mut Flow, keys: &mut Keys<'_>) -> Configs {
    let mut configs = Configs {
        follow: true,
        interval: None,
        exclude: EXCLUDED.map(str::to_owned).to_vec(),
        from_source: false,
    };
    if let Some(key) = flow.take("sync.topic.configs.enabled", keys) {
        let finding = match keys.value(key).to_lowercase().as_str() {
            "true" => Finding::renamed("[flows.configs] follow = true"),
            "false" => {
                configs.follow = false;
                Finding::renamed("[flows.configs] follow = false")
            }
            _ => Finding::not_supported("neither true nor false: MirrorMaker 2 refuses it too"),
        };
        keys.mark(key, finding);
    }
    if let Some(key) = flow.take("sync.topic.configs.interval.seconds", keys) {
        let seconds = keys.value(key).parse().ok();
        configs.interval = seconds.filter(|seconds| (1..=86_400).contains(seconds));
        let finding = match configs.interval {
            Some(_) => Finding::renamed("[flows.configs] interval"),
            None => Finding::not_needed("strait looks at the configs of topics every 15 s"),
        };
        keys.mark(key, finding);
    }
    let old = flow.take("config.properties.blacklist", keys);
    if let Some(key) = old {
        let text = "MirrorMaker 2 ignores this since 4.0: it is config.properties.exclude there";
        keys.mark(key, Finding::not_needed(text));
    }
    if let Some(key) = flow.take("config.properties.exclude", keys) {
        keys.mark(key, Finding::renamed("[flows.configs] exclude"));
        configs.exclude = patterns(keys, key);
    }
    if let Some(key) = flow.take("use.defaults.from", keys) {
        let finding = match keys.value(key) {
            "source" => {
                configs.from_source = true;
                Finding::renamed("[flows.configs] defaults_from = \"source\"")
            }
            // Whatever else is written counts as "target" (`DefaultConfigPropertyFilter.shouldReplicateSourceDefault`).
            _ => Finding::renamed("[flows.configs] defaults_from = \"target\""),
        };
        keys.mark(key, finding);
    }
    if let Some(key) = flow.take("config.property.filter.class", keys) {
        let value = keys.value(key).to_owned();
        keys.mark(
            key,
            flow_keys::finding("config.property.filter.class", &value),
        );
    }
    configs
}
