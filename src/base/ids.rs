//! Names of things.

pub use wire::TopicPartition;

/// The two ends of one unit: a source partition and the target partition it is copied into.
/// The partition number is the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// Topic and partition on the source cluster.
    pub source: TopicPartition,
    /// Topic and partition on the target cluster.
    pub target: TopicPartition,
}
