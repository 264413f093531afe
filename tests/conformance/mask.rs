//! What two brokers may tell differently: ids that they make up, times, places. Everything else stays as it is.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

/// Fields with ids that the broker makes up, and the letter of what stands for them.
const IDS: &[(&str, &str)] = &[
    ("cluster_id", "cluster"),
    ("leader", "member"),
    ("member_id", "member"),
    ("producer_id", "producer"),
    ("session_id", "session"),
    ("topic_id", "topic"),
];

/// Times: those of just now are called so.
const TIMES: &[&str] = &[
    "last_timestamp",
    "log_append_time_ms",
    "timestamp",
    "transaction_start_time_ms",
];

/// Told by the machine, not by the broker.
const MACHINE: &[&str] = &["log_dir", "throttle_time_ms"];

/// How far from now a time is still "now".
const NEAR_MS: u64 = 10_000_000;

/// Ids by their order of appearance in one talk.
pub struct Mask {
    address: SocketAddr,
    names: BTreeMap<String, String>,
}

impl Mask {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            names: BTreeMap::new(),
        }
    }

    /// `path: value` with what may differ replaced.
    pub fn fields(&mut self, fields: Vec<(String, String)>) -> Vec<String> {
        let line = |(path, value): (String, String)| {
            let value = self.value(&path, value);
            format!("{path}: {value}")
        };
        fields.into_iter().map(line).collect()
    }

    fn value(&mut self, path: &str, value: String) -> String {
        let name = path.rsplit('.').next().unwrap_or(path);
        let kind = IDS.iter().find(|(field, _)| *field == name);
        if let Some((_, kind)) = kind
            && !is_nothing(kind, &value)
        {
            return self.name(kind, &value);
        }
        if MACHINE.contains(&name) {
            return "-".to_owned();
        }
        if TIMES.contains(&name) && is_now(&value) {
            return "now".to_owned();
        }
        if matches!(name, "total_bytes" | "usable_bytes") {
            return (if value.starts_with('-') {
                "none"
            } else {
                "some"
            })
            .to_owned();
        }
        if name == "port" && value == self.address.port().to_string() {
            return "port".to_owned();
        }
        if value.starts_with('"') {
            return self.text(&value);
        }
        value
    }

    fn name(&mut self, kind: &str, id: &str) -> String {
        // Members are quoted, and numbers in texts are not.
        let id = id.trim_matches('"');
        if let Some(name) = self.names.get(id) {
            return name.clone();
        }
        let number = self
            .names
            .values()
            .filter(|name| name.starts_with(kind))
            .count()
            + 1;
        let name = format!("{kind}{number}");
        self.names.insert(id.to_owned(), name.clone());
        name
    }

    /// A text with its ids, times and addresses replaced.
    fn text(&self, text: &str) -> String {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let mut masked = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(is_part) {
            masked += &rest[..start];
            rest = &rest[start..];
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            masked += match self.names.get(word) {
                Some(name) => name,
                None if is_now(word) => "now",
                None => word,
            };
            rest = after;
        }
        masked + rest
    }
}

/// Values that stand for no id.
fn is_nothing(kind: &str, value: &str) -> bool {
    if kind == "producer" {
        return value == "-1";
    }
    matches!(
        value,
        "-1" | "0" | "\"\"" | "None" | "00000000-0000-0000-0000-000000000000"
    )
}

/// Also the time less the largest number: Kafka tells what comes of subtracting an age without limit.
fn is_now(value: &str) -> bool {
    let is_near = |time: i64| time.abs_diff(now_ms()) < NEAR_MS;
    value
        .parse()
        .is_ok_and(|time: i64| is_near(time) || is_near(time.wrapping_add(i64::MAX)))
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
