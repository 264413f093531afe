//! Which leader's epoch the records of a partition are of (KIP-101, `LeaderEpochFileCache`).
//!
//! There is one broker, so the epoch is 0 for ever, unless a test raises it (see `crate::faults`). Then it is kept
//! beside the log in `leader-epoch-checkpoint`, in Kafka's format: the lines `0` (version), the number of entries,
//! and for each entry its epoch and first offset.
//!
//! Invariant: there is an entry, and both epochs and first offsets ascend.

use std::{io, path::Path};

use host::{Files, files};
use kafka_protocol::error::ResponseError;

const NAME: &str = "leader-epoch-checkpoint";

/// Longest file that is read.
const MAX_LEN: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Epochs(Vec<(i32, i64)>);

impl Default for Epochs {
    fn default() -> Self {
        Self(vec![(0, 0)])
    }
}

impl Epochs {
    /// What is in `folder`; epoch 0 if nothing is.
    pub(super) fn read(files: &dyn Files, folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        if !files.exists(&path) {
            return Ok(Self::default());
        }
        let file = files.open(&path)?;
        let length = usize::try_from(file.len()?.min(MAX_LEN)).unwrap_or(0);
        let text = String::from_utf8_lossy(&file.read_exact_at(length, 0)?).into_owned();
        Self::parse(&text).ok_or_else(|| {
            let text = format!("{}: no leader epochs in it", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let entry = |line: &str| {
            let (epoch, start) = line.split_once(' ')?;
            Some((epoch.parse().ok()?, start.parse().ok()?))
        };
        let entries: Vec<(i32, i64)> = text.lines().skip(2).map(entry).collect::<Option<_>>()?;
        let ascends = entries
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        (!entries.is_empty() && ascends).then_some(Self(entries))
    }

    /// Replaces what is in `folder`, durably.
    pub(super) fn write(&self, files: &dyn Files, folder: &Path) -> io::Result<()> {
        let mut text = format!("0\n{}\n", self.0.len());
        for (epoch, start) in &self.0 {
            text.push_str(&format!("{epoch} {start}\n"));
        }
        files::replace(files, &folder.join(NAME), text.as_bytes())
    }

    /// The leader's epoch now.
    pub(super) fn current(&self) -> i32 {
        self.0.last().map_or(0, |(epoch, _)| *epoch)
    }

    /// Begins the next epoch at `end`. An epoch without records is forgotten, as in Kafka.
    pub(super) fn raise(&mut self, end: i64) {
        self.begin(self.current() + 1, end);
    }

    /// The log ends at `end` now; the leader's epoch goes on.
    pub(super) fn cut(&mut self, end: i64) {
        if self.0.last().is_some_and(|(_, start)| *start > end) {
            self.begin(self.current(), end);
        }
    }

    fn begin(&mut self, epoch: i32, at: i64) {
        self.0.retain(|(_, start)| *start < at);
        self.0.push((epoch, at));
    }

    /// Whether the epoch that a client knows is the leader's; -1 is a client that does not say.
    pub(super) fn check(&self, known: i32) -> Result<(), ResponseError> {
        let current = self.current();
        match known {
            -1 => Ok(()),
            _ if known < current => Err(ResponseError::FencedLeaderEpoch),
            _ if known > current => Err(ResponseError::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// The epoch of the record at `offset`.
    pub(super) fn at(&self, offset: i64) -> i32 {
        let before = self.0.partition_point(|(_, start)| *start <= offset);
        self.0[before.saturating_sub(1)].0
    }

    /// The largest epoch up to `epoch` and where its records end, in a log that holds `from..to`; none if the
    /// leader does not know the epoch (`LeaderEpochFileCache.endOffsetFor`).
    pub(super) fn end_of(&self, epoch: i32, from: i64, to: i64) -> Option<(i32, i64)> {
        if epoch < 0 || epoch > self.current() {
            return None;
        }
        if epoch == self.current() {
            return Some((epoch, to));
        }
        // Epochs whose records all lie before the log's start are not known any more.
        let known = self.0.partition_point(|(_, start)| *start <= from);
        let known = &self.0[known.saturating_sub(1)..];
        let higher = known.partition_point(|(one, _)| *one <= epoch);
        let end = known
            .get(higher)
            .map_or(to, |(_, start)| (*start).max(from));
        let floor = higher.checked_sub(1).map_or(epoch, |at| known[at].0);
        Some((floor, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Epoch 0 up to 10, 1 up to 20, 3 from then on.
    fn three() -> Epochs {
        Epochs(vec![(0, 0), (1, 10), (3, 20)])
    }

    #[test]
    fn an_epoch_ends_where_a_higher_one_begins() {
        let ends = |epoch| three().end_of(epoch, 0, 30);
        assert_eq!(ends(0), Some((0, 10)));
        assert_eq!(ends(1), Some((1, 20)));
        assert_eq!(ends(2), Some((1, 20)), "the largest that is not larger");
        assert_eq!(ends(3), Some((3, 30)));
        assert_eq!((ends(4), ends(-1)), (None, None));
        let moved = |epoch| three().end_of(epoch, 15, 30);
        assert_eq!(moved(0), Some((0, 15)), "before all that are known");
        assert_eq!(moved(1), Some((1, 20)));
    }

    #[test]
    fn raising_and_cutting_keep_the_order() {
        let mut epochs = Epochs::default();
        epochs.raise(5);
        epochs.raise(5);
        assert_eq!(
            epochs,
            Epochs(vec![(0, 0), (2, 5)]),
            "epoch 1 had no records"
        );
        epochs.cut(7);
        assert_eq!(epochs, Epochs(vec![(0, 0), (2, 5)]));
        epochs.cut(3);
        assert_eq!(epochs, Epochs(vec![(0, 0), (2, 3)]));
        assert_eq!((epochs.at(2), epochs.at(3), epochs.at(9)), (0, 2, 2));
        epochs.cut(0);
        assert_eq!(epochs, Epochs(vec![(2, 0)]));
        assert_eq!(epochs.check(1), Err(ResponseError::FencedLeaderEpoch));
        assert_eq!(epochs.check(3), Err(ResponseError::UnknownLeaderEpoch));
        assert_eq!((epochs.check(2), epochs.check(-1)), (Ok(()), Ok(())));
    }

    #[test]
    fn the_file_is_kafkas_and_damage_is_noticed() {
        let files = host::sim::SimFiles::default();
        let folder = Path::new("/p-0");
        files.create_dir_all(folder).unwrap();
        assert_eq!(Epochs::read(&files, folder).unwrap(), Epochs::default());
        three().write(&files, folder).unwrap();
        let file = files.open(&folder.join(NAME)).unwrap();
        let length = usize::try_from(file.len().unwrap()).unwrap();
        let bytes = file.read_exact_at(length, 0).unwrap();
        assert_eq!(bytes, b"0\n3\n0 0\n1 10\n3 20\n");
        assert_eq!(Epochs::read(&files, folder).unwrap(), three());
        for damaged in [
            "",
            "0\n1\n",
            "0\n1\nx 1\n",
            "0\n2\n1 5\n0 7\n",
            "0\n2\n1 5\n2 5\n",
        ] {
            assert_eq!(Epochs::parse(damaged), None, "{damaged:?}");
        }
    }
}
