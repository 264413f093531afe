//! Who gets which partitions. Pure.
//!
//! What the group's leader works out when members come, go or want something else: everybody keeps what it has as far
//! as that is fair, the rest goes to who has least, and then who has most gives to who has least. What another member
//! still has is handed to nobody yet: its owner gives it up first and joins again (KIP-429).
//!
//! Members with the same rules want the same topics, though not all may have seen the newest one: what one of them
//! names, all of them want. The time this takes grows with partitions times members; librdkafka's
//! cooperative-sticky assignor, which speaks the same protocol, takes about the square of the partitions.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wire::{
    TopicPartition,
    client::consumer_protocol::{Assignment, Subscription},
};

use crate::flow::start::fingerprint;

/// What is assigned to each of `members` (by member id) of the partitions that `counts` tells by topic.
pub(super) fn assign(
    members: &BTreeMap<String, Subscription>,
    counts: &BTreeMap<String, i32>,
) -> BTreeMap<String, Assignment> {
    let wanted = wanted(members);
    let claims = claims(members);
    let mut shares = Shares::new(&wanted);
    let mut free = Vec::new();
    for (topic, count) in counts {
        for partition in (0..*count).map(|number| TopicPartition::new(topic, number)) {
            match claims.get(&partition) {
                Some(Claim::By { member, .. }) if shares.wants(*member, topic) => {
                    shares.give(*member, partition);
                }
                // Both give it up first.
                Some(Claim::Contested { .. }) => {}
                _ => free.push(partition),
            }
        }
    }
    shares.fill(free);
    shares.balance();
    let shares = shares.parts.into_iter().enumerate();
    let assignments = shares.map(|(member, part)| {
        let partitions = part.into_iter().filter(|partition| {
            let claim = claims.get(partition);
            claim.is_none_or(|claim| matches!(claim, Claim::By { member: by, .. } if *by == member))
        });
        Assignment {
            partitions: partitions.collect(),
            user_data: covered(&wanted[member]),
        }
    });
    members.keys().cloned().zip(assignments).collect()
}

/// What an assignment says of the topics that it was made of.
pub(super) fn covered<T: AsRef<str>>(topics: &BTreeSet<T>) -> Bytes {
    let names: Vec<&str> = topics.iter().map(AsRef::as_ref).collect();
    Bytes::copy_from_slice(&fingerprint(&names.join("\n")).to_be_bytes())
}

/// The topics that each member wants, in the order of members.
fn wanted<'a>(members: &'a BTreeMap<String, Subscription>) -> Vec<BTreeSet<&'a str>> {
    let mut by_rules: BTreeMap<&Bytes, BTreeSet<&'a str>> = BTreeMap::new();
    for member in members.values().filter(|m| !m.user_data.is_empty()) {
        let topics = by_rules.entry(&member.user_data).or_default();
        topics.extend(member.topics.iter().map(String::as_str));
    }
    let wants = |member: &'a Subscription| {
        let topics = by_rules.get(&member.user_data).cloned();
        topics.unwrap_or_else(|| member.topics.iter().map(String::as_str).collect())
    };
    members.values().map(wants).collect()
}

/// Who says that it has a partition, as number in the order of members.
#[derive(Clone, Copy)]
enum Claim {
    By {
        member: usize,
        generation: i32,
    },
    /// More than one in the same generation.
    Contested {
        generation: i32,
    },
}

/// What members have: of a later generation, if more than one says so.
fn claims(members: &BTreeMap<String, Subscription>) -> BTreeMap<&TopicPartition, Claim> {
    let mut claims: BTreeMap<&TopicPartition, Claim> = BTreeMap::new();
    for (member, subscription) in members.values().enumerate() {
        let generation = subscription.generation;
        for partition in &subscription.owned {
            let by = Claim::By { member, generation };
            let before = match claims.get(partition) {
                None => i32::MIN,
                Some(Claim::By { generation, .. } | Claim::Contested { generation }) => *generation,
            };
            if generation > before {
                claims.insert(partition, by);
            } else if generation == before {
                claims.insert(partition, Claim::Contested { generation });
            }
        }
    }
    claims
}

/// What each member is to have, and who has how many.
struct Shares<'a> {
    wanted: &'a [BTreeSet<&'a str>],
    parts: Vec<BTreeSet<TopicPartition>>,
    /// Members by the number of their partitions.
    sizes: BTreeSet<(usize, usize)>,
}

impl<'a> Shares<'a> {
    fn new(wanted: &'a [BTreeSet<&'a str>]) -> Self {
        Self {
            wanted,
            parts: vec![BTreeSet::new(); wanted.len()],
            sizes: (0..wanted.len()).map(|member| (0, member)).collect(),
        }
    }

    fn wants(&self, member: usize, topic: &str) -> bool {
        self.wanted[member].contains(topic)
    }

    fn give(&mut self, member: usize, partition: TopicPartition) {
        let part = &mut self.parts[member];
        self.sizes.remove(&(part.len(), member));
        part.insert(partition);
        self.sizes.insert((part.len(), member));
    }

    fn take(&mut self, member: usize, partition: &TopicPartition) {
        let part = &mut self.parts[member];
        self.sizes.remove(&(part.len(), member));
        part.remove(partition);
        self.sizes.insert((part.len(), member));
    }

    /// Gives each partition to who has least among those that want it; what few want first.
    fn fill(&mut self, mut free: Vec<TopicPartition>) {
        let few = |topic: &str| self.wanted.iter().filter(|w| w.contains(topic)).count();
        let topics: BTreeSet<&str> = free.iter().map(|p| p.topic.as_str()).collect();
        let few: BTreeMap<String, usize> =
            topics.into_iter().map(|t| (t.to_owned(), few(t))).collect();
        free.sort_by_key(|partition| few[&partition.topic]);
        for partition in free {
            let mut least = self.sizes.iter().map(|(_, member)| *member);
            if let Some(member) = least.find(|member| self.wants(*member, &partition.topic)) {
                self.give(member, partition);
            }
        }
    }

    /// Moves partitions until nobody has two more than another one that wants one of them. Each move makes the sizes
    /// more equal, so this ends.
    fn balance(&mut self) {
        // Who cannot give anything as things are.
        let mut done = BTreeSet::new();
        loop {
            let mut most = self.sizes.iter().rev();
            let Some(&(size, from)) = most.find(|(_, member)| !done.contains(member)) else {
                return;
            };
            match self.move_from(from, size) {
                Some((to, partition)) => {
                    self.take(from, &partition);
                    self.give(to, partition);
                    done.clear();
                }
                None => {
                    done.insert(from);
                }
            }
        }
    }

    /// A partition of `from`, which has `size`, and the one with least that should have it.
    fn move_from(&self, from: usize, size: usize) -> Option<(usize, TopicPartition)> {
        let less = self.sizes.iter().take_while(|(other, _)| other + 1 < size);
        less.map(|(_, to)| *to).find_map(|to| {
            let mut candidates = self.parts[from].iter().rev();
            let found = candidates.find(|partition| self.wants(to, &partition.topic))?;
            Some((to, found.clone()))
        })
    }
}

#[cfg(test)]
mod tests;
