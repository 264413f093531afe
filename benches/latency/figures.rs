//! Percentiles of one run, in milliseconds.

use std::fmt;

use super::load::Times;

/// Half of the records, and all but a hundredth, are not later than these.
#[derive(Clone, Copy, Debug)]
struct Percentiles([f64; 2]);

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// From the producer to a reader of the source.
    alone: Percentiles,
    /// From the producer to a reader of the target.
    through: Percentiles,
    /// From the reader of the source to that of the target, record by record.
    between: Percentiles,
}

impl Figures {
    /// Above the columns.
    pub const HEAD: &str = "ms            alone p50     p99   through p50     p99   difference p50     p99   \
                            record by record p50     p99";

    pub fn of(times: &[Times]) -> Self {
        let each = |of: fn(&Times) -> f64| Percentiles::of(times.iter().map(of).collect());
        Self {
            alone: each(|t| t.at_source as f64 - t.produced as f64),
            through: each(|t| t.at_target as f64 - t.produced as f64),
            between: each(|t| t.at_target as f64 - t.at_source as f64),
        }
    }

    /// Of each figure by itself.
    pub fn median(rounds: &[Self]) -> Self {
        let each = |of: fn(&Self) -> Percentiles| {
            Percentiles([0, 1].map(|which| {
                let mut values: Vec<_> = rounds.iter().map(|one| of(one).0[which]).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            }))
        };
        Self {
            alone: each(|one| one.alone),
            through: each(|one| one.through),
            between: each(|one| one.between),
        }
    }
}

impl Percentiles {
    fn of(mut nanos: Vec<f64>) -> Self {
        nanos.sort_by(f64::total_cmp);
        let at = |part: usize| nanos[nanos.len() * part / 100] / 1e6;
        Self([at(50), at(99)])
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([a50, a99], [t50, t99]) = (self.alone.0, self.through.0);
        let [b50, b99] = self.between.0;
        let (d50, d99) = (t50 - a50, t99 - a99);
        write!(
            f,
            "{a50:>9.2} {a99:>7.2} {t50:>13.2} {t99:>7.2} {d50:>16.2} {d99:>7.2} {b50:>22.2} {b99:>7.2}"
        )
    }
}
