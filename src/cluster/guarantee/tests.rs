use broker_lite::faults::{ApiKey, Fault, ResponseError, What};
use host::Host;
use wire::{TopicPartition, error::ApiError};

use super::*;
use crate::testing::Cluster;

const KEPT: Kept = Kept {
    offset: 40,
    epoch: 0,
    base_sequence: 0,
    unchanged: true,
};

fn answer(code: i16) -> ClientError {
    ClientError::Api {
        what: TOPIC.to_owned(),
        error: ApiError {
            code,
            message: None,
        },
    }
}

fn memory(epoch: i32, last_sequence: i32) -> ProducerState {
    ProducerState {
        producer_id: 1 << 62,
        producer_epoch: epoch,
        last_sequence,
        last_timestamp: 7,
        transaction_start: None,
    }
}

/// As Apache Kafka does it.
fn good() -> Seen {
    Seen {
        first: Ok(40),
        repeat: Ok(40),
        gap: Err(answer(45)),
        kept: Ok(vec![KEPT]),
        memory: Ok(Some(memory(0, 1))),
    }
}

#[test]
fn rule_12_a_target_that_does_all_of_it_passes() {
    assert_eq!(verdict(&good()), Ok(()));
}

#[test]
fn rule_12_each_thing_that_is_not_done_is_named() {
    let protocol = ClientError::Protocol {
        broker: "west:9092".to_owned(),
        reason: "it does not speak it".to_owned(),
    };
    #[rustfmt::skip] // one line per case
    let cases = [
        (Seen { first: Err(answer(59)), ..good() }, "a producer that it did not name itself"),
        (Seen { first: Err(protocol.clone()), ..good() }, "does not take whole batches (west:9092: it does not speak it)"),
        (Seen { repeat: Ok(42), ..good() }, "sent again at offset 42, not at 40"),
        (Seen { repeat: Ok(-1), ..good() }, "sent again at offset -1, not at 40"),
        (Seen { repeat: Err(answer(46)), ..good() }, "DUPLICATE_SEQUENCE_NUMBER (46)"),
        (Seen { gap: Ok(42), ..good() }, "takes a batch behind a gap"),
        (Seen { gap: Err(answer(59)), ..good() }, "answers a gap in a producer's sequence with strait.probe: UNKNOWN_PRODUCER_ID (59)"),
        (Seen { kept: Err("record format 1 is not 2".to_owned()), ..good() }, "(record format 1 is not 2)"),
        (Seen { kept: Ok(vec![]), ..good() }, "at offset 40 is not there"),
        (Seen { kept: Ok(vec![Kept { offset: 41, ..KEPT }]), ..good() }, "at offset 40 is not there"),
        (Seen { kept: Ok(vec![Kept { epoch: 1, ..KEPT }]), ..good() }, "changes the epochs"),
        (Seen { kept: Ok(vec![Kept { base_sequence: 9, ..KEPT }]), ..good() }, "changes the epochs or sequences"),
        (Seen { kept: Ok(vec![Kept { unchanged: false, ..KEPT }]), ..good() }, "changes keys, values or headers"),
        (Seen { kept: Ok(vec![KEPT, Kept { offset: 42, ..KEPT }]), ..good() }, "keeps a batch twice"),
        (Seen { memory: Ok(None), ..good() }, "does not tell of a producer that has just written"),
        (Seen { memory: Ok(Some(memory(0, 3))), ..good() }, "last sequence is 3 in epoch 0, where 1 in epoch 0"),
        (Seen { memory: Err(protocol), ..good() }, "does not tell what it remembers of producers"),
    ];
    for (seen, says) in cases {
        let said = verdict(&seen).expect_err(says);
        assert!(said.contains(says), "{says:?} in {said:?}");
    }
}

/// What is found on a broker to which `fault` happens.
async fn found(fault: Option<Fault>) -> Probed {
    let west = Cluster::start().await;
    if let Some(fault) = fault {
        west.broker.faults().set(fault.topic(TOPIC)).unwrap();
    }
    probe(&west.client, &Host::real(), -1).await.unwrap()
}

fn refused(error: ResponseError) -> What {
    What::Refuse(error)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_12_broker_lite_passes_whoever_probes_at_the_same_time() {
    let west = Cluster::start().await;
    let host = Host::real();
    let probes: Vec<_> = (0..8)
        .map(|_| {
            let (client, host) = (west.client.clone(), host.clone());
            tokio::spawn(async move { probe(&client, &host, -1).await })
        })
        .collect();
    for probe in probes {
        assert_eq!(probe.await.unwrap(), Ok(Probed::Passed));
    }
    let partition = TopicPartition::new(TOPIC, 0);
    let wanted = [(partition.clone(), wire::client::OffsetSpec::Latest)];
    let isolation = wire::Isolation::ReadUncommitted;
    let ends = west.client.list_offsets(&wanted, isolation).await.unwrap();
    let end = ends[0].1.as_ref().unwrap().offset;
    assert_eq!(end % 2, 0, "two records a try");
    let producers = west.client.describe_producers(&[partition]).await.unwrap();
    let producers = producers[0].1.as_ref().unwrap();
    assert_eq!(
        producers.len() as i64,
        end / 2,
        "each try has its own producer"
    );
    assert!(producers.iter().all(|one| one.producer_id & (1 << 62) != 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_12_what_a_broker_does_else_fails() {
    let produce = |error| Fault::new(ApiKey::Produce, refused(error));
    let describe = |error| Fault::new(ApiKey::DescribeProducers, refused(error)).always();
    for (fault, says) in [
        (
            produce(ResponseError::UnknownProducerId),
            "UNKNOWN_PRODUCER_ID (59)",
        ),
        (
            produce(ResponseError::DuplicateSequenceNumber).skip(1),
            "refuses a batch that is sent again",
        ),
        (
            produce(ResponseError::InvalidRecord).skip(2),
            "answers a gap",
        ),
        (
            describe(ResponseError::InvalidRequest),
            "what it remembers of producers",
        ),
    ] {
        match found(Some(fault)).await {
            Probed::Failed(what) => assert!(what.contains(says), "{says:?} in {what:?}"),
            other => panic!("{says}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_12_what_passes_is_tried_again_and_what_is_forbidden_says_nothing() {
    for what in [
        refused(ResponseError::NotLeaderOrFollower),
        What::FailAfter(ResponseError::RequestTimedOut),
        What::CloseAfter,
    ] {
        let fault = Fault::new(ApiKey::Produce, what);
        assert_eq!(found(Some(fault)).await, Probed::Passed, "{what:?}");
    }
    let denied = ResponseError::TopicAuthorizationFailed;
    for api in [ApiKey::CreateTopics, ApiKey::Produce, ApiKey::Fetch] {
        let fault = Fault::new(api, refused(denied)).always();
        match found(Some(fault)).await {
            Probed::Not(why) => assert!(why.contains("may not use topic strait.probe"), "{why}"),
            other => panic!("{api:?}: {other:?}"),
        }
    }
    for (api, error) in [
        (ApiKey::CreateTopics, ResponseError::PolicyViolation),
        (ApiKey::Produce, ResponseError::InvalidTimestamp),
    ] {
        let found = found(Some(Fault::new(api, refused(error)))).await;
        assert!(matches!(found, Probed::Not(_)), "{error:?}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_is_probed_once() {
    let west = Cluster::start().await;
    let (host, once) = (Host::real(), Once::default());
    let get = || once.get(&west.client, &host, -1);
    let (one, two) = tokio::join!(get(), get());
    assert_eq!((one, two), (Ok(&Probed::Passed), Ok(&Probed::Passed)));
    west.broker.stop().await.unwrap();
    assert_eq!(get().await, Ok(&Probed::Passed), "nothing is asked");
}
