//! Log lines: where they go and which are shown.
//!
//! They go to standard error, so that a command's result on standard output stays clean. What
//! librdkafka logs arrives under the target `librdkafka`.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, util::SubscriberInitExt};

/// What is shown unless the operator asks for something else.
const DEFAULT: &str = "info";

/// Form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error(
        "\"{0}\" is not a log filter; write a level (error, warn, info, debug, trace), \
         also per target: \"info,librdkafka=debug\""
    )]
    Filter(String),
    /// Something else already takes the process's logs.
    #[error("logs are set up already")]
    Twice,
}

/// Sends the process's logs, those of libraries as well, to standard error. `filter` is a level or
/// a list of `target=level` (`RUST_LOG`'s syntax); none: `info`.
pub fn init(filter: Option<&str>, format: Format) -> Result<(), LogError> {
    let filter = parse_filter(filter.unwrap_or(DEFAULT))?;
    let lines = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let done = match format {
        Format::Text => lines.finish().try_init(),
        Format::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    done.map_err(|_| LogError::Twice)
}

fn parse_filter(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|_| LogError::Filter(filter.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_a_list() {
        for filter in ["info", "warn,librdkafka=debug", "strait::flow=trace"] {
            assert!(parse_filter(filter).is_ok(), "{filter}");
        }
        assert!(parse_filter("strait=loud").is_err());
    }
}
