//! The newest offset of each key, in bounded memory (`SkimpyOffsetMap`).
//!
//! A slot holds 16 bytes of the key's SHA-256 and the offset. Two keys with equal hashes would be taken for one; as in
//! Kafka, which uses MD5, that is too unlikely to look for, and nobody can make one on purpose.

/// A hash in two halves, and the offset plus one; zeros: free.
type Slot = [u64; 3];

/// Keys and offsets.
#[derive(Debug)]
pub(super) struct OffsetMap {
    slots: Vec<Slot>,
    len: usize,
    /// Records before this offset are in the map, if they count.
    end: i64,
}

impl OffsetMap {
    /// Room for `keys` keys if they fit into `max_bytes`, else for as many as do.
    pub(super) fn new(start: i64, keys: u64, max_bytes: usize) -> Self {
        let most = max_bytes / size_of::<Slot>();
        let wanted = usize::try_from(keys.saturating_mul(10) / 9 + 2).unwrap_or(usize::MAX);
        Self {
            slots: vec![[0; 3]; wanted.min(most).max(2)],
            len: 0,
            end: start,
        }
    }

    /// Remembers that `key` was written at `offset`, behind all others; false if there is no room.
    pub(super) fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = hash(key);
        let at = self.find(hash);
        if self.slots[at][2] == 0 {
            // More than nine tenths full means long searches (`log.cleaner.io.buffer.load.factor`).
            if (self.len + 1) * 10 > self.slots.len() * 9 {
                return false;
            }
            self.len += 1;
        }
        self.slots[at] = [hash[0], hash[1], offset.unsigned_abs() + 1];
        true
    }

    /// The newest offset of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<i64> {
        let [.., offset] = self.slots[self.find(hash(key))];
        i64::try_from(offset.checked_sub(1)?).ok()
    }

    /// All records before `end` were looked at.
    pub(super) fn reach(&mut self, end: i64) {
        self.end = self.end.max(end);
    }

    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// The slot of a hash, or the free one where it belongs. There always is a free one.
    fn find(&self, hash: [u64; 2]) -> usize {
        let count = self.slots.len();
        let mut at = (hash[0] % count as u64) as usize;
        loop {
            let [high, low, offset] = self.slots[at];
            if offset == 0 || [high, low] == hash {
                return at;
            }
            at = (at + 1) % count;
        }
    }
}

fn hash(key: &[u8]) -> [u64; 2] {
    let digest = ring::digest::digest(&ring::digest::SHA256, key);
    let half = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest.as_ref()[at..at + 8]);
        u64::from_be_bytes(bytes)
    };
    [half(0), half(8)]
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_until_it_is_full(
            keys in proptest::collection::vec(0u16..300, 0..400),
            max_bytes in 0usize..4_000,
        ) {
            let mut map = OffsetMap::new(0, keys.len() as u64, max_bytes);
            let mut model = HashMap::new();
            let room = (max_bytes / 24).max(2) * 9 / 10;
            for (offset, key) in (0..).zip(keys) {
                let put = map.put(&key.to_be_bytes(), offset);
                prop_assert!(put || model.len() >= room, "full with {} of {room}", model.len());
                prop_assert!(put || !model.contains_key(&key));
                if put {
                    model.insert(key, offset);
                }
            }
            for key in 0..300u16 {
                prop_assert_eq!(map.get(&key.to_be_bytes()), model.get(&key).copied());
            }
        }
    }
}
