//! What MirrorMaker 2 left on the target: its group, and its positions.

use std::{collections::BTreeSet, ops::ControlFlow};

use wire::{
    Isolation, TopicPartition,
    client::{OffsetSpec, TopicDescription},
};

use super::MirrorMaker;
use crate::{
    cluster::read::read,
    flow::{
        Flow,
        adjust::{AdjustError, offline::NOBODY},
    },
    mm2::offsets::{Positions, Record},
};

/// Of one partition of the offsets topic; Connect has it compacted.
const MAX_BYTES: usize = 256 << 20;
const UNKNOWN_TOPIC: i16 = 3;

/// The offsets topic, read to its end.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) positions: Positions,
    /// How many partitions it has.
    pub(super) partitions: i32,
}

impl Flow {
    pub(super) fn unavailable(&self, error: &dyn ToString) -> AdjustError {
        let alias = self.target.alias();
        AdjustError::Unavailable(format!("cluster {alias}: {}", error.to_string()))
    }

    /// Refuses while MirrorMaker 2 or the flow may copy; a dry run minds neither. What is to be known about who does.
    pub(super) async fn nobody_copies(
        &self,
        mirror: &MirrorMaker,
        dry_run: bool,
    ) -> Result<Vec<String>, AdjustError> {
        let notes = self.it_rests(mirror, dry_run).await?.into_iter().collect();
        if !dry_run {
            self.nobody_runs_it().await?;
        }
        Ok(notes)
    }

    /// Refuses while MirrorMaker 2 may copy. What is to be known about its group, if anything.
    async fn it_rests(
        &self,
        mirror: &MirrorMaker,
        dry_run: bool,
    ) -> Result<Option<String>, AdjustError> {
        let (group, alias) = (&mirror.group, self.target.alias());
        let client = self.target.client();
        let described = client.describe_groups(std::slice::from_ref(group)).await;
        let described = described.map_err(|error| self.unavailable(&error))?;
        let found = described.into_iter().next().map(|(_, found)| found);
        let found =
            found.ok_or_else(|| self.unavailable(&"no answer about MirrorMaker 2's group"))?;
        let found = found.map_err(|error| {
            AdjustError::Unavailable(format!("group {group} on {alias}: {error}"))
        })?;
        if found.members.is_empty() && NOBODY.contains(&found.state.as_str()) {
            let unknown = found.state != "Empty";
            return Ok(unknown.then(|| {
                format!(
                    "{alias} knows no group {group}: MirrorMaker 2 has been gone for a while, or its group has another \
                     name (--group)"
                )
            }));
        }
        let members: BTreeSet<_> = found
            .members
            .iter()
            .map(|one| one.client_host.as_str())
            .collect();
        let members: Vec<_> = members.into_iter().collect();
        let text = format!(
            "group {group} on {alias} has members (at {}): MirrorMaker 2 runs",
            members.join(", ")
        );
        if mirror.stopped {
            return Ok(Some(format!(
                "group {group} on {alias} has members; that its connector is stopped was taken from --stopped"
            )));
        }
        match dry_run {
            true => Ok(Some(format!("{text}, and goes on while this is read"))),
            false => Err(AdjustError::Refused(format!(
                "{text}; stop it first, and wait until the group is empty. On a Kafka Connect that runs other connectors \
                 too, stop its three connectors (PUT /connectors/NAME/stop) and say --stopped"
            ))),
        }
    }

    /// The offsets topic; none if there is none.
    pub(super) async fn offsets_topic(
        &self,
        mirror: &MirrorMaker,
    ) -> Result<Option<TopicDescription>, AdjustError> {
        let name = &mirror.offsets_topic;
        let topics = self
            .target
            .client()
            .topics(Some(std::slice::from_ref(name)))
            .await;
        let topics = topics.map_err(|error| self.unavailable(&error))?;
        let Some(topic) = topics.into_iter().next() else {
            return Err(self.unavailable(&format!("no answer about topic {name}")));
        };
        match &topic.error {
            None => Ok(Some(topic)),
            Some(error) if error.code == UNKNOWN_TOPIC => Ok(None),
            Some(error) => Err(self.unavailable(&format!("topic {name}: {error}"))),
        }
    }

    /// Reads all positions.
    pub(super) async fn left_by(
        &self,
        mirror: &MirrorMaker,
        topic: &TopicDescription,
    ) -> Result<Left, AdjustError> {
        let partitions = topic.partition_count();
        let wanted: Vec<_> = (0..partitions)
            .map(|index| TopicPartition::new(&topic.name, index))
            .collect();
        self.nothing_is_undecided(&wanted).await?;
        let mut positions = Positions::new(&mirror.source);
        for partition in &wanted {
            self.read_positions(partition, &mut positions).await?;
        }
        Ok(Left {
            positions,
            partitions,
        })
    }

    async fn read_positions(
        &self,
        partition: &TopicPartition,
        positions: &mut Positions,
    ) -> Result<(), AdjustError> {
        let client = self.target.client();
        let mut extent = [0; 2];
        for (at, spec) in [OffsetSpec::Earliest, OffsetSpec::Latest]
            .into_iter()
            .enumerate()
        {
            let wanted = [(partition.clone(), spec)];
            let listed = client.list_offsets(&wanted, Isolation::ReadCommitted).await;
            let listed = listed.map_err(|error| self.unavailable(&error))?.pop();
            let (_, found) = listed.ok_or_else(|| self.unavailable(&"no answer about an end"))?;
            let found =
                found.map_err(|error| self.unavailable(&format!("{partition}: {error}")))?;
            extent[at] = found.offset;
        }
        let mut wrong = None;
        let reading = read(
            client,
            partition,
            extent[0]..extent[1],
            Isolation::ReadCommitted,
            MAX_BYTES,
            |record| {
                let Some(key) = &record.key else {
                    return ControlFlow::Continue(());
                };
                let added = positions.add(&Record {
                    partition: partition.partition,
                    timestamp: record.timestamp,
                    key,
                    value: record.value.as_deref(),
                });
                match added {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        wrong = Some((record.offset, error));
                        ControlFlow::Break(())
                    }
                }
            },
        );
        reading.await.map_err(|error| self.unavailable(&error))?;
        match wrong {
            None => Ok(()),
            Some((offset, error)) => Err(AdjustError::Refused(format!(
                "{partition} on {}, offset {offset}: {error}",
                self.target.alias()
            ))),
        }
    }

    /// Refuses while a transaction is open in one of these partitions of the target: what it wrote may still come to count.
    pub(super) async fn nothing_is_undecided(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<(), AdjustError> {
        let client = self.target.client();
        let wanted: Vec<_> = partitions
            .iter()
            .map(|partition| (partition.clone(), OffsetSpec::Latest))
            .collect();
        // The decided end last: it only moves on.
        let ends = client
            .list_offsets(&wanted, Isolation::ReadUncommitted)
            .await;
        let ends = ends.map_err(|error| self.unavailable(&error))?;
        let decided = client.list_offsets(&wanted, Isolation::ReadCommitted).await;
        let decided = decided.map_err(|error| self.unavailable(&error))?;
        for ((partition, end), (_, decided)) in ends.into_iter().zip(decided) {
            let failed = |error| self.unavailable(&format!("{partition}: {error}"));
            let (end, decided) = (end.map_err(failed)?.offset, decided.map_err(failed)?.offset);
            if decided < end {
                return Err(AdjustError::Unavailable(format!(
                    "{partition} on {} has an open transaction from offset {decided} on: it ends within its producer's \
                     transaction.timeout.ms, try again then",
                    self.target.alias()
                )));
            }
        }
        Ok(())
    }
}

/// Which connector's positions count; none: there are none.
pub(super) fn connector(
    mirror: &MirrorMaker,
    positions: &Positions,
) -> Result<Option<String>, AdjustError> {
    let (topic, source) = (&mirror.offsets_topic, &mirror.source);
    let known: Vec<_> = positions.connectors().into_iter().collect();
    let others: Vec<_> = positions
        .other_clusters()
        .iter()
        .map(String::as_str)
        .collect();
    match (&mirror.connector, &known[..]) {
        (Some(name), _) if known.contains(&name.as_str()) => Ok(Some(name.clone())),
        (Some(name), known) => Err(AdjustError::Unknown(format!(
            "connector {name} has no positions in {source} in {topic}; there are those of: {}",
            or_none(known)
        ))),
        (None, [one]) => Ok(Some((*one).to_owned())),
        (None, []) if others.is_empty() => Ok(None),
        (None, []) => Err(AdjustError::Unknown(format!(
            "{topic} has no positions in {source}, but in: {}; --source-alias says what MirrorMaker 2 calls the source",
            others.join(", ")
        ))),
        (None, several) => Err(AdjustError::Refused(format!(
            "several connectors have positions in {source} in {topic}: {}; --connector says which one wrote to this target",
            several.join(", ")
        ))),
    }
}

fn or_none(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}
