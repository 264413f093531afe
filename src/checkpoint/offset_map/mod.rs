//! Which source offset is which target offset: the topic `strait.<flow>.offset-map` on the target.
//!
//! One partition, compacted: a bounded [`ladder`] of anchors for each unit, in the form of [`anchor`]. The owner of a
//! unit writes what its [`tip`] adds, from what is acknowledged and before the checkpoint that covers it (EXACTNESS 8);
//! whoever translates offsets reads the whole topic and asks [`lookup`], or [`back`] for the other way. A record is true whoever wrote it and whenever
//! it arrives, save for what a cut takes back.

mod anchor;
mod back;
mod end;
mod ladder;
mod lookup;
mod tip;
mod topic;

pub use anchor::{Anchor, Cut, Entry};
pub use back::{SourcePlace, records_before, source_place};
pub use end::End;
pub use ladder::Ladder;
pub use lookup::{Answer, Place, answer, bounds, holds_copies_only, pair, place};
pub use tip::Tip;
pub use topic::{Anchors, MapError, OffsetMap, View, name};
