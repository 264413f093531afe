//! Text into values; which form a text has.

use serde_json::Value;

use super::{Format, ImportError, Input, dedicated, properties, report::Keys, setup::Setup};

/// What the bytes look like.
pub(super) fn of(bytes: &[u8]) -> Format {
    let text = String::from_utf8_lossy(bytes);
    let is_mirror = text.contains("KafkaMirrorMaker2") && text.contains("kind");
    match text.trim_start().chars().next() {
        _ if is_mirror => Format::Strimzi,
        Some('{' | '[') => Format::Connect,
        _ => Format::Properties,
    }
}

/// One properties file.
pub(super) fn properties(inputs: &[Input], keys: &mut Keys<'_>) -> Result<Setup, ImportError> {
    if let Some(second) = inputs.get(1) {
        let reason = "a second properties file; MirrorMaker 2 reads one, so import them one by one";
        return Err(ImportError::unreadable(second, reason));
    }
    let input = &inputs[0];
    let pairs = properties::parse(&input.bytes);
    let pairs = pairs.map_err(|error| ImportError::unreadable(input, error.to_string()))?;
    dedicated::setup(&pairs, keys).ok_or_else(|| {
        let reason = match pairs.contains_key("config.storage.topic") {
            true => "a worker's configuration of Kafka Connect: what its connectors are told is wanted, as JSON",
            false => "no `clusters`: it is no configuration of MirrorMaker 2",
        };
        ImportError::unreadable(input, reason)
    })
}

/// A JSON text of each file.
pub(super) fn json(inputs: &[Input]) -> Result<Vec<Value>, ImportError> {
    let values = inputs.iter().map(|input| {
        serde_json::from_slice(&input.bytes).map_err(|error| {
            // Its own text may quote what is written.
            let (line, column) = (error.line(), error.column());
            ImportError::unreadable(
                input,
                format!("no JSON from line {line}, column {column} on"),
            )
        })
    });
    values.collect()
}

/// The YAML documents of each file; JSON is YAML.
pub(super) fn documents(inputs: &[Input]) -> Result<Vec<Vec<Value>>, ImportError> {
    let files = inputs.iter().map(|input| {
        let text = std::str::from_utf8(&input.bytes);
        let text = text.map_err(|_| ImportError::unreadable(input, "not UTF-8"))?;
        let documents = serde_saphyr::from_multiple(text);
        documents.map_err(|error| {
            let line = error.location().map_or(0, |location| location.line());
            ImportError::unreadable(
                input,
                format!("no YAML that Kubernetes takes, at line {line}"),
            )
        })
    });
    files.collect()
}
