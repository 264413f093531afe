//! Walks one target partition along its source partition, record by record, in bounded memory.
//!
//! `expected` is the next source record that the target has not shown. A target record that equals
//! it moves on. Any other is looked for behind (a repeat: the writer went back to its checkpoint and
//! sends again what is there already) and ahead (what lies between is missing), at most [`WINDOW`]
//! records either way; a record found nowhere is altered. A repeat must itself go on record by
//! record: anything else is out of order.

use std::collections::VecDeque;

use host::BoxFuture;
use serde::Serialize;

use super::VerifyError;

/// How far back and ahead a record is looked for, in records. At 40 bytes each, both together take
/// 20 MiB for one partition.
const WINDOW: u64 = 1 << 18;

/// Differences that are described; the others are only counted.
const NAMED: usize = 10;

/// After as many altered records two partitions are different, and searching on is a waste.
const GIVE_UP: u64 = 10_000;

/// One record, reduced to what is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its offset in its own partition; not compared.
    pub offset: i64,
    /// Milliseconds since 1970; 0 on both sides where the target keeps its own times.
    pub timestamp: i64,
    /// Hash of the key; absent and empty differ.
    pub key: u64,
    /// Hash of the value.
    pub value: u64,
    /// Hash of the headers with their order.
    pub headers: u64,
}

impl Item {
    /// Whether everything that is compared is equal.
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }

    fn parts(&self) -> [(&'static str, u64); 4] {
        [
            ("timestamp", self.timestamp.cast_unsigned()),
            ("key", self.key),
            ("value", self.value),
            ("headers", self.headers),
        ]
    }
}

/// A partition as a stream of items in offset order.
pub trait Items: Send {
    /// The next record; none at the end.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Item>, VerifyError>>;
}

/// What one partition's comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records of the target that were looked at.
    pub records: u64,
    /// Source records before the checkpoint that the target does not show.
    pub missing: u64,
    /// Target records that repeat what is there already: allowed at least once.
    pub duplicated: u64,
    /// Target records that follow another than their predecessor.
    pub out_of_order: u64,
    /// Target records that the source does not have, or not with this content.
    pub altered: u64,
    /// Source records at or behind the checkpoint that are not there yet.
    pub behind: u64,
    /// The first differences, in words.
    pub differences: Vec<String>,
}

impl Counts {
    /// Whether the target is what the flow promises; repeats are.
    pub fn is_equal(&self) -> bool {
        (self.missing, self.out_of_order, self.altered) == (0, 0, 0)
    }

    /// Adds another partition's counts, and its differences with the partition's name.
    pub(super) fn add(&mut self, partition: &super::PartitionReport) {
        let other = &partition.counts;
        self.records += other.records;
        self.missing += other.missing;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.altered += other.altered;
        self.behind += other.behind;
        let room = NAMED.saturating_sub(self.differences.len());
        self.differences
            .extend(other.differences.iter().take(room).cloned());
    }

    fn name(&mut self, difference: impl FnOnce() -> String) {
        if self.differences.len() < NAMED {
            self.differences.push(difference());
        }
    }

    fn count_missing(&mut self, source: &Item) {
        self.missing += 1;
        self.name(|| format!("source offset {}: not on the target", source.offset));
    }

    fn count_out_of_order(&mut self, target: &Item) {
        self.out_of_order += 1;
        self.name(|| {
            format!(
                "target offset {}: does not follow its predecessor",
                target.offset
            )
        });
    }

    fn name_altered(&mut self, source: &Item, target: &Item) {
        self.name(|| {
            let pairs = source.parts().into_iter().zip(target.parts());
            let parts: Vec<_> = pairs.filter(|(s, t)| s != t).map(|(s, _)| s.0).collect();
            let (source, target) = (source.offset, target.offset);
            format!(
                "source offset {source}, target offset {target}: {} differs",
                parts.join(", ")
            )
        });
    }

    fn name_foreign(&mut self, target: &Item) {
        self.name(|| {
            format!(
                "target offset {}: the source has no such record",
                target.offset
            )
        });
    }
}

/// Compares `target` with `source`. Source records from `checkpoint` on may be absent: they count as
/// behind. `progress` hears the number of target records seen so far.
pub async fn compare(
    source: &mut dyn Items,
    target: &mut dyn Items,
    checkpoint: i64,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Counts, VerifyError> {
    let window = Window {
        source,
        items: VecDeque::new(),
        first: 0,
    };
    let mut walk = Walk {
        window,
        checkpoint,
        expected: 0,
        next: 0,
        unknown: Vec::new(),
        counts: Counts::default(),
    };
    while let Some(item) = target.next().await? {
        walk.step(item).await?;
        if walk.counts.records.is_multiple_of(4096) {
            progress(walk.counts.records);
        }
        if walk.counts.altered >= GIVE_UP {
            let reason = format!("{GIVE_UP} altered records: not compared any further");
            walk.counts.differences.push(reason);
            return Ok(walk.counts);
        }
    }
    walk.finish().await?;
    progress(walk.counts.records);
    Ok(walk.counts)
}

/// The walk so far. Positions count source records from 0.
struct Walk<'a> {
    window: Window<'a>,
    /// Source offset up to which the flow says that it has copied.
    checkpoint: i64,
    /// The first source record that the target has not shown.
    expected: u64,
    /// The source record that should follow on the target; below `expected` inside a repeat.
    next: u64,
    /// Target records since the last match that were found nowhere.
    unknown: Vec<Item>,
    counts: Counts,
}

impl Walk<'_> {
    /// Takes one target record.
    async fn step(&mut self, item: Item) -> Result<(), VerifyError> {
        self.counts.records += 1;
        let Some(position) = self.find(&item).await? else {
            self.counts.altered += 1;
            self.unknown.push(item);
            return Ok(());
        };
        // Ahead inside a repeat: what the writer sent again is not what it had sent.
        if position > self.next && self.next < self.expected && self.unknown.is_empty() {
            self.counts.count_out_of_order(&item);
        }
        let unknown = std::mem::take(&mut self.unknown);
        if position < self.expected {
            self.counts.duplicated += 1;
            unknown
                .iter()
                .for_each(|item| self.counts.name_foreign(item));
        } else {
            self.pass_over(position, &unknown).await?;
            self.expected = position + 1;
        }
        self.next = position + 1;
        self.window
            .forget_before(self.expected.saturating_sub(WINDOW));
        Ok(())
    }

    /// The position of a source record equal to `item`: the next one, else the latest behind, else
    /// the first ahead.
    async fn find(&mut self, item: &Item) -> Result<Option<u64>, VerifyError> {
        for likely in [self.next, self.next + self.unknown.len() as u64] {
            if self
                .window
                .get(likely)
                .await?
                .is_some_and(|s| s.equals(item))
            {
                return Ok(Some(likely));
            }
        }
        for position in (self.window.first..self.expected).rev() {
            if self
                .window
                .get(position)
                .await?
                .is_some_and(|s| s.equals(item))
            {
                return Ok(Some(position));
            }
        }
        for position in self.expected..self.expected + WINDOW {
            match self.window.get(position).await? {
                Some(s) if s.equals(item) => return Ok(Some(position)),
                Some(_) => {}
                None => break,
            }
        }
        Ok(None)
    }

    /// Accounts for the source records from `expected` up to `end`, which the target does not show:
    /// the unknown records stand for as many of them, the others are missing.
    async fn pass_over(&mut self, end: u64, unknown: &[Item]) -> Result<(), VerifyError> {
        let mut unknown = unknown.iter();
        while self.expected < end
            && let Some(source) = self.window.get(self.expected).await?
        {
            match unknown.next() {
                Some(target) => self.counts.name_altered(&source, target),
                None if source.offset < self.checkpoint => self.counts.count_missing(&source),
                None => self.counts.behind += 1,
            }
            self.expected += 1;
            self.window
                .forget_before(self.expected.saturating_sub(WINDOW));
        }
        unknown.for_each(|item| self.counts.name_foreign(item));
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), VerifyError> {
        let unknown = std::mem::take(&mut self.unknown);
        self.pass_over(u64::MAX, &unknown).await
    }
}

/// The source records around the walk.
struct Window<'a> {
    source: &'a mut dyn Items,
    items: VecDeque<Item>,
    /// Position of the first item.
    first: u64,
}

impl Window<'_> {
    /// The record at `position`, which is not before the window; none behind the source's end.
    async fn get(&mut self, position: u64) -> Result<Option<Item>, VerifyError> {
        let index = usize::try_from(position - self.first).expect("the window fits in memory");
        while self.items.len() <= index {
            match self.source.next().await? {
                Some(item) => self.items.push_back(item),
                None => return Ok(None),
            }
        }
        Ok(self.items.get(index).copied())
    }

    fn forget_before(&mut self, position: u64) {
        while self.first < position && self.items.pop_front().is_some() {
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Letters(VecDeque<Item>);

    impl Letters {
        fn new(text: &str) -> Self {
            let item = |(offset, letter): (usize, char)| Item {
                offset: offset as i64,
                timestamp: 0,
                key: 1,
                value: u64::from(letter),
                headers: 0,
            };
            Self(text.chars().enumerate().map(item).collect())
        }
    }

    impl Items for Letters {
        fn next(&mut self) -> BoxFuture<'_, Result<Option<Item>, VerifyError>> {
            let item = self.0.pop_front();
            Box::pin(async move { Ok(item) })
        }
    }

    /// Missing, duplicated, out of order, altered, behind.
    async fn counts(source: &str, target: &str, checkpoint: i64) -> [u64; 5] {
        let (mut source, mut target) = (Letters::new(source), Letters::new(target));
        let c = compare(&mut source, &mut target, checkpoint, &|_| {})
            .await
            .unwrap();
        [c.missing, c.duplicated, c.out_of_order, c.altered, c.behind]
    }

    #[tokio::test]
    async fn equal_and_repeated_topics_are_equal() {
        for (target, duplicated) in [
            ("abcdef", 0),
            ("abcbcdef", 2),
            ("abcdabcdef", 4),
            ("abcabcbcdef", 5),
        ] {
            assert_eq!(
                counts("abcdef", target, 6).await,
                [0, duplicated, 0, 0, 0],
                "{target}"
            );
        }
        // Equal records in the source are not repeats.
        assert_eq!(counts("aaaab", "aaaab", 5).await, [0, 0, 0, 0, 0]);
        assert_eq!(counts("", "", 0).await, [0; 5]);
    }

    #[tokio::test]
    async fn each_difference_is_counted_as_what_it_is() {
        assert_eq!(counts("abcdef", "abcde", 6).await, [1, 0, 0, 0, 0]);
        assert_eq!(counts("abcdef", "abdef", 6).await, [1, 0, 0, 0, 0]);
        assert_eq!(counts("abcdef", "abXdef", 6).await, [0, 0, 0, 1, 0]);
        assert_eq!(counts("abcdef", "abXcdef", 6).await, [0, 0, 0, 1, 0]);
        assert_eq!(counts("abcdef", "abcdefX", 6).await, [0, 0, 0, 1, 0]);
        assert_eq!(counts("abcdef", "abc", 4).await, [1, 0, 0, 0, 2]);
        // c comes after d: missing where it belongs, and the way back on is not record by record.
        assert_eq!(counts("abcdef", "abdcef", 6).await, [1, 1, 1, 0, 0]);
        assert_eq!(counts("abcdef", "abcacdef", 6).await, [0, 2, 1, 0, 0]);
    }

    #[tokio::test]
    async fn the_first_differences_are_named() {
        let (mut source, mut target) = (Letters::new("abc"), Letters::new("aXc"));
        let counts = compare(&mut source, &mut target, 3, &|_| {}).await.unwrap();
        assert_eq!(
            counts.differences,
            ["source offset 1, target offset 1: value differs"]
        );
        assert!(!counts.is_equal());
    }
}
