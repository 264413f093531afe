//! The control plane of one flow: snapshot of both clusters, plan, apply.

pub mod membership;
pub mod plan;
pub mod start;
pub mod topics;
