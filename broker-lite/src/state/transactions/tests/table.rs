//! The answers of `TransactionCoordinator`, case by case.

use std::collections::BTreeSet;

use kafka_protocol::error::ResponseError::{
    self, ConcurrentTransactions, InvalidProducerIdMapping, InvalidTxnState, ProducerFenced,
    TransactionAbortable,
};

use crate::state::transactions::{
    Part,
    machine::{Ended, Initialized, Producer, Transaction, TransactionState},
};

const NEW_ID: i64 = 99;
const LAST: i16 = i16::MAX - 1;

fn parts() -> BTreeSet<Part> {
    BTreeSet::from([
        Part::Partition("t".to_owned(), 0),
        Part::Group("g".to_owned()),
    ])
}

fn new_id() -> Result<i64, ResponseError> {
    Ok(NEW_ID)
}

fn ready(initialized: Initialized) -> Transaction {
    match initialized {
        Initialized::Ready(transaction) => transaction,
        Initialized::AbortFirst(_) => panic!("no transaction is open"),
    }
}

fn prepared(ended: Ended) -> Transaction {
    match ended {
        Ended::Prepare(transaction) => transaction,
        Ended::Already(_) => panic!("not ended before"),
    }
}

fn initialized() -> Transaction {
    ready(
        Transaction::new("x", 7, 1000)
            .init(None, 1000, new_id)
            .unwrap(),
    )
}

fn ongoing(from: &Transaction) -> Transaction {
    from.add(from.producer(), &parts(), 50).unwrap().unwrap()
}

/// A transaction in `state`, ended by a client that bumps at the end or does not.
fn in_state(state: TransactionState, bumps: bool) -> Transaction {
    let empty = initialized();
    let open = ongoing(&empty);
    let end = |commit| {
        prepared(
            open.end(open.producer(), commit, bumps, 60, new_id)
                .unwrap(),
        )
    };
    match state {
        TransactionState::Empty => empty,
        TransactionState::Ongoing => open,
        TransactionState::PrepareCommit => end(true),
        TransactionState::PrepareAbort => end(false),
        TransactionState::CompleteCommit => end(true).complete(),
        TransactionState::CompleteAbort => end(false).complete(),
    }
}

fn at_epoch(epoch: i16) -> Transaction {
    let mut transaction = initialized();
    transaction.epoch = epoch;
    transaction
}

#[test]
fn initializing_bumps_the_epoch_and_fences_the_former_producer() {
    let first = initialized();
    assert_eq!(first.producer(), Producer { id: 7, epoch: 0 });
    let second = ready(first.init(None, 1000, new_id).unwrap());
    assert_eq!(second.producer(), Producer { id: 7, epoch: 1 });
    let old = second.init(Some(first.producer()), 1000, new_id);
    assert_eq!(old, Err(ProducerFenced));
    let foreign = second.init(Some(Producer { id: 8, epoch: 1 }), 1000, new_id);
    assert_eq!(foreign, Err(ProducerFenced));
}

#[test]
fn recovering_bumps_once_however_often_it_is_asked() {
    let first = initialized();
    let held = Some(first.producer());
    let second = ready(first.init(held, 1000, new_id).unwrap());
    assert_eq!(second.epoch, 1);
    let repeated = ready(second.init(held, 1000, new_id).unwrap());
    assert_eq!(repeated.producer(), second.producer());
}

#[test]
fn an_exhausted_epoch_leads_to_a_new_producer_id() {
    let last = at_epoch(LAST);
    let next = ready(last.init(None, 1000, new_id).unwrap());
    assert_eq!(
        next.producer(),
        Producer {
            id: NEW_ID,
            epoch: 0
        }
    );
    let held = Some(last.producer());
    let next = ready(last.init(held, 1000, new_id).unwrap());
    let repeated = ready(next.init(held, 1000, new_id).unwrap());
    assert_eq!(repeated.producer(), next.producer());
}

#[test]
fn initializing_over_an_open_transaction_aborts_it_first() {
    let open = in_state(TransactionState::Ongoing, false);
    let Ok(Initialized::AbortFirst(fenced)) = open.init(None, 1000, new_id) else {
        panic!("an open transaction is aborted");
    };
    assert_eq!(
        (fenced.state, fenced.epoch),
        (TransactionState::PrepareAbort, 1)
    );
    assert_eq!(fenced.init(None, 1000, new_id), Err(ConcurrentTransactions));
    let aborted = fenced.complete();
    let recovered = ready(aborted.init(Some(open.producer()), 1000, new_id).unwrap());
    assert_eq!(recovered.producer(), fenced.producer());
    let next = ready(aborted.init(None, 1000, new_id).unwrap());
    assert_eq!(next.producer(), Producer { id: 7, epoch: 2 });
    assert_eq!(
        next.init(Some(open.producer()), 1000, new_id),
        Err(ProducerFenced)
    );
}

#[test]
fn fencing_the_last_epoch_leaves_room_for_it() {
    let open = ongoing(&at_epoch(LAST));
    let done = open.fence().complete();
    assert_eq!(done.epoch, i16::MAX);
    let next = ready(done.init(None, 1000, new_id).unwrap());
    assert_eq!(
        next.producer(),
        Producer {
            id: NEW_ID,
            epoch: 0
        }
    );
}

#[test]
fn partitions_are_added_by_the_current_producer_only() {
    let empty = initialized();
    let (id, epoch) = (7, 0);
    let add = |t: &Transaction, id, epoch| t.add(Producer { id, epoch }, &parts(), 50);
    assert_eq!(add(&empty, 8, epoch), Err(InvalidProducerIdMapping));
    assert_eq!(add(&empty, id, 1), Err(ProducerFenced));
    let open = add(&empty, id, epoch).unwrap().unwrap();
    assert_eq!(
        (open.state, open.started_ms),
        (TransactionState::Ongoing, 50)
    );
    assert_eq!(open.expires_ms(), Some(1050));
    assert_eq!(add(&open, id, epoch), Ok(None));
    let ending = in_state(TransactionState::PrepareCommit, false);
    assert_eq!(add(&ending, id, epoch), Err(ConcurrentTransactions));

    let part = Part::Partition("t".to_owned(), 0);
    let other = Part::Partition("t".to_owned(), 1);
    assert_eq!(open.verify(open.producer(), &part), Ok(()));
    assert_eq!(
        open.verify(open.producer(), &other),
        Err(TransactionAbortable)
    );
    assert_eq!(
        empty.verify(empty.producer(), &part),
        Err(TransactionAbortable)
    );
}

#[test]
fn ends_as_of_kip_98() {
    use TransactionState as S;
    let done = Ok("already");
    let go = Ok("prepare");
    for (state, abort, commit) in [
        (S::Empty, Err(InvalidTxnState), Err(InvalidTxnState)),
        (S::Ongoing, go, go),
        (
            S::PrepareCommit,
            Err(InvalidTxnState),
            Err(ConcurrentTransactions),
        ),
        (
            S::PrepareAbort,
            Err(ConcurrentTransactions),
            Err(InvalidTxnState),
        ),
        (S::CompleteCommit, Err(InvalidTxnState), done),
        (S::CompleteAbort, done, Err(InvalidTxnState)),
    ] {
        let transaction = in_state(state, false);
        for (commits, expected) in [(false, abort), (true, commit)] {
            let end = |producer| transaction.end(producer, commits, false, 60, new_id);
            assert_eq!(
                end(transaction.producer()).map(kind),
                expected,
                "{state:?} {commits}"
            );
            let fenced = Producer { id: 7, epoch: 5 };
            assert_eq!(end(fenced), Err(ProducerFenced));
            assert_eq!(
                end(Producer { id: 8, epoch: 0 }),
                Err(InvalidProducerIdMapping)
            );
        }
    }
}

/// The table in `TransactionCoordinator.endTransaction`: abort and commit, each repeated (with the
/// epoch before) and new (with the current one).
#[test]
fn ends_as_of_kip_890() {
    use TransactionState as S;
    let fenced = || Err(ProducerFenced);
    let state_error = || Err(InvalidTxnState);
    let go = || Ok("prepare");
    let done = || Ok("already");
    for (state, answers) in [
        (S::Empty, [fenced(), go(), fenced(), state_error()]),
        (S::Ongoing, [fenced(), go(), fenced(), go()]),
        (
            S::PrepareCommit,
            [
                state_error(),
                fenced(),
                Err(ConcurrentTransactions),
                fenced(),
            ],
        ),
        (
            S::PrepareAbort,
            [
                Err(ConcurrentTransactions),
                fenced(),
                state_error(),
                fenced(),
            ],
        ),
        (
            S::CompleteCommit,
            [state_error(), go(), done(), state_error()],
        ),
        (
            S::CompleteAbort,
            [done(), go(), state_error(), state_error()],
        ),
    ] {
        let mut transaction = in_state(state, true);
        if matches!(state, S::Empty | S::Ongoing) {
            transaction.epoch = 1; // so that there is an epoch before
        }
        let epoch = transaction.epoch;
        let cases = [
            (false, epoch - 1),
            (false, epoch),
            (true, epoch - 1),
            (true, epoch),
        ];
        for ((commit, epoch), expected) in cases.into_iter().zip(answers) {
            let given = transaction.end(Producer { id: 7, epoch }, commit, true, 60, new_id);
            assert_eq!(
                given.map(kind),
                expected,
                "{state:?} commit {commit} epoch {epoch}"
            );
        }
    }
}

fn kind(ended: Ended) -> &'static str {
    match ended {
        Ended::Already(_) => "already",
        Ended::Prepare(_) => "prepare",
    }
}

#[test]
fn ending_the_last_epoch_moves_to_a_new_producer_id() {
    let open = ongoing(&at_epoch(LAST));
    let held = open.producer();
    let ending = prepared(open.end(held, true, true, 60, new_id).unwrap());
    assert_eq!(
        ending.producer(),
        Producer {
            id: 7,
            epoch: i16::MAX
        }
    );
    let done = ending.complete();
    assert_eq!(
        done.producer(),
        Producer {
            id: NEW_ID,
            epoch: 0
        }
    );
    assert!(done.parts.is_empty());
    let repeated = done.end(held, true, true, 60, new_id);
    assert_eq!(repeated, Ok(Ended::Already(done.producer())));
}
