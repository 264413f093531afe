//! Looks at groups on both sides, a hundred at a time, and commits on the source what was decided on.

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
        decide::has_members,
        marked,
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
    let mut returned = Returned {
        flow: flow.config.name.clone(),
        dry_run: request.dry_run,
        groups: Vec::new(),
        not_moved: 0,
    };
    for some in names.chunks(CHUNK) {
        let (groups, not_moved) = job.some(some).await?;
        returned.groups.extend(groups);
        returned.not_moved += not_moved;
    }
    Ok(returned)
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

    /// Some groups: what becomes of those that moved, and how many did not.
    async fn some(&self, names: &[String]) -> Result<(Vec<Group>, usize), AdjustError> {
        let target = self.flow.target.alias();
        let (held, mut groups) = self
            .held(self.flow.target.client(), target, names.iter())
            .await?;
        let (mut moved, mut not_moved) = (BTreeMap::new(), 0);
        for (group, mut offsets) in held {
            offsets.retain(|partition, _| self.gathered.record(&partition.topic).is_some());
            let is_asked = self.request.groups.contains(&group);
            if is_asked && offsets.is_empty() {
                return Err(AdjustError::Unknown(format!(
                    "group {group} has no offsets on {target} of what flow {} copied",
                    self.flow.config.name
                )));
            }
            let is_theirs = |metadata: &str| marked(metadata, &self.flow.config.name).is_none();
            if is_asked || offsets.values().any(|one| is_theirs(&one.metadata)) {
                moved.insert(group, offsets);
            } else if !offsets.is_empty() {
                not_moved += 1;
            }
        }
        let mut asked: BTreeMap<TopicPartition, BTreeSet<i64>> = BTreeMap::new();
        for (partition, committed) in moved.values().flatten() {
            asked
                .entry(partition.clone())
                .or_default()
                .insert(committed.offset);
        }
        let answers = self.gathered.answers(asked).await?;
        groups.extend(self.go(moved, &answers).await?);
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        Ok((groups, not_moved))
    }

    /// What each of these groups has on the target is told of: look at the source, decide, commit.
    async fn go(
        &self,
        moved: BTreeMap<String, GroupOffsets>,
        answers: &BTreeMap<TopicPartition, Answers>,
    ) -> Result<Vec<Group>, AdjustError> {
        let (source, target) = (&self.flow.source, &self.flow.target);
        let mut active = BTreeMap::new();
        for side in [target, source] {
            for one in self.list(side.client(), side.alias()).await? {
                if has_members(&one.state) {
                    active.insert(one.group, side.alias());
                }
            }
        }
        let held = self.held(source.client(), source.alias(), moved.keys());
        let (mut there, mut groups) = held.await?;
        for (group, offsets) in moved {
            let Some(there) = there.remove(&group) else {
                continue;
            };
            let found: Vec<_> = offsets
                .into_iter()
                .map(|(partition, committed)| self.found(partition, committed, answers))
                .collect();
            let (partitions, writes) = self.terms().decide(&found, &there);
            let mut one = Group {
                left: active.get(&group).map(|alias| members(alias)),
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
