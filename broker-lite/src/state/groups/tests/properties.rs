//! Random interleavings against what must always hold.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::state::groups::group::GroupState;

const CLIENTS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Join { client: usize, protocols: usize },
    Sync { client: usize, salt: u8 },
    Heartbeat { client: usize },
    Leave { client: usize },
    Restart { client: usize },
    Pass { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        4 => (client.clone(), 1..3usize).prop_map(|(client, protocols)| Step::Join { client, protocols }),
        4 => (client.clone(), any::<u8>()).prop_map(|(client, salt)| Step::Sync { client, salt }),
        2 => client.clone().prop_map(|client| Step::Heartbeat { client }),
        1 => client.clone().prop_map(|client| Step::Leave { client }),
        1 => client.prop_map(|client| Step::Restart { client }),
        3 => (0..20u64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// A client: the first two are static members.
#[derive(Default)]
struct Client {
    id: String,
    generation: i32,
    joins: Vec<Receiver<Joined>>,
    syncs: Vec<(i32, String, Receiver<Synced>)>,
}

struct World {
    bench: Bench,
    clients: Vec<Client>,
    /// What the leader of each generation sent.
    sent: BTreeMap<i32, BTreeMap<String, Bytes>>,
    /// Static members keep an assignment under a new id.
    heirs: BTreeMap<String, String>,
    last_generation: i32,
}

impl World {
    fn new() -> Self {
        Self {
            bench: Bench::new(),
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            sent: BTreeMap::new(),
            heirs: BTreeMap::new(),
            last_generation: 0,
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Join { client, protocols } => self.join(client, protocols),
            Step::Sync { client, salt } => self.sync(client, salt),
            Step::Heartbeat { client } => {
                let Client { id, generation, .. } = &self.clients[client];
                self.bench.heartbeat(id, *generation).ok();
            }
            Step::Leave { client } => {
                let id = std::mem::take(&mut self.clients[client].id);
                if !id.is_empty() {
                    self.bench.leave(&id, None).ok();
                }
            }
            Step::Restart { client } => self.clients[client].id.clear(),
            Step::Pass { seconds } => self.bench.pass(Duration::from_secs(seconds)),
        }
        self.collect();
        self.check();
    }

    fn join(&mut self, client: usize, protocols: usize) {
        let name = format!("c{client}");
        let id = self.clients[client].id.clone();
        let mut join = if client < 2 {
            named(&name, &id)
        } else {
            dynamic(&name, &id)
        };
        join.protocols = ["range", "sticky"][..protocols]
            .iter()
            .map(|p| protocol(p, &name))
            .collect();
        let before = self.bench.group.static_members.get(&name).cloned();
        let from = self.bench.join(join);
        let after = self.bench.group.static_members.get(&name).cloned();
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            self.heirs.insert(after, before);
        }
        self.clients[client].joins.push(from);
    }

    fn sync(&mut self, client: usize, salt: u8) {
        let Client { id, generation, .. } = &self.clients[client];
        let (id, generation) = (id.clone(), *generation);
        let group = &self.bench.group;
        let leads = group.leader.as_ref() == Some(&id)
            && group.generation == generation
            && group.state == GroupState::CompletingRebalance;
        let assign: Vec<(String, String)> = group
            .members
            .keys()
            .map(|m| (m.clone(), format!("{m}/{generation}/{salt}")))
            .collect();
        let list: Vec<_> = assign
            .iter()
            .map(|(m, a)| (m.as_str(), a.as_str()))
            .collect();
        if leads {
            self.sent.insert(generation, assignments(&list));
        }
        let from = self.bench.sync(&id, generation, &list);
        self.clients[client].syncs.push((generation, id, from));
    }

    /// The clients read their answers.
    fn collect(&mut self) {
        let mut answers = Vec::new();
        for client in &mut self.clients {
            client.joins.retain_mut(|from| {
                let Ok(joined) = from.try_recv() else {
                    return !from.is_terminated();
                };
                match joined.error {
                    None => {
                        client.id = joined.member_id;
                        client.generation = joined.generation;
                    }
                    Some(ResponseError::MemberIdRequired) => client.id = joined.member_id,
                    Some(ResponseError::UnknownMemberId) => client.id.clear(),
                    Some(_) => {}
                }
                false
            });
            client.syncs.retain_mut(|(generation, id, from)| {
                let Ok(synced) = from.try_recv() else {
                    return !from.is_terminated();
                };
                answers.push((*generation, id.clone(), synced));
                false
            });
        }
        for (generation, id, synced) in answers {
            if synced.error.is_none() {
                assert_eq!(synced.assignment, self.expected(generation, &id));
            }
        }
    }

    /// What the leader of `generation` sent for `id`, or for whom it took the place of.
    fn expected(&self, generation: i32, id: &str) -> Bytes {
        let sent = &self.sent[&generation];
        let mut id = id;
        loop {
            match (sent.get(id), self.heirs.get(id)) {
                (Some(bytes), _) => return bytes.clone(),
                (None, Some(before)) if before != id => id = before,
                _ => return Bytes::new(),
            }
        }
    }

    fn check(&mut self) {
        let group = &self.bench.group;
        assert!(
            group.generation >= self.last_generation,
            "the generation went back"
        );
        self.last_generation = group.generation;
        assert_eq!(group.leader.is_some(), !group.members.is_empty());
        if let Some(leader) = &group.leader {
            assert!(group.members.contains_key(leader), "the leader is a member");
        }
        // Those who wait to join are limited, and so are those who were in before.
        assert!(group.members.len() <= 2 * self.bench.settings.max_size);
        let named: BTreeMap<_, _> = group
            .members
            .values()
            .filter_map(|m| Some((m.instance_id.clone()?, m.id.clone())))
            .collect();
        assert_eq!(named, group.static_members);
        assert_eq!(
            group.state == GroupState::PreparingRebalance,
            group.join_phase.is_some()
        );
        if group.state == GroupState::Stable {
            for (id, member) in &group.members {
                assert_eq!(member.assignment, self.expected(group.generation, id));
                assert!(member.awaiting_join.is_none() && member.awaiting_sync.is_none());
            }
        }
        if group.state == GroupState::Empty {
            assert!(group.members.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn invariants_hold_in_every_interleaving(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in &steps {
            world.apply(step);
        }
        // Everybody falls silent: all are answered, and the group ends empty.
        world.apply(&Step::Pass { seconds: 3600 });
        prop_assert_eq!(world.bench.group.state, GroupState::Empty);
        prop_assert_eq!(world.bench.group.next_deadline(), None);
        for client in &world.clients {
            prop_assert!(client.joins.is_empty() && client.syncs.is_empty());
        }
    }
}
