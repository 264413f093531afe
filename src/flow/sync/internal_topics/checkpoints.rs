//! Where groups go on, as the job for groups' offsets translated it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use host::BoxFuture;
use wire::TopicPartition;

use super::keeper::{Content, KeepError, MAX_RECORDS};
use crate::{
    flow::sync::groups::Copied,
    mm2::internal::{Checkpoint, Encoded},
};

const PERIOD: Duration = Duration::from_secs(1);
/// Places that one flow keeps; further ones are left out.
const MAX_PLACES: usize = 500_000;
/// Longest metadata that a checkpoint takes.
const MAX_METADATA: usize = i16::MAX as usize;

/// A group, and a partition of the target.
type Key = (String, TopicPartition);

/// Where a group is on the source, and what that is on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// What it committed on the source.
    pub source_offset: i64,
    /// The same on the target; before it where it is not known exactly.
    pub target_offset: i64,
    /// What it committed with that.
    pub metadata: String,
}

/// Where groups are, as last told; the newest counts.
#[derive(Debug, Default)]
pub struct Translations(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    known: BTreeMap<Key, Translated>,
    /// Those that are not written yet.
    due: BTreeSet<Key>,
    full: bool,
}

impl Translations {
    /// Takes in where `group` goes on in a partition of the target.
    pub fn tell(&self, group: &str, target: &TopicPartition, translated: Translated) {
        let key = (group.to_owned(), target.clone());
        let mut places = self.lock();
        if places.known.get(&key) == Some(&translated) {
            return;
        }
        if places.known.len() >= MAX_PLACES && !places.known.contains_key(&key) {
            if !std::mem::replace(&mut places.full, true) {
                tracing::warn!(%group, partition = %target, "more than {MAX_PLACES} offsets of groups: no checkpoints are \
                    written for this one and further ones");
            }
            return;
        }
        places.known.insert(key.clone(), translated);
        places.due.insert(key);
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is told, as checkpoints.
#[derive(Debug)]
pub(super) struct Checkpoints {
    translations: Arc<Translations>,
    due: Vec<(Key, Translated)>,
}

impl Checkpoints {
    pub(super) fn new(translations: Arc<Translations>) -> Self {
        let due = Vec::new();
        Self { translations, due }
    }

    fn take(&mut self) -> Result<Vec<Encoded>, KeepError> {
        let places = self.translations.lock();
        let due = places.due.iter().take(MAX_RECORDS);
        self.due = due
            .map(|key| (key.clone(), places.known[key].clone()))
            .collect();
        drop(places);
        let due = self.due.iter();
        due.map(|(key, place)| Ok(checkpoint(key, place).encode()?))
            .collect()
    }
}

fn checkpoint((group, target): &Key, place: &Translated) -> Checkpoint {
    let metadata = match place.metadata.len() > MAX_METADATA {
        true => String::new(),
        false => place.metadata.clone(),
    };
    Checkpoint {
        group: group.clone(),
        topic: target.topic.clone(),
        partition: target.partition,
        source_offset: place.source_offset,
        target_offset: place.target_offset,
        metadata,
    }
}

impl Content for Checkpoints {
    fn kind(&self) -> &'static str {
        "checkpoint"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn forget(&mut self) {
        *self.translations.lock() = Places::default();
    }

    fn due<'a>(
        &'a mut self,
        _: &'a Copied,
        _: i64,
    ) -> BoxFuture<'a, Result<Vec<Encoded>, KeepError>> {
        Box::pin(async move { self.take() })
    }

    fn written(&mut self) {
        let mut places = self.translations.lock();
        for (key, written) in self.due.drain(..) {
            // It may have moved on since.
            if places.known.get(&key) == Some(&written) {
                places.due.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(source_offset: i64) -> Translated {
        Translated {
            source_offset,
            target_offset: source_offset - 1,
            metadata: "m".to_owned(),
        }
    }

    fn due(checkpoints: &mut Checkpoints) -> Vec<(String, i64, i64)> {
        let due = checkpoints.take().unwrap().into_iter();
        due.map(|bytes| Checkpoint::decode(&bytes.key, &bytes.value).unwrap())
            .map(|found| (found.group, found.source_offset, found.target_offset))
            .collect()
    }

    #[test]
    fn what_changed_is_written_until_it_is_there() {
        let translations = Arc::new(Translations::default());
        let mut checkpoints = Checkpoints::new(Arc::clone(&translations));
        let target = TopicPartition::new("t", 0);
        let is = |group: &str, offset: i64| (group.to_owned(), offset, offset - 1);
        translations.tell("a", &target, place(5));
        translations.tell("b", &target, place(7));
        assert_eq!(due(&mut checkpoints), [is("a", 5), is("b", 7)]);
        // The write failed.
        assert_eq!(due(&mut checkpoints), [is("a", 5), is("b", 7)]);
        // One moves on while it is written.
        translations.tell("a", &target, place(6));
        checkpoints.written();
        assert_eq!(due(&mut checkpoints), [is("a", 6)]);
        checkpoints.written();
        translations.tell("a", &target, place(6));
        assert!(due(&mut checkpoints).is_empty());
        // Another process may have led meanwhile.
        checkpoints.forget();
        translations.tell("a", &target, place(6));
        assert_eq!(due(&mut checkpoints), [is("a", 6)]);
    }

    #[test]
    fn as_many_as_one_write_takes() {
        let translations = Arc::new(Translations::default());
        let mut checkpoints = Checkpoints::new(Arc::clone(&translations));
        let target = TopicPartition::new("t", 0);
        for group in 0..MAX_RECORDS + 10 {
            translations.tell(&format!("g{group:05}"), &target, place(1));
        }
        assert_eq!(due(&mut checkpoints).len(), MAX_RECORDS);
        checkpoints.written();
        assert_eq!(due(&mut checkpoints).len(), 10);
    }

    #[test]
    fn metadata_that_a_checkpoint_cannot_hold_is_left_out() {
        let long = Translated {
            metadata: "x".repeat(MAX_METADATA + 1),
            ..place(3)
        };
        let key = ("g".to_owned(), TopicPartition::new("t", 0));
        let found = checkpoint(&key, &long);
        assert!(found.metadata.is_empty() && found.encode().is_ok());
    }
}
