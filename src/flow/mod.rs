//! The control plane of one flow: snapshot of both clusters, plan, apply.

pub mod topics;
