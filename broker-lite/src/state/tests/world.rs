//! A broker, what is asked of it, and what it acknowledged.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use host::{
    Files, Host,
    sim::{SeededRandom, SimClock, SimFiles},
};
use kafka_protocol::error::ResponseError;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use wire::{
    TopicPartition,
    batch::{BatchView, TRANSACTIONAL},
    record::{BatchBuilder, Codec},
};

use crate::{
    config::Config,
    state::{
        State,
        groups::{Committer, NewOffset},
        partition::Partition,
        transactions::{Claim, Part, machine::Producer},
    },
};

pub(super) const NOW: i64 = 1_800_000_000_000;
pub(super) const GROUP: &str = "group";
/// Its offsets are committed in transactions.
pub(super) const INSIDE: &str = "inside";
/// The transactional id.
const ID: &str = "id";
/// Where transactions write.
pub(super) const TRANSACTED: (&str, i32) = ("plain", 1);
pub(super) const KEYS: u8 = 3;

type Done = Result<(), ResponseError>;

/// Something that was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// It was acknowledged.
    pub(super) is_acked: bool,
    /// And will survive a loss of power.
    pub(super) is_durable: bool,
}

/// One record that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) topic: &'static str,
    pub(super) partition: i32,
    pub(super) key: u8,
    batch: BatchView,
    pub(super) value: String,
    pub(super) answer: Answer,
}

/// A transaction that began.
#[derive(Clone, Debug)]
pub(super) struct Transacted {
    pub(super) value: String,
    pub(super) offset: i64,
    /// Its end, once that was asked for.
    pub(super) commit: Option<bool>,
    pub(super) answer: Answer,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) sent: Vec<Sent>,
    pub(super) transactions: Vec<Transacted>,
    /// Offsets of [`GROUP`], in their order.
    pub(super) offsets: Vec<(i64, Answer)>,
    /// Names; whether the topic is to be there.
    pub(super) topics: Vec<(&'static str, bool, Answer)>,
    /// Starts that were asked for.
    pub(super) starts: Vec<(&'static str, i64, Answer)>,
    pub(super) producer_ids: Vec<i64>,
}

pub(super) struct World {
    pub(super) files: SimFiles,
    pub(super) clock: SimClock,
    pub(super) flush: bool,
    folders: String,
    /// After a failure it asks again.
    pub(super) tries_again: bool,
    pub(super) known: Known,
    state: Option<State>,
    sequences: BTreeMap<(&'static str, i32), i32>,
}

impl World {
    pub(super) fn new(flush: bool) -> Self {
        Self::on(flush, &["/data"])
    }

    /// With these data folders.
    pub(super) fn on(flush: bool, folders: &[&str]) -> Self {
        let mut world = Self {
            folders: folders.join(","),
            files: SimFiles::default(),
            clock: SimClock::new(NOW),
            flush,
            tries_again: false,
            known: Known::default(),
            state: None,
            sequences: BTreeMap::new(),
        };
        for folder in folders {
            world.files.create_dir_all(Path::new(folder)).unwrap();
        }
        world.start();
        world
    }

    pub(super) fn start(&mut self) {
        self.try_start().unwrap();
    }

    pub(super) fn try_start(&mut self) -> std::io::Result<()> {
        let mut config = Config::new("127.0.0.1:0", "/data");
        config.flush = self.flush;
        config.apply(&format!("log.dirs={}", self.folders)).unwrap();
        let host = Host {
            clock: Arc::new(self.clock.clone()),
            files: Arc::new(self.files.clone()),
            random: Arc::new(SeededRandom::new(self.files.operations())),
            ..Host::real()
        };
        let lock = self.files.lock(Path::new("/data/.lock")).unwrap().unwrap();
        self.state = Some(State::open(host, config, vec![lock])?);
        Ok(())
    }

    pub(super) fn stop(&mut self) {
        self.state = None;
    }

    pub(super) fn state(&self) -> &State {
        self.state.as_ref().unwrap()
    }

    pub(super) fn partition(&self, (topic, number): (&str, i32)) -> Option<Arc<Partition>> {
        self.state().topics.get(topic)?.partition(number)
    }

    /// Everything that a broker writes for.
    pub(super) fn run(&mut self) -> Done {
        let small = ("segment.bytes", "300");
        self.create("plain", 2, &[small])?;
        self.create("old", 1, &[small, ("retention.ms", "1000")])?;
        let compacts = [
            small,
            ("cleanup.policy", "compact"),
            ("min.cleanable.dirty.ratio", "0"),
        ];
        self.create("keys", 1, &compacts)?;
        let id = self
            .ask(|world| world.state().transactions.new_producer())?
            .id;
        self.known.producer_ids.push(id);
        for turn in 0..6 {
            self.send(id, "plain", 0)?;
            self.send(id, "old", 0)?;
            self.send(id, "keys", 0)?;
            self.send(id, "keys", 0)?;
            self.commit(turn)?;
            self.transact(turn, turn % 3 != 1)?;
            match turn {
                1 => self.create("gone", 1, &[small])?,
                2 => {
                    self.send(id, "gone", 0)?;
                    self.clock.advance(Duration::from_millis(1_001));
                    self.expire()?;
                    self.compact()?;
                }
                3 => {
                    self.delete("gone")?;
                    self.delete_records("plain", 2)?;
                    self.sync()?;
                }
                4 => {
                    self.create("gone", 1, &[small])?;
                    self.compact()?;
                    self.clock.advance(Duration::from_millis(1_001));
                    self.expire()?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Does `work` until it is done, if it is to be tried again.
    fn ask<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, ResponseError>,
    ) -> Result<T, ResponseError> {
        use ResponseError::{ConcurrentTransactions, KafkaStorageError, NotCoordinator};
        for _ in 0..30 {
            match work(self) {
                Err(KafkaStorageError | NotCoordinator) if self.tries_again => {}
                Err(ConcurrentTransactions) if self.tries_again => self.carry_out(),
                done => return done,
            }
        }
        work(self)
    }

    /// What the coordinator does from time to time.
    pub(super) fn carry_out(&self) {
        let (state, stop) = (self.state(), CancellationToken::new());
        stop.cancel();
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(state.transactions.run(state, stop));
    }

    fn acked(&self, is_synced: bool) -> Answer {
        Answer {
            is_acked: true,
            is_durable: self.flush || is_synced,
        }
    }

    pub(super) fn create(
        &mut self,
        name: &'static str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Done {
        self.known.topics.push((name, true, Answer::default()));
        let configs = configs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        let configs = configs.collect::<BTreeMap<_, _>>();
        self.ask(|world| {
            let topics = &world.state().topics;
            topics.create(name, partitions, configs.clone()).map(|_| ())
        })?;
        self.known.topics.last_mut().unwrap().2 = self.acked(true);
        Ok(())
    }

    pub(super) fn delete(&mut self, name: &'static str) -> Done {
        self.known.topics.push((name, false, Answer::default()));
        self.ask(|world| {
            let topics = &world.state().topics;
            let topic = topics.get(name);
            topic.map_or(Ok(()), |topic| topics.delete(&topic))
        })?;
        self.known.sent.retain(|one| one.topic != name);
        self.sequences.retain(|(topic, _), _| *topic != name);
        self.known.topics.last_mut().unwrap().2 = self.acked(true);
        Ok(())
    }

    /// Sends the next record of an idempotent producer.
    pub(super) fn send(&mut self, id: i64, topic: &'static str, partition: i32) -> Done {
        let sequence = self.sequences.entry((topic, partition)).or_default();
        let number = *sequence;
        *sequence += 1;
        let (key, value) = (
            u8::try_from(number).unwrap() % KEYS,
            format!("{topic} {number}"),
        );
        let producer = Producer { id, epoch: 0 };
        let sent = Sent {
            topic,
            partition,
            key,
            batch: batch(producer, number, key, &value, self.clock_ms()),
            value,
            answer: Answer::default(),
        };
        self.known.sent.push(sent.clone());
        self.ask(|world| world.send_again(&sent))?;
        self.known.sent.last_mut().unwrap().answer = self.acked(false);
        Ok(())
    }

    pub(super) fn send_again(&self, sent: &Sent) -> Done {
        self.append((sent.topic, sent.partition), &sent.batch)
    }

    fn clock_ms(&self) -> i64 {
        host::Clock::wall_ms(&self.clock)
    }

    fn append(&self, to: (&str, i32), batch: &BatchView) -> Done {
        let partition = self.partition(to).unwrap();
        let appended = partition.append(batch.clone());
        appended.map_err(|refusal| refusal.error)?;
        let durable = partition.make_durable();
        durable.map_err(|_| ResponseError::KafkaStorageError)
    }

    fn commit(&mut self, offset: i64) -> Done {
        self.known.offsets.push((offset, Answer::default()));
        self.ask(|world| world.commit_to(GROUP, offset, None))?;
        self.known.offsets.last_mut().unwrap().1 = self.acked(false);
        Ok(())
    }

    fn commit_to(&self, group: &str, offset: i64, producer_id: Option<i64>) -> Done {
        let by = Committer {
            group,
            member_id: "",
            instance_id: None,
            generation: -1,
            producer_id,
            unknown_group: ResponseError::IllegalGeneration,
        };
        let new = NewOffset {
            partition: TopicPartition::new("plain", 0),
            offset,
            leader_epoch: -1,
            metadata: String::new(),
        };
        let state = self.state();
        let mut done = state
            .groups
            .commit(&by, vec![new], |one| state.has_partition(one));
        done.remove(0)
    }

    /// A transaction from its first request to its last.
    fn transact(&mut self, turn: i64, commit: bool) -> Done {
        let producer = self.init()?;
        let value = format!("transaction {turn}");
        let batch = batch(producer, 0, 0, &value, self.clock_ms());
        let mut header = batch.header;
        header.attributes |= TRANSACTIONAL;
        let batch = batch.with_header(header);
        let (topic, number) = TRANSACTED;
        let records = Part::Partition(topic.to_owned(), number);
        let claim = Claim {
            transactional_id: ID,
            producer,
        };
        self.known.transactions.push(Transacted {
            value,
            offset: turn,
            commit: None,
            answer: Answer::default(),
        });
        self.ask(|world| {
            let append = || world.append(TRANSACTED, &batch);
            let transactions = &world.state().transactions;
            transactions.within(claim, &records, true, append)?
        })?;
        let group = Part::Group(INSIDE.to_owned());
        self.ask(|world| {
            let commit = || world.commit_to(INSIDE, turn, Some(producer.id));
            let transactions = &world.state().transactions;
            transactions.within(claim, &group, true, commit)?
        })?;
        self.known.transactions.last_mut().unwrap().commit = Some(commit);
        self.ask(|world| {
            let state = world.state();
            state
                .transactions
                .end(claim, commit, false, state)
                .map(|_| ())
        })?;
        self.known.transactions.last_mut().unwrap().answer = self.acked(false);
        Ok(())
    }

    /// The next epoch of the transactional producer; what it left open is aborted.
    pub(super) fn init(&mut self) -> Result<Producer, ResponseError> {
        self.ask(|world| {
            let state = world.state();
            state.transactions.init(ID, 10_000, None, state)
        })
    }

    fn delete_records(&mut self, topic: &'static str, offset: i64) -> Done {
        self.known.starts.push((topic, offset, Answer::default()));
        self.ask(|world| {
            let partition = world.partition((topic, 0)).unwrap();
            partition.delete_records(offset).map(|_| ())
        })?;
        self.known.starts.last_mut().unwrap().2 = self.acked(true);
        Ok(())
    }

    fn expire(&mut self) -> Done {
        self.ask(|world| {
            let partition = world.partition(("old", 0)).unwrap();
            let expired = partition.expire_records();
            expired.map_err(|_| ResponseError::KafkaStorageError)
        })
    }

    fn compact(&mut self) -> Done {
        self.ask(|world| {
            let partition = world.partition(("keys", 0)).unwrap();
            let compacted = partition.compact(1 << 20, &|| false);
            compacted
                .map(drop)
                .map_err(|_| ResponseError::KafkaStorageError)
        })
    }

    /// All that was acknowledged before is durable then.
    fn sync(&mut self) -> Done {
        let before = |answer: &mut Answer| answer.is_durable = answer.is_acked;
        self.ask(|world| {
            let synced = world.state().sync();
            synced.map_err(|_| ResponseError::KafkaStorageError)
        })?;
        let known = &mut self.known;
        known
            .sent
            .iter_mut()
            .for_each(|one| before(&mut one.answer));
        known.offsets.iter_mut().for_each(|one| before(&mut one.1));
        let transactions = known.transactions.iter_mut();
        transactions.for_each(|one| before(&mut one.answer));
        Ok(())
    }
}

/// One record.
fn batch(producer: Producer, sequence: i32, key: u8, value: &str, time: i64) -> BatchView {
    let mut builder =
        BatchBuilder::new(Codec::None).producer(producer.id, producer.epoch, sequence);
    builder.push(time, Some(&[key]), Some(value.as_bytes()), &[]);
    let batch = BatchView::read(&builder.build(0).unwrap());
    batch.unwrap().unwrap()
}
