//! Looks at groups on both sides and commits on the source what was decided on, a hundred at a time, so that little lies
//! between the last look and the commit.

use std::collections::{BTreeMap, BTreeSet};

use wire::{
    TopicPartition,
    client::{Client, GroupOffsets, ListedGroup},
    error::{ApiError, ClientError},
};

use super::{
    super::{
        CHUNK, GroupSelection, MAX_GROUPS, SHARE, UNSTABLE_OFFSET_COMMIT,
        commit::{HAS_MEMBERS, MAX_ENTRIES},
        decide::{any_mark, has_members},
    },
    Group, Outcome, Request, Returned,
    answer::Told,
    decide::{Found, Terms, Writes},
    gather::{Answers, Gathered, on},
};
use crate::flow::{Flow, adjust::AdjustError};

/// Takes groups back to the source, unless it is a dry run.
///
/// # Errors
/// If a cluster does not answer, there is no map, or a group that was asked for has nothing on the target.
pub async fn back(flow: &Flow, request: &Request) -> Result<Returned, AdjustError> {
    let job = Job {
        gathered: Gathered::new(flow).await?,
        flow,
        request,
    };
    let names = job.names().await?;
    let mut moved = job.moved(&names).await?;
    // Of all groups at once: what is between two anchors is counted for all of them.
    let mut asked: BTreeMap<TopicPartition, BTreeSet<i64>> = BTreeMap::new();
    for (partition, committed) in moved.offsets.values().flatten() {
        let offsets = asked.entry(partition.clone()).or_default();
        offsets.insert(committed.offset);
    }
    let answers = job.gathered.answers(asked).await?;
    let names: Vec<_> = moved.offsets.keys().cloned().collect();
    let mut groups = moved.untold;
    for some in names.chunks(CHUNK) {
        let some = some
            .iter()
            .filter_map(|name| moved.offsets.remove_entry(name));
        groups.extend(job.go(some.collect(), &answers).await?);
    }
    groups.sort_by(|a, b| a.group.cmp(&b.group));
    Ok(Returned {
        flow: flow.config.name.clone(),
        dry_run: request.dry_run,
        groups,
        not_moved: moved.not_moved,
    })
}

/// Groups that have something on the target of what the flow copied.
#[derive(Debug, Default)]
struct Moved {
    /// What they committed there; not only strait did, or they were asked for.
    offsets: BTreeMap<String, GroupOffsets>,
    /// Those of which that is not told.
    untold: Vec<Group>,
    /// How many others there are.
    not_moved: usize,
}

struct Job<'a> {
    flow: &'a Flow,
    request: &'a Request,
    gathered: Gathered<'a>,
}

/// What groups have, and those that cannot be told.
type Held = (BTreeMap<String, GroupOffsets>, Vec<Group>);

impl Job<'_> {
    /// The groups in question.
    async fn names(&self) -> Result<Vec<String>, AdjustError> {
        let asked = &self.request.groups;
        if let Some(own) = asked.iter().find(|group| group.starts_with("strait.")) {
            return Err(AdjustError::Unknown(format!("group {own} is a flow's own")));
        }
        if !asked.is_empty() {
            let names: BTreeSet<_> = asked.iter().cloned().collect();
            return Ok(names.into_iter().collect());
        }
        let selection = GroupSelection::new(&self.flow.config);
        let listed = self.list(self.flow.target.client(), self.flow.target.alias());
        let listed = listed.await?.into_iter();
        let listed = listed.filter(|one| {
            selection.selects(&one.group)
                && !one.kind.eq_ignore_ascii_case(SHARE)
                && one.protocol_type != SHARE
        });
        let names: Vec<String> = listed.map(|one| one.group).collect();
        if names.len() > MAX_GROUPS {
            return Err(AdjustError::Refused(format!(
                "{} groups are more than {MAX_GROUPS}: name some of them (--group)",
                names.len()
            )));
        }
        Ok(names)
    }

    async fn list(&self, client: &Client, alias: &str) -> Result<Vec<ListedGroup>, AdjustError> {
        client
            .list_groups()
            .await
            .map_err(|error| on(alias, &error))
    }

    /// What groups have on the target of what the flow copied.
    async fn moved(&self, names: &[String]) -> Result<Moved, AdjustError> {
        let (flow, target) = (&self.flow.config.name, &self.flow.target);
        let mut moved = Moved::default();
        for some in names.chunks(CHUNK) {
            let held = self.held(target.client(), target.alias(), some.iter());
            let (held, untold) = held.await?;
            moved.untold.extend(untold);
            for (group, offsets) in held {
                let offsets = self.copied(offsets);
                let is_asked = self.request.groups.contains(&group);
                if is_asked && offsets.is_empty() {
                    return Err(AdjustError::Unknown(format!(
                        "group {group} has no offsets on {} of what flow {flow} copied",
                        target.alias()
                    )));
                }
                let mut all = offsets.values();
                if is_asked || all.any(|one| any_mark(&one.metadata).is_none()) {
                    moved.offsets.insert(group, offsets);
                } else {
                    moved.not_moved += usize::from(!offsets.is_empty());
                }
            }
        }
        Ok(moved)
    }

    /// Those of partitions on the target that the flow writes.
    fn copied(&self, mut offsets: GroupOffsets) -> GroupOffsets {
        offsets.retain(|partition, _| self.gathered.record(&partition.topic).is_some());
        offsets
    }

    /// What each of these groups has on the target is told of: look at both sides once more, decide, commit.
    async fn go(
        &self,
        moved: BTreeMap<String, GroupOffsets>,
        answers: &BTreeMap<TopicPartition, Answers>,
    ) -> Result<Vec<Group>, AdjustError> {
        let (source, target) = (&self.flow.source, &self.flow.target);
        let mut active = BTreeMap::new();
        for side in [target, source] {
            let listed = self.list(side.client(), side.alias()).await?;
            let listed = listed.into_iter().filter(|one| has_members(&one.state));
            active.extend(listed.map(|one| (one.group, members(side.alias()))));
        }
        let now = self.held(target.client(), target.alias(), moved.keys());
        let (mut now, _) = now.await?;
        let there = self.held(source.client(), source.alias(), moved.keys());
        let (mut there, mut groups) = there.await?;
        for (group, offsets) in moved {
            let Some(there) = there.remove(&group) else {
                continue;
            };
            let now = now.remove(&group).map(|offsets| self.copied(offsets));
            let stands = now.as_ref() == Some(&offsets);
            let went_on = || format!("it went on at {} meanwhile: try again", target.alias());
            let found: Vec<_> = offsets
                .into_iter()
                .map(|(partition, committed)| self.found(partition, committed, answers))
                .collect();
            let (partitions, writes) = self.terms().decide(&found, &there);
            let mut one = Group {
                left: active.remove(&group).or_else(|| (!stands).then(went_on)),
                group,
                partitions,
            };
            if one.left.is_none() && !self.request.dry_run {
                self.commit(&mut one, &writes).await?;
            }
            groups.push(one);
        }
        Ok(groups)
    }

    fn terms(&self) -> Terms<'_> {
        Terms {
            flow: &self.flow.config.name,
            source: self.flow.source.alias(),
            target: self.flow.target.alias(),
            rewind: self.request.rewind,
        }
    }

    fn found(
        &self,
        target: TopicPartition,
        committed: wire::client::CommittedOffset,
        answers: &BTreeMap<TopicPartition, Answers>,
    ) -> Found {
        let answer = answers.get(&target);
        let told = answer.and_then(|answer| answer.told.get(&committed.offset));
        let record = self.gathered.record(&target.topic);
        let name = record.map_or(target.topic.as_str(), |record| &record.source_topic);
        let reverse = self.gathered.reverse(&target, committed.offset);
        Found {
            source: TopicPartition::new(name, target.partition),
            told: told.cloned().unwrap_or(Ok(Told::Unknown)),
            began_late_at: answer.and_then(|answer| answer.began_late_at),
            is_unsettled: answer.is_some_and(|answer| answer.is_unsettled),
            reverse: reverse.map(str::to_owned),
            target,
            committed,
        }
    }

    /// All that groups have on one side; those that cannot be told are left.
    async fn held(
        &self,
        client: &Client,
        alias: &str,
        groups: impl Iterator<Item = &String>,
    ) -> Result<Held, AdjustError> {
        let asked = groups.map(|group| (group.clone(), None)).collect();
        let found = client.offsets_of_groups(&asked).await;
        let (mut held, mut left) = (BTreeMap::new(), Vec::new());
        for (group, found) in found.map_err(|error| on(alias, &error))? {
            match found {
                Ok(offsets) => drop(held.insert(group, offsets)),
                Err(error) => left.push(Group {
                    left: Some(not_told(alias, &error)),
                    group,
                    partitions: Vec::new(),
                }),
            }
        }
        Ok((held, left))
    }

    async fn commit(&self, one: &mut Group, writes: &Writes) -> Result<(), AdjustError> {
        let source = &self.flow.source;
        for some in writes.chunks(MAX_ENTRIES) {
            let outcomes = match source.client().commit_group_offsets(&one.group, some).await {
                Ok(outcomes) => outcomes,
                // Its coordinator; those of other groups may answer.
                Err(ClientError::Api { error, .. }) => {
                    one.left = Some(format!("{} refuses its offsets: {error}", source.alias()));
                    return Ok(());
                }
                Err(error) => return Err(on(source.alias(), &error)),
            };
            for (partition, outcome) in outcomes {
                let Err(error) = outcome else { continue };
                if HAS_MEMBERS.contains(&error.code) {
                    one.left = Some(members(source.alias()));
                    return Ok(());
                }
                one.refused(&partition, &error);
            }
        }
        Ok(())
    }
}

impl Group {
    fn refused(&mut self, partition: &TopicPartition, error: &ApiError) {
        let mut partitions = self.partitions.iter_mut();
        let it = partitions
            .find(|one| (&one.topic, one.partition) == (&partition.topic, partition.partition));
        if let Some(it) = it {
            it.outcome = Outcome::Left;
            it.text = format!("the source refuses it: {error}");
        }
    }
}

fn members(alias: &str) -> String {
    format!("it has members on {alias}: stop its consumers there first")
}

fn not_told(alias: &str, error: &ApiError) -> String {
    match error.code {
        UNSTABLE_OFFSET_COMMIT => {
            format!("a transaction on {alias} is about to change its offsets: try again")
        }
        _ => format!("{alias} does not tell its offsets: {error}"),
    }
}
