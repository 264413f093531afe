//! What is asked for, and what becomes of it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What an operator wants changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The flow.
    pub flow: String,
    /// The topic, by its name on the source.
    pub topic: String,
    /// One partition of it; none: all.
    pub partition: Option<i32>,
    /// What to do with it.
    pub action: Action,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What to do with a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Go on there.
    Set(To),
    /// Forget it.
    Reset,
}

/// A place in a source partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum To {
    /// This offset.
    Offset(i64),
    /// The first record that is there.
    Earliest,
    /// Behind the last record.
    Latest,
    /// The first record that is not older, in milliseconds since 1970.
    Time(i64),
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        match (text.parse(), text.parse::<jiff::Timestamp>()) {
            (Ok(offset @ 0..), _) => Ok(Self::Offset(offset)),
            (_, Ok(time)) => Ok(Self::Time(time.as_millisecond())),
            _ => Err(
                "an offset, \"earliest\", \"latest\" or a time by RFC 3339 is wanted".to_owned(),
            ),
        }
    }
}

impl TryFrom<String> for To {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<To> for String {
    fn from(to: To) -> Self {
        to.to_string()
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "{offset}"),
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Time(ms) => match jiff::Timestamp::from_millisecond(*ms) {
                Ok(time) => write!(f, "{time}"),
                Err(_) => write!(f, "{ms} ms"),
            },
        }
    }
}

/// What was, or would be, done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The flow.
    pub flow: String,
    /// Nothing was done.
    pub dry_run: bool,
    /// By partition.
    pub changes: Vec<Change>,
    /// What an operator should know.
    pub notes: Vec<String>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Topic on the source.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Topic on the target.
    pub target_topic: String,
    /// The checkpoint there was.
    pub before: Option<Position>,
    /// The checkpoint there is then; none: it starts as a new partition.
    pub after: Option<Position>,
    /// What that means for the records between the two.
    pub meaning: String,
}

/// A checkpoint, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The source offset to read next; none of what is no checkpoint of this release.
    pub source_offset: Option<i64>,
    /// The target offset behind what is written.
    pub target_offset: i64,
    /// Code of the reason for which the partition is stopped.
    pub stopped: Option<String>,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "error", content = "reason")]
pub enum AdjustError {
    /// There is no such flow, topic or partition here.
    #[error("{0}")]
    Unknown(String),
    /// It cannot be done as things are.
    #[error("{0}")]
    Refused(String),
    /// A cluster or the flow does not answer now.
    #[error("{0}")]
    Unavailable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_they_are_read() {
        for (text, to) in [
            ("0", To::Offset(0)),
            ("earliest", To::Earliest),
            ("latest", To::Latest),
            ("2026-11-24T08:00:00Z", To::Time(1_795_507_200_000)),
        ] {
            assert_eq!(text.parse(), Ok(to));
            assert_eq!(to.to_string(), text);
        }
        for text in ["", "-1", "first", "2026-11-24"] {
            assert!(text.parse::<To>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_request_is_the_same_on_both_ends_of_a_wire() {
        let request = Request {
            flow: "f".to_owned(),
            topic: "t".to_owned(),
            partition: Some(3),
            action: Action::Set(To::Offset(7)),
            dry_run: true,
        };
        let json = serde_json::to_string(&request).unwrap();
        let shown = r#"{"flow":"f","topic":"t","partition":3,"action":{"set":"7"},"dry_run":true}"#;
        assert_eq!(json, shown);
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request);
        let short = r#"{"flow":"f","topic":"t","partition":null,"action":"reset"}"#;
        let reset = serde_json::from_str::<Request>(short).unwrap();
        assert_eq!((reset.action, reset.dry_run), (Action::Reset, false));
    }
}
