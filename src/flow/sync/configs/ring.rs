//! Which topics are looked at next: each one in turn, and never many at once. Pure.

use std::{collections::BTreeMap, time::Duration};

/// Topics that are looked at in one go.
pub(super) const PORTION: usize = 50;

/// Topics by name, each with what is known of it.
#[derive(Debug)]
pub(super) struct Ring<T>(BTreeMap<String, Place<T>>);

#[derive(Debug)]
struct Place<T> {
    due: Duration,
    known: T,
}

impl<T: Default> Ring<T> {
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// These topics and no others. New ones are due at once.
    pub(super) fn keep<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        let mut before = std::mem::take(&mut self.0);
        for name in names {
            let place = before.remove(name);
            let place = place.unwrap_or_else(|| Place {
                due: Duration::ZERO,
                known: T::default(),
            });
            self.0.insert(name.clone(), place);
        }
    }

    /// Those that are due `now`, the latest first, as many as are looked at in one go; due again after the `interval` of
    /// each.
    pub(super) fn next(
        &mut self,
        now: Duration,
        interval: impl Fn(&str) -> Duration,
    ) -> Vec<String> {
        let due = self.0.iter().filter(|(_, place)| place.due <= now);
        let mut due: Vec<_> = due.map(|(name, place)| (place.due, name.clone())).collect();
        due.sort();
        due.truncate(PORTION);
        let names: Vec<_> = due.into_iter().map(|(_, name)| name).collect();
        for name in &names {
            if let Some(place) = self.0.get_mut(name) {
                place.due = now + interval(name);
            }
        }
        names
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.0.get_mut(name).map(|place| &mut place.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(15);

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("t{index:05}")).collect()
    }

    /// How long after its last look each topic is looked at again at the latest, once a second.
    fn longest(count: usize) -> u64 {
        let mut ring = Ring::<u64>::new();
        let mut longest = 0;
        for second in 1..1000 {
            let names = names(count);
            ring.keep(names.iter());
            let due = ring.next(Duration::from_secs(second), |_| INTERVAL);
            assert!(due.len() <= PORTION);
            for name in due {
                let last = ring.get_mut(&name).unwrap();
                longest = longest.max(second - *last);
                *last = second;
            }
        }
        for name in names(count) {
            assert!(ring.get_mut(&name).is_some_and(|last| *last > 0), "{name}");
        }
        longest
    }

    #[test]
    fn few_topics_are_looked_at_often_and_many_in_turn() {
        assert_eq!(longest(1), 15);
        assert_eq!(longest(700), 15);
        assert_eq!(longest(10_000), 200);
    }

    #[test]
    fn what_comes_is_due_at_once_and_what_goes_is_forgotten() {
        let mut ring = Ring::<u64>::new();
        let all = names(2);
        ring.keep(all[..1].iter());
        let now = Duration::from_secs(100);
        assert_eq!(ring.next(now, |_| INTERVAL), all[..1]);
        *ring.get_mut(&all[0]).unwrap() = 7;
        ring.keep(all.iter());
        assert_eq!(ring.next(now, |_| INTERVAL), all[1..]);
        assert_eq!(ring.get_mut(&all[0]), Some(&mut 7));
        ring.keep(all[1..].iter());
        ring.keep(all.iter());
        assert_eq!(ring.next(now, |_| INTERVAL), all[..1]);
        assert_eq!(ring.get_mut(&all[0]), Some(&mut 0));
    }
}
