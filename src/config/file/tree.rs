//! The TOML text as a tree in which every value knows its line and key.
//!
//! Numbers, booleans and times become text, and references in values are replaced here, so nothing
//! above sees TOML types or `${...}`. The parser bounds the depth.

use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use crate::config::{
    Sources,
    error::{ConfigError, Place},
};

/// One value.
pub(super) enum Node {
    Text(Text),
    List(Vec<Node>, Place),
    Table(Table),
}

/// A value that is not made of others.
pub(super) struct Text {
    pub(super) place: Place,
    /// References replaced: may be a secret.
    pub(super) value: String,
    /// As written, for messages.
    pub(super) written: String,
}

/// Names and values, by name.
pub(super) struct Table {
    pub(super) place: Place,
    pub(super) entries: Vec<Entry>,
}

pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) node: Node,
}

impl Node {
    pub(super) fn place(&self) -> &Place {
        match self {
            Self::Text(text) => &text.place,
            Self::List(_, place) => place,
            Self::Table(table) => &table.place,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a single value",
            Self::List(..) => "a list",
            Self::Table(_) => "a table",
        }
    }

    fn wrong_kind<T>(&self, wanted: &str) -> Result<T, ConfigError> {
        let reason = format!("{wanted} is wanted here, not {}", self.kind());
        Err(ConfigError::at(self.place(), reason))
    }

    pub(super) fn text(self) -> Result<Text, ConfigError> {
        match self {
            Self::Text(text) => Ok(text),
            other => other.wrong_kind("a single value"),
        }
    }

    pub(super) fn list(self) -> Result<Vec<Node>, ConfigError> {
        match self {
            Self::List(nodes, _) => Ok(nodes),
            other => other.wrong_kind("a list"),
        }
    }

    pub(super) fn table(self) -> Result<Table, ConfigError> {
        match self {
            Self::Table(table) => Ok(table),
            other => other.wrong_kind("a table"),
        }
    }
}

/// Parses a whole file.
pub(super) fn parse(text: &str, sources: &Sources<'_>) -> Result<Table, ConfigError> {
    let lines = Lines::new(text);
    let document = DeTable::parse(text).map_err(|error| syntax_error(text, &lines, &error))?;
    let reader = Reader { lines, sources };
    reader.table(document.into_inner(), Place::default())
}

/// The parser's message alone: its usual display quotes the line, which may hold a secret.
fn syntax_error(text: &str, lines: &Lines, error: &toml::de::Error) -> ConfigError {
    let line = error.span().map_or(0, |span| lines.of(span.start));
    let mut reason = error.message().to_owned();
    let dotted = text
        .lines()
        .nth(line.saturating_sub(1))
        .and_then(|written| written.split_once('='))
        .is_some_and(|(key, _)| key.contains('.'));
    if dotted && (reason.contains("dotted key") || reason.contains("duplicate key")) {
        reason.push_str(
            "; a name that has a value and also begins another name must be quoted, \
             for example \"api.version.request\" = true or \"max.in.flight\" = 1",
        );
    }
    let place = Place {
        line,
        key: String::new(),
    };
    ConfigError::at(&place, reason)
}

/// Where the lines of a text end.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line of the byte at `offset`, from 1.
    fn of(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|end| *end < offset)
    }
}

struct Reader<'a> {
    lines: Lines,
    sources: &'a Sources<'a>,
}

impl Reader<'_> {
    fn table(&self, table: DeTable<'_>, place: Place) -> Result<Table, ConfigError> {
        let mut entries = Vec::with_capacity(table.len());
        for (name, value) in table {
            let line = self.lines.of(name.span().start);
            let name = name.into_inner().into_owned();
            let key = match place.key.as_str() {
                "" => name.clone(),
                parent => format!("{parent}.{name}"),
            };
            let place = Place { line, key };
            let node = self.node(value, place.clone())?;
            entries.push(Entry { place, name, node });
        }
        // In the order of the file, so that the first mistake is the one that is reported.
        entries.sort_by_key(|entry| entry.place.line);
        Ok(Table { place, entries })
    }

    fn node(&self, value: Spanned<DeValue<'_>>, place: Place) -> Result<Node, ConfigError> {
        let text = match value.into_inner() {
            DeValue::Table(table) => return self.table(table, place).map(Node::Table),
            DeValue::Array(array) => {
                let mut nodes = Vec::with_capacity(array.len());
                for (index, value) in array.into_iter().enumerate() {
                    let place = Place {
                        line: self.lines.of(value.span().start),
                        key: format!("{}[{index}]", place.key),
                    };
                    nodes.push(self.node(value, place)?);
                }
                return Ok(Node::List(nodes, place));
            }
            DeValue::String(text) => text.into_owned(),
            DeValue::Integer(number) => integer(&number)
                .ok_or_else(|| ConfigError::at(&place, "a number beyond 64 bits"))?,
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(time) => time.to_string(),
        };
        let value = self
            .sources
            .expand(&text)
            .map_err(|reason| ConfigError::at(&place, reason))?;
        Ok(Node::Text(Text {
            place,
            value,
            written: text,
        }))
    }
}

fn integer(number: &DeInteger<'_>) -> Option<String> {
    let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
    Some(number.to_string())
}
