//! Transactions.

pub(crate) mod machine;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

/// What a transaction reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Part {
    /// Records in a partition.
    Partition(String, i32),
    /// Offsets of a group.
    Group(String),
}
