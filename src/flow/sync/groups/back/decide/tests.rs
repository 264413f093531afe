use std::collections::BTreeMap;

use super::*;

const TERMS: Terms<'_> = Terms {
    flow: "f",
    source: "east",
    target: "west",
    rewind: false,
};

fn committed(offset: i64, metadata: &str) -> CommittedOffset {
    CommittedOffset {
        offset,
        leader_epoch: 3,
        metadata: metadata.to_owned(),
    }
}

fn at(source_offset: i64, again: i64) -> Result<Told, String> {
    Ok(Told::At {
        source_offset,
        again,
    })
}

fn found(partition: i32, target_offset: i64, told: Result<Told, String>) -> Found {
    Found {
        source: TopicPartition::new("t", partition),
        target: TopicPartition::new("east.t", partition),
        committed: committed(target_offset, "app"),
        told,
        began_late_at: None,
        reverse: None,
        is_unsettled: false,
    }
}

/// What becomes of one, and the offset and metadata that are committed for it.
fn one(
    terms: Terms<'_>,
    found: &Found,
    there: Option<CommittedOffset>,
) -> (Outcome, Option<(i64, String)>) {
    let there = there.map(|there| (found.source.clone(), there));
    let there: GroupOffsets = there.into_iter().collect();
    let (rows, mut writes) = terms.decide(std::slice::from_ref(found), &there);
    let write = writes.pop().map(|(partition, committed)| {
        assert_eq!((&partition, committed.leader_epoch), (&found.source, -1));
        (committed.offset, committed.metadata)
    });
    (rows[0].outcome, write)
}

#[test]
fn a_group_goes_ahead_with_what_its_application_keeps_there() {
    let moves = (Outcome::Moves, Some((12, "app".to_owned())));
    let there = [None, Some(committed(3, "")), Some(committed(11, "old"))];
    for there in there {
        assert_eq!(one(TERMS, &found(0, 10, at(12, 0)), there.clone()), moves);
        // The lower bound, as nothing unread is passed over.
        assert_eq!(one(TERMS, &found(0, 10, at(12, 7)), there), moves);
    }
    let same = one(TERMS, &found(0, 10, at(12, 0)), Some(committed(12, "")));
    assert_eq!(same, (Outcome::Same, None));
}

#[test]
fn what_it_read_further_on_the_source_stays_unless_told_otherwise() {
    let it = found(0, 10, at(12, 0));
    let rewind = Terms {
        rewind: true,
        ..TERMS
    };
    let back = (Outcome::Moves, Some((12, "app".to_owned())));
    // Of a mark by which it was only given back to a flow the offset is its own.
    for metadata in ["", "app", "strait/1 r -1"] {
        let there = Some(committed(20, metadata));
        assert_eq!(one(TERMS, &it, there.clone()), (Outcome::Kept, None));
        assert_eq!(one(rewind, &it, there), back);
    }
    // That is where it was on the target, not what it read on the source.
    assert_eq!(one(TERMS, &it, Some(committed(20, "strait/1 r 18"))), back);
}

#[test]
fn where_it_never_moved_it_stays_or_is_put_back_if_that_is_lost() {
    let it = Found {
        committed: committed(10, "strait/1 f 12"),
        ..found(0, 10, at(12, 0))
    };
    let stays = one(TERMS, &it, Some(committed(15, "")));
    assert_eq!(stays, (Outcome::Same, None));
    let lost = (Outcome::Moves, Some((12, String::new())));
    assert_eq!(one(TERMS, &it, None), lost);
    // It follows another source, which says nothing of this one.
    let it = Found {
        committed: committed(10, "strait/1 other 12"),
        ..it
    };
    for there in [None, Some(committed(3, ""))] {
        assert_eq!(one(TERMS, &it, there), (Outcome::Same, None));
    }
}

#[test]
fn what_is_not_known_is_left_with_the_reason() {
    let late = Found {
        began_late_at: Some(100),
        ..found(0, 10, at(150, 0))
    };
    let gone = Err("made anew".to_owned());
    for (it, there, reason) in [
        (found(0, 30, Ok(Told::Beyond(20))), Some(9), "behind 20"),
        (found(0, 30, Ok(Told::Lost(20))), Some(9), "lost its end"),
        (found(0, 1, Ok(Told::Unknown)), None, "so far"),
        (found(0, 1, Ok(Told::Unread("x".to_owned()))), None, "x"),
        (found(0, 1, gone), None, "made anew"),
        (late.clone(), Some(50), "never on west"),
    ] {
        let there = there.map(|offset| (it.source.clone(), committed(offset, "")));
        let there = there.into_iter().collect();
        let (rows, writes) = TERMS.decide(&[it], &there);
        assert_eq!((rows[0].outcome, writes.len()), (Outcome::Left, 0));
        assert!(rows[0].text.contains(reason), "{}", rows[0].text);
    }
    let began = one(TERMS, &late, Some(committed(100, "")));
    assert_eq!(began.0, Outcome::Moves);
}

#[test]
fn what_another_flow_brought_is_its_to_tell_and_it_may_commit_for_the_group() {
    let reverse = Some("r".to_owned());
    let it = |partition, offset, told| Found {
        reverse: reverse.clone(),
        ..found(partition, offset, told)
    };
    let all = [
        it(0, 30, Ok(Told::Beyond(20))),
        it(1, 25, at(5, 9)),
        it(2, 20, at(22, 0)),
        found(3, 10, at(12, 0)),
        found(4, 10, at(12, 0)),
        it(5, 30, Ok(Told::Beyond(20))),
        it(6, 30, Ok(Told::Beyond(20))),
    ];
    let there = BTreeMap::from([
        (TopicPartition::new("t", 0), committed(18, "")),
        (TopicPartition::new("t", 3), committed(40, "")),
        (TopicPartition::new("t", 5), committed(31, "strait/1 r 29")),
    ]);
    let (rows, writes) = TERMS.decide(&all, &there);
    let outcomes: Vec<_> = rows.iter().map(|row| row.outcome).collect();
    use Outcome::{HandedOver, Kept, Moves};
    assert_eq!(
        outcomes,
        [
            HandedOver, HandedOver, Moves, Kept, Moves, HandedOver, HandedOver
        ]
    );
    let writes: Vec<_> = writes
        .iter()
        .map(|(partition, one)| (partition.partition, one.offset, one.metadata.as_str()))
        .collect();
    // All of it has that flow's mark, or else it would leave the group alone; what has it already stays.
    assert_eq!(
        writes,
        [
            (0, 18, "strait/1 r -1"),
            (2, 22, "strait/1 r 20"),
            (3, 40, "strait/1 r -1"),
            (4, 12, "strait/1 r 10"),
        ]
    );
}

#[test]
fn a_group_with_unread_records_before_the_flow_began_is_not_handed_over() {
    let reverse = |partition, offset, told| Found {
        reverse: Some("r".to_owned()),
        began_late_at: Some(100),
        ..found(partition, offset, told)
    };
    let there = BTreeMap::from([(TopicPartition::new("t", 0), committed(50, ""))]);
    for told in [Ok(Told::Beyond(20)), at(150, 7), at(150, 0)] {
        // Another partition is the other flow's: its mark on 50 would let that pass over what is between.
        let all = [reverse(0, 30, told), reverse(1, 30, Ok(Told::Beyond(20)))];
        let (rows, writes) = TERMS.decide(&all, &there);
        let outcomes = [rows[0].outcome, rows[1].outcome];
        assert_eq!(outcomes, [Outcome::Left, Outcome::HandedOver]);
        assert_eq!(writes, []);
    }
}
