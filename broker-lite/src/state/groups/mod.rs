//! Consumer groups.

mod expiry;
pub(crate) mod group;
mod hex;
pub(crate) mod join;
pub(crate) mod member;
mod subscription;
pub(crate) mod sync;
#[cfg(test)]
mod tests;
