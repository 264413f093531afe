//! What is compared, on which data.

use std::{path::Path, str::FromStr};

use anyhow::{Result, ensure};

use super::{
    copier::Copier,
    workload::{Workload, records, setting, settings},
};

/// What is measured, in this order, round by round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Moves the same bytes, and knows nothing of them.
    Relay,
    /// Copies them.
    Copier(Copier),
}

impl Subject {
    const ALL: [Self; 4] = [
        Self::Relay,
        Self::Copier(Copier::Strait),
        Self::Copier(Copier::Librdkafka),
        Self::Copier(Copier::MirrorMaker),
    ];

    /// For the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relay => "TCP relay",
            Self::Copier(copier) => copier.name(),
        }
    }
}

/// The name is none of those.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not one of relay, strait, librdkafka, mirrormaker")]
pub struct Unknown(String);

impl FromStr for Subject {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        Ok(match name {
            "relay" => Self::Relay,
            "strait" => Self::Copier(Copier::Strait),
            "librdkafka" => Self::Copier(Copier::Librdkafka),
            "mirrormaker" => Self::Copier(Copier::MirrorMaker),
            _ => return Err(Unknown(name.to_owned())),
        })
    }
}

/// Who is measured.
pub fn subjects() -> Result<Vec<Subject>> {
    settings("COPIERS", &Subject::ALL)
}

/// All data that is copied: every combination of what the environment lists, `MATRIX=full` being long lists. With
/// `TLS=yes` all is copied over TLS; the full matrix has one such beside the others.
pub fn workloads(ca: &Path) -> Result<Vec<Workload>> {
    let full = match setting("MATRIX", String::new())?.as_str() {
        "full" => true,
        other => {
            ensure!(other.is_empty(), "MATRIX is full, or not set");
            false
        }
    };
    let base = Workload::from_environment()?;
    let batches = settings(
        "BATCH",
        pick(full, &[131_072, 16_384, 4_096], &[131_072, 4_096]),
    )?;
    let sizes = settings("RECORD_BYTES", pick(full, &[1_000, 100], &[1_000]))?;
    let codecs = ["lz4", "none", "zstd"].map(str::to_owned);
    let codecs = settings("CODEC", pick(full, &codecs, &codecs[..1]))?;
    let mut all = Vec::new();
    for partitions in settings("PARTITIONS", pick(full, &[8, 1_000], &[8]))? {
        for record_bytes in &sizes {
            for codec in &codecs {
                for batch_bytes in &batches {
                    all.push(Workload {
                        records: records(*record_bytes)?,
                        record_bytes: *record_bytes,
                        partitions,
                        codec: codec.clone(),
                        batch_bytes: *batch_bytes,
                        ..base.clone()
                    });
                }
            }
        }
    }
    let tls = setting("TLS", "no".to_owned())? == "yes";
    let secured = |workload: Workload| Workload {
        ca: Some(ca.to_owned()),
        ..workload
    };
    if tls {
        all = all.into_iter().map(secured).collect();
    } else if full && let Some(first) = all.first().cloned() {
        all.insert(1, secured(first));
    }
    Ok(all)
}

fn pick<'a, T>(full: bool, long: &'a [T], short: &'a [T]) -> &'a [T] {
    if full { long } else { short }
}
