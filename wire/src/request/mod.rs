//! Requests from strangers: looked at before they are decoded.
//!
//! The `kafka-protocol` crate reserves memory by the array lengths on the wire: a frame of twelve bytes
//! can ask it for 200 GB and so abort the process. [`decode`] first walks the frame along the request's
//! [`schema`] and refuses every length that the bytes behind it do not hold; only a frame whose every
//! element is really there reaches the crate. What that may then reserve is a bounded multiple of the
//! frame, see [`MAX_BYTES`].

mod schema;

use bytes::{Buf, Bytes};
use kafka_protocol::{
    messages::{ApiKey, RequestHeader},
    protocol::{Request, StrBytes},
};
use schema::Fields;

/// Longest request but Produce, in bytes.
pub const MAX_BYTES: usize = 16 << 20;

/// Most elements that one request may have in arrays of structures and texts, and tagged fields. Each has about 200 bytes in memory and
/// as much again in the answer, so that a request takes its own bytes and at most about 100 MiB.
pub const MAX_ELEMENTS: usize = 1 << 18;

/// Why a frame is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no such API, or it is not served.
    #[error("API {0} is not served")]
    Unknown(i16),
    /// It ends before it is complete, or announces more than it holds.
    #[error(
        "a {api:?} request, version {version}, that is cut off or announces more than it holds"
    )]
    Malformed {
        /// The API.
        api: ApiKey,
        /// Its version.
        version: i16,
    },
    /// It is longer than such a request may be.
    #[error("a {api:?} request of {bytes} bytes")]
    TooLong {
        /// The API.
        api: ApiKey,
        /// Its length.
        bytes: usize,
    },
    /// It has more elements than a request may have.
    #[error("a {api:?} request of more than {MAX_ELEMENTS} elements")]
    TooMany {
        /// The API.
        api: ApiKey,
    },
    /// The crate refuses it all the same.
    #[error("a {api:?} request, version {version}: {reason}")]
    Refused {
        /// The API.
        api: ApiKey,
        /// Its version.
        version: i16,
        /// What the crate says.
        reason: String,
    },
}

/// What a field is on the wire. Strings, bytes and arrays may be null: the crate knows where they may not.
#[derive(Clone, Copy, Debug)]
enum Kind {
    I8,
    I16,
    I32,
    I64,
    Uuid,
    Text,
    /// A string that may not be null, where the crate lets it pass.
    Name,
    Bytes,
    Struct(Fields),
    /// A structure behind a byte that says whether it is there.
    Nullable(Fields),
    Array(&'static Kind),
    /// An array that may not be null, where the crate lets it pass.
    List(&'static Kind),
}

/// Reads the header off the front of a frame.
///
/// # Errors
/// If it is no header of a request that is known.
pub fn header(frame: &mut Bytes) -> Result<RequestHeader, RequestError> {
    let number = |at: usize| {
        frame
            .get(at..at + 2)
            .map_or(-1, |b| i16::from_be_bytes([b[0], b[1]]))
    };
    let (key, version) = (number(0), number(2));
    let api = ApiKey::try_from(key).map_err(|()| RequestError::Unknown(key))?;
    // A client that is newer than this list asks ApiVersions in a flexible version.
    let flexible = version > api.valid_versions().max || api.request_header_version(version) >= 2;
    let malformed = RequestError::Malformed { api, version };
    read_header(frame, flexible).ok_or(malformed)
}

/// None if it is cut off. As in Kafka any negative length of a client id is null, and what is not UTF-8 is replaced.
fn read_header(frame: &mut Bytes, flexible: bool) -> Option<RequestHeader> {
    let key = frame.try_get_i16().ok()?;
    let version = frame.try_get_i16().ok()?;
    let correlation_id = frame.try_get_i32().ok()?;
    let client_id = match usize::try_from(frame.try_get_i16().ok()?) {
        Ok(length) if length > frame.len() => return None,
        Ok(length) => {
            let text = String::from_utf8_lossy(&frame.split_to(length)).into_owned();
            Some(StrBytes::from_string(text))
        }
        Err(_) => None,
    };
    if flexible {
        let mut walk = Walk::new(frame, version, flexible);
        walk.tagged()?;
        let rest = walk.rest.len();
        frame.advance(frame.len() - rest);
    }
    let header = RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(client_id);
    Some(header)
}

/// Decodes the body of a request. Bytes behind it are left alone, as Kafka does: librdkafka 2.12 sends
/// some with Metadata.
///
/// # Errors
/// If it is not what its version says.
pub fn decode<R: Request>(mut body: Bytes, version: i16) -> Result<R, RequestError> {
    let api = ApiKey::try_from(R::KEY).map_err(|()| RequestError::Unknown(R::KEY))?;
    check(api, version, &body)?;
    let request = R::decode(&mut body, version);
    request.map_err(|error| RequestError::Refused {
        api,
        version,
        reason: error.to_string(),
    })
}

/// What an element of an array becomes, in bytes: a structure, and another in the answer.
const ELEMENT: usize = 400;
/// Where the answer to one element has the configs of a topic, with their synonyms or without.
const CONFIGS_WITH_SYNONYMS: usize = 32 << 10;
const CONFIGS: usize = 8 << 10;
/// Where it has the members of a group or what they have committed. More than this if the group is large.
const GROUP: usize = 4 << 10;
/// A number, mostly of a partition: it has an answer of its own, with its topic's name.
const NUMBER: usize = 300;

/// About how many bytes a request and its answer take in memory beside the bytes of the frame; `body` is what is behind the
/// header. 0 for what [`decode`] refuses.
pub fn cost(header: &RequestHeader, body: &[u8]) -> usize {
    let Ok(api) = ApiKey::try_from(header.request_api_key) else {
        return 0;
    };
    let version = header.request_api_version;
    let fields = schema::fields(api).filter(|_| api == ApiKey::Produce || body.len() <= MAX_BYTES);
    let Some(fields) = fields else {
        return 0;
    };
    let flexible = api.request_header_version(version) >= 2;
    let mut walk = Walk::new(body, version, flexible);
    if walk.fields(fields).is_none() {
        return 0;
    }
    let element = match api {
        ApiKey::DescribeConfigs => CONFIGS_WITH_SYNONYMS,
        ApiKey::CreateTopics => CONFIGS,
        ApiKey::DescribeGroups
        | ApiKey::DescribeLogDirs
        | ApiKey::DescribeTransactions
        | ApiKey::OffsetFetch => GROUP,
        _ => ELEMENT,
    };
    let elements = walk.elements.saturating_mul(element);
    elements.saturating_add(walk.numbers.saturating_mul(NUMBER))
}

/// Whether everything that `body` announces is in it.
fn check(api: ApiKey, version: i16, body: &[u8]) -> Result<(), RequestError> {
    if api != ApiKey::Produce && body.len() > MAX_BYTES {
        return Err(RequestError::TooLong {
            api,
            bytes: body.len(),
        });
    }
    let fields = schema::fields(api).ok_or(RequestError::Unknown(api as i16))?;
    let flexible = api.request_header_version(version) >= 2;
    let mut walk = Walk::new(body, version, flexible);
    let walked = walk.fields(fields);
    if walk.elements > MAX_ELEMENTS {
        return Err(RequestError::TooMany { api });
    }
    walked.ok_or(RequestError::Malformed { api, version })
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    /// Compact lengths and tagged fields (KIP-482).
    flexible: bool,
    /// Of arrays, as far as they are more than numbers, and tagged fields.
    elements: usize,
    /// The others.
    numbers: usize,
}

/// None from any of these: the frame does not hold what it announces.
impl<'a> Walk<'a> {
    fn new(rest: &'a [u8], version: i16, flexible: bool) -> Self {
        Self {
            rest,
            version,
            flexible,
            elements: 0,
            numbers: 0,
        }
    }

    fn fields(&mut self, fields: Fields) -> Option<()> {
        for (versions, kind) in fields {
            if versions.contains(&self.version) {
                self.value(*kind)?;
            }
        }
        if self.flexible {
            self.tagged()
        } else {
            Some(())
        }
    }

    fn value(&mut self, kind: Kind) -> Option<()> {
        match kind {
            Kind::I8 => self.skip(1),
            Kind::I16 => self.skip(2),
            Kind::I32 => self.skip(4),
            Kind::I64 => self.skip(8),
            Kind::Uuid => self.skip(16),
            Kind::Text => {
                let length = if self.flexible {
                    self.compact()?
                } else {
                    self.number::<2>()?
                };
                self.skip(length)
            }
            Kind::Name | Kind::List(_) if self.is_null() => None,
            Kind::Name => self.value(Kind::Text),
            Kind::List(element) => self.value(Kind::Array(element)),
            Kind::Bytes => {
                let length = if self.flexible {
                    self.compact()?
                } else {
                    self.number::<4>()?
                };
                self.skip(length)
            }
            Kind::Struct(fields) => self.fields(fields),
            Kind::Nullable(fields) => {
                let (byte, rest) = self.rest.split_first()?;
                self.rest = rest;
                if byte.cast_signed() < 0 {
                    return Some(());
                }
                self.fields(fields)
            }
            Kind::Array(element) => {
                let count = if self.flexible {
                    self.compact()?
                } else {
                    self.number::<4>()?
                };
                // Every element has at least a byte.
                if count > self.rest.len() {
                    return None;
                }
                if matches!(element, Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64) {
                    self.numbers = self.numbers.saturating_add(count);
                } else {
                    self.count(count)?;
                }
                (0..count).try_for_each(|_| self.value(*element))
            }
        }
    }

    /// Counts elements; none if they are too many.
    fn count(&mut self, more: usize) -> Option<()> {
        self.elements = self.elements.saturating_add(more);
        (self.elements <= MAX_ELEMENTS).then_some(())
    }

    /// Whether the length that comes next says that there is nothing.
    fn is_null(&self) -> bool {
        match self.rest.first() {
            Some(byte) if self.flexible => *byte == 0,
            Some(byte) => byte & 0x80 != 0,
            None => false,
        }
    }

    /// Tagged fields: a count, then tag and size and as many bytes.
    fn tagged(&mut self) -> Option<()> {
        let count = self.varint()?;
        if count > self.rest.len() {
            return None;
        }
        // The crate keeps those that it does not know, each in a map.
        self.count(count)?;
        (0..count).try_for_each(|_| {
            self.varint()?;
            let size = self.varint()?;
            self.skip(size)
        })
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    /// A big-endian length of `N` bytes; negative is null, which holds nothing.
    fn number<const N: usize>(&mut self) -> Option<usize> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        let value = bytes
            .iter()
            .fold(0usize, |value, byte| value << 8 | usize::from(*byte));
        Some(if bytes[0] & 0x80 == 0 { value } else { 0 })
    }

    /// A length that stands as itself plus one; 0 is null, which holds nothing.
    fn compact(&mut self) -> Option<usize> {
        Some(self.varint()?.saturating_sub(1))
    }

    /// An unsigned varint of at most 5 bytes.
    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for (index, byte) in self.rest.iter().enumerate().take(5) {
            value |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
