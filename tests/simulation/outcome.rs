//! What runs came to.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::check::Shape;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    pub shape: Shape,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, usize>,
    /// How long it was for the machines.
    pub elapsed: Duration,
}

impl Outcome {
    pub const NONE: Self = Self {
        shape: Shape {
            records: 0,
            batches: 0,
            opened: 0,
        },
        counts: BTreeMap::new(),
        elapsed: Duration::ZERO,
    };

    pub fn add(&mut self, other: &Self) {
        self.shape.add(other.shape);
        self.elapsed += other.elapsed;
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape {
            records,
            batches,
            opened,
        } = self.shape;
        let seconds = self.elapsed.as_secs();
        write!(
            f,
            "{records} records in {batches} batches ({opened} made anew), {seconds} simulated seconds: "
        )?;
        write!(f, "{:?}", self.counts)
    }
}
