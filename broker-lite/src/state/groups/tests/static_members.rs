//! Static members (KIP-345): a name outlives the process.

use super::*;
use crate::state::groups::group::GroupState;

/// Static members through to `Stable`, the first leading.
fn stable(bench: &mut Bench, instances: &[&str]) -> (Vec<String>, i32) {
    let mut open: Vec<_> = instances.iter().map(|i| bench.join(named(i, ""))).collect();
    bench.pass(DELAY * 2);
    let joined: Vec<_> = open.iter_mut().map(answer).collect();
    let ids: Vec<String> = joined.iter().map(|j| j.member_id.clone()).collect();
    let all: Vec<_> = ids.iter().map(|id| (id.as_str(), id.as_str())).collect();
    let generation = joined[0].generation;
    for id in &ids {
        drop(bench.sync(id, generation, &all));
    }
    assert_eq!(bench.group.state, GroupState::Stable);
    (ids, generation)
}

#[test]
fn a_restarted_member_gets_its_place_back_without_a_rebalance() {
    let mut bench = Bench::new();
    let (ids, generation) = stable(&mut bench, &["x", "y"]);
    bench.group.take_unsaved();
    let back = answer(&mut bench.join(named("y", "")));
    assert_eq!((back.error, back.generation), (None, generation));
    assert_ne!(back.member_id, ids[1]);
    assert!(bench.group.take_unsaved());
    let synced = answer(&mut bench.sync(&back.member_id, generation, &[]));
    assert_eq!(synced.assignment, ids[1].as_bytes());
    assert_eq!(bench.heartbeat(&ids[0], generation), Ok(()));
    assert_eq!(
        bench.heartbeat(&ids[1], generation),
        Err(ResponseError::UnknownMemberId)
    );
    let old = bench.step(|g, at| g.heartbeat(&ids[1], Some("y"), generation, at));
    assert_eq!(old, Err(ResponseError::FencedInstanceId));
}

#[test]
fn a_restarted_leader_skips_the_assignment_if_it_can() {
    let mut bench = Bench::new();
    let (ids, _) = stable(&mut bench, &["x", "y"]);
    let back = answer(&mut bench.join(named("x", "")));
    assert!(back.skip_assignment);
    assert_eq!(back.leader, back.member_id);
    assert_eq!(back.members.len(), 2);
    let old_client = Join {
        can_skip_assignment: false,
        ..named("x", "")
    };
    let again = answer(&mut bench.join(old_client));
    assert!(!again.skip_assignment);
    // It is told of its former self as the leader, so that it does not try to assign.
    assert_eq!(again.leader, back.member_id);
    assert!(again.members.is_empty());
    assert_ne!(again.member_id, ids[0]);
}

#[test]
fn a_change_of_protocol_needs_a_rebalance() {
    let mut bench = Bench::new();
    let (ids, generation) = stable(&mut bench, &["x"]);
    let mut other = named("x", "");
    other.protocols = vec![protocol("sticky", "x")];
    // Its former self still counts here: a protocol that nobody had is refused, as Kafka does.
    let refused = answer(&mut bench.join(other.clone()));
    assert_eq!(
        refused.error,
        Some(ResponseError::InconsistentGroupProtocol)
    );
    other.protocols.push(protocol("range", "x"));
    let joined = answer(&mut bench.join(other));
    assert_eq!(
        (joined.generation, joined.protocol.as_deref()),
        (generation + 1, Some("sticky"))
    );
    assert_ne!(joined.member_id, ids[0]);
}

#[test]
fn a_namesake_fences_a_waiting_member() {
    let mut bench = Bench::new();
    let mut first = bench.join(named("x", ""));
    bench.pass(DELAY / 2);
    let mut second = bench.join(named("x", ""));
    assert_eq!(
        answer(&mut first).error,
        Some(ResponseError::FencedInstanceId)
    );
    bench.pass(DELAY);
    assert_eq!(answer(&mut second).error, None);
}

#[test]
fn a_namesake_during_the_assignment_forces_another_rebalance() {
    let mut bench = Bench::new();
    let mut join_x = bench.join(named("x", ""));
    let mut join_y = bench.join(named("y", ""));
    bench.pass(DELAY * 2);
    let (x, y) = (answer(&mut join_x), answer(&mut join_y));
    let mut waiting = bench.sync(&y.member_id, 1, &[]);
    let mut back = bench.join(named("y", ""));
    assert_eq!(
        answer(&mut waiting).error,
        Some(ResponseError::FencedInstanceId)
    );
    let late = answer(&mut bench.sync(&x.member_id, 1, &[]));
    assert_eq!(late.error, Some(ResponseError::RebalanceInProgress));
    drop(bench.join(named("x", &x.member_id)));
    assert_eq!(answer(&mut back).generation, 2);
}

#[test]
fn a_static_member_that_is_away_keeps_its_place_until_its_session_ends() {
    let mut bench = Bench::new();
    let (ids, generation) = stable(&mut bench, &["x", "y"]);
    // x is alive; y is silent.
    bench.pass(SESSION / 2);
    bench.heartbeat(&ids[0], generation).unwrap();
    bench.pass(SESSION / 2 - Duration::from_millis(1));
    assert_eq!(bench.group.members.len(), 2);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.group.members.len(), 1);
}

#[test]
fn a_static_member_is_removed_by_name() {
    let mut bench = Bench::new();
    let (ids, _) = stable(&mut bench, &["x", "y"]);
    assert_eq!(
        bench.leave("", Some("z")),
        Err(ResponseError::UnknownMemberId)
    );
    assert_eq!(
        bench.leave(&ids[0], Some("y")),
        Err(ResponseError::FencedInstanceId)
    );
    assert_eq!(bench.leave("", Some("y")), Ok(()));
    assert_eq!(bench.group.members.len(), 1);
    assert_eq!(bench.group.state, GroupState::PreparingRebalance);
}

#[test]
fn static_members_alone_wait_for_each_other() {
    let mut bench = Bench::new();
    let (ids, generation) = stable(&mut bench, &["x", "y"]);
    drop(bench.join(named("x", &ids[0]))); // the leader asks for a rebalance
    bench.pass(SESSION - Duration::from_millis(1));
    assert_eq!(bench.group.state, GroupState::PreparingRebalance);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.group.generation, generation + 1);
    assert_eq!(bench.group.members.len(), 1);
}
