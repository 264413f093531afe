//! What the broker is: its topics, groups and transactions, each durable in the data folder.

pub(crate) mod answers;
mod complaints;
pub(crate) mod entries;
pub(crate) mod fetch_sessions;
pub(crate) mod folders;
pub(crate) mod groups;
pub(crate) mod housekeeping;
pub(crate) mod journal;
pub(crate) mod offsets;
pub(crate) mod partition;
pub(crate) mod producers;
#[cfg(test)]
mod tests;
pub(crate) mod topic_config;
pub(crate) mod topics;
pub(crate) mod transactions;
pub(crate) mod validate;

use std::{io, path::Path, sync::Arc};

use answers::Answers;
use fetch_sessions::FetchSessions;
use groups::{GroupSettings, Groups};
use host::{Host, Lock};
use producers::Expiration;
use topics::{TopicSettings, Topics};
use transactions::{Participants, TransactionSettings, Transactions, machine::Producer};
use wire::TopicPartition;

use crate::{
    config::Config,
    faults::Hooks,
    metrics::Metrics,
    security::{authorizer::Authorizer, credentials::Credentials},
};

/// This broker as clients reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Everything the handlers work on.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) host: Host,
    pub(crate) config: Config,
    pub(crate) cluster_id: String,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) transactions: Transactions,
    pub(crate) fetch_sessions: FetchSessions,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// Answers that wait to be taken.
    pub(crate) answers: Answers,
    /// Who may do what; none: everyone everything.
    pub(crate) authorizer: Option<Authorizer>,
    /// What SCRAM logins are checked with.
    pub(crate) credentials: Credentials,
    /// Faults that tests set.
    pub(crate) hooks: Arc<Hooks>,
    /// On the folders; held for as long as anything can write there.
    _locks: Vec<Box<dyn Lock>>,
}

impl State {
    /// Reads what is in the data folders, which `locks` keep for this broker.
    pub(crate) fn open(host: Host, config: Config, locks: Vec<Box<dyn Lock>>) -> io::Result<Self> {
        let folder = config.data.clone();
        let cluster_id = cluster_id(&host, &folder, config.node_id)?;
        let settings = TopicSettings {
            started_with: config.log.clone(),
            flush: config.flush,
            producers: Expiration {
                after_ms: config.producer_id_expiration_ms,
                check_ms: config.producer_id_expiration_check_interval_ms,
            },
        };
        let folders: Vec<_> = config.log_dirs().map(Path::to_owned).collect();
        let topics = Topics::open(host.clone(), &folders, settings)?;
        let groups = Groups::open(
            host.clone(),
            &folder,
            GroupSettings {
                initial_rebalance_delay: config.group_initial_rebalance_delay,
                min_session_timeout: config.group_min_session_timeout,
                max_session_timeout: config.group_max_session_timeout,
                flush: config.flush,
                ..GroupSettings::default()
            },
        )?;
        let limits = TransactionSettings {
            max_timeout_ms: config.transaction_max_timeout_ms,
            flush: config.flush,
        };
        let transactions = Transactions::open(host.clone(), &folder, limits)?;
        let authorizer = Authorizer::open(&host, &folder, &config.security)?;
        let credentials = Credentials::open(&host, &folder)?;
        credentials.add_missing(&host, &config.scram_users)?;
        let answers = Answers::new(config.queued_max_request_bytes);
        Ok(Self {
            host,
            config,
            cluster_id,
            topics,
            groups,
            transactions,
            fetch_sessions: FetchSessions::default(),
            metrics: Metrics::new(),
            answers,
            authorizer,
            credentials,
            hooks: Arc::default(),
            _locks: locks,
        })
    }

    /// Makes everything survive the machine.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.topics.sync()?;
        self.groups.make_durable()?;
        self.transactions.make_durable()
    }

    pub(crate) fn has_partition(&self, partition: &TopicPartition) -> bool {
        let topic = self.topics.get(&partition.topic);
        topic.is_some_and(|topic| topic.partition(partition.partition).is_some())
    }
}

impl Drop for State {
    /// What is still being made durable in the background ends before the folder is free again.
    fn drop(&mut self) {
        self.topics.close();
    }
}

impl Participants for State {
    fn end_partition(
        &self,
        topic: &str,
        partition: i32,
        producer: Producer,
        commit: bool,
    ) -> io::Result<()> {
        let partition = self
            .topics
            .get(topic)
            .and_then(|topic| topic.partition(partition));
        let Some(partition) = partition else {
            return Ok(());
        };
        partition.append_marker(producer.id, producer.epoch, commit, 0)
    }

    fn end_offsets(&self, producer: Producer, commit: bool) -> io::Result<()> {
        self.groups.end_transaction(producer.id, commit)
    }
}

/// The id in `meta.properties`, made at the first start, as Kafka keeps it.
fn cluster_id(host: &Host, folder: &Path, node_id: i32) -> io::Result<String> {
    let path = folder.join("meta.properties");
    if host.files.exists(&path) {
        let file = host.files.open(&path)?;
        let length = usize::try_from(file.len()?.min(4096)).unwrap_or(0);
        let text = String::from_utf8_lossy(&file.read_exact_at(length, 0)?).into_owned();
        let id = text
            .lines()
            .find_map(|line| line.strip_prefix("cluster.id="));
        return id.map(str::to_owned).ok_or_else(|| {
            let text = format!("{}: no cluster.id in it", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        });
    }
    let id = random_id(host);
    let text = format!("version=1\ncluster.id={id}\nnode.id={node_id}\n");
    host::files::replace(&*host.files, &path, text.as_bytes())?;
    Ok(id)
}

/// 22 characters, as Kafka's ids: 128 random bits in the URL alphabet of base 64.
fn random_id(host: &Host) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0; 16];
    host.random.fill(&mut bytes);
    let mut bits = u128::from_be_bytes(bytes);
    let mut id = String::new();
    for _ in 0..22 {
        id.push(char::from(ALPHABET[(bits >> 122) as usize]));
        bits <<= 6;
    }
    id
}
