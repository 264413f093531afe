//! Faults that a test sets in a broker of its own process, as a client sees them.

use std::{io::Read, sync::Arc, time::Duration};

use broker_lite::{
    Broker, Config,
    faults::{ApiKey, Fault, FaultError, Faults, ResponseError, What},
};
use host::{Host, sim::SimClock};
use kafka_protocol::{
    messages::{
        CreateTopicsRequest, DescribeProducersRequest, EndTxnRequest, FetchRequest, FetchResponse,
        FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest, JoinGroupRequest,
        LeaveGroupRequest, ListGroupsRequest, ListOffsetsRequest, MetadataRequest,
        OffsetCommitRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest, ProduceRequest,
        SyncGroupRequest,
        create_topics_request::CreatableTopic,
        describe_producers_request::TopicRequest,
        fetch_request::FetchPartition,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::OffsetFetchRequestGroup,
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
    protocol::Request,
};
use wire::batch::batches;

use super::{
    batches::{T, fetch, from, request, sequenced},
    client::{Client, text},
    topic,
};

const REFUSED: ResponseError = ResponseError::NotLeaderOrFollower;

/// A broker whose time stands still, with the topic `t` of two partitions.
pub(crate) struct Running {
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    clock: SimClock,
    broker: Broker,
    pub(crate) faults: Faults,
}

impl Running {
    pub(crate) fn start() -> (Self, Client) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (folder, clock) = (tempfile::tempdir().unwrap(), SimClock::new(T));
        let broker = runtime.block_on(open(folder.path(), &clock));
        let faults = broker.faults();
        let mut c = Client::connect(broker.address());
        topic(&mut c, "t", 2, &[]);
        let running = Self {
            runtime,
            folder,
            clock,
            broker,
            faults,
        };
        (running, c)
    }

    fn connect(&self) -> Client {
        Client::connect(self.broker.address())
    }

    /// `kill -9`, and a new start.
    pub(crate) fn restart(self) -> (Self, Client) {
        self.runtime.block_on(self.broker.kill());
        let opened = self
            .runtime
            .block_on(try_open(self.folder.path(), &self.clock));
        let broker = opened.expect("a killed broker is gone");
        let (faults, c) = (broker.faults(), Client::connect(broker.address()));
        let running = Self {
            broker,
            faults,
            ..self
        };
        (running, c)
    }
}

async fn open(folder: &std::path::Path, clock: &SimClock) -> Broker {
    try_open(folder, clock).await.unwrap()
}

async fn try_open(
    folder: &std::path::Path,
    clock: &SimClock,
) -> Result<Broker, broker_lite::StartError> {
    let host = Host {
        clock: Arc::new(clock.clone()),
        ..Host::real()
    };
    Broker::start(Config::new("127.0.0.1:0", folder), host).await
}

/// Writes three records of producer 7 to a partition: error and base offset.
fn produce(c: &mut Client, partition: i32, sequence: i32) -> (i16, i64) {
    let records = sequenced(7, 0, sequence, 3);
    let answer = c.call(9, &request("t", &[(partition, Some(records))]));
    let p = &answer.responses[0].partition_responses[0];
    (p.error_code, p.base_offset)
}

fn end(c: &mut Client, partition: i32) -> i64 {
    let answer = c.call(7, &list(partition, -1));
    answer.topics[0].partitions[0].offset
}

fn list(partition: i32, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default()
        .with_name(text("t").into())
        .with_partitions(vec![partition]);
    ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_topics(vec![topic])
}

fn is_closed(c: &mut Client) -> bool {
    !matches!(c.stream.read(&mut [0]), Ok(1..))
}

/// Partition, error and base offsets of each partition of an answer.
fn fetched(answer: &FetchResponse) -> Vec<(i32, i16, Vec<i64>)> {
    let all = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let each = all.map(|p| {
        let bases = batches(p.records.clone().unwrap_or_default());
        let bases = bases.map(|batch| batch.unwrap().header.base_offset);
        (p.partition_index, p.error_code, bases.collect())
    });
    each.collect()
}

#[test]
fn a_refused_batch_is_not_there_and_its_neighbour_is() {
    let (running, mut c) = Running::start();
    let fault = Fault::new(ApiKey::Produce, What::Refuse(REFUSED)).partition("t", 0);
    let hook = running.faults.set(fault.times(2)).unwrap();
    let both = request(
        "t",
        &[
            (0, Some(sequenced(7, 0, 0, 3))),
            (1, Some(sequenced(7, 0, 0, 3))),
        ],
    );
    for (fired, base) in [(1, 0), (2, 0)] {
        let answer = c.call(9, &both);
        let all = answer.responses[0].partition_responses.iter();
        let all: Vec<_> = all
            .map(|p| (p.index, p.error_code, p.base_offset))
            .collect();
        assert_eq!(all, [(0, REFUSED.code(), -1), (1, 0, base)]);
        assert_eq!(hook.fired(), fired);
    }
    assert_eq!((end(&mut c, 0), end(&mut c, 1)), (0, 3));
    assert_eq!(produce(&mut c, 0, 0), (0, 0), "it is over");
    assert_eq!(hook.fired(), 2);
}

#[test]
fn a_batch_that_fails_after_it_was_appended_is_there() {
    let (running, mut c) = Running::start();
    let fault = Fault::new(
        ApiKey::Produce,
        What::FailAfter(ResponseError::RequestTimedOut),
    );
    let hook = running.faults.set(fault.topic("t").skip(1)).unwrap();
    assert_eq!(produce(&mut c, 0, 0), (0, 0), "it passes");
    assert_eq!(hook.fired(), 0);
    assert_eq!(produce(&mut c, 0, 3), (7, -1));
    assert_eq!((hook.fired(), end(&mut c, 0)), (1, 6));
    assert_eq!(produce(&mut c, 0, 3), (0, 3), "the repeat is known");
    assert_eq!(end(&mut c, 0), 6);
}

#[test]
fn a_connection_is_closed_before_or_after_the_work() {
    let (running, mut c) = Running::start();
    for (what, appended) in [(What::Close, 0), (What::CloseAfter, 3)] {
        let hook = running
            .faults
            .set(Fault::new(ApiKey::Produce, what).partition("t", 0));
        let mut other = running.connect();
        let records = [(1, Some(sequenced(7, 0, 0, 3)))];
        other.call(9, &request("t", &records));
        other.send(9, &request("t", &[(0, Some(sequenced(7, 0, 0, 3)))]));
        assert!(is_closed(&mut other), "{what:?}");
        assert_eq!((hook.unwrap().fired(), end(&mut c, 0)), (1, appended));
    }
}

#[test]
fn delays_go_by_the_hosts_clock() {
    let (running, mut c) = Running::start();
    let (hour, mut late) = (Duration::from_secs(3600), running.connect());
    let later = Fault::new(ApiKey::Produce, What::Delay(hour));
    let hook = running.faults.set(later).unwrap();
    late.send(9, &request("t", &[(0, Some(sequenced(7, 0, 0, 3)))]));
    running.runtime.block_on(hook.wait(1));
    assert_eq!(end(&mut c, 0), 0);
    // The work is done although nobody waits for the answer any more.
    drop(late);
    running.clock.advance(hour);
    // Whoever was idle for an hour is cut off.
    c = running.connect();
    let waiting = || {
        fetch("t", vec![from(0, 0, 1 << 20)])
            .with_min_bytes(1)
            .with_max_wait_ms(9)
    };
    assert_eq!(fetched(&c.call(11, &waiting())), [(0, 0, vec![0])]);

    let answered = Fault::new(ApiKey::Produce, What::DelayAfter(hour));
    running.faults.set(answered).unwrap();
    let mut late = running.connect();
    let records = request("t", &[(1, Some(sequenced(7, 0, 0, 3)))]);
    late.send(9, &records);
    let both = vec![from(1, 0, 1 << 20)];
    let waiting = fetch("t", both).with_min_bytes(1).with_max_wait_ms(9);
    assert_eq!(fetched(&c.call(11, &waiting)), [(1, 0, vec![0])]);
    late.stream.set_nonblocking(true).unwrap();
    assert!(late.stream.read(&mut [0]).is_err(), "no answer yet");
    late.stream.set_nonblocking(false).unwrap();
    running.clock.advance(hour);
    let answer = late.receive::<ProduceRequest>(9);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

#[test]
fn a_fetch_fails_partition_by_partition() {
    let (running, mut c) = Running::start();
    produce(&mut c, 0, 0);
    produce(&mut c, 1, 0);
    let both = || fetch("t", vec![from(0, 0, 1 << 20), from(1, 0, 1 << 20)]);
    for what in [What::Refuse(REFUSED), What::FailAfter(REFUSED)] {
        let fault = Fault::new(ApiKey::Fetch, what).partition("t", 0);
        let hook = running.faults.set(fault).unwrap();
        let expected = [(0, 6, vec![]), (1, 0, vec![0])];
        assert_eq!(fetched(&c.call(11, &both())), expected, "{what:?}");
        assert_eq!(hook.fired(), 1);
        assert_eq!(
            fetched(&c.call(11, &both())),
            [(0, 0, vec![0]), (1, 0, vec![0])]
        );
    }
    // An error is told at once, however long the client would wait: time stands still.
    let fault = Fault::new(ApiKey::Fetch, What::Refuse(REFUSED));
    running.faults.set(fault).unwrap();
    let idle = fetch("t", vec![from(0, 3, 1)])
        .with_min_bytes(1)
        .with_max_wait_ms(1000);
    assert_eq!(fetched(&c.call(11, &idle)), [(0, 6, vec![])]);
}

#[test]
fn faults_can_be_removed_and_do_not_outlive_the_broker() {
    let (running, mut c) = Running::start();
    let always = Fault::new(ApiKey::Produce, What::Refuse(REFUSED)).always();
    let (first, second) = (always.clone(), always.topic("other"));
    let first = running.faults.set(first).unwrap();
    let second = running.faults.set(second).unwrap();
    for fired in 1..4 {
        assert_eq!(produce(&mut c, 0, 0).0, 6);
        assert_eq!((first.fired(), second.fired()), (fired, 0));
    }
    first.remove();
    assert_eq!(produce(&mut c, 0, 0), (0, 0));
    running
        .faults
        .set(Fault::new(ApiKey::Produce, What::Close))
        .unwrap();
    running.faults.clear();
    assert_eq!(produce(&mut c, 0, 3), (0, 3));
    let unknown = running.faults.truncate("t", 2, 0);
    assert!(
        matches!(unknown, Err(FaultError::Unknown(_, 2))),
        "{unknown:?}"
    );
    let faults = running.faults.clone();
    running.runtime.block_on(running.broker.stop()).unwrap();
    let ended = faults.truncate("t", 0, 0);
    assert!(matches!(ended, Err(FaultError::Ended)), "{ended:?}");
}

#[test]
fn a_forgotten_producer_may_begin_anywhere_also_after_a_kill() {
    let (running, mut c) = Running::start();
    produce(&mut c, 0, 0);
    produce(&mut c, 0, 3);
    assert_eq!(produce(&mut c, 0, 9), (45, -1), "a gap");
    assert!(!running.faults.forget_producer("t", 0, 8).unwrap());
    assert!(running.faults.forget_producer("t", 0, 7).unwrap());
    let (running, mut c) = running.restart();
    assert_eq!(produce(&mut c, 0, 9), (0, 6));
    assert_eq!(running.faults.forget_producers("t", 0).unwrap(), 1);
    assert_eq!(produce(&mut c, 0, 3), (0, 9), "a repeat that nobody knows");
}

#[test]
fn a_truncated_log_goes_on_where_its_producers_were() {
    let (running, mut c) = Running::start();
    for sequence in [0, 3, 6] {
        produce(&mut c, 0, sequence);
    }
    assert!(
        running.faults.truncate("t", 0, 10).is_err(),
        "behind the end"
    );
    assert_eq!(
        running.faults.truncate("t", 0, 9).unwrap(),
        9,
        "nothing to drop"
    );
    assert_eq!(
        running.faults.truncate("t", 0, 4).unwrap(),
        3,
        "the whole batch"
    );
    assert_eq!(end(&mut c, 0), 3);
    assert_eq!(produce(&mut c, 0, 6), (45, -1), "what was before is gone");
    assert_eq!(produce(&mut c, 0, 0), (0, 0), "a repeat");
    assert_eq!(produce(&mut c, 0, 3), (0, 3));
    let reading = || fetch("t", vec![from(0, 0, 1 << 20)]);
    assert_eq!(fetched(&c.call(11, &reading())), [(0, 0, vec![0, 3])]);
    let behind = fetch("t", vec![from(0, 9, 1 << 20)]);
    assert_eq!(fetched(&c.call(11, &behind)), [(0, 1, vec![])]);
    let (_running, mut c) = running.restart();
    assert_eq!(fetched(&c.call(11, &reading())), [(0, 0, vec![0, 3])]);
    assert_eq!(produce(&mut c, 0, 6), (0, 6));
}

/// A reader that waits at an end that goes away is told at once.
#[test]
fn who_waits_behind_a_truncation_is_woken() {
    let (running, mut c) = Running::start();
    produce(&mut c, 0, 0);
    let mut waiting = running.connect();
    let at_end = fetch("t", vec![from(0, 3, 1)])
        .with_min_bytes(1)
        .with_max_wait_ms(1000);
    let hook = Fault::new(ApiKey::Fetch, What::DelayAfter(Duration::ZERO));
    let hook = running.faults.set(hook).unwrap();
    waiting.send(11, &at_end);
    running.runtime.block_on(hook.wait(1));
    running.faults.truncate("t", 0, 0).unwrap();
    let answer = waiting.receive::<FetchRequest>(11);
    assert_eq!(fetched(&answer), [(0, 1, vec![])]);
}

/// Epoch 0 holds offsets 0-2, epoch 1 holds 3-5 and goes on.
#[test]
fn another_leader_epoch_is_kept_in_batches_and_asked_for_also_after_a_kill() {
    let (running, mut c) = Running::start();
    produce(&mut c, 0, 0);
    assert_eq!(running.faults.raise_leader_epoch("t", 0).unwrap(), 1);
    produce(&mut c, 0, 3);
    let (_running, mut c) = running.restart();
    let answer = c.call(11, &fetch("t", vec![from(0, 0, 1 << 20)]));
    let records = answer.responses[0].partitions[0].records.clone().unwrap();
    let epochs: Vec<_> = batches(records)
        .map(|batch| batch.unwrap().header.partition_leader_epoch)
        .collect();
    assert_eq!(epochs, [0, 1]);
    let id = c.call(12, &metadata()).topics[0].topic_id;
    for (known, error) in [(-1, 0), (0, 74), (1, 0), (2, 75)] {
        let partition = from(0, 6, 1).with_current_leader_epoch(known);
        let answer = c.call(16, &by_id(id, partition));
        let p = &answer.responses[0].partitions[0];
        assert_eq!(p.error_code, error, "the client knows {known}");
        let leader = (*p.current_leader.leader_id, p.current_leader.leader_epoch);
        let named = answer.node_endpoints.len();
        let expected = if error == 74 {
            ((1, 1), 1)
        } else {
            ((-1, -1), 0)
        };
        assert_eq!((leader, named), expected, "KIP-951");
    }
    for (last, offset, diverging) in [
        (0, 3, (-1, -1)),
        (0, 5, (0, 3)),
        (1, 6, (-1, -1)),
        (1, 9, (1, 6)),
    ] {
        let partition = from(0, offset, 1).with_last_fetched_epoch(last);
        let answer = c.call(12, &fetch("t", vec![partition]));
        let d = &answer.responses[0].partitions[0].diverging_epoch;
        assert_eq!((d.epoch, d.end_offset), diverging, "{last} {offset}");
    }
    for (asked, found) in [(0, (0, 3)), (1, (1, 6)), (2, (-1, -1))] {
        let answer = c.call(4, &epoch_end(asked));
        let p = &answer.topics[0].partitions[0];
        assert_eq!((p.leader_epoch, p.end_offset), found, "epoch {asked}");
    }
    for (timestamp, epoch) in [(-2, 0), (-1, 1)] {
        let answer = c.call(7, &list(0, timestamp));
        assert_eq!(answer.topics[0].partitions[0].leader_epoch, epoch);
    }
    let metadata = c.call(12, &metadata());
    assert_eq!(metadata.topics[0].partitions[0].leader_epoch, 1);
    assert_eq!(metadata.topics[0].partitions[1].leader_epoch, 0);
}

fn by_id(id: uuid::Uuid, partition: FetchPartition) -> FetchRequest {
    let mut request = fetch("t", vec![partition]);
    request.topics[0].topic_id = id;
    request
}

fn epoch_end(epoch: i32) -> OffsetForLeaderEpochRequest {
    let partition = OffsetForLeaderPartition::default()
        .with_partition(0)
        .with_current_leader_epoch(-1)
        .with_leader_epoch(epoch);
    let topic = OffsetForLeaderTopic::default()
        .with_topic(text("t").into())
        .with_partitions(vec![partition]);
    OffsetForLeaderEpochRequest::default()
        .with_replica_id((-2).into())
        .with_topics(vec![topic])
}

fn metadata() -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(text("t").into()));
    MetadataRequest::default().with_topics(Some(vec![topic]))
}

/// What `R` is answered when it is refused.
fn refused<R>(running: &Running, c: &mut Client, version: i16, request: &R) -> R::Response
where
    R: Request<Response: PartialEq + std::fmt::Debug>,
{
    let api = ApiKey::try_from(R::KEY).unwrap();
    let code = ResponseError::CoordinatorLoadInProgress;
    let fault = Fault::new(api, What::Refuse(code));
    let hook = running.faults.set(fault).unwrap();
    let before = c.call(version, request);
    assert_eq!(hook.fired(), 1, "{api:?}");
    let fault = Fault::new(api, What::FailAfter(code));
    running.faults.set(fault).unwrap();
    let after = c.call(version, request);
    assert_eq!(before, after, "{api:?}");
    before
}

#[test]
fn other_apis_have_the_error_where_kafka_has_it() {
    let (running, mut c) = Running::start();
    let (r, c) = (&running, &mut c);
    macro_rules! at_the_top {
        ($($version:literal $request:ident),*) => {
            $(assert_eq!(refused(r, c, $version, &$request::default()).error_code, 14);)*
        };
    }
    at_the_top!(4 HeartbeatRequest, 5 SyncGroupRequest, 5 LeaveGroupRequest, 5 ListGroupsRequest);
    at_the_top!(7 JoinGroupRequest, 4 EndTxnRequest, 4 InitProducerIdRequest, 3 FindCoordinatorRequest);
    at_the_top!(7 OffsetFetchRequest);
    let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    assert_eq!(refused(r, c, 4, &find).coordinators[0].error_code, 14);
    let group = OffsetFetchRequestGroup::default().with_group_id(text("g").into());
    let group = OffsetFetchRequest::default().with_groups(vec![group]);
    assert_eq!(refused(r, c, 8, &group).groups[0].error_code, 14);
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(5);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(text("t").into())
        .with_partitions(vec![partition]);
    let commit = OffsetCommitRequest::default()
        .with_group_id(text("g").into())
        .with_topics(vec![topic]);
    assert_eq!(
        refused(r, c, 8, &commit).topics[0].partitions[0].error_code,
        14
    );
    assert_eq!(
        refused(r, c, 7, &list(0, -1)).topics[0].partitions[0].error_code,
        14
    );
    assert_eq!(
        refused(r, c, 4, &epoch_end(0)).topics[0].partitions[0].error_code,
        14
    );
    let topic = TopicRequest::default()
        .with_name(text("t").into())
        .with_partition_indexes(vec![1]);
    let producers = DescribeProducersRequest::default().with_topics(vec![topic]);
    assert_eq!(
        refused(r, c, 0, &producers).topics[0].partitions[0].error_code,
        14
    );
    let all = MetadataRequest::default().with_topics(None);
    for request in [metadata(), all] {
        let answer = refused(r, c, 12, &request);
        assert_eq!((answer.topics[0].error_code, answer.brokers.len()), (14, 1));
    }
    let topic = CreatableTopic::default()
        .with_name(text("new").into())
        .with_num_partitions(1)
        .with_replication_factor(1);
    let create = CreateTopicsRequest::default().with_topics(vec![topic]);
    assert_eq!(refused(r, c, 7, &create).topics[0].error_code, 14);
    let created = c.call(7, &create).topics[0].error_code;
    assert_eq!(
        created, 36,
        "the work of the one that failed after it was done"
    );
    let none = Fault::new(ApiKey::DeleteGroups, What::Refuse(REFUSED));
    assert!(matches!(
        running.faults.set(none),
        Err(FaultError::NoErrors(_))
    ));
    // It is enough to name the partition, and names in other requests do not count.
    let fault = Fault::new(ApiKey::ListOffsets, What::Refuse(REFUSED)).partition("t", 1);
    running.faults.set(fault).unwrap();
    assert_eq!((end(c, 0), end(c, 1), end(c, 1)), (0, -1, 0));
}

#[test]
fn a_reader_that_tells_its_rack_is_sent_to_another_replica() {
    let (running, mut c) = Running::start();
    produce(&mut c, 0, 0);
    running.faults.advertise(7);
    let metadata = c.call(12, &MetadataRequest::default());
    let brokers = metadata.brokers.iter();
    let brokers: Vec<_> = brokers.map(|one| (one.node_id.0, one.port)).collect();
    let port = i32::from(running.broker.address().port());
    assert_eq!(brokers, [(1, port), (7, port)]);

    let elsewhere = Fault::new(ApiKey::Fetch, What::Prefer(7)).partition("t", 0);
    running.faults.set(elsewhere.times(2)).unwrap();
    let both = fetch("t", vec![from(0, 0, 1 << 20), from(1, 0, 1 << 20)]);
    let found = |answer: FetchResponse| {
        let replica = answer.responses[0].partitions[0].preferred_read_replica.0;
        (replica, fetched(&answer))
    };
    let whole = vec![(0, 0, vec![0]), (1, 0, vec![])];
    // Without a rack it is no matter.
    assert_eq!(found(c.call(12, &both)), (-1, whole.clone()));
    let racked = both.clone().with_rack_id(text("a")).with_max_wait_ms(1000);
    let nothing = vec![(0, 0, vec![]), (1, 0, vec![])];
    assert_eq!(found(c.call(12, &racked)), (7, nothing));
    assert_eq!(found(c.call(12, &racked)), (-1, whole));
}
