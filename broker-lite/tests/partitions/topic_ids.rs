//! Topics by id: that are not there, and that were made anew.

use kafka_protocol::messages::{
    DeleteTopicsRequest, FetchRequest, MetadataRequest,
    delete_topics_request::DeleteTopicState,
    fetch_request::{FetchTopic, ForgottenTopic},
    metadata_request::MetadataRequestTopic,
};
use uuid::Uuid;
use wire::record::Codec;

use super::{
    batches::{T, batch, from, note as note_produced, request},
    client::{Client, Transcript, text},
    faults::Running,
    sessions::{At, in_session, note, write_to},
    topic, until_accepted,
};

const NOWHERE: Uuid = Uuid::from_u128(7);

fn ask(at: At, wanted: &[(Uuid, i32)]) -> FetchRequest {
    let topics = wanted.iter().map(|(id, partition)| {
        FetchTopic::default()
            .with_topic_id(*id)
            .with_partitions(vec![from(*partition, 0, 1 << 20)])
    });
    let request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_topics(topics.collect());
    in_session(request, at)
}

/// Deletes a topic, and waits until its id is not known any more.
fn remove(c: &mut Client, name: &str, id: Uuid) {
    let topic = DeleteTopicState::default().with_name(Some(text(name).into()));
    let request = DeleteTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(5000);
    assert_eq!(c.call(6, &request).responses[0].error_code, 0);
    let topic = MetadataRequestTopic::default()
        .with_topic_id(id)
        .with_name(None);
    let known = MetadataRequest::default().with_topics(Some(vec![topic]));
    until_accepted(|| match c.call(12, &known).topics[0].error_code {
        100 => 0,
        _ => -1,
    });
}

/// The id that a topic has now.
pub(crate) fn id(c: &mut Client, name: &str) -> Uuid {
    let topic = MetadataRequestTopic::default().with_name(Some(text(name).into()));
    let request = MetadataRequest::default().with_topics(Some(vec![topic]));
    c.call(12, &request).topics[0].topic_id
}

pub(crate) fn sessions(c: &mut Client, t: &mut Transcript) {
    t.title("a session by topic ids");
    let (first, second) = (topic(c, "id-1", 1, &[]), topic(c, "id-2", 2, &[]));
    write_to(c, t, "id-1", 0);
    write_to(c, t, "id-2", 1);
    let all = [
        (NOWHERE, 0),
        (first, 0),
        (second, 0),
        (second, 1),
        (second, 9),
    ];
    let new = c.call(13, &ask((0, 0), &all));
    note(t, "new", &new);
    let id = new.session_id;
    let mut epoch = 0;
    let mut next = |c: &mut Client, t: &mut Transcript, what: &str, wanted: &[(Uuid, i32)]| {
        epoch += 1;
        let answer = c.call(17, &ask((id, epoch), wanted));
        note(t, what, &answer);
    };
    next(c, t, "the same", &[]);
    let by_name = c.call(12, &ask((id, 2), &[]));
    note(t, "by name all at once", &by_name);
    remove(c, "id-1", first);
    next(c, t, "deleted", &[]);
    next(c, t, "deleted and named", &[(first, 0)]);
    note(
        t,
        "deleted, no session",
        &c.call(13, &ask((0, -1), &[(first, 0)])),
    );
    let anew = topic(c, "id-1", 1, &[]);
    next(c, t, "made anew", &[]);
    next(c, t, "made anew and named", &[(anew, 0)]);
    note(
        t,
        "no session",
        &c.call(13, &ask((0, -1), &[(first, 0), (anew, 0)])),
    );
    let topics = [(first, 0), (NOWHERE, 0)].map(|(id, partition)| {
        ForgottenTopic::default()
            .with_topic_id(id)
            .with_partitions(vec![partition])
    });
    let forgetting = ask((id, 6), &[]).with_forgotten_topics_data(topics.to_vec());
    note(t, "forgotten", &c.call(18, &forgetting));
}

pub(crate) fn producing(c: &mut Client, t: &mut Transcript) {
    t.title("producing by topic id");
    let first = topic(c, "produced", 1, &[]);
    let mut write = |c: &mut Client, what: &str, id: Uuid, partition: i32| {
        let mut request = request("", &[(partition, Some(batch(Codec::None, &[T])))]);
        request.topic_data[0].topic_id = id;
        let answer = c.call(13, &request);
        assert_eq!(answer.responses[0].topic_id, id);
        note_produced(t, what, &answer);
    };
    write(c, "there", first, 0);
    write(c, "a partition that is not there", first, 1);
    write(c, "an id that is not there", NOWHERE, 0);
    write(c, "no id", Uuid::nil(), 0);
    remove(c, "produced", first);
    write(c, "deleted", first, 0);
    let anew = topic(c, "produced", 1, &[]);
    write(c, "made anew", first, 0);
    write(c, "its new id", anew, 0);
}

/// Producers and readers by id go on after a broker was killed.
#[test]
fn ids_survive_a_kill() {
    let (running, mut c) = Running::start();
    let (before, partitions) = (id(&mut c, "t"), [(0, Some(batch(Codec::None, &[T])))]);
    let mut produce = request("", &partitions);
    produce.topic_data[0].topic_id = before;
    let (running, mut c) = running.restart();
    assert_eq!(id(&mut c, "t"), before);
    let answer = c.call(13, &produce);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    let (_running, mut c) = running.restart();
    let answer = c.call(13, &ask((0, -1), &[(before, 0)]));
    let p = &answer.responses[0].partitions[0];
    assert_eq!((p.error_code, p.high_watermark), (0, 1));
}
