//! Partitions in the order in which they are served.

use std::collections::{BTreeMap, HashMap};

use super::Key;

/// Values by key, in the order in which they came.
///
/// Invariant: `places` has the place in `values` of each key, and nothing else.
#[derive(Debug)]
pub(super) struct Line<T> {
    values: BTreeMap<u64, T>,
    places: HashMap<Key, u64>,
    next: u64,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            values: BTreeMap::new(),
            places: HashMap::new(),
            next: 0,
        }
    }
}

impl<T> Line<T> {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Puts a value at the end, or in the place of the one that has its key.
    pub(super) fn put(&mut self, key: Key, value: T) {
        let place = *self.places.entry(key).or_insert(self.next);
        self.next = self.next.max(place + 1);
        self.values.insert(place, value);
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut T> {
        self.values.get_mut(self.places.get(key)?)
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<T> {
        let place = self.places.remove(key)?;
        self.values.remove(&place)
    }

    pub(super) fn move_to_end(&mut self, key: &Key) {
        if let Some(value) = self.remove(key) {
            self.put(key.clone(), value);
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.values.values()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.values.values_mut()
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.values.into_values()
    }
}
