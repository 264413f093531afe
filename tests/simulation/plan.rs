//! What a seed draws: the clusters, the load and what may happen.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

/// How old records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Of now: the leader guards what is in flight.
    Fresh,
    /// Some of now, some of three days, some as old as what leaders forget.
    Mixed,
    /// Three days: nothing is guarded.
    Old,
}

/// What may happen. A seed draws some of them: all at once hide each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A broker's process ends at once.
    KillBroker,
    /// A broker's machine loses what was not synced.
    PowerLoss,
    /// A broker ends in good order.
    StopBroker,
    /// A process of strait ends at once.
    KillStrait,
    /// A process of strait is asked to end.
    StopStrait,
    /// A network path delivers late.
    Hold,
    /// A network path loses everything.
    Partition,
    /// Connections are reset at one end.
    Cut,
    /// A network path becomes slower or faster.
    Latency,
    /// A calendar is set to another time.
    ClockJump,
    /// A broker refuses, answers wrongly or late, or closes connections.
    Fault,
    /// A partition gets a new leader epoch.
    Epoch,
    /// A leader forgets producers of old records.
    Forget,
    /// The target loses what it had acknowledged last, as in an unclean election.
    Truncate,
    /// The target appends late what comes of a process that is gone, or of a connection.
    Late,
    /// The target refuses a batch behind which others are on their way.
    Refuse,
    /// A topic comes.
    Topic,
    /// A topic gets more partitions.
    Partitions,
    /// Records of the source that were copied are deleted.
    Delete,
}

impl Kind {
    const ALL: [Self; 19] = [
        Self::KillBroker,
        Self::PowerLoss,
        Self::StopBroker,
        Self::KillStrait,
        Self::StopStrait,
        Self::Hold,
        Self::Partition,
        Self::Cut,
        Self::Latency,
        Self::ClockJump,
        Self::Fault,
        Self::Epoch,
        Self::Forget,
        Self::Truncate,
        Self::Late,
        Self::Refuse,
        Self::Topic,
        Self::Partitions,
        Self::Delete,
    ];
}

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub age: Age,
    /// Processes of strait, each of which thinks to be alone.
    pub processes: usize,
    /// Whether source and target sync each append before they answer.
    pub flush: [bool; 2],
    /// How long a sync takes at most.
    pub sync: Duration,
    /// Partitions of the plain topic, and of the one that is written in transactions.
    pub partitions: [i32; 2],
    /// How long a packet takes at most.
    pub latency: Duration,
    /// How long the application rests at most between two batches, in milliseconds.
    pub rest_ms: u64,
    /// Whether batches are mostly of single records.
    pub small: bool,
    pub kinds: Vec<Kind>,
    /// How long things happen.
    pub storm: Duration,
    /// Rest between two of them at most.
    pub calm: Duration,
    pub checkpoint_ms: u64,
    pub memory: &'static str,
    /// `producer.id.expiration.ms`
    pub expiration: Duration,
    /// `producer.id.expiration.check.interval.ms`: a short one forgets at once.
    pub forgets_every: Duration,
    /// Whether a loss of power keeps any part of what was not synced.
    pub torn: bool,
    /// Whether brokers have the smallest segments there are, so that what is deleted goes.
    pub segments: bool,
}

/// How late things may be at most.
#[derive(Clone, Copy, Debug)]
pub struct Lateness {
    /// What was sent on a path.
    pub held: Duration,
    /// What a broker does, by [`Kind::Fault`].
    pub delay: Duration,
    /// The same, by [`Kind::Late`].
    pub append: Duration,
}

pub const PLAIN: &str = "plain";
pub const TRANSACTED: &str = "transacted";

impl Plan {
    /// Nothing else decides.
    pub fn draw(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let age = match random.random_range(0..10) {
            0..3 => Age::Old,
            3..5 => Age::Mixed,
            _ => Age::Fresh,
        };
        // Two processes may double what is not guarded (docs/GUARANTEES.md).
        let processes = if age == Age::Fresh && random.random_bool(0.35) {
            2
        } else {
            1
        };
        let flush = [random.random_bool(0.5), random.random_bool(0.5)];
        let often = random.random_range(0.25..0.9);
        let kinds = Kind::ALL.into_iter();
        let mut kinds: Vec<_> = kinds.filter(|_| random.random_bool(often)).collect();
        if age != Age::Fresh && random.random_bool(0.5) {
            // What is not guarded rests on nothing but care in these two.
            kinds.extend([Kind::Late, Kind::Late, Kind::Refuse]);
        }
        kinds.retain(|kind| match kind {
            Kind::PowerLoss => flush != [false, false],
            Kind::Forget => age == Age::Old,
            // Who lost records is found out by the next number that it refuses, if it remembers numbers.
            Kind::Truncate => age == Age::Fresh && processes == 1,
            // The first batch of a partition is not guarded, and two processes have two checkpoints.
            Kind::Topic | Kind::Partitions | Kind::Delete => processes == 1,
            _ => true,
        });
        if kinds.contains(&Kind::Truncate) && kinds.contains(&Kind::Delete) {
            // What the target lost and the source has no more is lost.
            let other = [Kind::Truncate, Kind::Delete][random.random_range(0..2)];
            kinds.retain(|kind| *kind != other);
        }
        let day = Duration::from_secs(24 * 3600);
        Self {
            seed,
            age,
            processes,
            flush,
            sync: Duration::from_millis(random.random_range(1..30)),
            partitions: [random.random_range(1..5), random.random_range(0..3)],
            latency: Duration::from_millis([1, 3, 10, 40, 80][random.random_range(0..5)]),
            rest_ms: [2, 10, 40][random.random_range(0..3)],
            small: random.random_bool(0.5),
            kinds,
            storm: Duration::from_secs(random.random_range(10..40)),
            calm: Duration::from_millis([300, 1_000, 3_000][random.random_range(0..3)]),
            checkpoint_ms: [50, 200, 1_000][random.random_range(0..3)],
            memory: ["1MiB", "64MiB"][random.random_range(0..2)],
            expiration: [day, Duration::from_secs(25 * 60)][random.random_range(0..2)],
            forgets_every: Duration::from_millis([1, 1, 1_000, 600_000][random.random_range(0..4)]),
            torn: random.random_bool(0.6),
            segments: random.random_bool(0.5),
        }
    }

    /// Nothing happens.
    pub fn calm(seed: u64) -> Self {
        let plan = Self::draw(seed);
        Self {
            kinds: Vec::new(),
            processes: 1,
            ..plan
        }
    }

    /// How late a broker may append what was sent on a connection that is gone. What is not guarded may be there twice
    /// beyond six seconds (docs/GUARANTEES.md, "The race"), and all of these together stay below.
    pub fn lateness(&self) -> Lateness {
        let begins = |kind| matches!(kind, &Kind::Topic | &Kind::Partitions);
        if self.age == Age::Fresh && !self.kinds.iter().any(begins) {
            return Lateness {
                held: Duration::from_secs(12),
                delay: Duration::from_secs(4),
                append: Duration::from_secs(8),
            };
        }
        Lateness {
            held: Duration::from_millis(1_500),
            delay: Duration::from_millis(400),
            append: Duration::from_millis(3_500),
        }
    }
}
