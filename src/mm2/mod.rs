//! What MirrorMaker 2 was told, for those who come from it.
//!
//! [`import`] turns its configuration, in any of the three forms that it is written in, into strait's.

pub mod import;
