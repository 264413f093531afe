//! The TOML text.

use super::{client::Written, configs::Configs, flow::Table, internal::Internal};

/// The whole file, without flows and clusters.
pub(super) fn begin(files: &[String]) -> String {
    format!(
        "# Made by `strait import-mm2` of {}. config/reference.toml says what every key means, and which there are\n\
         # besides. `strait check` says what is missing.\n",
        files.join(", ")
    )
}

/// `[clusters.ALIAS]`.
pub(super) fn cluster(alias: &str, written: &Written) -> String {
    let mut text = format!("\n[clusters.{}]\n", key(alias));
    for (name, value) in written {
        text.push_str(&format!("{name} = {}\n", string(value)));
    }
    text
}

/// `[[flows]]`, of what it is between and of its name, if it needs one.
pub(super) fn flow([source, target]: [&str; 2], name: Option<&str>, table: &Table) -> String {
    let mut text = format!(
        "\n[[flows]]\nsource = {}\ntarget = {}\n",
        string(source),
        string(target)
    );
    if let Some(name) = name {
        text.push_str(&format!("name = {}\n", string(name)));
    }
    text.push_str(&format!("topics = {}\n", list(&table.topics)));
    text.push_str(&format!("exclude = {}\n", list(&table.exclude)));
    for (key, value) in &table.rest {
        text.push_str(&format!("{key} = {}\n", string(value)));
    }
    match &table.groups {
        None => text.push_str("group_offsets = false\n"),
        Some(groups) => text.push_str(&format!(
            "group_offsets = {}\ngroups = {}\ngroups_exclude = {}\n",
            groups.follow,
            list(&groups.wanted),
            list(&groups.excluded)
        )),
    }
    text.push_str(&internal(&table.internal));
    text.push_str(&format!(
        "replication_factor = {}\n",
        table.replication_factor
    ));
    if let Some(configs) = &table.configs {
        text.push_str(&self::configs(configs));
    }
    text
}

/// `[flows.configs]`.
fn configs(configs: &Configs) -> String {
    let mut text = "\n[flows.configs]\n".to_owned();
    if !configs.follow {
        text.push_str("follow = false\n");
    }
    if let Some(seconds) = configs.interval {
        text.push_str(&format!("interval = \"{seconds}s\"\n"));
    }
    text.push_str(&format!("exclude = {}\n", list(&configs.exclude)));
    if configs.from_source {
        text.push_str("defaults_from = \"source\"\n");
    }
    text
}

/// What is kept of MirrorMaker 2's own topics.
fn internal(internal: &Internal) -> String {
    let mut text = String::new();
    if let Some(interval) = &internal.heartbeats {
        text.push_str("mm2_heartbeats = true\n");
        if interval != "1s" {
            text.push_str(&format!("mm2_heartbeats_interval = {}\n", string(interval)));
        }
    }
    for (key, is_kept) in [
        ("mm2_checkpoints", internal.checkpoints),
        ("mm2_offset_syncs", internal.offset_syncs),
    ] {
        if is_kept {
            text.push_str(&format!("{key} = true\n"));
        }
    }
    if !text.is_empty() {
        let factor = internal.replication_factor;
        text.push_str(&format!("mm2_replication_factor = {factor}\n"));
    }
    text
}

fn list(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| string(text)).collect();
    format!("[{}]", texts.join(", "))
}

fn string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Quoted only if it must be.
fn key(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match !text.is_empty() && text.chars().all(bare) {
        true => text.to_owned(),
        false => string(text),
    }
}
