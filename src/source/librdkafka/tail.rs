//! Where partitions end, and what lies before the end without being a record.
//!
//! Under read_committed the consumer says nothing about markers and aborted records, so a partition that
//! ends in them would never be seen as caught up, nor its checkpoint move past them. Once a second the
//! ends are listed with the wire client; where the consumer's position stands still before the end,
//! the range is read, and if it holds no record the position passes over it. The proof names the
//! position it began at, so one that comes late, or for an earlier opening, does nothing.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use host::Clock;
use tokio::sync::mpsc;
use wire::{
    Isolation, TopicPartition,
    client::{Client, FetchRequest, OffsetSpec},
    error::ClientError,
};

use super::command::{Command, Positions};
use crate::source::Looks;

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(500);
/// Read at once in search of a record.
const READ_BYTES: i32 = 1 << 20;

/// Looks at the ends of all open partitions.
pub(super) struct Tail {
    pub(super) client: Client,
    pub(super) isolation: Isolation,
    pub(super) positions: Positions,
    /// Told of each look.
    pub(super) looks: Looks,
    pub(super) clock: Arc<dyn Clock>,
}

impl Tail {
    /// Runs until the thread that `commands` leads to is gone.
    pub(super) async fn watch(self, commands: mpsc::WeakSender<Command>) {
        let mut before = HashMap::new();
        loop {
            tokio::time::sleep(PERIOD).await;
            let now = self
                .positions
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let found = look(&self.client, self.isolation, &before, &now).await;
            let Some(commands) = commands.upgrade() else {
                return;
            };
            match found {
                Ok(found) => {
                    self.looks.looked(self.clock.wall_ms());
                    for command in found {
                        if commands.send(command).await.is_err() {
                            return;
                        }
                    }
                }
                // The consumer says what is wrong with the cluster.
                Err(error) => tracing::debug!(%error, "cannot list the ends of the source"),
            }
            before = now;
        }
    }
}

async fn look(
    client: &Client,
    isolation: Isolation,
    before: &HashMap<TopicPartition, i64>,
    now: &HashMap<TopicPartition, i64>,
) -> Result<Vec<Command>, ClientError> {
    let wanted: Vec<_> = now
        .keys()
        .map(|p| (p.clone(), OffsetSpec::Latest))
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let listed = client.list_offsets(&wanted, isolation).await?;
    let ends: HashMap<_, _> = listed
        .into_iter()
        .filter_map(|(p, found)| Some((p, found.ok()?.offset)))
        .collect();
    let mut commands = Vec::new();
    for (partition, from) in now {
        let stands_still = before.get(partition) == Some(from);
        if stands_still && ends.get(partition) > Some(from) {
            let to = pass_over(client, isolation, partition, *from).await?;
            if to > *from {
                commands.push(Command::Passed {
                    partition: partition.clone(),
                    from: *from,
                    to,
                });
            }
        }
    }
    commands.push(Command::Ends(ends));
    Ok(commands)
}

/// The end of the range from `from` on that holds no record, as far as one read shows.
pub(super) async fn pass_over(
    client: &Client,
    isolation: Isolation,
    partition: &TopicPartition,
    from: i64,
) -> Result<i64, ClientError> {
    let request = FetchRequest {
        partition: partition.clone(),
        offset: from,
        max_bytes: READ_BYTES,
        max_wait: Duration::ZERO,
        isolation,
    };
    let committed = client.fetch(request).await?.committed(from, isolation)?;
    Ok(committed
        .records
        .first()
        .map_or(committed.next_offset, |record| record.offset))
}
