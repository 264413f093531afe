use std::path::Path;

use bytes::Bytes;
use host::{
    Files,
    sim::{SeededRandom, SimClock, SimFiles},
};
use kafka_protocol::{
    messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
    protocol::StrBytes,
};

use super::*;
use crate::{log::Slice, state::folders::Folder};

/// Sessions on a clock that stands still.
struct Machine {
    sessions: FetchSessions,
    clock: SimClock,
    host: Host,
}

impl Machine {
    fn new(slots: usize) -> Self {
        let clock = SimClock::new(0);
        let host = Host {
            clock: Arc::new(clock.clone()),
            random: Arc::new(SeededRandom::new(0)),
            ..Host::real()
        };
        let sessions = FetchSessions {
            slots,
            ..FetchSessions::default()
        };
        Self {
            sessions,
            clock,
            host,
        }
    }

    fn begin(&self, request: &FetchRequest) -> Result<Begun, ResponseError> {
        let now = self.host.clock.monotonic();
        self.sessions.begin(request, false, |_| None, now)
    }

    /// Session id and the partitions that are told of; each has `data`.
    fn finish(&self, begun: Begun, each: &PartitionData) -> (i32, Result<Vec<i32>, ResponseError>) {
        let data = begun.asked.iter().map(|one| (one.key.clone(), told(each)));
        let mut data = data.collect();
        let (id, finished) = self.sessions.finish(begun, &mut data, &self.host);
        let told = data.iter().map(|(key, _)| key.partition).collect();
        (id, finished.map(|()| told))
    }

    fn ask(&self, request: &FetchRequest, each: &PartitionData) -> (i32, Vec<i32>) {
        let (id, told) = self.finish(self.begin(request).unwrap(), each);
        (id, told.unwrap())
    }

    fn create(&self, partitions: std::ops::Range<i32>) -> i32 {
        self.ask(&request(0, 0, partitions), &idle(0)).0
    }
}

fn request(id: i32, epoch: i32, partitions: std::ops::Range<i32>) -> FetchRequest {
    let partitions = partitions.map(|number| FetchPartition::default().with_partition(number));
    let topic = FetchTopic::default()
        .with_topic(StrBytes::from_static_str("t").into())
        .with_partitions(partitions.collect());
    FetchRequest::default()
        .with_session_id(id)
        .with_session_epoch(epoch)
        .with_topics(vec![topic])
}

fn idle(end: i64) -> PartitionData {
    PartitionData::default()
        .with_high_watermark(end)
        .with_log_start_offset(0)
}

/// Records of an answer as the broker has them: in a file.
fn told(data: &PartitionData) -> Told {
    let records = data.records.as_ref().filter(|records| !records.is_empty());
    let records = records.map(|records| {
        let files = SimFiles::default();
        files.create_dir_all(Path::new("/")).unwrap();
        let slice = Slice {
            file: files.open(Path::new("/log")).unwrap(),
            position: 0,
            len: records.len() as u64,
            next: 1,
        };
        let home = Arc::new(Folder::new(Path::new("/")));
        Records { slice, home }
    });
    let data = data.clone();
    Told { data, records }
}

fn forget(request: FetchRequest, partitions: &[i32]) -> FetchRequest {
    let topic = ForgottenTopic::default()
        .with_topic(StrBytes::from_static_str("t").into())
        .with_partitions(partitions.to_vec());
    request.with_forgotten_topics_data(vec![topic])
}

#[test]
fn only_news_is_told() {
    let machine = Machine::new(10);
    let (id, told) = machine.ask(&request(0, 0, 0..3), &idle(5));
    assert_eq!(told, [0, 1, 2], "all at first");
    let mut epoch = 0;
    let mut next = |data: &PartitionData| {
        epoch += 1;
        machine.ask(&request(id, epoch, 0..0), data).1
    };
    assert_eq!(next(&idle(5)), [0; 0]);
    assert_eq!(next(&idle(6)), [0, 1, 2], "the end moved");
    assert_eq!(next(&idle(6)), [0; 0]);
    assert_eq!(next(&idle(6).with_log_start_offset(1)), [0, 1, 2]);
    assert_eq!(next(&idle(6).with_log_start_offset(1)), [0; 0]);
    let records = idle(6).with_records(Some(Bytes::from_static(b"x")));
    assert_eq!(next(&records.with_log_start_offset(1)), [0, 1, 2]);
    assert_eq!(next(&idle(6).with_log_start_offset(1)), [0; 0]);
    let failed = idle(6).with_log_start_offset(1).with_error_code(3);
    assert_eq!(next(&failed), [0, 1, 2]);
    assert_eq!(next(&failed), [0, 1, 2], "again and again");
    assert_eq!(
        next(&idle(6).with_log_start_offset(1)),
        [0, 1, 2],
        "it is over"
    );
    assert_eq!(next(&idle(6).with_log_start_offset(1)), [0; 0]);
}

#[test]
fn partitions_with_records_go_to_the_end_of_the_line() {
    let machine = Machine::new(10);
    let id = machine.create(0..3);
    let begun = machine.begin(&request(id, 1, 0..0)).unwrap();
    let records = idle(1).with_records(Some(Bytes::from_static(b"x")));
    let mut data: Vec<_> = begun
        .asked
        .iter()
        .map(|one| (one.key.clone(), told(&idle(0))))
        .collect();
    data[0].1 = told(&records);
    let (_, finished) = machine.sessions.finish(begun, &mut data, &machine.host);
    assert_eq!(finished, Ok(()));
    let order =
        |begun: &Begun| -> Vec<i32> { begun.asked.iter().map(|one| one.key.partition).collect() };
    assert_eq!(
        order(&machine.begin(&request(id, 2, 0..0)).unwrap()),
        [1, 2, 0]
    );
    let more = forget(request(id, 3, 2..5), &[1, 3, 9]);
    assert_eq!(order(&machine.begin(&more).unwrap()), [2, 0, 4]);
}

#[test]
fn epochs_follow_one_another_and_wrap_to_one() {
    let machine = Machine::new(10);
    let id = machine.create(0..1);
    let error = |epoch, by_id| {
        let request = request(id, epoch, 0..0);
        let now = Duration::ZERO;
        machine
            .sessions
            .begin(&request, by_id, |_| None, now)
            .map(drop)
    };
    assert_eq!(
        error(2, false),
        Err(ResponseError::InvalidFetchSessionEpoch)
    );
    assert_eq!(
        error(-2, false),
        Err(ResponseError::InvalidFetchSessionEpoch)
    );
    assert_eq!(error(1, true), Err(ResponseError::FetchSessionTopicIdError));
    assert_eq!(error(1, false), Ok(()));
    assert_eq!(
        error(1, false),
        Err(ResponseError::InvalidFetchSessionEpoch),
        "a repeat"
    );
    lock(&machine.sessions.sessions()[&id]).epoch = i32::MAX;
    assert_eq!(error(i32::MAX, false), Ok(()));
    let first = machine.begin(&request(id, 1, 0..0)).unwrap();
    let second = machine.begin(&request(id, 2, 0..0)).unwrap();
    let overtaken = machine.finish(first, &idle(9));
    assert_eq!(
        overtaken,
        (id, Err(ResponseError::InvalidFetchSessionEpoch))
    );
    assert_eq!(machine.finish(second, &idle(9)), (id, Ok(vec![0])));
}

#[test]
fn a_session_ends_by_its_id_and_without_partitions() {
    let machine = Machine::new(10);
    let ended = |id| {
        let error = machine.begin(&request(id, 1, 0..0)).map(drop);
        error == Err(ResponseError::FetchSessionIdNotFound)
    };
    let id = machine.create(0..1);
    assert_eq!(machine.ask(&request(id, -1, 0..1), &idle(0)), (0, vec![0]));
    assert!(ended(id));
    let id = machine.create(0..1);
    let (other, _) = machine.ask(&request(id, 0, 0..1), &idle(0));
    assert!(ended(id) && other != 0 && other != id);
    let empty = forget(request(other, 1, 0..0), &[0]);
    assert_eq!(machine.ask(&empty, &idle(0)), (0, vec![]));
    assert!(ended(other) && ended(0));
}

#[test]
fn slots_are_few_and_go_to_the_busy_and_the_large() {
    let machine = Machine::new(2);
    let (small, large) = (machine.create(0..2), machine.create(0..5));
    assert_eq!(machine.create(0..9), 0, "both are young");
    machine.clock.advance(IDLE + Duration::from_secs(1));
    for id in [small, large] {
        machine.ask(&request(id, 1, 0..0), &idle(0));
    }
    assert_eq!(machine.create(0..2), 0, "none is smaller or idle");
    let new = machine.create(0..3);
    assert!(new != 0 && machine.begin(&request(small, 2, 0..0)).is_err());
    machine.clock.advance(IDLE - Duration::from_secs(1));
    machine.ask(&request(new, 1, 0..0), &idle(0));
    machine.clock.advance(Duration::from_secs(2));
    let newer = machine.create(0..1);
    assert!(
        newer != 0 && machine.begin(&request(large, 2, 0..0)).is_err(),
        "idle"
    );
    assert_eq!(machine.sessions.sessions().len(), 2);
}
