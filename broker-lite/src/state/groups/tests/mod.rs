//! The group machine, driven step by step with its own time.

mod coordinator;
mod properties;
mod rebalance;
mod static_members;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use tokio::sync::oneshot::{self, Receiver};

use super::{
    group::{Group, GroupSettings, Moment},
    join::Join,
    member::{Joined, Protocol, Synced},
    sync::{Leaving, Sync},
};

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);
const DELAY: Duration = Duration::from_secs(3);

/// A group, its time and the ids it has handed out.
struct Bench {
    group: Group,
    now: Duration,
    settings: GroupSettings,
    fresh: u32,
}

impl Bench {
    fn new() -> Self {
        Self {
            group: Group::new("g"),
            now: Duration::ZERO,
            settings: GroupSettings {
                initial_rebalance_delay: DELAY,
                max_size: 4,
                ..GroupSettings::default()
            },
            fresh: 0,
        }
    }

    fn step<T>(&mut self, step: impl FnOnce(&mut Group, &Moment<'_>) -> T) -> T {
        let at = Moment {
            now: self.now,
            settings: &self.settings,
        };
        let result = step(&mut self.group, &at);
        for reply in self.group.take_outbox() {
            reply.deliver();
        }
        result
    }

    fn join(&mut self, join: Join) -> Receiver<Joined> {
        let (to, from) = oneshot::channel();
        self.fresh += 1;
        let fresh = format!("{:03}", self.fresh);
        self.step(|group, at| group.join(Join { fresh, ..join }, to, at));
        from
    }

    fn sync(&mut self, member: &str, generation: i32, assign: &[(&str, &str)]) -> Receiver<Synced> {
        let (to, from) = oneshot::channel();
        let sync = Sync {
            member_id: member.to_owned(),
            instance_id: None,
            generation,
            protocol_type: None,
            protocol: None,
            assignments: assignments(assign),
        };
        self.step(|group, at| group.sync(sync, to, at));
        from
    }

    fn heartbeat(&mut self, member: &str, generation: i32) -> Result<(), ResponseError> {
        self.step(|group, at| group.heartbeat(member, None, generation, at))
    }

    fn leave(&mut self, member: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        let leaving = Leaving {
            member_id: member.to_owned(),
            instance_id: instance.map(str::to_owned),
        };
        self.step(|group, at| group.leave(&[leaving], at)).remove(0)
    }

    /// Lets time pass as a driver would: stopping at every deadline on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.group.next_deadline().filter(|&d| d <= end) {
            self.now = self.now.max(next);
            self.step(|group, at| group.expire(at));
            assert!(
                self.group.next_deadline().is_none_or(|d| d > self.now),
                "a deadline stays behind"
            );
        }
        self.now = end;
    }

    /// A dynamic member through the member id dance; the second JoinGroup is still open.
    fn enter(&mut self, client: &str) -> (String, Receiver<Joined>) {
        let mut first = self.join(dynamic(client, ""));
        let asked = answer(&mut first);
        assert_eq!(asked.error, Some(ResponseError::MemberIdRequired));
        let joined = self.join(dynamic(client, &asked.member_id));
        (asked.member_id, joined)
    }

    /// Members through to `Stable`, the first leading; member n has assignment "an".
    fn stable(&mut self, clients: &[&str]) -> (Vec<String>, i32) {
        let entered: Vec<_> = clients.iter().map(|c| self.enter(c)).collect();
        self.pass(DELAY * 2);
        let mut ids = Vec::new();
        let mut generation = 0;
        for (id, mut from) in entered {
            generation = answer(&mut from).generation;
            ids.push(id);
        }
        let leader = self.group.leader.clone().unwrap();
        let names: Vec<String> = (0..ids.len()).map(|n| format!("a{n}")).collect();
        let all: Vec<_> = ids
            .iter()
            .map(String::as_str)
            .zip(names.iter().map(String::as_str))
            .collect();
        for id in ids.iter().filter(|id| **id != leader) {
            drop(self.sync(id, generation, &[]));
        }
        let synced = answer(&mut self.sync(&leader, generation, &all));
        assert_eq!(synced.error, None);
        (ids, generation)
    }
}

fn assignments(list: &[(&str, &str)]) -> BTreeMap<String, Bytes> {
    let pair = |(id, bytes): &(&str, &str)| ((*id).to_owned(), Bytes::from((*bytes).to_owned()));
    list.iter().map(pair).collect()
}

fn dynamic(client: &str, member_id: &str) -> Join {
    Join {
        member_id: member_id.to_owned(),
        instance_id: None,
        client_id: client.to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol("range", client)],
        requires_known_id: true,
        can_skip_assignment: true,
        fresh: String::new(),
    }
}

fn named(instance: &str, member_id: &str) -> Join {
    Join {
        instance_id: Some(instance.to_owned()),
        ..dynamic("client", member_id)
    }
}

fn protocol(name: &str, metadata: &str) -> Protocol {
    Protocol {
        name: name.to_owned(),
        metadata: Bytes::from(metadata.to_owned()),
    }
}

#[track_caller]
fn answer<T>(from: &mut Receiver<T>) -> T {
    from.try_recv().expect("the request is answered")
}

#[track_caller]
fn unanswered<T>(from: &mut Receiver<T>) {
    let empty = matches!(from.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    assert!(empty, "the request waits");
}
