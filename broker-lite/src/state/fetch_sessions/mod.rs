//! Fetch sessions (KIP-227): a reader names its partitions once, and is told of those that have news.
//!
//! The rules are those of Kafka 4.1 (`FetchSession.scala`):
//! * epoch 0 asks for a new session and names all partitions; -1 wants none; both close the session that they
//!   name. Other epochs continue a session: they name what is new or moved and what is to be forgotten, and must
//!   follow one another (INVALID_FETCH_SESSION_EPOCH). An unknown session is FETCH_SESSION_ID_NOT_FOUND. One that
//!   began with topic ids goes on with them, or FETCH_SESSION_TOPIC_ID_ERROR.
//! * The answer to a continued session leaves out partitions that have no records, no error and the same ends as
//!   last time. Those with records go to the end of the line, so that all have their turn.
//! * A session without partitions is closed, and answered as none.
//! * Sessions belong to the broker, not to a connection.
//!
//! There are at most [`SLOTS`]. When all are taken, a new one takes the place of the one that was idle longest, if
//! for more than [`IDLE`]; or else of the smallest that is older than that, if the new one is larger; or else none is
//! made, and the answer says so by session id 0. Kafka splits its slots into eight shards and lets followers evict
//! consumers; here is one shard and nobody is a follower.

mod line;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use host::{Host, Random};
use kafka_protocol::{
    error::ResponseError,
    messages::{FetchRequest, fetch_response::PartitionData},
};
use line::Line;
use uuid::Uuid;

use super::partition::Records;

/// Most sessions at a time (`max.incremental.fetch.session.cache.slots`).
const SLOTS: usize = 1000;

/// After this time a session may have to make room (`MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
const IDLE: Duration = Duration::from_secs(120);

/// The epoch that asks for a session, and the one that wants none.
const INITIAL: i32 = 0;
const FINAL: i32 = -1;

/// A topic as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TopicKey {
    Name(Arc<str>),
    Id(Uuid),
}

/// A partition as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) topic: TopicKey,
    pub(crate) partition: i32,
}

/// One partition that is asked for, and from where on.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) key: Key,
    /// The topic's name; none for an id that was never known. It is kept when the topic is deleted, as in Kafka.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) offset: i64,
    pub(crate) max_bytes: i32,
    /// The leader's epoch as the reader knows it; -1: it does not say.
    pub(crate) leader_epoch: i32,
    /// The epoch of the record before `offset`; -1: it does not say.
    pub(crate) last_fetched_epoch: i32,
}

/// What there is to say of a partition. Its records stay in their file: those of `data` are not used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) data: PartitionData,
    pub(crate) records: Option<Records>,
}

impl From<PartitionData> for Told {
    fn from(data: PartitionData) -> Self {
        let records = None;
        Self { data, records }
    }
}

/// A partition of a session.
#[derive(Clone, Debug)]
struct Cached {
    asked: Asked,
    /// What the reader was told last; -1 after an error, so that it is told again.
    high_watermark: i64,
    log_start: i64,
}

impl Cached {
    fn new(asked: Asked) -> Self {
        Self {
            asked,
            high_watermark: -1,
            log_start: -1,
        }
    }

    /// Remembers what is there now; tells whether the reader has to know.
    fn is_news(&mut self, Told { data, records }: &Told) -> bool {
        let is_same = self.high_watermark == data.high_watermark
            && self.log_start == data.log_start_offset
            && data.error_code == 0
            && data.diverging_epoch.end_offset < 0
            && records.is_none();
        self.high_watermark = match data.error_code {
            0 => data.high_watermark,
            _ => -1,
        };
        self.log_start = data.log_start_offset;
        !is_same
    }
}

#[derive(Debug)]
struct Session {
    id: i32,
    by_id: bool,
    /// The epoch of the request that comes next.
    epoch: i32,
    line: Line<Cached>,
    /// By the clock that never goes back.
    created: Duration,
    used: Duration,
}

/// A request that was taken up.
#[derive(Debug)]
pub(crate) struct Begun {
    /// All partitions that it means, in the order in which they are served.
    pub(crate) asked: Vec<Asked>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    NoSession,
    New {
        by_id: bool,
    },
    Continued {
        session: Arc<Mutex<Session>>,
        next_epoch: i32,
    },
}

/// All sessions of a broker.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots: usize,
    sessions: Mutex<HashMap<i32, Arc<Mutex<Session>>>>,
}

impl Default for FetchSessions {
    fn default() -> Self {
        Self {
            slots: SLOTS,
            sessions: Mutex::default(),
        }
    }
}

impl FetchSessions {
    /// Takes up a request. `by_id`: its version names topics by id; `name` knows their names.
    pub(crate) fn begin(
        &self,
        request: &FetchRequest,
        by_id: bool,
        name: impl Fn(Uuid) -> Option<Arc<str>>,
        now: Duration,
    ) -> Result<Begun, ResponseError> {
        let asked = asked(request, by_id, &name);
        if matches!(request.session_epoch, INITIAL | FINAL) {
            self.sessions().remove(&request.session_id);
            let kind = match request.session_epoch {
                INITIAL => Kind::New { by_id },
                _ => Kind::NoSession,
            };
            let asked = asked.into_values().collect();
            return Ok(Begun { asked, kind });
        }
        let mut sessions = self.sessions();
        let found = sessions.get(&request.session_id).map(Arc::clone);
        let found = found.ok_or(ResponseError::FetchSessionIdNotFound)?;
        let mut session = lock(&found);
        if session.epoch != request.session_epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        session.update(&asked, request);
        if session.line.is_empty() {
            sessions.remove(&request.session_id);
            let asked = asked.into_values().collect();
            return Ok(Begun {
                asked,
                kind: Kind::NoSession,
            });
        }
        session.used = now;
        session.epoch = next_epoch(session.epoch);
        let next_epoch = session.epoch;
        let asked = session.resolved(&name);
        drop(session);
        let kind = Kind::Continued {
            session: found,
            next_epoch,
        };
        Ok(Begun { asked, kind })
    }

    /// Ends a request: leaves out of `all` what need not be told, and returns the session's id, 0 without one.
    pub(crate) fn finish(
        &self,
        begun: Begun,
        all: &mut Vec<(Key, Told)>,
        host: &Host,
    ) -> (i32, Result<(), ResponseError>) {
        match begun.kind {
            Kind::NoSession => (0, Ok(())),
            Kind::New { by_id } => {
                let mut known: HashMap<Key, Asked> = HashMap::new();
                known.extend(begun.asked.into_iter().map(|one| (one.key.clone(), one)));
                let mut line = Line::default();
                for (key, Told { data, .. }) in all.iter() {
                    if let Some(asked) = known.remove(key) {
                        let mut cached = Cached::new(asked);
                        cached.high_watermark = data.high_watermark;
                        cached.log_start = data.log_start_offset;
                        line.put(key.clone(), cached);
                    }
                }
                let now = host.clock.monotonic();
                (self.create(by_id, line, now, &*host.random), Ok(()))
            }
            Kind::Continued {
                session,
                next_epoch,
            } => {
                let mut session = lock(&session);
                if session.epoch != next_epoch {
                    // Another request of the session came meanwhile.
                    all.clear();
                    return (session.id, Err(ResponseError::InvalidFetchSessionEpoch));
                }
                all.retain(|(key, told)| session.tell(key, told));
                (session.id, Ok(()))
            }
        }
    }

    /// The partitions of a session, by their topics' names.
    pub(crate) fn named(&self, id: i32) -> Vec<(String, i32)> {
        let found = self.sessions().get(&id).map(Arc::clone);
        let Some(session) = found else {
            return Vec::new();
        };
        let session = lock(&session);
        let asked = session.line.values().map(|cached| &cached.asked);
        let named =
            asked.filter_map(|one| Some((one.name.as_deref()?.to_owned(), one.key.partition)));
        named.collect()
    }

    /// The new session's id; 0 if there is no room.
    fn create(&self, by_id: bool, line: Line<Cached>, now: Duration, random: &dyn Random) -> i32 {
        let mut sessions = self.sessions();
        if sessions.len() >= self.slots {
            let Some(id) = to_evict(&sessions, line.len(), now) else {
                return 0;
            };
            sessions.remove(&id);
        }
        let id = loop {
            let mut bytes = [0; 4];
            random.fill(&mut bytes);
            let id = i32::from_be_bytes(bytes) & i32::MAX;
            if id != 0 && !sessions.contains_key(&id) {
                break id;
            }
        };
        let session = Session {
            id,
            by_id,
            epoch: next_epoch(INITIAL),
            line,
            created: now,
            used: now,
        };
        sessions.insert(id, Arc::new(Mutex::new(session)));
        id
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<i32, Arc<Mutex<Session>>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn update(&mut self, asked: &Line<Asked>, request: &FetchRequest) {
        for one in asked.values() {
            match self.line.get_mut(&one.key) {
                Some(cached) => {
                    let name = cached.asked.name.take();
                    cached.asked = one.clone();
                    cached.asked.name = name.or_else(|| one.name.clone());
                }
                None => self.line.put(one.key.clone(), Cached::new(one.clone())),
            }
        }
        for topic in &request.forgotten_topics_data {
            let topic_key = topic_key(self.by_id, &topic.topic, topic.topic_id);
            for partition in &topic.partitions {
                self.line.remove(&Key {
                    topic: topic_key.clone(),
                    partition: *partition,
                });
            }
        }
    }

    /// All partitions; ids that were not known when they were first asked for may be by now.
    fn resolved(&mut self, name: &impl Fn(Uuid) -> Option<Arc<str>>) -> Vec<Asked> {
        let cached = self.line.values_mut().map(|cached| {
            let asked = &mut cached.asked;
            if let (None, TopicKey::Id(id)) = (&asked.name, &asked.key.topic) {
                asked.name = name(*id);
            }
            asked.clone()
        });
        cached.collect()
    }

    /// Whether the reader has to be told of a partition.
    fn tell(&mut self, key: &Key, told: &Told) -> bool {
        let is_news = self
            .line
            .get_mut(key)
            .is_some_and(|cached| cached.is_news(told));
        if is_news && told.records.is_some() {
            self.line.move_to_end(key);
        }
        is_news
    }
}

/// What a request names; the last entry of a partition counts.
fn asked(
    request: &FetchRequest,
    by_id: bool,
    name: &impl Fn(Uuid) -> Option<Arc<str>>,
) -> Line<Asked> {
    let mut line = Line::default();
    for topic in &request.topics {
        let topic_key = topic_key(by_id, &topic.topic, topic.topic_id);
        let name = match &topic_key {
            TopicKey::Name(name) => Some(Arc::clone(name)),
            TopicKey::Id(id) => name(*id),
        };
        for one in &topic.partitions {
            let key = Key {
                topic: topic_key.clone(),
                partition: one.partition,
            };
            let asked = Asked {
                key: key.clone(),
                name: name.clone(),
                offset: one.fetch_offset,
                max_bytes: one.partition_max_bytes,
                leader_epoch: one.current_leader_epoch,
                last_fetched_epoch: one.last_fetched_epoch,
            };
            line.put(key, asked);
        }
    }
    line
}

fn topic_key(by_id: bool, name: &str, id: Uuid) -> TopicKey {
    if by_id {
        TopicKey::Id(id)
    } else {
        TopicKey::Name(name.into())
    }
}

/// After the largest epoch comes 1 (`FetchMetadata.nextEpoch`).
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

/// The session that has to make room for one of `size` partitions.
fn to_evict(
    sessions: &HashMap<i32, Arc<Mutex<Session>>>,
    size: usize,
    now: Duration,
) -> Option<i32> {
    let mut stale: Option<(Duration, i32)> = None;
    let mut small: Option<(usize, i32)> = None;
    for (id, session) in sessions {
        let session = lock(session);
        if now.saturating_sub(session.used) > IDLE {
            let one = (session.used, *id);
            stale = Some(stale.map_or(one, |best| best.min(one)));
        }
        if now.saturating_sub(session.created) > IDLE && session.line.len() < size {
            let one = (session.line.len(), *id);
            small = Some(small.map_or(one, |best| best.min(one)));
        }
    }
    stale.map(|(_, id)| id).or(small.map(|(_, id)| id))
}

fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}
