//! What is handed out, in rounds as the group goes through them.

use proptest::prelude::*;

use super::*;

type Owned = BTreeMap<String, BTreeSet<TopicPartition>>;

fn names(topics: &[&str]) -> BTreeSet<String> {
    topics.iter().map(|topic| (*topic).to_owned()).collect()
}

fn partitions(topic: &str, numbers: impl IntoIterator<Item = i32>) -> BTreeSet<TopicPartition> {
    let numbers = numbers.into_iter();
    numbers.map(|p| TopicPartition::new(topic, p)).collect()
}

fn member(
    topics: &[&str],
    owned: BTreeSet<TopicPartition>,
    generation: i32,
    rules: &'static [u8],
) -> Subscription {
    Subscription {
        topics: names(topics),
        owned,
        generation,
        user_data: Bytes::from_static(rules),
    }
}

fn counts(topics: &[(&str, i32)]) -> BTreeMap<String, i32> {
    let topics = topics.iter();
    topics.map(|(topic, n)| ((*topic).to_owned(), *n)).collect()
}

/// What everybody has after the round: nothing is taken up that another one has still to give up.
fn round(
    members: &mut BTreeMap<String, Subscription>,
    counts: &BTreeMap<String, i32>,
) -> BTreeMap<String, Assignment> {
    let assigned = assign(members, counts);
    let owners = |members: &BTreeMap<String, Subscription>| {
        let mut owners: BTreeMap<TopicPartition, Vec<String>> = BTreeMap::new();
        for (id, member) in members {
            for partition in &member.owned {
                owners
                    .entry(partition.clone())
                    .or_default()
                    .push(id.clone());
            }
        }
        owners
    };
    let before = owners(members);
    for (id, assignment) in &assigned {
        for partition in &assignment.partitions {
            let had = before.get(partition).into_iter().flatten();
            let others: Vec<_> = had.filter(|owner| *owner != id).collect();
            assert!(
                others.is_empty(),
                "{partition} goes to {id}, {others:?} has it"
            );
        }
        let member = members.get_mut(id).unwrap();
        member.owned = assignment.partitions.clone();
        member.generation += 1;
    }
    for (partition, owners) in owners(members) {
        assert_eq!(owners.len(), 1, "{partition} is had by {owners:?}");
    }
    assigned
}

fn sizes(members: &BTreeMap<String, Subscription>) -> Vec<usize> {
    members.values().map(|member| member.owned.len()).collect()
}

#[test]
fn a_newcomer_gets_its_share_once_it_is_given_up() {
    let counts = counts(&[("t", 9)]);
    let first = member(&["t"], partitions("t", 0..9), 4, b"r");
    let mut members = BTreeMap::from([("a".to_owned(), first)]);
    members.insert("b".to_owned(), member(&["t"], BTreeSet::new(), -1, b"r"));
    round(&mut members, &counts);
    assert_eq!(sizes(&members), [5, 0]);
    round(&mut members, &counts);
    assert_eq!(sizes(&members), [5, 4]);
    let settled: Owned = members
        .iter()
        .map(|(id, member)| (id.clone(), member.owned.clone()))
        .collect();
    round(&mut members, &counts);
    let again = members.iter().map(|(id, m)| (id.clone(), m.owned.clone()));
    assert_eq!(again.collect::<Owned>(), settled);
}

#[test]
fn who_is_left_keeps_what_it_has() {
    let counts = counts(&[("t", 10)]);
    let mut members = BTreeMap::new();
    for (id, numbers) in [("a", 0..3), ("b", 3..6)] {
        let owned = partitions("t", numbers);
        members.insert(id.to_owned(), member(&["t"], owned, 2, b"r"));
    }
    let before = members.clone();
    round(&mut members, &counts);
    assert_eq!(sizes(&members), [5, 5]);
    for (id, member) in &before {
        assert!(members[id].owned.is_superset(&member.owned));
    }
}

#[test]
fn what_one_has_seen_all_with_its_rules_want() {
    let counts = counts(&[("new", 4), ("t", 2)]);
    let of = |topics, rules| member(topics, BTreeSet::new(), -1, rules);
    let mut members = BTreeMap::from([
        ("a".to_owned(), of(&["new", "t"], b"r")),
        ("b".to_owned(), of(&["t"], b"r")),
        ("c".to_owned(), of(&["t"], b"other")),
        ("d".to_owned(), of(&["t"], b"")),
    ]);
    let assigned = round(&mut members, &counts);
    assert_eq!(sizes(&members), [2, 2, 1, 1]);
    for other in ["c", "d"] {
        let topics = members[other].owned.iter().map(|p| p.topic.as_str());
        assert_eq!(topics.collect::<BTreeSet<_>>(), BTreeSet::from(["t"]));
    }
    let all = covered(&names(&["new", "t"]));
    assert_eq!(assigned["a"].user_data, all);
    assert_eq!(assigned["b"].user_data, all);
    assert_eq!(assigned["c"].user_data, covered(&names(&["t"])));
}

#[test]
fn a_claim_of_an_older_generation_does_not_count() {
    let counts = counts(&[("t", 2)]);
    let mut members = BTreeMap::from([
        (
            "a".to_owned(),
            member(&["t"], partitions("t", 0..1), 3, b"r"),
        ),
        (
            "b".to_owned(),
            member(&["t"], partitions("t", 0..1), 5, b"r"),
        ),
    ]);
    let assigned = assign(&members, &counts);
    assert_eq!(assigned["b"].partitions, partitions("t", 0..1));
    assert_eq!(assigned["a"].partitions, partitions("t", 1..2));
    // In the same generation nobody gets it before both gave it up.
    members.get_mut("a").unwrap().generation = 5;
    let assigned = assign(&members, &counts);
    let all = assigned.values().flat_map(|a| &a.partitions);
    assert_eq!(all.cloned().collect::<BTreeSet<_>>(), partitions("t", 1..2));
}

#[test]
fn ten_thousand_partitions_are_shared_out_among_ten() {
    let topics: BTreeMap<String, i32> = (0..1250).map(|t| (format!("t{t:04}"), 8)).collect();
    let of = || Subscription {
        topics: topics.keys().cloned().collect(),
        user_data: Bytes::from_static(b"r"),
        ..Subscription::default()
    };
    let mut members: BTreeMap<_, _> = (0..9).map(|m| (format!("m{m}"), of())).collect();
    round(&mut members, &topics);
    members.insert("new".to_owned(), of());
    round(&mut members, &topics);
    round(&mut members, &topics);
    assert_eq!(sizes(&members), [1000; 10]);
}

/// Topics, what members say (which topics they want, by which rules, in which generation), and whose each partition is.
type World = (BTreeMap<String, i32>, Vec<(Vec<bool>, u8, i32)>, Vec<usize>);

fn worlds() -> impl Strategy<Value = World> {
    (
        proptest::collection::vec(0i32..6, 4),
        proptest::collection::vec(
            (
                proptest::collection::vec(any::<bool>(), 4),
                0u8..3,
                -1i32..3,
            ),
            1..5,
        ),
        proptest::collection::vec(0usize..6, 24),
    )
        .prop_map(|(sizes, members, owners)| {
            let topics = sizes.iter().enumerate();
            let counts = topics.map(|(t, n)| (format!("t{t}"), *n)).collect();
            (counts, members, owners)
        })
}

proptest! {
    /// From whatever members say, three rounds lead to where all is had by who wants it and nothing more can be
    /// moved to make it fairer; on the way nothing is handed to one while another one has it.
    #[test]
    fn rounds_settle_fairly((counts, who, owners) in worlds()) {
        let mut members = BTreeMap::new();
        for (index, (topics, rules, generation)) in who.iter().enumerate() {
            let chosen = topics.iter().enumerate().filter(|(_, wants)| **wants);
            let topics = chosen.map(|(t, _)| format!("t{t}")).collect();
            let user_data = [&b""[..], b"r", b"s"][usize::from(*rules)];
            let user_data = Bytes::from_static(user_data);
            let mut owned = BTreeSet::new();
            for (at, owner) in owners.iter().enumerate() {
                if *owner == index {
                    owned.insert(TopicPartition::new(format!("t{}", at % 4), (at / 4) as i32));
                }
            }
            let member = Subscription { topics, owned, generation: *generation, user_data };
            members.insert(format!("m{index}"), member);
        }
        for _ in 0..3 {
            round(&mut members, &counts);
        }
        let wanted = wanted(&members);
        let settled = assign(&members, &counts);
        for (topic, count) in &counts {
            let wants = wanted.iter().any(|w| w.contains(topic.as_str()));
            for partition in partitions(topic, 0..*count) {
                let has = settled.values().filter(|a| a.partitions.contains(&partition));
                prop_assert_eq!(has.count(), usize::from(wants), "{}", partition);
            }
        }
        let parts: Vec<_> = settled.values().map(|a| &a.partitions).collect();
        for (to, topics) in wanted.iter().enumerate() {
            for from in &parts {
                let gives = from.iter().any(|p| topics.contains(p.topic.as_str()));
                prop_assert!(!gives || from.len() <= parts[to].len() + 1);
            }
        }
        for (id, member) in &members {
            prop_assert_eq!(&settled[id].partitions, &member.owned);
        }
    }
}
