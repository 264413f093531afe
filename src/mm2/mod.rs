//! What MirrorMaker 2 was told and left, for those who come from it.
//!
//! [`import`] turns its configuration, in any of the three forms that it is written in, into strait's; [`offsets`] reads how
//! far it is. [`internal`] is what its clients read on a target.

pub mod import;
pub mod internal;
pub mod offsets;
