//! The coordinator around the machine: time by the host's clock, state through restarts.

use std::{path::Path, sync::Arc};

use host::{
    Host,
    sim::{SeededRandom, SimClock, SimFiles},
};
use tokio_util::sync::CancellationToken;
use wire::TopicPartition;

use super::*;
use crate::state::groups::{Committer, Groups, NewOffset, group::GroupState};

const FOLDER: &str = "/data";

struct Machine {
    clock: SimClock,
    files: SimFiles,
    host: Host,
}

impl Machine {
    fn new() -> Self {
        let clock = SimClock::new(1_000);
        let files = SimFiles::default();
        host::Files::create_dir_all(&files, Path::new(FOLDER)).unwrap();
        let host = Host {
            clock: Arc::new(clock.clone()),
            net: Arc::new(host::net::Tcp),
            files: Arc::new(files.clone()),
            random: Arc::new(SeededRandom::new(1)),
        };
        Self { clock, files, host }
    }

    fn open(&self) -> Arc<Groups> {
        let groups = Groups::open(
            self.host.clone(),
            Path::new(FOLDER),
            GroupSettings::default(),
        );
        Arc::new(groups.unwrap())
    }
}

fn start(groups: &Arc<Groups>) -> CancellationToken {
    let stop = CancellationToken::new();
    let (groups, token) = (Arc::clone(groups), stop.clone());
    tokio::spawn(async move { groups.run(token).await });
    stop
}

/// Moves the clock until `task` is done.
async fn until<T>(machine: &Machine, mut task: tokio::task::JoinHandle<T>) -> T {
    for _ in 0..10_000 {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        if task.is_finished() {
            return (&mut task).await.unwrap();
        }
        machine.clock.advance(Duration::from_millis(100));
    }
    panic!("the task does not end");
}

/// One static member through to `Stable`.
async fn stable(machine: &Machine, groups: &Arc<Groups>) -> Joined {
    let joining = Arc::clone(groups);
    let join = Join {
        fresh: "1".to_owned(),
        ..named("x", "")
    };
    let joined = tokio::spawn(async move { joining.join("g", join).await });
    let joined = until(machine, joined).await;
    let sync = Sync {
        member_id: joined.member_id.clone(),
        instance_id: None,
        generation: joined.generation,
        protocol_type: None,
        protocol: None,
        assignments: assignments(&[(&joined.member_id, "mine")]),
    };
    assert_eq!(groups.sync("g", sync).await.assignment, "mine");
    joined
}

fn commit(
    groups: &Groups,
    by: &Committer<'_>,
    offset: i64,
    metadata: &str,
) -> Vec<Result<(), ResponseError>> {
    let new = |partition| NewOffset {
        partition: TopicPartition::new("t", partition),
        offset,
        leader_epoch: 4,
        metadata: metadata.to_owned(),
    };
    groups.commit(by, vec![new(0), new(1)], |p| p.partition == 0)
}

fn nobody(group: &str) -> Committer<'_> {
    Committer {
        group,
        member_id: "",
        instance_id: None,
        generation: -1,
        producer_id: None,
        unknown_group: ResponseError::IllegalGeneration,
    }
}

fn fetched(groups: &Groups, stable: bool) -> Result<Option<i64>, ResponseError> {
    let wanted = [TopicPartition::new("t", 0)];
    let (_, found) = groups.fetch("g", Some(&wanted), stable).remove(0);
    found.map(|c| c.map(|c| c.offset))
}

#[tokio::test]
async fn members_and_offsets_survive_a_restart() {
    let machine = Machine::new();
    let groups = machine.open();
    let stop = start(&groups);
    let joined = stable(&machine, &groups).await;
    let member = Committer {
        member_id: &joined.member_id,
        generation: joined.generation,
        ..nobody("g")
    };
    let unknown = Err(ResponseError::UnknownTopicOrPartition);
    assert_eq!(commit(&groups, &member, 42, "m"), [Ok(()), unknown]);
    assert_eq!(
        commit(&groups, &nobody("g"), 1, "")[0],
        Err(ResponseError::UnknownMemberId)
    );
    stop.cancel();

    let groups = machine.open();
    let stop = start(&groups);
    assert_eq!(
        groups.heartbeat("g", &joined.member_id, Some("x"), joined.generation),
        Ok(())
    );
    assert_eq!(fetched(&groups, false), Ok(Some(42)));
    // Nobody is heard of: the session ends by the clock.
    for _ in 0..20 {
        machine.clock.advance(Duration::from_secs(1));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(groups.with("g", |g| g.unwrap().state), GroupState::Empty);
    stop.cancel();

    let groups = machine.open();
    assert_eq!(
        groups.with("g", |g| g.unwrap().generation),
        joined.generation + 1
    );
    assert_eq!(commit(&groups, &nobody("g"), 50, "")[0], Ok(()));
}

#[tokio::test]
async fn a_static_member_comes_back_after_a_restart_without_a_rebalance() {
    let machine = Machine::new();
    let groups = machine.open();
    let stop = start(&groups);
    let before = stable(&machine, &groups).await;
    stop.cancel();
    let groups = machine.open();
    let again = Join {
        fresh: "2".to_owned(),
        ..named("x", "")
    };
    let joined = groups.join("g", again).await;
    assert_eq!(joined.generation, before.generation);
    assert!(joined.skip_assignment);
}

#[test]
fn offsets_are_checked_kept_and_deleted() {
    let machine = Machine::new();
    let groups = machine.open();
    let long = "x".repeat(4097);
    assert_eq!(
        commit(&groups, &nobody("g"), 1, &long)[0],
        Err(ResponseError::OffsetMetadataTooLarge)
    );
    assert_eq!(commit(&groups, &nobody("g"), 1, &long[1..])[0], Ok(()));
    let member = Committer {
        generation: 3,
        ..nobody("other")
    };
    assert_eq!(
        commit(&groups, &member, 1, "")[0],
        Err(ResponseError::IllegalGeneration)
    );

    let pending = Committer {
        producer_id: Some(9),
        ..nobody("g")
    };
    assert_eq!(commit(&groups, &pending, 7, "")[0], Ok(()));
    assert_eq!(fetched(&groups, false), Ok(Some(1)));
    assert_eq!(
        fetched(&groups, true),
        Err(ResponseError::UnstableOffsetCommit)
    );
    let groups = machine.open();
    groups.end_transaction(9, true).unwrap();
    assert_eq!(fetched(&groups, true), Ok(Some(7)));

    groups.forget_topic("t").unwrap();
    assert_eq!(fetched(&machine.open(), true), Ok(None));
    assert_eq!(commit(&groups, &nobody("g"), 8, "")[0], Ok(()));
    let partition = [TopicPartition::new("t", 0)];
    assert_eq!(groups.delete_offsets("g", &partition), Ok(vec![Ok(())]));
    assert_eq!(fetched(&groups, true), Ok(None));
    assert_eq!(groups.delete("g"), Ok(()));
    assert_eq!(groups.delete("g"), Err(ResponseError::GroupIdNotFound));
    assert!(machine.open().with("g", |g| g.is_none()));
}

#[test]
fn with_flush_a_commit_survives_a_loss_of_power() {
    for (flush, expected) in [(true, Some(42)), (false, None)] {
        let machine = Machine::new();
        let settings = GroupSettings {
            flush,
            ..GroupSettings::default()
        };
        let groups = Groups::open(machine.host.clone(), Path::new(FOLDER), settings).unwrap();
        assert_eq!(commit(&groups, &nobody("g"), 42, "")[0], Ok(()));
        machine.files.crash();
        assert_eq!(fetched(&machine.open(), false), Ok(expected));
    }
}

#[test]
fn the_journal_stays_in_proportion_to_what_it_holds() {
    let machine = Machine::new();
    let groups = machine.open();
    for offset in 0..20_000 {
        assert_eq!(
            commit(&groups, &nobody("g"), offset, "0123456789")[0],
            Ok(())
        );
    }
    let journal = machine
        .host
        .files
        .open(&Path::new(FOLDER).join("groups.journal"))
        .unwrap();
    assert!(journal.len().unwrap() < 1_100_000);
    assert_eq!(fetched(&machine.open(), false), Ok(Some(19_999)));
}
