//! An answer as a list of fields: paths and values, from what `{:#?}` prints of it.
//!
//! So every field of every API is compared, also those that nobody thought of, without code for each.

use std::fmt::Debug;

/// Lists whose order means nothing: Kafka fills them from hash maps.
const UNORDERED: &[&str] = &[
    "acls",
    "config_resources",
    "configs",
    "credential_infos",
    "groups",
    "matching_acls",
    "mechanisms",
    "members",
    "partition_responses",
    "partitions",
    "resources",
    "replica_election_results",
    "responses",
    "results",
    "results_by_topic_v3_and_below",
    "results_by_partition",
    "results_by_transaction",
    "topic_results",
    "topics",
    "transaction_states",
];

/// Fields of an answer, `path` and value.
pub fn of(answer: &impl Debug) -> Vec<(String, String)> {
    let text = format!("{answer:#?}");
    let mut lines = text.lines().map(str::trim).peekable();
    let tree = node(lines.next().unwrap_or_default(), &mut lines);
    let mut fields = Vec::new();
    flatten("", tree, &mut fields);
    fields
}

enum Node {
    Leaf(String),
    /// Fields of a structure; a wrapper's only one has no name.
    Fields(Vec<(String, Node)>),
    Items(Vec<Node>),
}

/// Reads the node that begins with `line`, without its name.
fn node<'a>(line: &str, lines: &mut impl Iterator<Item = &'a str>) -> Node {
    let is_list = line.ends_with('[');
    if !is_list && !line.ends_with(['{', '(']) {
        return Node::Leaf(line.trim_end_matches(',').to_owned());
    }
    let (mut fields, mut items) = (Vec::new(), Vec::new());
    while let Some(line) = lines.next() {
        if line.starts_with(['}', ']', ')']) {
            break;
        }
        if is_list {
            items.push(node(line, lines));
            continue;
        }
        let named = line.split_once(": ").filter(|(name, _)| {
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        });
        let (name, value) = named.unwrap_or(("", line));
        fields.push((name.to_owned(), node(value, lines)));
    }
    if is_list {
        Node::Items(items)
    } else {
        Node::Fields(fields)
    }
}

fn flatten(path: &str, node: Node, fields: &mut Vec<(String, String)>) {
    match node {
        Node::Leaf(value) => fields.push((path.to_owned(), value)),
        Node::Fields(inner) => {
            for (name, node) in inner {
                // What no version under test knows says nothing, and an empty map least of all.
                if name == "unknown_tagged_fields"
                    && matches!(&node, Node::Leaf(map) if map == "{}")
                {
                    continue;
                }
                let path = match (path, &*name) {
                    (path, "") => path.to_owned(),
                    ("", name) => name.to_owned(),
                    (path, name) => format!("{path}.{name}"),
                };
                flatten(&path, node, fields);
            }
        }
        Node::Items(items) => {
            let mut each: Vec<_> = items.into_iter().map(flat).collect();
            let name = path.rsplit('.').next().unwrap_or(path);
            if UNORDERED.contains(&name) {
                each.sort();
            }
            fields.push((format!("{path}.count"), each.len().to_string()));
            for (index, inner) in each.into_iter().enumerate() {
                for (inner, value) in inner {
                    let dot = if inner.is_empty() { "" } else { "." };
                    fields.push((format!("{path}[{index}]{dot}{inner}"), value));
                }
            }
        }
    }
}

fn flat(node: Node) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    flatten("", node, &mut fields);
    fields
}

/// A reader that lost fields would find all answers equal.
pub fn self_test() {
    #[derive(Debug)]
    #[expect(dead_code, reason = "printed")]
    struct Inner(i32);
    #[derive(Debug)]
    #[expect(dead_code, reason = "printed")]
    struct Outer {
        name: Option<&'static str>,
        none: Option<i32>,
        topics: Vec<Inner>,
        ordered: Vec<i32>,
        empty: Vec<i32>,
    }
    let outer = Outer {
        name: Some("a: {\n"),
        none: None,
        topics: vec![Inner(2), Inner(1)],
        ordered: vec![2, 1],
        empty: vec![],
    };
    let fields = of(&outer);
    let lines: Vec<_> = fields
        .iter()
        .map(|(path, value)| format!("{path}={value}"))
        .collect();
    let expected = [
        "name=\"a: {\\n\"",
        "none=None",
        "topics.count=2",
        "topics[0]=1",
        "topics[1]=2",
        "ordered.count=2",
        "ordered[0]=2",
        "ordered[1]=1",
        "empty=[]",
    ];
    assert_eq!(lines, expected);
}
