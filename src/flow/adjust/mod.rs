//! Moving or forgetting the checkpoints of stopped and running partitions, on an operator's word.
//!
//! *Set* goes on at another source offset: the new checkpoint is a barrier with a new epoch of the unit's producer, behind
//! all that the target holds, so that its leader takes the new numbering. *Reset* forgets a partition, so that it
//! starts as a new one does; of a whole topic also which target topic it was copied to.
//!
//! The same [`draft`] serves both ways in: a command that writes to a group without members ([`offline`]), and a
//! running flow that was asked over HTTP ([`desk`], [`live`]), which alone can commit to its group.

mod change;
mod desk;
mod draft;
mod live;
pub mod offline;

pub use change::{Action, AdjustError, Change, Changes, Position, Request, To};
pub use desk::Desk;
pub(super) use desk::Job;
pub(super) use draft::{Draft, first};
