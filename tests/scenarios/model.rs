//! What the scenarios produce: records of every shape, made from a seed, so that the test knows
//! what must arrive without asking the code under test.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// One record as a client would give it to a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// One line per record, as `tests/kafka/Dump.java` prints it too: bytes as `length:crc32c`,
    /// `-` is null.
    pub fn digest(&self) -> String {
        digest(
            self.timestamp,
            self.key.as_deref(),
            self.value.as_deref(),
            self.headers
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_deref())),
        )
    }
}

/// The digest of a record's parts; see [`Record::digest`].
pub fn digest<'a>(
    timestamp: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
) -> String {
    let bytes = |bytes: Option<&[u8]>| match bytes {
        None => "-".to_owned(),
        Some(bytes) => format!("{}:{:x}", bytes.len(), crc32c::crc32c(bytes)),
    };
    let headers: Vec<_> = headers
        .map(|(key, value)| format!("{key}={}", bytes(value)))
        .collect();
    format!(
        "{timestamp}|{}|{}|{}",
        bytes(key),
        bytes(value),
        headers.join(";")
    )
}

/// Three days, for records that a broker calls old (EXACTNESS 2).
pub const THREE_DAYS_MS: i64 = 3 * 24 * 3_600_000;

/// How old records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Of now, save for every eleventh, which is old.
    Mixed,
    /// Of now.
    Fresh,
    /// Three days.
    Old,
}

/// `count` records of mixed shapes and ages for one partition; see [`records`].
pub fn mixed(seed: u64, partition: i32, first: usize, count: usize) -> Vec<Record> {
    records(Age::Mixed, seed, partition, first, count)
}

/// `count` records of mixed shapes for one partition. Each holds its index in at least one part, so
/// no two are equal and a repeat is told from a coincidence.
pub fn records(age: Age, seed: u64, partition: i32, first: usize, count: usize) -> Vec<Record> {
    let now = now_ms();
    let then = |index: usize| match age {
        Age::Mixed if !index.is_multiple_of(11) => now,
        Age::Fresh => now,
        Age::Mixed | Age::Old => now - THREE_DAYS_MS,
    };
    (first..first + count)
        .map(|index| record(seed, partition, index, then(index)))
        .collect()
}

fn record(seed: u64, partition: i32, index: usize, then: i64) -> Record {
    let mut random = StdRng::seed_from_u64(
        seed ^ (u64::from(partition.unsigned_abs()) << 40) ^ ((index as u64) << 1),
    );
    let id = format!("{partition}/{index}").into_bytes();
    let key = match index % 5 {
        0 => None,
        1 => Some(Vec::new()),
        _ => Some(id.clone()),
    };
    // A null or empty value leaves the index to the headers.
    let value = match index % 7 {
        0 => None,
        1 => Some(Vec::new()),
        _ => Some(json(&mut random, index)),
    };
    let mut headers = vec![("id".to_owned(), Some(id))];
    if index.is_multiple_of(3) {
        headers.push(("trace".to_owned(), None));
        headers.push(("trace".to_owned(), Some(Vec::new())));
        headers.push(("trace".to_owned(), Some(vec![0, 255, 1])));
    }
    // Out of order by up to a minute.
    let timestamp = then - random.random_range(0..60_000);
    Record {
        timestamp,
        key,
        value,
        headers,
    }
}

/// A record's value as services write them: repetitive, so that codecs have something to do.
fn json(random: &mut StdRng, index: usize) -> Vec<u8> {
    let size = if index.is_multiple_of(50) {
        8_000
    } else {
        random.random_range(20..400)
    };
    let mut text = format!(
        "{{\"order\":{index},\"customer\":{},\"note\":\"",
        random.random::<u32>()
    );
    while text.len() < size {
        text.push_str(["lorem ", "ipsum ", "dolor ", "sit ", "amet "][random.random_range(0..5)]);
    }
    text.push_str("\"}");
    text.into_bytes()
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    host::Host::real().clock.wall_ms()
}
