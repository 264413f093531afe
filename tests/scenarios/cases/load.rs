//! Records that arrive at the source in the background: some plain, some in transactions of which a part is
//! aborted or dies.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rdkafka::ClientConfig;
use tokio::task::JoinHandle;

use super::{
    super::{
        clients::{Application, Content},
        model::{self, Age},
        pair::{self, Pair},
    },
    fidelity::digests,
};

const TOPICS: usize = 3;
const PARTITIONS: i32 = 4;
/// Partitions of the topic of transactions.
const TRANSACTED: i32 = 2;
/// Records of each partition before anything happens.
const FIRST: usize = 50;

/// What is written.
pub struct Load {
    age: Age,
    application: Application,
    transacted: String,
    written: Arc<Mutex<Content>>,
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Result<()>>>,
}

impl Load {
    /// Makes topics, and writes a little to each partition.
    pub async fn start(pair: &Pair, age: Age) -> Result<Self> {
        let transacted = pair.topic("transacted");
        let mut topics = vec![(transacted.clone(), TRANSACTED)];
        topics.extend((0..TOPICS).map(|n| (pair.topic(&format!("plain{n}")), PARTITIONS)));
        let application = Application::new(&pair.source, "lz4")?;
        let mut written = Content::new();
        for (topic, partitions) in topics {
            pair.source.create_topic(&topic, partitions, &[]).await?;
            for partition in 0..partitions {
                let records = model::records(age, 9, partition, 0, FIRST);
                application.produce(&topic, partition, &records)?;
                written.insert((topic.clone(), partition), digests(&records));
            }
        }
        Ok(Self {
            age,
            application,
            transacted,
            written: Arc::new(Mutex::new(written)),
            stop: Arc::default(),
            writers: Vec::new(),
        })
    }

    /// What was written, as long as nothing is.
    pub fn so_far(&self) -> Content {
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Begins to write in the background.
    pub fn go_on(&mut self, pair: &Pair) {
        let (age, stop) = (self.age, Arc::clone(&self.stop));
        let (application, written) = (self.application.clone(), Arc::clone(&self.written));
        let transacted = self.transacted.clone();
        self.writers.push(tokio::task::spawn_blocking(move || {
            plain(age, &application, &transacted, &written, &stop)
        }));
        let (stop, topic) = (Arc::clone(&self.stop), self.transacted.clone());
        let client = pair.source.client();
        self.writers.push(tokio::task::spawn_blocking(move || {
            transact(age, &client, &topic, &stop);
            Ok(())
        }));
    }

    /// Ends it, and tells what must arrive. Which of the transactions were committed is asked of the source: an
    /// application that dies may not know.
    pub async fn finish(&mut self, pair: &Pair) -> Result<Content> {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers.drain(..) {
            writer.await??;
        }
        // What was begun and not ended is aborted by then.
        tokio::time::sleep(Duration::from_secs(12)).await;
        let mut written = self.so_far();
        let topics = std::slice::from_ref(&self.transacted);
        let found = tokio::task::block_in_place(|| pair::content(&pair.source, topics))?;
        written.extend(found);
        Ok(written)
    }
}

fn plain(
    age: Age,
    application: &Application,
    transacted: &str,
    written: &Mutex<Content>,
    stop: &AtomicBool,
) -> Result<()> {
    let mut random = StdRng::seed_from_u64(8);
    while !stop.load(Ordering::Relaxed) {
        let (key, from) = {
            let written = written.lock().unwrap_or_else(PoisonError::into_inner);
            let plain: Vec<_> = written
                .iter()
                .filter(|((topic, _), _)| topic != transacted)
                .collect();
            let (key, records) = plain[random.random_range(0..plain.len())];
            (key.clone(), records.len())
        };
        let records = model::records(age, 9, key.1, from, random.random_range(1..150));
        application.send(&key.0, key.1, &records)?;
        let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
        let all = written.get_mut(&key).context("a partition")?;
        all.extend(digests(&records));
        drop(written);
        std::thread::sleep(Duration::from_millis(random.random_range(1..60)));
    }
    application.flush()
}

fn transact(age: Age, client: &ClientConfig, topic: &str, stop: &AtomicBool) {
    let mut random = StdRng::seed_from_u64(10);
    let mut from = FIRST;
    while !stop.load(Ordering::Relaxed) {
        let application = Application::transactional(client.clone(), topic);
        let outcome = application.and_then(|application| {
            while !stop.load(Ordering::Relaxed) {
                let partition = random.random_range(0..TRANSACTED);
                let records = model::records(age, 9, partition, from, 40);
                // Even if it fails, its records are not made again.
                from += records.len();
                application.transaction(topic, partition, &records, random.random_bool(0.7))?;
                std::thread::sleep(Duration::from_millis(random.random_range(1..60)));
            }
            Ok(())
        });
        if let Err(error) = outcome {
            println!("a transaction ended with {error:#}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
