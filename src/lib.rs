//! strait copies Kafka topics from one cluster to another, keeps every partition's order, and
//! resumes where it stopped.
//!
//! # The path of a batch
//!
//! ```text
//!  source cluster                                                              target cluster
//!  ┌───────────┐  fetch   ┌──────────┐  batch  ┌──────────────┐  batch  ┌──────┐  produce  ┌────────┐
//!  │ partition │ ───────▶ │  source  │ ──────▶ │    worker    │ ──────▶ │ sink │ ────────▶ │ leader │
//!  └───────────┘  permit  └──────────┘         │    ledger    │ ◀────── └──────┘ ◀── ack   └────────┘
//!                 first                        └──────┬───────┘  answer
//!                                       acknowledged  │  prefix
//!                                                     ▼
//!                                  committer: checkpoint, in the group strait.<flow> on the target
//! ```
//!
//! 1. [`config`]: what the operator asked for.
//! 2. [`cluster`]: one Kafka cluster and how it is asked.
//! 3. [`flow`]: the control plane. Its supervisor looks at both clusters, plans, and applies: creates
//!    topics, decides where each partition starts, and starts and stops workers.
//! 4. [`source`]: where batches come from, under the byte budget of [`base::budget`].
//! 5. [`worker`]: one source partition, one task; its ledger knows what is acknowledged.
//! 6. [`sink`]: where batches go.
//! 7. [`checkpoint`]: how far each unit is, durably; never ahead of acknowledged data.
//!
//! Around the path: [`app`] wires everything and ends it, [`telemetry`] and [`http`] tell about it,
//! [`survey`] reads both clusters from outside (`check`, `status`), [`mod@status`] is the shape in which the
//! last two tell how far flows are, [`mod@verify`] compares both sides, [`mm2`] knows what
//! MirrorMaker 2 was told and what it writes, [`demo`] shows it all. What follows beside the records is in [`flow::sync`]: configs,
//! offsets of groups, rules; [`flow::handover`] takes over from MirrorMaker 2, and gives back.

pub mod app;
pub mod base;
pub mod checkpoint;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod flow;
pub mod http;
pub mod mm2;
pub mod sink;
pub mod source;
pub mod status;
pub mod survey;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod verify;
pub mod worker;
