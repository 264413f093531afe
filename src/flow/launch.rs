//! Gathers the evidence on units that are to start, and starts those with a good verdict.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinSet;
use wire::{
    Isolation, TopicPartition,
    batch::batches,
    client::{Client, ConfigEntry, FetchRequest, OffsetSpec, ProducerState},
    error::{ApiError, ClientError},
    record::Codec,
};

use super::{
    Flow,
    apply::{StepError, configs_of},
    boot::Booted,
    plan::{Trouble, Unit},
    start::{Evidence, Extent, Identity, LastSeen, Side, Verdict, fingerprint},
};
use crate::{
    base::ids::Route,
    checkpoint::{Checkpoint, LastRecord, Stored, codec, control_topic::TopicKey},
    cluster::Cluster,
    config::OnPoison,
    sink::Limits,
    worker::reconcile::{STEPS, TRACES, TargetReader},
};

/// Last records that are fetched at a time.
const FETCHES: usize = 16;
/// How long one may take while others wait to start.
const LOOK: Duration = Duration::from_secs(5);
/// Enough for any batch: the first one comes whole.
const FETCH_BYTES: i32 = 1;
const OFFSET_OUT_OF_RANGE: i16 = 1;
const COMPRESSION: &str = "compression.type";
const MAX_BATCH: &str = "max.message.bytes";
const TIMES: &str = "message.timestamp.type";
/// `max.message.bytes` of a topic whose configs cannot be read: Kafka's default.
const DEFAULT_MAX_BATCH: usize = 1_048_588;

/// A unit that was looked at.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) unit: Unit,
    pub(super) identity: Identity,
    /// What the group holds, if it is a checkpoint.
    pub(super) stored: Option<Checkpoint>,
    pub(super) verdict: Verdict,
    /// Where the target ends.
    pub(super) target_end: i64,
    /// What the target's topic takes.
    pub(super) limits: Limits,
    /// Its checkpoint was written over the other transport.
    pub(super) moves: bool,
}

/// A unit and what both sides hold of it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) unit: Unit,
    pub(super) evidence: Evidence,
}

/// Why units, by their places among those found, could not be looked at.
type Failed = BTreeMap<usize, Trouble>;
type Extents = BTreeMap<TopicPartition, Result<Extent, ApiError>>;

impl Flow {
    /// Looks at units; what cannot be seen now is a trouble, and its unit not among the judged. The checkpoints of
    /// `anew` do not count.
    pub(super) async fn judge(
        &self,
        booted: &Booted,
        units: &[Unit],
        anew: &BTreeSet<TopicPartition>,
    ) -> Result<(Vec<Judged>, Vec<Trouble>), StepError> {
        let (mut found, mut troubles) = self.gather(booted, units).await?;
        for one in &mut found {
            if anew.contains(&one.unit.route.target) {
                one.evidence.stored = None;
            }
        }
        let failed = self.look_at_last_records(&mut found).await;
        troubles.extend(leave_out(&mut found, failed));
        let failed = self.look_for_traces(booted, &mut found, anew).await;
        troubles.extend(leave_out(&mut found, failed));
        let judged = self.verdicts(booted, found).await?;
        Ok((judged, troubles))
    }

    /// What the group and both sides hold of units, save for their last records.
    pub(super) async fn gather(
        &self,
        booted: &Booted,
        units: &[Unit],
    ) -> Result<(Vec<Found>, Vec<Trouble>), StepError> {
        let stored = booted.store.load().await?;
        self.check_foreign(&stored, &booted.source_id, &booted.target_id)?;
        let mut stored: BTreeMap<_, _> = stored.into_iter().collect();
        let source = extents(&self.source, units.iter().map(|unit| &unit.route.source)).await?;
        let target = extents(&self.target, units.iter().map(|unit| &unit.route.target)).await?;
        let mut found = Vec::new();
        let mut troubles = Vec::new();
        for unit in units {
            let (from, to) = (&unit.route.source, &unit.route.target);
            match (&source[from], &target[to]) {
                (Ok(source), Ok(target)) => {
                    let stored = stored.remove(to);
                    let evidence = self.evidence(booted, unit, stored, *source, *target);
                    let unit = unit.clone();
                    found.push(Found { unit, evidence });
                }
                (Err(error), _) => troubles.push(unseen(&self.source, from, from, error)),
                (_, Err(error)) => troubles.push(unseen(&self.target, from, to, error)),
            }
        }
        Ok((found, troubles))
    }

    /// What the target's leader remembers of the unit, whose checkpoint is `known`.
    async fn memory(
        &self,
        identity: &Identity,
        known: Option<&Checkpoint>,
    ) -> Result<Option<ProducerState>, ClientError> {
        if !identity.sealed {
            return Ok(None);
        }
        let id = identity.producer_id(known);
        let wanted = std::slice::from_ref(&identity.route.target);
        let described = self.target.client().describe_producers(wanted).await?;
        let Some((partition, producers)) = described.into_iter().next() else {
            return Ok(None);
        };
        let producers = producers.map_err(|error| ClientError::Api {
            what: partition.to_string(),
            error,
        })?;
        let mut producers = producers.into_iter();
        Ok(producers.find(|one| one.producer_id == id))
    }

    /// The epoch in which the target's leader remembers the unit, whose checkpoint is `known`.
    ///
    /// # Errors
    /// Also if the leader does not tell: an epoch that it has seen already would be taken for an old owner's.
    pub(super) async fn remembered(
        &self,
        identity: &Identity,
        known: Option<&Checkpoint>,
    ) -> Result<Option<i16>, StepError> {
        let memory = self.memory(identity, known).await;
        let memory = memory.map_err(StepError::on(&self.target))?;
        Ok(memory.map(epoch))
    }

    /// Whether the target, which holds these offsets, has records of the unit that its checkpoint `known` does not tell
    /// of.
    pub(super) async fn trace(
        &self,
        identity: &Identity,
        known: Option<&Checkpoint>,
        target: Extent,
    ) -> Result<bool, ClientError> {
        if !identity.sealed {
            return Ok(false);
        }
        let reader = TargetReader::new(self.target.client().clone());
        let (partition, id) = (&identity.route.target, identity.producer_id(known));
        let Some(known) = known else {
            let offsets = target.start..target.end;
            let wrote = reader.wrote(partition, offsets, id, TRACES).await?;
            return Ok(wrote == Some(true));
        };
        let offsets = known.target_offset.max(target.start)..target.end;
        // What cannot be looked at is in doubt.
        Ok(reader.wrote(partition, offsets, id, STEPS).await? != Some(false))
    }

    fn evidence(
        &self,
        booted: &Booted,
        unit: &Unit,
        stored: Option<Stored>,
        source: Extent,
        target: Extent,
    ) -> Evidence {
        let partition = &unit.route.source;
        let key = TopicKey::new(unit.source_topic, &partition.topic);
        let record = booted.records.topics.get(&key);
        let starts = record.and_then(|record| record.start.as_ref());
        // About a target topic that was given up: a group with members keeps it until it is overwritten.
        let is_given_up = |stored: &Stored| {
            let about = codec::decode(stored).map(|checkpoint| checkpoint.target_topic);
            record
                .zip(about.ok())
                .is_some_and(|(record, id)| record.gave_up(id))
        };
        let identity = self.identity(booted, unit);
        let stored = stored.filter(|stored| !is_given_up(stored));
        let succeeds = stored
            .as_ref()
            .is_some_and(|stored| identity.succeeds(stored));
        Evidence {
            stored: stored.filter(|_| !succeeds),
            succeeds,
            source,
            target,
            first_start: starts.and_then(|starts| starts.get(&partition.partition).copied()),
            last: None,
            remembered: None,
            trace: false,
        }
    }

    /// Asks what the target knows of units that begin where it holds something, or behind a gap: their producer, and
    /// whether there is something of theirs that no checkpoint tells of. Those that were reset know that it is.
    async fn look_for_traces(
        &self,
        booted: &Booted,
        found: &mut [Found],
        anew: &BTreeSet<TopicPartition>,
    ) -> Failed {
        let mut failed = Failed::new();
        for (at, Found { unit, evidence }) in found.iter_mut().enumerate() {
            let identity = self.identity(booted, unit);
            let decoded = evidence.stored.as_ref().map(codec::decode);
            let known = decoded.and_then(Result::ok);
            let begins = evidence.stored.is_none() && evidence.target.end > 0;
            let gap = known
                .as_ref()
                .is_some_and(|known| known.source_offset < evidence.source.start);
            if !begins && !gap {
                continue;
            }
            let looked = if anew.contains(&unit.route.target) {
                let memory = self.look_at_memory(&identity, known.as_ref(), evidence);
                memory.await.map(drop)
            } else {
                self.look_for_trace(&identity, known.as_ref(), evidence)
                    .await
            };
            if let Err(error) = looked {
                let Route { source, target } = &unit.route;
                failed.insert(at, unseen(&self.target, source, target, &error));
            }
        }
        failed
    }

    async fn look_for_trace(
        &self,
        identity: &Identity,
        known: Option<&Checkpoint>,
        evidence: &mut Evidence,
    ) -> Result<(), ClientError> {
        let memory = self.look_at_memory(identity, known, evidence).await?;
        let beyond =
            memory.is_some_and(|memory| known.is_none_or(|known| is_beyond(known, memory)));
        evidence.trace = beyond || self.trace(identity, known, evidence.target).await?;
        Ok(())
    }

    async fn look_at_memory(
        &self,
        identity: &Identity,
        known: Option<&Checkpoint>,
        evidence: &mut Evidence,
    ) -> Result<Option<ProducerState>, ClientError> {
        let memory = match self.memory(identity, known).await {
            Ok(memory) => memory,
            // A leader that does not tell: what it remembers shows at the first append.
            Err(error) if error.api_error().is_some() => None,
            Err(error) => return Err(error),
        };
        evidence.remembered = memory.map(epoch);
        Ok(memory)
    }

    /// Fetches the last copied records again, a few at a time.
    async fn look_at_last_records(&self, found: &mut [Found]) -> Failed {
        let wanted: Vec<_> = found
            .iter()
            .enumerate()
            .filter_map(|(at, Found { unit, evidence })| {
                let checkpoint = codec::decode(evidence.stored.as_ref()?).ok()?;
                Some((
                    at,
                    unit.route.source.clone(),
                    checkpoint.last_record?,
                    evidence.source,
                ))
            })
            .collect();
        let mut failed = Failed::new();
        for some in wanted.chunks(FETCHES) {
            let mut fetches = JoinSet::new();
            for (at, partition, last, extent) in some.iter().cloned() {
                let (client, clock) = (self.source.client().clone(), Arc::clone(&self.host.clock));
                fetches.spawn(async move {
                    let seen = tokio::select! {
                        biased;
                        seen = last_seen(&client, partition, last, extent) => seen.map_err(|e| e.to_string()),
                        () = clock.sleep(LOOK) => {
                            Err(format!("its last record cannot be read within {} s", LOOK.as_secs()))
                        }
                    };
                    (at, seen)
                });
            }
            while let Some(done) = fetches.join_next().await {
                let (at, seen) = done.expect("a fetch does not panic and is not aborted");
                let Found { unit, evidence } = &mut found[at];
                let source = &unit.route.source;
                match seen {
                    Ok(seen) => evidence.last = Some(seen),
                    Err(error) => {
                        failed.insert(at, unseen(&self.source, source, source, &error));
                    }
                }
            }
        }
        failed
    }

    async fn verdicts(&self, booted: &Booted, found: Vec<Found>) -> Result<Vec<Judged>, StepError> {
        let names = |name: fn(&Unit) -> &String| -> Vec<String> {
            let names: BTreeSet<_> = found.iter().map(|one| name(&one.unit)).collect();
            names.into_iter().cloned().collect()
        };
        let source_names = names(|unit| &unit.route.source.topic);
        let target_names = names(|unit| &unit.route.target.topic);
        let source_configs = configs_of(&self.source, &source_names, &[COMPRESSION]).await?;
        let of_target = [MAX_BATCH, TIMES];
        let target_configs = configs_of(&self.target, &target_names, &of_target).await?;
        let judged = found.into_iter().map(|Found { unit, evidence }| {
            let identity = self.identity(booted, &unit);
            let (from, to) = (&unit.route.source.topic, &unit.route.target.topic);
            let compression = config(&source_configs, from, COMPRESSION);
            let max_batch = config(&target_configs, to, MAX_BATCH);
            let times = config(&target_configs, to, TIMES);
            let stored = evidence.stored.as_ref();
            let stored = stored.and_then(|stored| codec::decode(stored).ok());
            let over_the_other = self.fingerprint(&unit, !identity.sealed);
            Judged {
                verdict: identity.verdict(&evidence),
                target_end: evidence.target.end,
                moves: stored
                    .as_ref()
                    .is_some_and(|stored| stored.fingerprint == over_the_other),
                stored,
                identity,
                limits: Limits {
                    codec: compression
                        .and_then(|name| name.parse().ok())
                        .unwrap_or(Codec::Lz4),
                    max_batch_bytes: max_batch
                        .and_then(|bytes| bytes.parse().ok())
                        .unwrap_or(DEFAULT_MAX_BATCH),
                    log_append_time: times == Some("LogAppendTime"),
                },
                unit,
            }
        });
        Ok(judged.collect())
    }

    pub(super) fn identity(&self, booted: &Booted, unit: &Unit) -> Identity {
        let side = |cluster: &Cluster, id: &str, topic_id| Side {
            alias: cluster.alias().to_owned(),
            cluster_id: id.to_owned(),
            topic_id,
        };
        let route = &unit.route;
        let sealed = booted.provides.is_sealed();
        Identity {
            route: route.clone(),
            group: self.config.group(),
            source: side(&self.source, &booted.source_id, unit.source_topic),
            target: side(&self.target, &booted.target_id, unit.target_topic),
            fingerprint: self.fingerprint(unit, sealed),
            sealed,
            config: self.config.topic(&route.source.topic).clone(),
        }
    }

    /// Hash of all that decides which record of `unit` gets which sequence.
    fn fingerprint(&self, unit: &Unit, sealed: bool) -> u64 {
        let isolation = match self.config.isolation {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        };
        let route = &unit.route;
        let form = if sealed { " sealed" } else { "" };
        // What is not said is the default, so that a release that adds a policy changes no mapping.
        let skips = match self.config.topic(&route.source.topic).on_poison {
            OnPoison::Stop => "",
            OnPoison::Skip => " skip",
        };
        fingerprint(&format!(
            "1 {} {} to {} {} {isolation}{form}{skips}",
            unit.source_topic, route.source, unit.target_topic, route.target
        ))
    }
}

/// First offset and end of partitions: the ends of the log, not of what is committed.
async fn extents<'a>(
    cluster: &Cluster,
    partitions: impl Iterator<Item = &'a TopicPartition>,
) -> Result<Extents, StepError> {
    let mut extents = Extents::new();
    let partitions: Vec<_> = partitions.cloned().collect();
    // The ends first, so that they are never before a start that moves on meanwhile.
    for spec in [OffsetSpec::Latest, OffsetSpec::Earliest] {
        let wanted: Vec<_> = partitions.iter().map(|one| (one.clone(), spec)).collect();
        let listed = cluster
            .client()
            .list_offsets(&wanted, Isolation::ReadUncommitted)
            .await;
        for (partition, found) in listed.map_err(StepError::on(cluster))? {
            let extent = extents
                .entry(partition)
                .or_insert(Ok(Extent { start: 0, end: 0 }));
            match (extent, found) {
                (Ok(extent), Ok(found)) if spec == OffsetSpec::Latest => extent.end = found.offset,
                (Ok(extent), Ok(found)) => extent.start = found.offset,
                (extent, Err(error)) => *extent = Err(error),
                (Err(_), _) => {}
            }
        }
    }
    for partition in partitions {
        extents.entry(partition).or_insert(Err(ApiError {
            code: -1,
            message: Some("the cluster did not answer for it".to_owned()),
        }));
    }
    Ok(extents)
}

/// What the source holds where the last copied record was; where that is gone, what it knows of the record's
/// leader.
pub(super) async fn last_seen(
    client: &Client,
    partition: TopicPartition,
    last: LastRecord,
    extent: Extent,
) -> Result<LastSeen, ClientError> {
    match record_at(client, &partition, last.source_offset, extent).await? {
        Some(found) => Ok(found),
        // Who copied it was not told the epoch.
        None if last.leader_epoch < 0 => Ok(LastSeen::Gone),
        None => epoch_end(client, partition, last.leader_epoch).await,
    }
}

/// Where `epoch` ends on the source.
pub(super) async fn epoch_end(
    client: &Client,
    partition: TopicPartition,
    epoch: i32,
) -> Result<LastSeen, ClientError> {
    let ends = match client.offsets_for_leader_epoch(&[(partition, epoch)]).await {
        Ok(ends) => ends,
        // A cluster without the call says nothing against it.
        Err(ClientError::Protocol { .. }) => return Ok(LastSeen::Gone),
        Err(error) => return Err(error),
    };
    match ends.into_iter().next() {
        Some((_, Ok(end))) if end.leader_epoch == epoch => Ok(LastSeen::EpochEnds(end.end_offset)),
        // The end of an older one: this log never had the epoch.
        Some((_, Ok(_))) => Ok(LastSeen::EpochEnds(-1)),
        Some((partition, Err(error))) => Err(ClientError::Api {
            what: partition.to_string(),
            error,
        }),
        None => Ok(LastSeen::Gone),
    }
}

/// The record at `offset`, if there is one.
async fn record_at(
    client: &Client,
    partition: &TopicPartition,
    offset: i64,
    extent: Extent,
) -> Result<Option<LastSeen>, ClientError> {
    if offset < extent.start || offset >= extent.end {
        return Ok(None);
    }
    let request = FetchRequest {
        partition: partition.clone(),
        offset,
        max_bytes: FETCH_BYTES,
        max_wait: std::time::Duration::ZERO,
        isolation: Isolation::ReadUncommitted,
    };
    let fetched = match client.fetch(request).await {
        Ok(fetched) => fetched,
        Err(error)
            if error
                .api_error()
                .is_some_and(|e| e.code == OFFSET_OUT_OF_RANGE) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let Some(batch) = batches(fetched.records.clone())
        .next()
        .transpose()
        .ok()
        .flatten()
    else {
        return Ok(None);
    };
    let records = fetched
        .committed(offset, Isolation::ReadUncommitted)?
        .records;
    let record = records.first().filter(|record| record.offset == offset);
    Ok(record.map(|record| LastSeen::Found {
        crc: record.crc(),
        payload_crc: batch.payload_crc(),
        leader_epoch: batch.header.partition_leader_epoch,
    }))
}

pub(super) fn config<'a>(
    configs: &'a BTreeMap<String, Result<Vec<ConfigEntry>, ApiError>>,
    topic: &str,
    name: &str,
) -> Option<&'a str> {
    let configs = configs.get(topic)?.as_ref().ok()?;
    configs
        .iter()
        .find(|config| config.name == name)?
        .value
        .as_deref()
}

fn epoch(memory: ProducerState) -> i16 {
    i16::try_from(memory.producer_epoch).unwrap_or(i16::MAX)
}

/// Whether the leader took more of the unit's producer than the checkpoint `known` tells of, replicated or not.
fn is_beyond(known: &Checkpoint, memory: ProducerState) -> bool {
    let Some(producer) = known.producer else {
        return false;
    };
    let next = memory.last_sequence.wrapping_add(1) & i32::MAX;
    let more = next.wrapping_sub(known.sequence) & i32::MAX;
    let newer = epoch(memory) > producer.epoch;
    newer || epoch(memory) == producer.epoch && (1..i32::MAX / 2).contains(&more)
}

/// Takes out what could not be looked at: it keeps no other unit waiting, and is looked at again in the next round.
fn leave_out(found: &mut Vec<Found>, mut failed: Failed) -> Vec<Trouble> {
    let mut at = 0..;
    let mut troubles = Vec::new();
    found.retain(|_| {
        let trouble = at.next().and_then(|at| failed.remove(&at));
        let kept = trouble.is_none();
        troubles.extend(trouble);
        kept
    });
    troubles
}

fn unseen(
    cluster: &Cluster,
    topic: &TopicPartition,
    at: &TopicPartition,
    error: &dyn Display,
) -> Trouble {
    Trouble {
        topic: topic.topic.clone(),
        code: "offsets",
        text: format!("{at} on {}: {error}", cluster.alias()),
    }
}
