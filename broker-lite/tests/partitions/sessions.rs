//! Fetch sessions.

use std::{net::SocketAddr, time::Instant};

use kafka_protocol::messages::{
    FetchRequest, FetchResponse,
    fetch_request::{FetchPartition, ForgottenTopic},
};
use wire::{batch::batches, record::Codec};

use super::{
    batches::{T, batch, ends, fetch, from, note as note_produced, request},
    client::{Client, Transcript, text},
    offsets::delete,
    reading::filled,
    topic,
};

/// Session and epoch of a request.
pub(crate) type At = (i32, i32);

pub(crate) fn in_session(request: FetchRequest, (id, epoch): At) -> FetchRequest {
    request.with_session_id(id).with_session_epoch(epoch)
}

fn ask(topic: &str, at: At, partitions: &[FetchPartition]) -> FetchRequest {
    let mut request = fetch(topic, partitions.to_vec());
    if partitions.is_empty() {
        request.topics.clear();
    }
    in_session(request, at)
}

fn forget(request: FetchRequest, topic: &str, partitions: &[i32]) -> FetchRequest {
    let topic = ForgottenTopic::default()
        .with_topic(text(topic).into())
        .with_partitions(partitions.to_vec());
    request.with_forgotten_topics_data(vec![topic])
}

/// Notes an answer in the order that it has.
pub(crate) fn note(t: &mut Transcript, what: &str, answer: &FetchResponse) {
    let id = match answer.session_id {
        0 => "-1".to_owned(),
        id => id.to_string(),
    };
    let session = t.name('S', &id);
    t.note(format!(
        "{what}: error {} session {session}",
        answer.error_code
    ));
    for topic in &answer.responses {
        let name = match topic.topic_id {
            id if id.is_nil() => topic.topic.0.to_string(),
            id => t.name('T', &id.to_string()),
        };
        for p in &topic.partitions {
            let records = p.records.clone().unwrap_or_default();
            let bases = batches(records).map(|batch| batch.unwrap().header.base_offset);
            let bases: Vec<i64> = bases.collect();
            t.note(format!(
                " {name}-{}: error {} end {} start {} batches {bases:?}",
                p.partition_index, p.error_code, p.high_watermark, p.log_start_offset
            ));
        }
    }
}

/// Asks and notes; returns the session.
fn step(
    c: &mut Client,
    t: &mut Transcript,
    what: &str,
    version: i16,
    request: &FetchRequest,
) -> i32 {
    let answer = c.call(version, request);
    note(t, what, &answer);
    answer.session_id
}

pub(crate) fn requests(c: &mut Client, t: &mut Transcript) {
    t.title("sessions");
    filled(c, t, "sessions", 1);
    for at in [(0, -1), (0, 0), (0, 1), (7, 1), (7, -1), (7, 0), (7, -2)] {
        let answer = c.call(11, &ask("sessions", at, &[from(0, 6, 1 << 20)]));
        let (id, epoch) = at;
        t.note(format!(
            "session {id} epoch {epoch}: error {}",
            answer.error_code
        ));
        if let Some(first) = answer.responses.first() {
            t.note(format!(
                " {}",
                ends(first.partitions[0].error_code, &answer)
            ));
        }
    }
    let empty = c.call(11, &ask("sessions", (0, 0), &[]));
    note(t, "no partitions", &empty);
    let at = (empty.session_id, 1);
    step(c, t, "still none", 11, &ask("sessions", at, &[]));
    step(c, t, "it is closed", 11, &ask("sessions", at, &[]));
}

pub(crate) fn write_to(c: &mut Client, t: &mut Transcript, topic: &str, partition: i32) {
    let records = batch(Codec::None, &[T]);
    let answer = c.call(9, &request(topic, &[(partition, Some(records))]));
    note_produced(t, "write", &answer);
}

/// A session that goes on.
struct Session<'a> {
    c: &'a mut Client,
    t: &'a mut Transcript,
    topic: &'a str,
    at: At,
}

impl Session<'_> {
    /// The next request names these partitions.
    fn next(&mut self, what: &str, partitions: &[FetchPartition]) {
        let request = ask(self.topic, self.at(), partitions);
        step(self.c, self.t, what, 12, &request);
    }

    /// The next request forgets these partitions of a topic.
    fn forget(&mut self, what: &str, topic: &str, named: &[FetchPartition], partitions: &[i32]) {
        let request = ask(self.topic, self.at(), named);
        step(
            self.c,
            self.t,
            what,
            12,
            &forget(request, topic, partitions),
        );
    }

    fn at(&mut self) -> At {
        let at = self.at;
        self.at.1 += 1;
        at
    }
}

pub(crate) fn by_name(address: SocketAddr, t: &mut Transcript) {
    t.title("a session by topic names");
    let (topic, mut c) = ("by-name", Client::connect(address));
    let c = &mut c;
    filled(c, t, topic, 3);
    let all = [
        from(0, 0, 1 << 20),
        from(1, 0, 1 << 20),
        from(2, 0, 1 << 20),
    ];
    let id = step(c, t, "new", 12, &ask(topic, (0, 0), &all));
    let at = (id, 1);
    let mut s = Session { c, t, topic, at };
    s.next("the same", &[]);
    s.next("moved", &[from(0, 9, 1 << 20)]);
    s.next("idle", &[]);
    write_to(s.c, s.t, topic, 1);
    s.next("one more record", &[]);
    let request = ask(topic, s.at(), &[from(1, 1, 1 << 20)]);
    step(s.c, s.t, "read, version 7", 7, &request);
    delete(s.c, s.t, topic, 4);
    s.next("another start", &[]);
    s.next("idle", &[]);
    errors(&mut s);
    let waiting = ask(topic, s.at(), &[])
        .with_min_bytes(1)
        .with_max_wait_ms(400);
    let start = Instant::now();
    step(s.c, s.t, "waits", 12, &waiting);
    s.t.note(format!("waited {}", start.elapsed().as_millis() >= 300));
    let at = s.at();
    ending(address, t, topic, at);
}

fn errors(s: &mut Session<'_>) {
    s.next("out of range", &[from(2, 5, 1 << 20)]);
    s.next("still", &[]);
    s.next("in range", &[from(2, 0, 1 << 20)]);
    s.next("idle", &[]);
    s.next(
        "another leader",
        &[from(2, 0, 1).with_current_leader_epoch(1)],
    );
    s.next(
        "diverging",
        &[from(2, 3, 1)
            .with_current_leader_epoch(0)
            .with_last_fetched_epoch(0)],
    );
    s.next("still", &[]);
    s.next("a partition that is not there", &[from(7, 0, 1)]);
    let request = ask("nowhere", s.at(), &[from(0, 0, 1)]);
    step(s.c, s.t, "a topic that is not there", 12, &request);
    s.next("still", &[]);
    s.forget("forgotten", s.topic, &[], &[2, 7, 9]);
    s.forget("also forgotten", "nowhere", &[], &[0]);
    s.forget("named and forgotten", s.topic, &[from(2, 0, 1)], &[2]);
    s.next("named twice", &[from(2, 5, 1), from(2, 0, 1)]);
}

/// The session goes on as `at`.
fn ending(address: SocketAddr, t: &mut Transcript, name: &str, at: At) {
    let mut other = Client::connect(address);
    let (c, (id, epoch)) = (&mut other, at);
    step(c, t, "the last epoch", 12, &ask(name, (id, epoch - 1), &[]));
    step(c, t, "a later epoch", 12, &ask(name, (id, epoch + 1), &[]));
    step(
        c,
        t,
        "another session",
        12,
        &ask(name, (id ^ 1, epoch), &[]),
    );
    step(c, t, "by id all at once", 13, &ask(name, at, &[]));
    step(c, t, "another connection", 12, &ask(name, at, &[]));
    let request = forget(ask(name, (id, epoch + 1), &[]), name, &[0, 1, 2]);
    step(c, t, "all forgotten", 12, &request);
    step(c, t, "it is closed", 12, &ask(name, (id, epoch + 2), &[]));
    let one = [from(1, 0, 1 << 20)];
    let id = step(c, t, "new", 12, &ask(name, (0, 0), &one));
    step(c, t, "no more sessions", 12, &ask(name, (id, -1), &one));
    step(c, t, "it is closed", 12, &ask(name, (id, 1), &[]));
    let id = step(c, t, "new", 12, &ask(name, (0, 0), &one));
    let new = step(c, t, "again", 12, &ask(name, (id, 0), &one));
    step(c, t, "the first is closed", 12, &ask(name, (id, 1), &[]));
    step(c, t, "the second is not", 12, &ask(name, (new, 1), &[]));
}

pub(crate) fn turns(c: &mut Client, t: &mut Transcript) {
    t.title("whose turn it is");
    let (name, small) = ("turns", |request: FetchRequest| request.with_max_bytes(1));
    topic(c, name, 3, &[]);
    for partition in [0, 1, 2, 0, 1, 2] {
        write_to(c, t, name, partition);
    }
    let all = [
        from(9, 0, 1),
        from(0, 0, 999),
        from(1, 0, 999),
        from(2, 0, 999),
    ];
    let id = step(c, t, "new", 12, &small(ask(name, (0, 0), &all)));
    for epoch in 1..6 {
        step(c, t, "next", 12, &small(ask(name, (id, epoch), &[])));
    }
    step(c, t, "all", 12, &ask(name, (id, 6), &[]));
}
