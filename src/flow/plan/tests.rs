use proptest::prelude::*;
use wire::{Isolation, client::PartitionDescription, error::ApiError};

use super::*;
use crate::config::{self, AclMode, FlowConfig, NamePattern, OnRecreate, Rate, TopicConfig};

fn rules(naming: &config::Naming) -> Rules {
    let flow = FlowConfig {
        name: "f".to_owned(),
        source: "east".to_owned(),
        target: "west".to_owned(),
        topics: vec![NamePattern::new("orders|pay.*").unwrap()],
        exclude: Vec::new(),
        naming: naming.clone(),
        isolation: Isolation::ReadCommitted,
        transport: crate::config::Transport::Auto,
        require: crate::config::Require::Any,
        checkpoint_interval: std::time::Duration::from_secs(1),
        assignment: config::Assignment::Shared,
        instance: None,
        group_offsets: false,
        groups: Vec::new(),
        groups_exclude: Vec::new(),
        acls: AclMode::Off,
        quotas: false,
        scram_users: None,
        mm2: config::Mm2Topics::default(),
        rate: Rate::default(),
        defaults: TopicConfig::default(),
        rules: Vec::new(),
    };
    Rules {
        source: "east".to_owned(),
        target: "west".to_owned(),
        selection: Selection::new(&flow),
        naming: Naming::new(naming, "east"),
        config: flow,
    }
}

fn described(name: &str, id: u128, partitions: i32, error: Option<i16>) -> TopicDescription {
    let partition = |index| PartitionDescription {
        index,
        leader: Some(1),
        leader_epoch: 0,
        replicas: vec![1],
        isr: vec![1],
        error: None,
    };
    TopicDescription {
        name: name.to_owned(),
        id: Uuid::from_u128(id),
        internal: false,
        error: error.map(|code| ApiError {
            code,
            message: None,
        }),
        partitions: (0..partitions).map(partition).collect(),
    }
}

/// Both clusters and what the flow knows, with `orders` (id 1) copied to `orders` (id 2).
struct World {
    source: Vec<TopicDescription>,
    target: Vec<TopicDescription>,
    control: ControlRecords,
    known: BTreeMap<Route, Known>,
    assignment: Assignment,
    leader: bool,
    on_recreate: OnRecreate,
}

impl World {
    fn new() -> Self {
        Self {
            source: vec![described("orders", 1, 2, None)],
            target: vec![described("orders", 2, 2, None)],
            control: control(Some(2)),
            known: BTreeMap::new(),
            assignment: Assignment::All,
            leader: true,
            on_recreate: OnRecreate::Stop,
        }
    }

    fn plan(&self) -> Plan {
        let mut rules = rules(&config::Naming::Identity);
        rules.config.defaults.on_recreate = self.on_recreate;
        let mut snapshot = rules.select(self.source.clone());
        snapshot.target = self
            .target
            .iter()
            .map(|t| (t.name.clone(), t.clone()))
            .collect();
        rules.plan(
            &snapshot,
            &self.control,
            &self.assignment,
            &self.known,
            self.leader,
        )
    }

    fn knows(&mut self, partition: i32, running: bool, vanished: bool) {
        let unit = unit(partition);
        let known = Known {
            unit: unit.clone(),
            running,
            drains: false,
            vanished,
        };
        self.known.insert(unit.route, known);
    }
}

fn control(target: Option<u128>) -> ControlRecords {
    let record = TopicRecord {
        source_topic: "orders".to_owned(),
        target_topic: "orders".to_owned(),
        target_topic_id: target.map(Uuid::from_u128),
        start: None,
        created_ms: 0,
        given_up: Vec::new(),
        ways: Vec::new(),
        gone_since_ms: None,
    };
    ControlRecords {
        flow: None,
        topics: BTreeMap::from([(TopicKey::Id(Uuid::from_u128(1)), record)]),
    }
}

fn unit(partition: i32) -> Unit {
    Unit {
        route: Route {
            source: TopicPartition::new("orders", partition),
            target: TopicPartition::new("orders", partition),
        },
        source_topic: Uuid::from_u128(1),
        target_topic: Uuid::from_u128(2),
    }
}

fn codes(plan: &Plan) -> Vec<&str> {
    plan.troubles.iter().map(|trouble| trouble.code).collect()
}

#[test]
fn workers_of_a_topic_that_forms_a_cycle_stop_and_may_start_when_it_is_cut() {
    let mut world = World::new();
    world.knows(0, true, false);
    world.knows(1, false, false);
    let rules = rules(&config::Naming::Identity);
    let mut snapshot = rules.select(Vec::new());
    snapshot
        .cyclic
        .insert("orders".to_owned(), "round".to_owned());
    let plan = rules.plan(
        &snapshot,
        &world.control,
        &world.assignment,
        &world.known,
        true,
    );
    assert!(only(plan, |plan| {
        let [(route, Some(stop))] = &plan.stop[..] else {
            panic!("{:?}", plan.stop)
        };
        assert_eq!((route, stop.reason), (&unit(0).route, StopReason::Cycle));
        assert_eq!(stop.text, "round");
        assert_eq!(plan.vanished, [unit(1).route]);
        plan.stop.clear();
        plan.vanished.clear();
    }));
}

/// Whether `plan` does nothing but what `left` leaves.
fn only(plan: Plan, left: impl Fn(&mut Plan)) -> bool {
    let mut plan = plan;
    left(&mut plan);
    plan == Plan::default()
}

#[test]
fn a_topic_goes_step_by_step() {
    let mut world = World::new();
    world.target = vec![described("orders", 0, 0, Some(3))];
    world.control = ControlRecords::default();
    let plan = world.plan();
    assert_eq!(plan.remember[0].name, "orders");
    assert!(plan.leads_on() && only(plan, |plan| plan.remember.clear()));

    world.control = control(None);
    let plan = world.plan();
    assert_eq!(
        (plan.create[0].target.as_str(), plan.create[0].partitions),
        ("orders", 2)
    );
    assert!(plan.leads_on() && only(plan, |plan| plan.create.clear()));

    world.target = World::new().target;
    let plan = world.plan();
    assert_eq!(plan.bind[0].1.target_topic_id, Some(Uuid::from_u128(2)));
    assert!(plan.leads_on() && only(plan, |plan| plan.bind.clear()));

    world.control = control(Some(2));
    let plan = world.plan();
    assert_eq!(plan.start, [unit(0), unit(1)]);
    assert!(!plan.leads_on() && only(plan, |plan| plan.start.clear()));

    world.knows(0, true, false);
    world.knows(1, false, false);
    assert!(
        only(world.plan(), |_| ()),
        "what runs, or stopped for a person, stays so"
    );
}

#[test]
fn only_the_leader_changes_the_target() {
    let mut world = World::new();
    world.leader = false;
    for target in [None, Some(2)] {
        world.control = control(target);
        assert!(!world.plan().leads_on());
    }
    world.source = vec![described("orders", 1, 5, None)];
    let plan = world.plan();
    assert_eq!((plan.leads_on(), plan.start.len()), (false, 2));
}

#[test]
fn partitions_that_were_added_are_added_on_the_target_and_run() {
    let mut world = World::new();
    world.knows(0, true, false);
    world.knows(1, true, false);
    world.source = vec![described("orders", 1, 3, None)];
    let plan = world.plan();
    assert_eq!(plan.grow, [("orders".to_owned(), 3)]);
    assert_eq!(
        (codes(&plan), plan.start.len()),
        (vec!["fewer_partitions"], 0)
    );
    world.target = vec![described("orders", 2, 3, None)];
    assert_eq!(world.plan().start, [unit(2)]);
    world.target = vec![described("orders", 2, 4, None)];
    let plan = world.plan();
    assert_eq!(
        (codes(&plan), plan.grow.len()),
        (vec!["more_partitions"], 0)
    );
}

#[test]
fn a_topic_that_is_gone_or_another_stops_its_workers() {
    use StopReason::{
        SourceTopicMissing, SourceTopicRecreated, TargetTopicMissing, TargetTopicRecreated,
    };
    let gone = || described("orders", 0, 0, Some(3));
    for (source, target, reason) in [
        (Vec::new(), World::new().target, SourceTopicMissing),
        (
            vec![described("orders", 1, 0, None)],
            World::new().target,
            SourceTopicMissing,
        ),
        (
            vec![described("orders", 7, 2, None)],
            World::new().target,
            SourceTopicRecreated,
        ),
        (World::new().source, vec![gone()], TargetTopicMissing),
        (
            World::new().source,
            vec![described("orders", 7, 2, None)],
            TargetTopicRecreated,
        ),
    ] {
        let mut world = World::new();
        world.knows(0, true, false);
        (world.source, world.target) = (source, target);
        // A topic without partitions is one that metadata cannot describe now.
        let unclear = world.source.iter().any(|topic| topic.partitions.is_empty());
        let plan = world.plan();
        assert!(plan.start.is_empty() && plan.create.is_empty(), "{plan:?}");
        match plan.stop.as_slice() {
            [] => assert!(unclear, "{reason}"),
            [(route, Some(stop))] => {
                assert_eq!((route, stop.reason), (&unit(0).route, reason));
                assert!(stop.text.contains("orders"), "{}", stop.text);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_target_that_was_deleted_is_not_created_again() {
    let mut world = World::new();
    world.target = vec![described("orders", 0, 0, Some(3))];
    let refused = |world: &World, reason| {
        let plan = world.plan();
        let routes: Vec<_> = plan
            .refuse
            .iter()
            .map(|(unit, _)| unit.route.clone())
            .collect();
        assert_eq!(routes, [unit(0).route, unit(1).route]);
        let stop = &plan.refuse[0].1;
        assert_eq!(stop.reason, reason);
        assert!(
            stop.text.contains("forget what was copied"),
            "{}",
            stop.text
        );
        assert!(only(plan, |plan| plan.refuse.clear()));
    };
    refused(&world, StopReason::TargetTopicMissing);
    world.target = vec![described("orders", 7, 2, None)];
    refused(&world, StopReason::TargetTopicRecreated);
    world.knows(0, false, false);
    world.knows(1, false, false);
    assert!(only(world.plan(), |_| ()), "it is said once");
}

#[test]
fn only_what_the_target_describes_tells_that_a_topic_is_another_one() {
    const LEADER_NOT_AVAILABLE: i16 = 5;
    let bound = Uuid::from_u128(2);
    let another = |id, error| is_another(Some(&described("orders", id, 1, error)), bound);
    assert_eq!(another(2, None), Some(false));
    assert_eq!(another(7, None), Some(true));
    assert_eq!(another(0, Some(UNKNOWN_TOPIC)), Some(true));
    assert_eq!(another(0, Some(LEADER_NOT_AVAILABLE)), None);
    assert_eq!(is_another(None, bound), None);
}

/// The copy of the topic before is deleted first, if that is asked for.
#[test]
fn a_topic_that_replaces_another_one_waits_for_its_target_to_be_deleted() {
    let mut world = World::new();
    world.source = vec![described("orders", 5, 2, None)];
    let before = world.control.topics[&TopicKey::Id(Uuid::from_u128(1))].clone();
    world.on_recreate = OnRecreate::Recreate;
    let remember = world.plan().remember;
    assert_eq!(remember[0].id, Uuid::from_u128(5));
    let record = before.without_target();
    world
        .control
        .topics
        .insert(TopicKey::Id(Uuid::from_u128(5)), record);
    assert!(only(world.plan(), |_| {}), "{:?}", world.plan());
    world.target = vec![described("orders", 0, 0, Some(3))];
    assert!(only(world.plan(), |plan| plan.create.clear()));
    assert_eq!(world.plan().create.len(), 1);
    world.target = vec![described("orders", 6, 2, None)];
    assert_eq!(
        world.plan().bind[0].1.target_topic_id,
        Some(Uuid::from_u128(6))
    );
    for other in [OnRecreate::Stop, OnRecreate::Append] {
        world.on_recreate = other;
        world.target = vec![described("orders", 2, 2, None)];
        assert_eq!(
            world.plan().bind[0].1.target_topic_id,
            Some(Uuid::from_u128(2))
        );
    }
}

#[test]
fn a_topic_that_was_given_up_and_is_bound_again_is_not_given_up() {
    let mut world = World::new();
    for record in world.control.topics.values_mut() {
        *record = record.unbound();
    }
    let bind = world.plan().bind;
    assert_eq!(bind[0].1.target_topic_id, Some(Uuid::from_u128(2)));
    assert!(bind[0].1.given_up.is_empty());
}

#[test]
fn a_topic_that_came_back_runs_again() {
    let mut world = World::new();
    world.knows(0, false, false);
    world.source = Vec::new();
    let plan = world.plan();
    assert_eq!(plan.vanished, [unit(0).route]);
    assert!(only(plan, |plan| plan.vanished.clear()));
    let mut world = World::new();
    world.knows(0, false, true);
    world.knows(1, false, false);
    assert_eq!(world.plan().start, [unit(0)]);
}

#[test]
fn what_metadata_cannot_describe_now_changes_nothing() {
    let mut world = World::new();
    world.knows(0, true, false);
    world.source = vec![described("orders", 1, 2, Some(5))];
    assert!(only(world.plan(), |_| ()));
    let mut world = World::new();
    world.knows(0, true, false);
    world.target = vec![described("orders", 0, 0, Some(29))];
    let plan = world.plan();
    assert_eq!(codes(&plan), ["target_topic"]);
    assert!(only(plan, |plan| plan.troubles.clear()));
    world.target = Vec::new();
    assert!(only(world.plan(), |_| ()));
}

#[test]
fn partitions_that_are_not_ours_do_not_run_here() {
    let mut world = World::new();
    world.knows(0, true, false);
    world.assignment = Assignment::Partitions(BTreeSet::from([unit(1).route.target]));
    let plan = world.plan();
    assert_eq!(plan.stop, [(unit(0).route, None)]);
    assert_eq!(plan.start, [unit(1)]);
}

#[test]
fn names_that_cannot_be_are_troubles() {
    let rules = rules(&config::Naming::Template("strait.{topic}".to_owned()));
    let snapshot = rules.select(vec![described("orders", 1, 1, None)]);
    assert!(snapshot.topics.is_empty());
    assert_eq!(snapshot.troubles[0].code, "name");
    let mut internal = described("pay", 1, 1, None);
    internal.internal = true;
    let all = vec![internal, described("other", 2, 1, None)];
    let snapshot = rules.select(all);
    assert!(snapshot.topics.is_empty() && snapshot.troubles.is_empty());
}

proptest! {
    /// Whatever the clusters hold: a worker starts only for topics that are bound to the ids that both
    /// sides have now, nothing bound is created, and nothing starts twice.
    #[test]
    fn workers_start_only_where_both_ids_are_the_known_ones(
        source_id in 1u128..3, target_id in 2u128..4, bound in prop::option::of(2u128..4),
        partitions in (0i32..4, 0i32..4), missing: bool, running in 0i32..3,
    ) {
        let mut world = World::new();
        let error = missing.then_some(3);
        world.source = vec![described("orders", source_id, partitions.0, None)];
        world.target = vec![described("orders", target_id, partitions.1, error)];
        world.control = control(bound);
        (0..running).for_each(|partition| world.knows(partition, true, false));
        let plan = world.plan();
        for unit in &plan.start {
            prop_assert!(source_id == 1 && !missing && bound == Some(target_id));
            let partition = unit.route.source.partition;
            prop_assert!(partition >= running && partition < partitions.0.min(partitions.1));
        }
        prop_assert!(plan.create.is_empty() || (missing && bound.is_none()));
        prop_assert!(plan.bind.is_empty() || (!missing && bound.is_none()));
    }
}
