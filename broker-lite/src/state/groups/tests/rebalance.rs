//! Dynamic members: joining, rebalancing, leaving, failing.

use super::*;
use crate::state::groups::group::GroupState;

#[test]
fn two_members_share_a_generation_and_get_the_leaders_assignment() {
    let mut bench = Bench::new();
    let (a, mut join_a) = bench.enter("a");
    let (b, mut join_b) = bench.enter("b");
    unanswered(&mut join_a);
    bench.pass(DELAY);
    unanswered(&mut join_a); // b came during the delay: it runs again
    bench.pass(DELAY);
    let (joined_a, joined_b) = (answer(&mut join_a), answer(&mut join_b));
    assert_eq!((joined_a.generation, joined_b.generation), (1, 1));
    assert_eq!(joined_b.leader, a);
    assert_eq!(joined_a.protocol.as_deref(), Some("range"));
    let listed: Vec<_> = joined_a
        .members
        .iter()
        .map(|p| (&p.member_id, &p.metadata[..]))
        .collect();
    assert_eq!(listed, [(&a, &b"a"[..]), (&b, &b"b"[..])]);
    assert!(joined_b.members.is_empty());

    let mut sync_b = bench.sync(&b, 1, &[]);
    unanswered(&mut sync_b);
    let mut sync_a = bench.sync(&a, 1, &[(&a, "to a"), (&b, "to b"), ("stranger", "x")]);
    assert_eq!(answer(&mut sync_a).assignment, "to a");
    assert_eq!(answer(&mut sync_b).assignment, "to b");
    assert_eq!(bench.group.state, GroupState::Stable);
    assert_eq!(bench.heartbeat(&b, 1), Ok(()));
}

#[test]
fn a_newcomer_makes_the_others_rejoin() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(&["a", "b"]);
    let (_, mut join_c) = bench.enter("c");
    assert_eq!(
        bench.heartbeat(&ids[0], generation),
        Err(ResponseError::RebalanceInProgress)
    );
    let mut join_a = bench.join(dynamic("a", &ids[0]));
    unanswered(&mut join_c);
    let mut join_b = bench.join(dynamic("b", &ids[1]));
    for from in [&mut join_a, &mut join_b, &mut join_c] {
        assert_eq!(answer(from).generation, generation + 1);
    }
}

#[test]
fn who_does_not_rejoin_in_time_is_dropped() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(&["a", "b"]);
    let (_, mut join_c) = bench.enter("c");
    for _ in 0..REBALANCE.as_secs() / 5 {
        // Both stay alive by heartbeats, but only a asks to join.
        for id in &ids {
            let beat = bench.heartbeat(id, generation);
            assert_eq!(beat, Err(ResponseError::RebalanceInProgress));
        }
        bench.pass(Duration::from_secs(5));
    }
    assert_eq!(answer(&mut join_c).generation, generation + 1);
    assert_eq!(
        bench.heartbeat(&ids[0], generation),
        Err(ResponseError::UnknownMemberId)
    );
    assert_eq!(bench.group.members.len(), 1);
}

#[test]
fn a_silent_member_loses_its_session() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(&["a", "b"]);
    bench.pass(SESSION / 2);
    bench.heartbeat(&ids[0], generation).unwrap();
    bench.pass(SESSION / 2);
    assert!(!bench.group.members.contains_key(&ids[1]));
    assert_eq!(
        bench.heartbeat(&ids[0], generation),
        Err(ResponseError::RebalanceInProgress)
    );
    let mut again = bench.join(dynamic("a", &ids[0]));
    assert_eq!(answer(&mut again).generation, generation + 1);
}

#[test]
fn a_member_that_never_syncs_is_dropped() {
    let mut bench = Bench::new();
    let (a, mut join_a) = bench.enter("a");
    let (b, _join_b) = bench.enter("b");
    bench.pass(DELAY * 2);
    answer(&mut join_a);
    drop(bench.sync(&a, 1, &[(&b, "x")]));
    for _ in 0..REBALANCE.as_secs() / 5 {
        let beats = (bench.heartbeat(&a, 1), bench.heartbeat(&b, 1));
        assert_eq!(beats, (Ok(()), Ok(())));
        bench.pass(Duration::from_secs(5));
    }
    assert!(!bench.group.members.contains_key(&b));
    assert_eq!(bench.group.state, GroupState::PreparingRebalance);
}

#[test]
fn the_leader_rebalances_by_joining_and_a_follower_does_not() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(&["a", "b"]);
    let mut follower = bench.join(dynamic("b", &ids[1]));
    assert_eq!(answer(&mut follower).generation, generation);
    assert_eq!(bench.group.state, GroupState::Stable);
    let mut leader = bench.join(dynamic("a", &ids[0]));
    unanswered(&mut leader);
    let mut follower = bench.join(dynamic("b", &ids[1]));
    assert_eq!(answer(&mut leader).generation, generation + 1);
    assert_eq!(answer(&mut follower).generation, generation + 1);
}

#[test]
fn leaving_hands_over_the_lead_and_empties_the_group() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(&["a", "b"]);
    assert_eq!(bench.leave(&ids[0], None), Ok(()));
    assert_eq!(
        bench.leave(&ids[0], None),
        Err(ResponseError::UnknownMemberId)
    );
    let mut join_b = bench.join(dynamic("b", &ids[1]));
    let joined = answer(&mut join_b);
    assert_eq!(
        (joined.generation, joined.leader.as_str()),
        (generation + 1, ids[1].as_str())
    );
    bench.leave(&ids[1], None).unwrap();
    assert_eq!(bench.group.state, GroupState::Empty);
    assert_eq!(bench.group.generation, generation + 2);
    assert!(bench.group.take_unsaved());
}

#[test]
fn protocols_are_chosen_by_all_and_refused_if_none_is_common() {
    let mut bench = Bench::new();
    let (a, mut join_a) = bench.enter("a");
    let mut stranger = dynamic("b", "");
    stranger.protocols = vec![protocol("roundrobin", "b")];
    let refused = answer(&mut bench.join(stranger));
    assert_eq!(
        refused.error,
        Some(ResponseError::InconsistentGroupProtocol)
    );
    let mut other = dynamic("c", "");
    other.protocol_type = "connect".to_owned();
    let refused = answer(&mut bench.join(other));
    assert_eq!(
        refused.error,
        Some(ResponseError::InconsistentGroupProtocol)
    );
    bench.pass(DELAY);
    answer(&mut join_a);
    let sync = Sync {
        member_id: a,
        instance_id: None,
        generation: 1,
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("sticky".to_owned()),
        assignments: BTreeMap::new(),
    };
    let (to, mut from) = oneshot::channel();
    bench.step(|group, at| group.sync(sync, to, at));
    assert_eq!(
        answer(&mut from).error,
        Some(ResponseError::InconsistentGroupProtocol)
    );
}

#[test]
fn a_full_group_lets_nobody_in() {
    let mut bench = Bench::new();
    let entered: Vec<_> = ["a", "b", "c", "d"]
        .iter()
        .map(|c| bench.enter(c))
        .collect();
    let mut fifth = bench.join(dynamic("e", ""));
    assert_eq!(
        answer(&mut fifth).error,
        Some(ResponseError::GroupMaxSizeReached)
    );
    bench.pass(DELAY * 2);
    assert_eq!(entered.len(), bench.group.members.len());
}

#[test]
fn a_member_id_that_is_not_used_expires() {
    let mut bench = Bench::new();
    let asked = answer(&mut bench.join(dynamic("a", "")));
    bench.pass(SESSION);
    let late = answer(&mut bench.join(dynamic("a", &asked.member_id)));
    assert_eq!(late.error, Some(ResponseError::UnknownMemberId));
    assert!(bench.group.is_deserted());
}

#[test]
fn commits_need_the_right_member_and_generation() {
    use ResponseError::{IllegalGeneration, RebalanceInProgress, UnknownMemberId};
    let mut bench = Bench::new();
    assert_eq!(bench.group.validate_commit("", None, -1, false), Ok(()));
    let (ids, generation) = bench.stable(&["a"]);
    let id = ids[0].as_str();
    for (member, given, transactional, expected) in [
        (id, generation, false, Ok(())),
        (id, generation - 1, false, Err(IllegalGeneration)),
        (id, generation + 1, true, Err(IllegalGeneration)),
        ("other", generation, false, Err(UnknownMemberId)),
        ("", -1, false, Err(UnknownMemberId)),
        ("", -1, true, Ok(())),
    ] {
        let given = bench
            .group
            .validate_commit(member, None, given, transactional);
        assert_eq!(given, expected, "{member} {transactional}");
    }
    drop(bench.join(dynamic("a", id)));
    let generation = bench.group.generation;
    let early = bench.group.validate_commit(id, None, generation, false);
    assert_eq!(early, Err(RebalanceInProgress));
    assert_eq!(
        bench.group.validate_commit(id, None, generation, true),
        Ok(())
    );
}
