//! What a broker's disk holds of a partition, read file by file: no broker and no replicator is asked.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use host::{Files, sim::SimFiles};
use wire::{
    TopicPartition,
    batch::{BatchView, batches},
    record::{ControlType, Record, control_type, decode},
};

/// Where brokers keep their data.
pub const FOLDER: &str = "/data";
/// Nothing here decompresses to more.
const LARGEST: usize = 64 << 20;

/// A record that a consumer sees.
#[derive(Debug)]
pub struct Seen {
    pub offset: i64,
    pub key: Option<Bytes>,
    /// Of all that makes it the same record in two places: timestamp, key, value, headers.
    pub mark: u64,
}

impl From<Record> for Seen {
    fn from(record: Record) -> Self {
        let mut hasher = DefaultHasher::new();
        (
            record.timestamp,
            &record.key,
            &record.value,
            &record.headers,
        )
            .hash(&mut hasher);
        Self {
            offset: record.offset,
            key: record.key,
            mark: hasher.finish(),
        }
    }
}

/// Reads disks again and again, and opens each batch once.
#[derive(Debug, Default)]
pub struct Reader {
    opened: RefCell<HashMap<(i64, u32), Records>>,
    /// Of partitions that are read whole, what was seen last.
    seen: RefCell<HashMap<TopicPartition, Vec<Rc<Seen>>>>,
}

type Records = Rc<[Rc<Seen>]>;

impl Reader {
    /// Looks at every byte again: a disk may have kept a part of what was there.
    pub fn forget(&self) {
        self.opened.borrow_mut().clear();
    }

    /// The records of a batch; none if it is damaged.
    fn open(&self, batch: &BatchView) -> Result<Option<Records>> {
        let name = (batch.header.base_offset, batch.header.crc);
        if let Some(known) = self.opened.borrow().get(&name) {
            return Ok(Some(Rc::clone(known)));
        }
        if batch.check_crc().is_err() {
            return Ok(None);
        }
        let records = decode(batch, LARGEST)?.into_iter();
        let seen: Records = records.map(|record| Rc::new(Seen::from(record))).collect();
        self.opened.borrow_mut().insert(name, Rc::clone(&seen));
        Ok(Some(seen))
    }

    /// What a consumer would have seen of a partition from its first record on, whatever was deleted since.
    pub fn whole(&self, disk: &SimFiles, partition: &TopicPartition) -> Result<Vec<Rc<Seen>>> {
        let start = start(disk, partition)?;
        let now = self.committed(disk, partition)?;
        let mut seen = self.seen.borrow_mut();
        let whole = seen.entry(partition.clone()).or_default();
        whole.retain(|one| one.offset < start);
        whole.extend(now);
        Ok(whole.clone())
    }

    /// What a consumer with `read_committed` sees of a partition: nothing of transactions that were aborted, and
    /// nothing behind the first that is open. Kafka's rule, by the markers alone. A batch that is damaged ends it, as
    /// after a crash.
    pub fn committed(&self, disk: &SimFiles, partition: &TopicPartition) -> Result<Vec<Rc<Seen>>> {
        let mut all: Vec<(Option<i64>, Rc<Seen>)> = Vec::new();
        let mut open: BTreeMap<i64, i64> = BTreeMap::new();
        for batch in read(disk, partition)? {
            let Some(records) = self.open(&batch)? else {
                break;
            };
            let header = &batch.header;
            let producer = header.is_transactional().then_some(header.producer_id);
            if header.is_control() {
                let first = open.remove(&header.producer_id);
                if let Some(first) = first
                    && control_type(&batch)? == ControlType::Abort
                {
                    all.retain(|(by, seen)| *by != producer || seen.offset < first);
                }
                continue;
            }
            if let Some(producer) = producer {
                open.entry(producer).or_insert(header.base_offset);
            }
            all.extend(records.iter().map(|seen| (producer, Rc::clone(seen))));
        }
        let stable = open.values().min().copied().unwrap_or(i64::MAX);
        let seen = all.into_iter().map(|(_, seen)| seen);
        Ok(seen.filter(|seen| seen.offset < stable).collect())
    }
}

/// The files of a partition's batches, in their order; none if it is not there.
fn segments(disk: &SimFiles, partition: &TopicPartition) -> Result<Vec<PathBuf>> {
    let folder = Path::new(FOLDER).join(partition.to_string());
    if !disk.exists(&folder) {
        return Ok(Vec::new());
    }
    let names = disk.list(&folder)?.into_iter();
    let names = names.filter(|name| name.ends_with(".log"));
    Ok(names.map(|name| folder.join(name)).collect())
}

/// Where the first of them begins.
fn start(disk: &SimFiles, partition: &TopicPartition) -> Result<i64> {
    let segments = segments(disk, partition)?;
    let first = segments.first().and_then(|path| path.file_stem()?.to_str());
    first.map_or(Ok(0), |name| name.parse().context("the name of a segment"))
}

/// The batches of a partition, in their order; none if it is not there. A batch that is not whole ends them, as after
/// a crash.
pub fn read(disk: &SimFiles, partition: &TopicPartition) -> Result<Vec<BatchView>> {
    let mut found = Vec::new();
    for path in segments(disk, partition)? {
        let file = disk.open(&path)?;
        let length = usize::try_from(file.len()?)?;
        let bytes = Bytes::from(file.read_exact_at(length, 0)?);
        for batch in batches(bytes) {
            let Ok(batch) = batch else {
                return Ok(found);
            };
            found.push(batch);
        }
    }
    Ok(found)
}
