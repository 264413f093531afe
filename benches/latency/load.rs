//! Records at a steady rate, and the two readers that wait for them.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};

use super::workload::TOPIC;

/// After so long without a record something does not work.
const PATIENCE: Duration = Duration::from_secs(30);

/// When a record was produced, and when it was there on the source and on the target, in nanoseconds from the begin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    pub produced: u64,
    pub at_source: u64,
    pub at_target: u64,
}

/// A producer and both readers.
pub struct Load {
    producer: ThreadedProducer<DefaultProducerContext>,
    readers: [BaseConsumer; 2],
    record_bytes: usize,
}

impl Load {
    /// Reads from now on; the topic exists on the source.
    pub fn new(bootstraps: &[String; 2], record_bytes: usize) -> Result<Self> {
        let config = |bootstrap: &String| {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", bootstrap);
            config
        };
        let reader = |bootstrap| -> Result<BaseConsumer> {
            let reader = config(bootstrap)
                .set("group.id", "bench-latency")
                .set("enable.auto.commit", "false")
                .set("auto.offset.reset", "earliest")
                .set("fetch.wait.max.ms", "100")
                .create()?;
            Ok(reader)
        };
        let [source, target] = bootstraps;
        Ok(Self {
            producer: config(source).set("linger.ms", "1").create()?,
            readers: [reader(source)?, reader(target)?],
            record_bytes,
        })
    }

    /// Sends one record to each partition until all came through, and begins to read.
    pub fn await_copied(&self, deadline: Instant) -> Result<()> {
        let [source, target] = &self.readers;
        let metadata = source.fetch_metadata(Some(TOPIC), PATIENCE)?;
        let partitions = metadata.topics()[0].partitions().len();
        let mut list = TopicPartitionList::new();
        for partition in 0..i32::try_from(partitions)? {
            list.add_partition_offset(TOPIC, partition, Offset::Beginning)?;
            self.send(Some(partition), u64::MAX, 0)?;
        }
        self.producer.flush(PATIENCE)?;
        // strait creates the topic.
        while target.fetch_watermarks(TOPIC, 0, PATIENCE).is_err() {
            ensure!(Instant::now() < deadline, "strait creates no topic");
            thread::sleep(Duration::from_millis(100));
        }
        for reader in [source, target] {
            reader.assign(&list)?;
            for _ in 0..partitions {
                let left = deadline.saturating_duration_since(Instant::now());
                reader.poll(left).context("nothing arrives")??;
            }
        }
        Ok(())
    }

    /// Produces `rate` records a second for `warm_up` and `counted`, and tells of the latter.
    pub fn run(&self, rate: u64, warm_up: Duration, counted: Duration) -> Result<Vec<Times>> {
        let of = |time: Duration| (time.as_secs_f64() * rate as f64) as u64;
        let (skipped, all) = (of(warm_up), of(warm_up + counted));
        let begin = Instant::now();
        let [source, target] = thread::scope(|scope| {
            let readers = self.readers.each_ref();
            let reading = readers.map(|reader| scope.spawn(move || read(reader, all, begin)));
            let produced = self.produce(rate, all, begin);
            let arrived = reading.map(|thread| thread.join().expect("readers do not panic"));
            produced.map(|()| arrived)
        })?;
        let mut times = vec![Times::default(); usize::try_from(all)?];
        for Arrival {
            index,
            produced,
            at,
        } in source?
        {
            let time = times.get_mut(index).context("a record of another run")?;
            (time.produced, time.at_source) = (produced, at);
        }
        for Arrival { index, at, .. } in target? {
            let time = times.get_mut(index).context("a record of another run")?;
            time.at_target = at;
        }
        Ok(times.split_off(usize::try_from(skipped)?))
    }

    fn produce(&self, rate: u64, all: u64, begin: Instant) -> Result<()> {
        for index in 0..all {
            let due = Duration::from_nanos(index * 1_000_000_000 / rate);
            if let Some(early) = due.checked_sub(begin.elapsed()) {
                thread::sleep(early);
            }
            self.send(None, index, nanos(begin))?;
        }
        Ok(self.producer.flush(PATIENCE)?)
    }

    /// Which record it is, when it was produced, and nothing else.
    fn send(&self, partition: Option<i32>, index: u64, now: u64) -> Result<()> {
        let mut payload = vec![b'x'; self.record_bytes];
        payload[..8].copy_from_slice(&index.to_be_bytes());
        payload[8..16].copy_from_slice(&now.to_be_bytes());
        let record = BaseRecord::<[u8], [u8]>::to(TOPIC).payload(&payload);
        let record = match partition {
            Some(partition) => record.partition(partition),
            None => record,
        };
        Ok(self.producer.send(record).map_err(|(error, _)| error)?)
    }
}

/// A record that a reader got.
struct Arrival {
    index: usize,
    produced: u64,
    at: u64,
}

/// The next `all` records.
fn read(reader: &BaseConsumer, all: u64, begin: Instant) -> Result<Vec<Arrival>> {
    let next = |_| {
        let record = reader.poll(PATIENCE).context("nothing arrives")??;
        let at = nanos(begin);
        let payload = record.payload().context("a record without a value")?;
        let number = |from: usize| -> Result<u64> {
            let bytes = payload.get(from..from + 8).context("a short record")?;
            Ok(u64::from_be_bytes(bytes.try_into()?))
        };
        Ok(Arrival {
            index: usize::try_from(number(0)?)?,
            produced: number(8)?,
            at,
        })
    };
    (0..all).map(next).collect()
}

fn nanos(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
