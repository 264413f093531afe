//! The broker's topics: names, ids, configs, partitions.
//!
//! What there is stands in the journal `topics`; the folders `<topic>-<partition>` hold the records. A
//! change is in the journal, synced, before it is answered; folders follow it: made when a partition
//! is opened, removed after the topic is, and at start if no topic owns them.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use host::Host;
use kafka_protocol::error::ResponseError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wire::TopicPartition;

use super::{
    entries::Entries,
    partition::{LogConfig, Partition},
    topic_config::{Overrides, defaults::Defaults, log_config},
};

/// Longest topic name (`org.apache.kafka.common.internals.Topic`).
const MAX_NAME: usize = 249;

/// What all topics share.
#[derive(Clone, Debug)]
pub(crate) struct TopicSettings {
    /// What a topic has where nothing is set on it.
    pub(crate) defaults: Defaults,
    /// Sync every append.
    pub(crate) flush: bool,
    /// `producer.id.expiration.ms`
    pub(crate) producer_id_expiration_ms: i64,
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
}

/// All topics.
#[derive(Debug)]
pub(crate) struct Topics {
    host: Host,
    folder: PathBuf,
    settings: TopicSettings,
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
    pub(crate) fn open(host: Host, folder: &Path, settings: TopicSettings) -> io::Result<Self> {
        let mut recorded: BTreeMap<Uuid, Recorded> = BTreeMap::new();
        let journal = Entries::open(&host, &folder.join("topics"), |entry| {
            apply(&mut recorded, entry);
        })?;
        let topics = Self {
            host,
            folder: folder.to_owned(),
            settings,
            known: RwLock::default(),
            journal: Mutex::new(journal),
        };
        for (id, topic) in recorded {
            let partitions =
                topics.open_partitions(&topic.name, 0, topic.partitions, &topic.configs)?;
            topics.insert(topic.name, id, topic.configs, partitions);
        }
        topics.remove_leftovers()?;
        Ok(topics)
    }

    /// What a topic has where nothing is set on it.
    pub(crate) fn defaults(&self) -> &Defaults {
        &self.settings.defaults
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
        let done = self.record(&mut journal, &entry).and_then(|()| {
            let partitions = self.open_partitions(name, 0, partitions, &configs)?;
            Ok(self.insert(name.to_owned(), id, configs, partitions))
        });
        done.map_err(|error| storage_error(name, &error))
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
        let done = self.record(&mut journal, &entry).and_then(|()| {
            let more = self.open_partitions(&topic.name, before, count, &topic.configs())?;
            topic
                .partitions
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(more);
            Ok(())
        });
        done.map_err(|error| storage_error(&topic.name, &error))
    }

    /// Replaces what is set on a topic; its partitions follow at once.
    pub(crate) fn configure(&self, topic: &Topic, configs: Overrides) -> Result<(), ResponseError> {
        let mut journal = self.journal();
        let entry = Entry::Configured {
            id: topic.id,
            configs: configs.clone(),
        };
        let done = self.record(&mut journal, &entry);
        done.map_err(|error| storage_error(&topic.name, &error))?;
        let log = self.log_config(&configs);
        for partition in topic.partitions() {
            partition.set_config(log.clone());
        }
        *topic
            .configs
            .write()
            .unwrap_or_else(PoisonError::into_inner) = configs;
        Ok(())
    }

    /// Deletes a topic and its records.
    pub(crate) fn delete(&self, topic: &Topic) -> Result<(), ResponseError> {
        let mut journal = self.journal();
        let done = self
            .record(&mut journal, &Entry::Deleted { id: topic.id })
            .and_then(|()| {
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                known.by_name.remove(&topic.name);
                known.by_id.remove(&topic.id);
                drop(known);
                topic
                    .partitions()
                    .iter()
                    .try_for_each(|partition| partition.remove())
            });
        done.map_err(|error| storage_error(&topic.name, &error))
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

    fn record(&self, journal: &mut Entries<Entry>, entry: &Entry) -> io::Result<()> {
        journal.append(entry)?;
        journal.compact_if_large(|| {
            let created = |topic: &Arc<Topic>| Entry::Created {
                id: topic.id,
                name: topic.name.clone(),
                partitions: topic.partition_count(),
                configs: topic.configs(),
            };
            self.all().iter().map(created).collect()
        })?;
        journal.sync()
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

    fn open_partitions(
        &self,
        topic: &str,
        from: i32,
        to: i32,
        configs: &Overrides,
    ) -> io::Result<Vec<Arc<Partition>>> {
        let log = self.log_config(configs);
        let partition = |number| {
            let folder = self
                .folder
                .join(TopicPartition::new(topic, number).to_string());
            Ok(Arc::new(Partition::open(&self.host, &folder, log.clone())?))
        };
        (from..to).map(partition).collect()
    }

    /// What a topic's configs mean for its logs.
    fn log_config(&self, configs: &Overrides) -> LogConfig {
        let settings = &self.settings;
        let expiration = settings.producer_id_expiration_ms;
        log_config(configs, &settings.defaults, settings.flush, expiration)
    }

    /// Folders of topics that were deleted when the broker went down.
    fn remove_leftovers(&self) -> io::Result<()> {
        for name in self.host.files.list(&self.folder)? {
            let Some((topic, number)) = name.rsplit_once('-') else {
                continue;
            };
            let Ok(number) = number.parse::<i32>() else {
                continue;
            };
            if self
                .get(topic)
                .is_none_or(|topic| topic.partition(number).is_none())
            {
                self.host.files.remove_dir_all(&self.folder.join(&name))?;
            }
        }
        Ok(())
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
    }
}

fn storage_error(topic: &str, error: &io::Error) -> ResponseError {
    tracing::error!(topic, %error, "storage failed");
    ResponseError::KafkaStorageError
}
