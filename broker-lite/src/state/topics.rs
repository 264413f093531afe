//! The broker's topics: names, ids, configs, partitions.
//!
//! What there is stands in the journal `topics`; the folders `<topic>-<partition>` hold the records. A
//! change is in the journal, synced, before it is answered; folders follow it: made when a partition
//! is opened, removed after the topic is, and at start if no topic owns them.

pub(crate) mod inherited;
mod placement;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use host::Host;
use kafka_protocol::error::ResponseError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wire::TopicPartition;

use self::{
    inherited::{Inherited, Scope},
    placement::in_parallel,
};
use super::{
    entries::Entries,
    folders::Folder,
    partition::{LogConfig, Partition},
    producers::Expiration,
    topic_config::{Overrides, defaults::LogSettings, log_config},
};

/// Longest topic name (`org.apache.kafka.common.internals.Topic`).
const MAX_NAME: usize = 249;

/// What all topics share.
#[derive(Clone, Debug)]
pub(crate) struct TopicSettings {
    /// What the broker was started with of what topics fall back to.
    pub(crate) started_with: LogSettings,
    /// Sync every append.
    pub(crate) flush: bool,
    /// When producers are forgotten.
    pub(crate) producers: Expiration,
}

/// One topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    configs: RwLock<Overrides>,
    partitions: RwLock<Vec<Arc<Partition>>>,
}

impl Topic {
    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn partition(&self, number: i32) -> Option<Arc<Partition>> {
        let partitions = self
            .partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        partitions
            .get(usize::try_from(number).ok()?)
            .map(Arc::clone)
    }

    pub(crate) fn partition_count(&self) -> i32 {
        let partitions = self
            .partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        i32::try_from(partitions.len()).unwrap_or(i32::MAX)
    }

    pub(crate) fn configs(&self) -> Overrides {
        self.configs
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
enum Entry {
    Created {
        id: Uuid,
        name: String,
        partitions: i32,
        configs: Overrides,
    },
    Grown {
        id: Uuid,
        partitions: i32,
    },
    Configured {
        id: Uuid,
        configs: Overrides,
    },
    Deleted {
        id: Uuid,
    },
    /// What topics fall back to, given by a client.
    Given {
        scope: Scope,
        settings: LogSettings,
    },
}

/// All topics.
#[derive(Debug)]
pub(crate) struct Topics {
    host: Host,
    folders: Vec<Arc<Folder>>,
    settings: TopicSettings,
    inherited: RwLock<Arc<Inherited>>,
    known: RwLock<Known>,
    /// Held over each change, so that changes come one by one.
    journal: Mutex<Entries<Entry>>,
}

/// The topics that are there, by both of their names.
#[derive(Debug, Default)]
struct Known {
    by_name: BTreeMap<String, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

/// A topic as the journal has it.
#[derive(Debug)]
struct Recorded {
    name: String,
    partitions: i32,
    configs: Overrides,
}

impl Topics {
    /// The journal is in the first of `folders`.
    pub(crate) fn open(
        host: Host,
        folders: &[PathBuf],
        settings: TopicSettings,
    ) -> io::Result<Self> {
        let folder = folders.first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut recorded: BTreeMap<Uuid, Recorded> = BTreeMap::new();
        let mut inherited = Inherited::new(settings.started_with.clone());
        let journal = Entries::open(&host, &folder.join("topics"), |entry| match entry {
            Entry::Given { scope, settings } => inherited = inherited.with(scope, settings),
            entry => apply(&mut recorded, entry),
        })?;
        let topics = Self {
            host,
            folders: folders
                .iter()
                .map(|one| Arc::new(Folder::new(one)))
                .collect(),
            settings,
            inherited: RwLock::new(Arc::new(inherited)),
            known: RwLock::default(),
            journal: Mutex::new(journal.flushing(true)),
        };
        let all = recorded.values().flat_map(|topic| {
            let log = topics.log_config(&topic.configs);
            (0..topic.partitions).map(move |number| (&*topic.name, number, log.clone()))
        });
        let all: Vec<_> = all.collect();
        let mut opened = in_parallel(&all, |(topic, number, log)| {
            topics.open_partition(topics.home_of(topic, *number)?, topic, *number, log)
        })?
        .into_iter();
        drop(all);
        for (id, topic) in recorded {
            let count = usize::try_from(topic.partitions).unwrap_or(0);
            let partitions = opened.by_ref().take(count).collect();
            topics.insert(topic.name, id, topic.configs, partitions);
        }
        topics.remove_leftovers()?;
        Ok(topics)
    }

    /// What a topic has where nothing is set on it.
    pub(crate) fn inherited(&self) -> Arc<Inherited> {
        let inherited = self.inherited.read();
        Arc::clone(&inherited.unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.known().by_name.get(name).map(Arc::clone)
    }

    /// A topic whose name differs only in dots and underscores: metrics would confuse the two (`Topic.hasCollision`).
    pub(crate) fn collision(&self, name: &str) -> Option<String> {
        let plain = |name: &str| name.replace('.', "_");
        let (known, wanted) = (self.known(), plain(name));
        let mut names = known.by_name.keys();
        names.find(|other| plain(other) == wanted).cloned()
    }

    pub(crate) fn get_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.known().by_id.get(&id).map(Arc::clone)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.known().by_name.values().cloned().collect()
    }

    /// Creates a topic whose name and configs are checked.
    pub(crate) fn create(
        &self,
        name: &str,
        partitions: i32,
        configs: Overrides,
    ) -> Result<Arc<Topic>, ResponseError> {
        let mut journal = self.journal();
        if let Some(existing) = self.get(name) {
            drop(existing);
            return Err(ResponseError::TopicAlreadyExists);
        }
        let id = self.fresh_id();
        let entry = Entry::Created {
            id,
            name: name.to_owned(),
            partitions,
            configs: configs.clone(),
        };
        let made = self.make_partitions(&mut journal, name, 0, partitions, &configs, &entry);
        let made = made.map_err(|error| storage_error(name, &error))?;
        let topic = self.insert(name.to_owned(), id, configs, made);
        self.compact(&mut journal);
        Ok(topic)
    }

    /// The id of a new topic.
    pub(crate) fn fresh_id(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.host.random.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// Grows a topic to `count` partitions.
    pub(crate) fn grow(&self, topic: &Topic, count: i32) -> Result<(), ResponseError> {
        let mut journal = self.journal();
        let before = topic.partition_count();
        if count <= before {
            return Err(ResponseError::InvalidPartitions);
        }
        let entry = Entry::Grown {
            id: topic.id,
            partitions: count,
        };
        let (name, configs) = (&topic.name, topic.configs());
        let more = self.make_partitions(&mut journal, name, before, count, &configs, &entry);
        let more = more.map_err(|error| storage_error(name, &error))?;
        let partitions = topic.partitions.write();
        partitions
            .unwrap_or_else(PoisonError::into_inner)
            .extend(more);
        self.compact(&mut journal);
        Ok(())
    }

    /// Replaces what is set on a topic; its partitions follow at once.
    pub(crate) fn configure(&self, topic: &Topic, configs: Overrides) -> Result<(), ResponseError> {
        let mut journal = self.journal();
        let entry = Entry::Configured {
            id: topic.id,
            configs: configs.clone(),
        };
        let done = journal.append(&entry);
        done.map_err(|error| storage_error(&topic.name, &error))?;
        let log = self.log_config(&configs);
        for partition in topic.partitions() {
            partition.set_config(log.clone());
        }
        *topic
            .configs
            .write()
            .unwrap_or_else(PoisonError::into_inner) = configs;
        self.compact(&mut journal);
        Ok(())
    }

    /// Replaces what topics fall back to; all partitions follow at once.
    pub(crate) fn give(&self, scope: Scope, settings: LogSettings) -> Result<(), ResponseError> {
        let mut journal = self.journal();
        let new = self.inherited().with(scope, settings.clone());
        let done = journal.append(&Entry::Given { scope, settings });
        done.map_err(|error| storage_error("of all", &error))?;
        let inherited = self.inherited.write();
        *inherited.unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        for topic in self.all() {
            let log = self.log_config(&topic.configs());
            for partition in topic.partitions() {
                partition.set_config(log.clone());
            }
        }
        self.compact(&mut journal);
        Ok(())
    }

    /// Deletes a topic and its records.
    pub(crate) fn delete(&self, topic: &Topic) -> Result<(), ResponseError> {
        let mut journal = self.journal();
        let done = journal.append(&Entry::Deleted { id: topic.id });
        done.map_err(|error| storage_error(&topic.name, &error))?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.by_name.remove(&topic.name);
        known.by_id.remove(&topic.id);
        drop(known);
        for partition in topic.partitions() {
            if let Err(error) = partition.remove() {
                // It goes at the next start, or before a topic of the same name is made.
                tracing::error!(topic = topic.name, %error, "cannot remove a folder");
            }
        }
        self.compact(&mut journal);
        Ok(())
    }

    /// Waits for background work on all partitions; none of it begins after this.
    pub(crate) fn close(&self) {
        let topics = self.all();
        topics
            .iter()
            .flat_map(|topic| topic.partitions())
            .for_each(|p| p.close());
    }

    /// Makes all records durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let topics = self.all();
        topics
            .iter()
            .flat_map(|topic| topic.partitions())
            .try_for_each(|p| p.sync())
    }

    /// Rewrites the journal if it is mostly history. Not before what its last entry says is so.
    fn compact(&self, journal: &mut Entries<Entry>) {
        let compacted = journal.compact_if_large(|| {
            let created = |topic: &Arc<Topic>| Entry::Created {
                id: topic.id,
                name: topic.name.clone(),
                partitions: topic.partition_count(),
                configs: topic.configs(),
            };
            let inherited = self.inherited();
            let given = [Scope::Cluster, Scope::Broker].map(|scope| Entry::Given {
                scope,
                settings: inherited.given(scope).clone(),
            });
            given
                .into_iter()
                .chain(self.all().iter().map(created))
                .collect()
        });
        if let Err(error) = compacted {
            tracing::error!(%error, "cannot rewrite the topics' journal");
        }
    }

    fn insert(
        &self,
        name: String,
        id: Uuid,
        configs: Overrides,
        partitions: Vec<Arc<Partition>>,
    ) -> Arc<Topic> {
        let topic = Arc::new(Topic {
            name: name.clone(),
            id,
            configs: RwLock::new(configs),
            partitions: RwLock::new(partitions),
        });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.by_name.insert(name, Arc::clone(&topic));
        known.by_id.insert(id, Arc::clone(&topic));
        drop(known);
        topic
    }

    /// What a topic's configs mean for its logs.
    fn log_config(&self, configs: &Overrides) -> LogConfig {
        let settings = &self.settings;
        let inherited = self.inherited();
        log_config(
            configs,
            inherited.defaults(),
            settings.flush,
            settings.producers,
        )
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal(&self) -> MutexGuard<'_, Entries<Entry>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a topic may have this name; the error is Kafka's message (`Topic.validate`).
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let why = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        _ if name.len() > MAX_NAME => {
            format!("the length of '{name}' is longer than the max allowed length {MAX_NAME}")
        }
        _ if !name.chars().all(legal) => {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', \
                 '_' and '-'"
            )
        }
        _ => return Ok(()),
    };
    Err(format!("Topic name is invalid: {why}"))
}

fn apply(recorded: &mut BTreeMap<Uuid, Recorded>, entry: Entry) {
    match entry {
        Entry::Created {
            id,
            name,
            partitions,
            configs,
        } => {
            recorded.insert(
                id,
                Recorded {
                    name,
                    partitions,
                    configs,
                },
            );
        }
        Entry::Grown { id, partitions } => {
            if let Some(topic) = recorded.get_mut(&id) {
                topic.partitions = partitions;
            }
        }
        Entry::Configured { id, configs } => {
            if let Some(topic) = recorded.get_mut(&id) {
                topic.configs = configs;
            }
        }
        Entry::Deleted { id } => {
            recorded.remove(&id);
        }
        // Not of a topic.
        Entry::Given { .. } => {}
    }
}

fn storage_error(topic: &str, error: &io::Error) -> ResponseError {
    tracing::error!(topic, %error, "storage failed");
    ResponseError::KafkaStorageError
}
