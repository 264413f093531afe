//! The coordinator around the machine: decisions survive, timeouts abort, participants are told.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use host::{
    Host,
    sim::{SeededRandom, SimClock, SimFiles},
};
use kafka_protocol::error::ResponseError;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::state::transactions::{
    Claim, Part, Participants, TransactionSettings, Transactions,
    machine::{Producer, TransactionState},
};

const FOLDER: &str = "/data";

/// Notes what it is told, unless it is told to fail.
#[derive(Debug, Default)]
struct Heard {
    ends: Mutex<Vec<(String, Producer, bool)>>,
    failures: Mutex<u32>,
}

impl Heard {
    fn note(&self, what: String, producer: Producer, commit: bool) -> io::Result<()> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.ends.lock().unwrap().push((what, producer, commit));
        Ok(())
    }

    fn take(&self) -> Vec<(String, Producer, bool)> {
        std::mem::take(&mut self.ends.lock().unwrap())
    }
}

impl Participants for Heard {
    fn end_partition(
        &self,
        topic: &str,
        partition: i32,
        producer: Producer,
        commit: bool,
    ) -> io::Result<()> {
        self.note(format!("{topic}-{partition}"), producer, commit)
    }

    fn end_offsets(&self, producer: Producer, commit: bool) -> io::Result<()> {
        self.note("offsets".to_owned(), producer, commit)
    }
}

struct Machine {
    clock: SimClock,
    files: SimFiles,
    host: Host,
    heard: Arc<Heard>,
}

impl Machine {
    fn new() -> Self {
        let clock = SimClock::new(1_000);
        let files = SimFiles::default();
        host::Files::create_dir_all(&files, Path::new(FOLDER)).unwrap();
        let host = Host {
            clock: Arc::new(clock.clone()),
            net: Arc::new(host::net::Tcp),
            files: Arc::new(files.clone()),
            random: Arc::new(SeededRandom::new(1)),
        };
        let heard = Arc::new(Heard::default());
        Self {
            clock,
            files,
            host,
            heard,
        }
    }

    fn open(&self) -> Arc<Transactions> {
        let settings = TransactionSettings::default();
        Arc::new(Transactions::open(self.host.clone(), Path::new(FOLDER), settings).unwrap())
    }

    fn start(&self, transactions: &Arc<Transactions>) -> CancellationToken {
        let stop = CancellationToken::new();
        let (token, heard) = (stop.clone(), Arc::clone(&self.heard));
        let transactions = Arc::clone(transactions);
        tokio::spawn(async move { transactions.run(&*heard, token).await });
        stop
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    fn init(&self, transactions: &Transactions) -> Result<Producer, ResponseError> {
        transactions.init("x", 10_000, None, &*self.heard)
    }

    fn end(
        &self,
        on: &Transactions,
        producer: Producer,
        commit: bool,
    ) -> Result<(), ResponseError> {
        on.end(claim(producer), commit, false, &*self.heard)
            .map(|_| ())
    }
}

fn claim(producer: Producer) -> Claim<'static> {
    Claim {
        transactional_id: "x",
        producer,
    }
}

fn parts() -> BTreeSet<Part> {
    BTreeSet::from([
        Part::Partition("t".to_owned(), 3),
        Part::Group("g".to_owned()),
    ])
}

fn state(transactions: &Transactions) -> TransactionState {
    transactions.with("x", |t| t.unwrap().state)
}

fn told(producer: Producer, commit: bool) -> Vec<(String, Producer, bool)> {
    vec![
        ("t-3".to_owned(), producer, commit),
        ("offsets".to_owned(), producer, commit),
    ]
}

#[test]
fn a_commit_reaches_every_part_once() {
    let machine = Machine::new();
    let transactions = machine.open();
    let producer = machine.init(&transactions).unwrap();
    let other = Part::Partition("t".to_owned(), 4);
    let unknown = transactions.within(claim(producer), &other, false, || ());
    assert_eq!(unknown, Err(ResponseError::TransactionAbortable));
    transactions.add(claim(producer), &parts()).unwrap();
    machine.end(&transactions, producer, true).unwrap();
    assert_eq!(machine.heard.take(), told(producer, true));
    machine.end(&transactions, producer, true).unwrap();
    assert_eq!(machine.heard.take(), []);
    let other = machine.end(&transactions, producer, false);
    assert_eq!(other, Err(ResponseError::InvalidTxnState));
}

#[test]
fn a_part_can_join_with_its_first_write() {
    let machine = Machine::new();
    let transactions = machine.open();
    let producer = machine.init(&transactions).unwrap();
    for part in parts() {
        assert_eq!(
            transactions.within(claim(producer), &part, true, || 5),
            Ok(5)
        );
    }
    let after = transactions
        .end(claim(producer), true, true, &*machine.heard)
        .unwrap();
    assert_eq!(after.epoch, producer.epoch + 1);
    assert_eq!(machine.heard.take(), told(after, true));
}

#[tokio::test]
async fn a_decision_is_carried_out_after_a_crash() {
    let machine = Machine::new();
    let transactions = machine.open();
    let producer = machine.init(&transactions).unwrap();
    transactions.add(claim(producer), &parts()).unwrap();
    *machine.heard.failures.lock().unwrap() = 1;
    // Decided and written, so it is a success; but nobody has heard of it yet.
    assert_eq!(machine.end(&transactions, producer, true), Ok(()));
    assert_eq!(machine.heard.take(), []);
    assert_eq!(
        machine.init(&transactions),
        Err(ResponseError::ConcurrentTransactions)
    );

    let transactions = machine.open();
    assert_eq!(state(&transactions), TransactionState::PrepareCommit);
    let stop = machine.start(&transactions);
    machine.pass(Duration::ZERO).await;
    assert_eq!(machine.heard.take(), told(producer, true));
    assert_eq!(state(&transactions), TransactionState::CompleteCommit);
    stop.cancel();
}

#[tokio::test]
async fn an_end_that_fails_is_tried_again() {
    let machine = Machine::new();
    let transactions = machine.open();
    let stop = machine.start(&transactions);
    let producer = machine.init(&transactions).unwrap();
    transactions.add(claim(producer), &parts()).unwrap();
    *machine.heard.failures.lock().unwrap() = 3;
    machine.end(&transactions, producer, false).unwrap();
    for _ in 0..5 {
        machine.pass(Duration::from_secs(1)).await;
    }
    assert_eq!(machine.heard.take(), told(producer, false));
    assert_eq!(state(&transactions), TransactionState::CompleteAbort);
    stop.cancel();
}

#[tokio::test]
async fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    let machine = Machine::new();
    let transactions = machine.open();
    let stop = machine.start(&transactions);
    let producer = machine.init(&transactions).unwrap();
    transactions.add(claim(producer), &parts()).unwrap();
    machine.pass(Duration::from_millis(9_999)).await;
    assert_eq!(state(&transactions), TransactionState::Ongoing);
    machine.pass(Duration::from_millis(1)).await;
    let fenced = Producer {
        epoch: producer.epoch + 1,
        ..producer
    };
    assert_eq!(machine.heard.take(), told(fenced, false));
    let late = machine.end(&transactions, producer, true);
    assert_eq!(late, Err(ResponseError::ProducerFenced));
    let next = machine.init(&transactions).unwrap();
    assert_eq!(next.epoch, producer.epoch + 2);
    stop.cancel();
}

#[test]
fn no_producer_id_comes_twice_after_a_loss_of_power() {
    let machine = Machine::new();
    let before = machine.open().new_producer().unwrap();
    machine.files.crash();
    assert!(machine.open().new_producer().unwrap().id > before.id);
}

#[test]
fn limits_are_kept() {
    let machine = Machine::new();
    let transactions = machine.open();
    let init = |id: &str, timeout| transactions.init(id, timeout, None, &*machine.heard);
    assert_eq!(init("", 1000), Err(ResponseError::InvalidRequest));
    assert_eq!(init("x", 0), Err(ResponseError::InvalidTransactionTimeout));
    assert_eq!(
        init("x", 900_001),
        Err(ResponseError::InvalidTransactionTimeout)
    );
    assert!(init("x", 900_000).is_ok());
}

#[derive(Clone, Debug)]
enum Step {
    Init,
    Add,
    End { commit: bool, bumps: bool },
    Fail,
    Restart,
}

proptest! {
    #[test]
    fn every_history_tells_one_outcome_and_never_reuses_a_producer(
        steps in proptest::collection::vec(
            prop_oneof![
                Just(Step::Init), Just(Step::Add), Just(Step::Add), Just(Step::Fail), Just(Step::Restart),
                (any::<bool>(), any::<bool>()).prop_map(|(commit, bumps)| Step::End { commit, bumps }),
            ],
            1..60,
        ),
    ) {
        let machine = Machine::new();
        let mut transactions = machine.open();
        let mut held = Producer { id: -1, epoch: -1 };
        let mut seen = BTreeSet::new();
        // What the client was promised for the transaction that is open, or last was.
        let mut promised = None;
        for step in steps {
            match step {
                Step::Init => {
                    if let Ok(producer) = machine.init(&transactions) {
                        prop_assert!(seen.insert((producer.id, producer.epoch)));
                        held = producer;
                        promised = None;
                    }
                }
                Step::Add => {
                    if transactions.add(claim(held), &parts()).is_ok() {
                        promised = None;
                    }
                }
                Step::End { commit, bumps } => {
                    let ended = transactions.end(claim(held), commit, bumps, &*machine.heard);
                    if let Ok(after) = ended {
                        promised = Some(commit);
                        seen.insert((after.id, after.epoch));
                        held = after;
                    }
                }
                Step::Fail => *machine.heard.failures.lock().unwrap() = 1,
                Step::Restart => {
                    transactions = machine.open();
                    *machine.heard.failures.lock().unwrap() = 0;
                    transactions.expire(&*machine.heard);
                    prop_assert!(transactions.with("x", |t| t.is_none_or(|t| !t.state.is_ending())));
                }
            }
            for (_, _, commit) in machine.heard.take() {
                // A fence aborts what the client had not ended.
                prop_assert_eq!(commit, promised.unwrap_or(false));
            }
        }
    }
}
