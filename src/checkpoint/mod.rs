//! How far each unit is, durably (EXACTNESS 8).
//!
//! A checkpoint is the committed offset of one target partition in the group `strait.<flow>` on the
//! target cluster: the offset is the next target offset, the metadata is this struct, encoded by
//! [`codec`]. It never runs ahead of acknowledged data and is always possibly behind it.
//! All fields exist from version 1 on, also those that only the exactly-once path fills.

pub mod codec;
pub mod committer;
pub mod control_topic;
pub mod offset_map;
pub mod own_topic;
pub mod store;
pub mod text;

use host::BoxFuture;
use uuid::Uuid;
use wire::TopicPartition;

/// The state of one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Cluster id of the source.
    pub source_cluster: String,
    /// Topic id on the source.
    pub source_topic: Uuid,
    /// Cluster id of the target.
    pub target_cluster: String,
    /// Topic id on the target.
    pub target_topic: Uuid,
    /// The source offset to read next.
    pub source_offset: i64,
    /// The target offset after the last acknowledged record.
    pub target_offset: i64,
    /// The last record that was copied; none before the first.
    pub last_record: Option<LastRecord>,
    /// Records appended in this epoch, mod 2^31.
    pub sequence: i32,
    /// Producer id, epoch and the rest of what only the exactly-once path uses.
    pub producer: Option<ProducerState>,
    /// Hash of all that decides which record gets which sequence.
    pub fingerprint: u64,
    /// The unit writes behind records that are not to be compared (`on_existing = "append"`, behind a gap, `set`); what
    /// it writes begins at this target offset.
    pub appends_at: Option<i64>,
    /// Set while the worker is stopped for a reason that needs a person.
    pub stopped: Option<Stopped>,
    /// Whether its worker ended with nothing on its way to the target: whoever goes on need not wait for
    /// late appends (EXACTNESS 7).
    pub settled: bool,
    /// The offset map does not tell all that was copied: there is none, or it could not be read or written. With the lowest
    /// offset at which the target was found to end meanwhile; [`NO_LOSS`] if it lost nothing.
    pub unmapped: Option<i64>,
    /// Older exact pairs, newest first, exponentially spaced, at most [`MAX_ANCHORS`].
    pub anchors: Vec<Anchor>,
}

/// In [`Checkpoint::unmapped`]: the target lost nothing.
pub const NO_LOSS: i64 = i64::MAX;

/// Most anchors that one checkpoint carries.
pub const MAX_ANCHORS: usize = 16;

/// The last record that was copied, to recognise the source after a restart (EXACTNESS 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRecord {
    /// Its offset on the source.
    pub source_offset: i64,
    /// CRC-32C over key, value, headers and timestamp.
    pub crc: u32,
    /// Leader epoch of its batch; -1 where the source client does not tell.
    pub leader_epoch: i32,
    /// CRC-32C of the payload of its sealed batch, where the sealed path copied it.
    pub payload_crc: Option<u32>,
}

/// The unit's idempotent producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// Producer id.
    pub id: i64,
    /// Raised when the epochs of an id are used up.
    pub generation: u32,
    /// Producer epoch.
    pub epoch: i16,
    /// Records appended before this epoch began.
    pub epoch_base: i64,
}

/// Why and since when a worker is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Code from the closed list of stop reasons.
    pub reason: String,
    /// The source offset that it is about.
    pub source_offset: i64,
    /// Milliseconds since 1970.
    pub since_ms: i64,
}

/// One exact pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Records appended before `target_offset`, in the unit's epoch.
    pub sequence: i32,
    /// Source offset of a copied record.
    pub source_offset: i64,
    /// Where that record is on the target.
    pub target_offset: i64,
}

/// Where checkpoints are kept.
pub trait CheckpointStore: Send + Sync + std::fmt::Debug {
    /// All committed entries of the flow, by target partition, undecoded.
    fn load(&self) -> BoxFuture<'_, Result<Vec<(TopicPartition, Stored)>, StoreError>>;

    /// Commits entries; answers for each one. Chunks as the broker's limits ask (EXACTNESS 8).
    fn commit<'a>(
        &'a self,
        entries: &'a [(TopicPartition, Stored)],
    ) -> BoxFuture<'a, Vec<(TopicPartition, Result<(), StoreError>)>>;
}

/// One committed entry as the cluster keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Next target offset.
    pub offset: i64,
    /// The encoded checkpoint; empty or foreign text if somebody else committed.
    pub metadata: String,
}

/// Why checkpoints could not be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Try again later.
    #[error("checkpoints of {group}: {reason}")]
    Unavailable {
        /// The group.
        group: String,
        /// What the cluster said.
        reason: String,
    },
    /// Will not work without a person.
    #[error("checkpoints of {group}: {reason}")]
    Refused {
        /// The group.
        group: String,
        /// What the cluster said.
        reason: String,
    },
}
