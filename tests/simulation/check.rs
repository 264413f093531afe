//! Is every partition of the target the source's prefix?

use std::{
    collections::{HashMap, HashSet},
    fmt,
    rc::Rc,
};

use anyhow::{Result, ensure};
use host::sim::SimFiles;
use wire::TopicPartition;

use super::logs::{self, Reader, Seen};

/// How far one partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub source: usize,
    pub target: usize,
}

/// How much of each kind of work the target shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    pub records: usize,
    pub batches: usize,
    /// Batches that the source has otherwise: several small ones in one, or the rest of one.
    pub opened: usize,
}

impl Shape {
    pub fn add(&mut self, other: Self) {
        self.records += other.records;
        self.batches += other.batches;
        self.opened += other.opened;
    }
}

/// Compares what the disks hold.
///
/// # Errors
/// If the target holds anything but a prefix of what a consumer of the source sees.
pub fn prefix(
    reader: &Reader,
    source: &SimFiles,
    target: &SimFiles,
    partition: &TopicPartition,
) -> Result<Extent> {
    let source = reader.whole(source, partition)?;
    let target = reader.committed(target, partition)?;
    let differs = source.iter().zip(&target);
    let differs = differs.take_while(|(one, other)| one.mark == other.mark);
    let same = differs.count();
    ensure!(
        same == target.len(),
        "{partition}: {}",
        Difference {
            source: &source,
            target: &target,
            at: same
        }
    );
    Ok(Extent {
        source: source.len(),
        target: target.len(),
    })
}

/// What batches of the target are made of.
pub fn shape(source: &SimFiles, target: &SimFiles, partition: &TopicPartition) -> Result<Shape> {
    let source = logs::read(source, partition)?;
    let payloads: HashSet<_> = source.iter().map(|one| one.payload()).collect();
    let mut shape = Shape::default();
    for batch in logs::read(target, partition)? {
        shape.batches += 1;
        shape.records += usize::try_from(batch.header.record_count).unwrap_or_default();
        shape.opened += usize::from(!payloads.contains(&batch.payload()));
    }
    Ok(shape)
}

struct Difference<'a> {
    source: &'a [Rc<Seen>],
    target: &'a [Rc<Seen>],
    at: usize,
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: HashMap<_, _> = self
            .source
            .iter()
            .enumerate()
            .map(|(place, seen)| (seen.mark, place))
            .collect();
        let found = &self.target[self.at];
        let (at, offset) = (self.at, found.offset);
        write!(f, "record {at} of the target (offset {offset}) ")?;
        match places.get(&found.mark) {
            Some(place) if *place < at => write!(f, "is there twice: it is record {place}")?,
            Some(place) => write!(
                f,
                "is record {place} of the source: {} are left out",
                place - at
            )?,
            None => write!(f, "is none that a consumer of the source sees: {:?}", found)?,
        }
        let (source, target) = (self.source.len(), self.target.len());
        write!(f, "; the source has {source}, the target {target}")
    }
}
