use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use regex::Regex;

use super::*;

const BEGIN: &str = "<!-- from src/telemetry/metrics.rs: -->\n";
const END: &str = "<!-- end -->\n";

fn in_tree(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The table of `docs/METRICS.md`.
fn table() -> String {
    let mut table = String::from("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for metric in ALL {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let labels = metric.labels.join(", ");
        writeln!(
            table,
            "| `{}` | {kind} | {labels} | {} |",
            metric.name, metric.help
        )
        .unwrap();
    }
    table
}

/// With `STRAIT_WRITE_DOCS=1` the page is written anew.
#[test]
fn the_page_lists_every_metric_as_the_code_has_it() {
    let path = in_tree("docs/METRICS.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if std::env::var_os("STRAIT_WRITE_DOCS").is_some() {
        fs::write(path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        return;
    }
    assert_eq!(
        found,
        table(),
        "STRAIT_WRITE_DOCS=1 cargo test --lib metrics"
    );
    // What is said around the table is about metrics that exist.
    let unknown = unknown(&format!("{before}{after}"));
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_example_alerts_ask_for_metrics_that_exist() {
    let rules = fs::read_to_string(in_tree("examples/prometheus/alerts.yml")).unwrap();
    assert!(rules.contains("strait_lag_seconds"));
    let unknown = unknown(&rules);
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Names in `text` that look like metrics and are none.
fn unknown(text: &str) -> BTreeSet<String> {
    let known: BTreeSet<String> = ALL
        .iter()
        .flat_map(|metric| {
            let suffixes: &[&str] = match metric.kind {
                Kind::Histogram => &["", "_bucket", "_sum", "_count"],
                Kind::Counter | Kind::Gauge => &[""],
            };
            suffixes
                .iter()
                .map(|suffix| format!("{}{suffix}", metric.name))
        })
        .collect();
    let name = Regex::new(r"\b(strait|process)_[a-z_]+").unwrap();
    name.find_iter(text)
        .map(|found| found.as_str().to_owned())
        .filter(|name| !known.contains(name))
        .collect()
}

#[test]
fn names_follow_prometheus_and_occur_once() {
    let mut names = BTreeSet::new();
    for metric in ALL {
        assert!(names.insert(metric.name), "{}", metric.name);
        let is_total = metric.name.ends_with("_total");
        assert_eq!(is_total, metric.kind == Kind::Counter, "{}", metric.name);
        assert!(!metric.help.ends_with('.'), "{}", metric.name);
    }
}

#[test]
fn what_is_known_at_a_scrape_leaves_nothing_for_the_next() {
    let first = once(|| PARTITION_LAG_SECONDS.gauge(&["f", "t\"", "0"]).set(1.5));
    let line = r#"strait_partition_lag_seconds{flow="f",topic="t\"",partition="0"} 1.5"#;
    assert!(first.contains(line), "{first}");
    assert!(
        first.contains("# TYPE strait_partition_lag_seconds gauge"),
        "{first}"
    );
    let second = once(|| {});
    assert!(!second.contains("strait_partition_lag_seconds{"));
}
