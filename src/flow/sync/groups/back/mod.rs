//! Groups go back to the source: what they committed on the target, by the inverse of the flow's map.
//!
//! The one thing that strait writes to a source, and only on an operator's word. The map and the
//! checkpoints are read as they are, whether the flow runs or not. Nothing is committed for a group that has members on
//! either side, and the source is looked at right before each commit.

mod answer;
mod commit;
mod decide;
mod find;
mod gather;
mod reverse;
mod source;

use serde::Serialize;

pub use commit::back;

/// What an operator asks for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Which groups; none: all that the flow selects and that committed on the target.
    pub groups: Vec<String>,
    /// Also back to before what they committed on the source.
    pub rewind: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// What was, or would be, done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Returned {
    /// The flow.
    pub flow: String,
    /// Nothing was changed.
    pub dry_run: bool,
    /// Groups that moved to the target, and those that were asked for.
    pub groups: Vec<Group>,
    /// Groups for which nobody committed on the target but strait.
    pub not_moved: usize,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its name.
    pub group: String,
    /// Why nothing was done for it; none: what `partitions` say was.
    pub left: Option<String>,
    /// Its partitions that the flow copied.
    pub partitions: Vec<Partition>,
}

/// One partition of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Topic on the source.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Topic on the target.
    pub target_topic: String,
    /// What the group committed there.
    pub target_offset: i64,
    /// The same on the source; none: not known, or not needed.
    pub source_offset: Option<i64>,
    /// So many records from there on may have been read, at most; 0: it is exact.
    pub again: Option<i64>,
    /// What the group has on the source.
    pub before: Option<i64>,
    /// What becomes of it.
    pub outcome: Outcome,
    /// For people.
    pub text: String,
}

/// What becomes of a partition of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It gets the source offset.
    Moves,
    /// It is there.
    Same,
    /// It keeps what it has on the source, which is further.
    Kept,
    /// A flow of the other direction commits for it.
    HandedOver,
    /// Nothing is done, and an operator has to.
    Left,
}

impl Returned {
    /// Whether nothing was left.
    pub fn is_whole(&self) -> bool {
        self.groups.iter().all(|group| {
            let mut partitions = group.partitions.iter();
            group.left.is_none() && partitions.all(|one| one.outcome != Outcome::Left)
        })
    }
}
