//! Why a partition stands still, as both clusters see it.
//!
//! A worker that stops writes it into its checkpoint. What keeps a partition from having one is seen from what is
//! there: the same verdict that `run` would come to, and the control topic's word about the target topic.

use uuid::Uuid;
use wire::TopicPartition;

use super::{Offsets, Partition, Side, Survey, Topic, detail::Detail};
use crate::{
    base::ids::Route,
    checkpoint::{Stored, control_topic::TopicKey},
    flow::start::{self, Evidence, Extent, Identity, Verdict},
    status::PartitionStatus,
    worker::{Advice, Stop, StopReason},
};

/// The stop that `run` would come to by what was asked; whether the source still has the last copied record, and
/// whose records the target holds, is left to `run`.
pub(super) fn at_start(
    survey: &Survey,
    topic: &Topic,
    partition: &Partition,
    offsets: Offsets,
    target: Extent,
) -> Option<Stop> {
    let identity = identity(survey, topic, partition.index);
    let succeeds = |stored: &&Stored| identity.succeeds(stored);
    let before = partition.stored.as_ref().filter(succeeds).is_some();
    let evidence = Evidence {
        stored: partition.stored.clone().filter(|_| !before),
        source: Extent {
            start: offsets.first,
            end: offsets.end,
        },
        target,
        first_start: None,
        last: None,
        remembered: None,
        trace: false,
        succeeds: before,
    };
    match identity.verdict(&evidence) {
        Verdict::Stop(stop) => Some(stop),
        Verdict::Run { .. } => None,
    }
}

/// `status` with the partition's stop, if it has one.
pub(super) fn with_stop(
    status: PartitionStatus,
    survey: &Survey,
    detail: &Detail,
    topic: &Topic,
    partition: &Partition,
) -> PartitionStatus {
    let source = TopicPartition::new(&topic.source, partition.index);
    let advice = Advice::new(&detail.file, &survey.flow, &source);
    let next = status.source_offset.unwrap_or(-1);
    let checkpoint = partition.checkpoint().and_then(Result::ok);
    if let Some(stopped) = checkpoint.and_then(|checkpoint| checkpoint.stopped) {
        let reason = StopReason::from_code(&stopped.reason);
        let command = reason.map(|reason| advice.command(reason, stopped.source_offset, next));
        return PartitionStatus {
            state: Some("stopped".to_owned()),
            reason: Some(stopped.reason),
            text: command.map(|command| format!("to go on: {command}")),
            stopped_offset: Some(stopped.source_offset),
            stopped_since_ms: Some(stopped.since_ms),
            ..status
        };
    }
    let seen = other_target(detail, topic).or_else(|| {
        let target = topic.existing.as_ref()?.partitions.get(&partition.index)?;
        let (offsets, target) = (partition.offsets.as_ref().ok()?, target.as_ref().ok()?);
        at_start(survey, topic, partition, *offsets, *target)
    });
    let Some(stop) = seen.map(|stop| stop.advised(&advice, next)) else {
        return status;
    };
    PartitionStatus {
        state: Some("stopped".to_owned()),
        reason: Some(stop.reason.code().to_owned()),
        stopped_offset: Some(stop.source_offset),
        text: Some(stop.text),
        ..status
    }
}

/// The target topic is not the one that the control topic knows.
fn other_target(detail: &Detail, topic: &Topic) -> Option<Stop> {
    let key = TopicKey::new(topic.source_id, &topic.source);
    let bound: Uuid = *detail.bound.get(&key)?;
    let (reason, text) = match &topic.existing {
        Some(existing) if existing.id == bound => return None,
        Some(_) => (StopReason::TargetTopicRecreated, "was created anew"),
        None => (StopReason::TargetTopicMissing, "is gone"),
    };
    Some(Stop {
        reason,
        source_offset: -1,
        text: format!("{} {text} on the target", topic.target),
    })
}

fn identity(survey: &Survey, topic: &Topic, partition: i32) -> Identity {
    let side = |side: &Side, topic_id| start::Side {
        alias: side.alias.clone(),
        cluster_id: side.cluster_id.clone(),
        topic_id,
    };
    let target_id = topic.existing.as_ref().map(|existing| existing.id);
    Identity {
        route: Route {
            source: TopicPartition::new(&topic.source, partition),
            target: TopicPartition::new(&topic.target, partition),
        },
        group: survey.group.clone(),
        source: side(&survey.source, topic.source_id),
        target: side(&survey.target, target_id.unwrap_or_default()),
        // They decide how a worker starts, not whether.
        fingerprint: 0,
        sealed: false,
        config: topic.config.clone(),
    }
}
