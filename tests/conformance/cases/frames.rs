//! Frames that are no requests, or more than one.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateTopicsRequest, HeartbeatRequest, ListGroupsRequest,
    MetadataRequest, ProduceRequest, metadata_request::MetadataRequestTopic,
};

use super::api_versions::is_served;
use crate::talk::{Talk, relength, text};

/// A frame with this API, version, and bytes behind them.
fn frame(api: i16, version: i16, rest: &[u8]) -> BytesMut {
    let mut frame = BytesMut::from(&[0; 4][..]);
    frame.put_i16(api);
    frame.put_i16(version);
    frame.put_slice(rest);
    relength(&mut frame);
    frame
}

/// Correlation id 0, no client id.
const PLAIN: &[u8] = &[0, 0, 0, 0, 0xff, 0xff];

/// Lengths, APIs and versions that are not there.
pub fn headers(talk: &mut Talk) {
    let lengths: [(&str, [u8; 4]); 4] = [
        ("length 0", [0; 4]),
        ("length -1", [0xff; 4]),
        ("length 2^31-1", [0x7f, 0xff, 0xff, 0xff]),
        ("length -2^31", [0x80, 0, 0, 0]),
    ];
    for (what, length) in lengths {
        talk.send::<MetadataRequest>(what, 1, &[&length[..], &[0; 16]].concat());
    }
    for (what, rest) in [
        ("no client id", PLAIN),
        ("client id cut off", &[0, 0, 0, 0, 0, 5, b'a']),
        (
            "client id of length -2",
            &[0, 0, 0, 0, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff],
        ),
        ("no correlation id", &[]),
        ("half a correlation id", &[0, 0]),
        (
            "client id not UTF-8",
            &[0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
    ] {
        let body = if what == "no client id" {
            [rest, &[0xff; 4]].concat()
        } else {
            rest.to_vec()
        };
        talk.send::<ListGroupsRequest>(&format!("groups: {what}"), 0, &frame(16, 0, &body));
        talk.send_edited::<ApiVersionsRequest>(
            &format!("versions: {what}"),
            0,
            &frame(18, 0, &body),
            |answer| {
                answer.api_keys.clear();
            },
        );
    }
    for (api, version) in [
        (-1, 0),
        (999, 0),
        (i16::MAX, 0),
        (4, 0),
        (5, 0),
        (6, 0),
        (7, 0),
        (27, 0),
        (52, 0),
        (58, 0),
        (3, 99),
        (3, -1),
        (1, 3),
        (1, 19),
        (2, 0),
        (19, 1),
        (0, 2),
        (0, 1),
        (0, 0),
        (0, 14),
        (23, 1),
        (32, 0),
        (35, 0),
        (22, 6),
        (8, 1),
        (9, 0),
        (20, 0),
    ] {
        talk.send::<MetadataRequest>(
            &format!("API {api} in version {version}"),
            1,
            &frame(api, version, PLAIN),
        );
    }
    for version in [5, 99, i16::MAX, -1, i16::MIN] {
        let request = frame(18, version, &[PLAIN, &[0]].concat());
        let reaction = format!("version {version}");
        talk.send::<ApiVersionsRequest>(&reaction, 0, &request);
    }
}

/// Each API in each version with bodies that nobody sends: what is closed there is closed here.
pub fn garbage(talk: &mut Talk) {
    let ask = ApiVersionsRequest::default();
    let mut served = talk.quietly(2, &ask).api_keys;
    served.retain(|api| is_served(api.api_key));
    served.sort_by_key(|api| api.api_key);
    for api in served {
        for version in api.min_version..=api.max_version {
            let key = ApiKey::try_from(api.api_key).expect("an API that is known");
            // Tagged fields of the header, where it has some.
            let flexible = key.request_header_version(version) >= 2;
            let header = [PLAIN, if flexible { &[0] } else { &[] }].concat();
            for (what, body) in [
                ("no body", vec![]),
                ("zeros", vec![0; 60]),
                ("ones", vec![0xff; 60]),
                ("large lengths", vec![0x7f; 60]),
            ] {
                let frame = frame(api.api_key, version, &[&header[..], &body].concat());
                talk.poke(&format!("{key:?} {version} {what}"), &frame);
            }
        }
    }
}

/// Bodies that are cut off, announce too much, or are followed by more.
pub fn bodies(talk: &mut Talk) {
    let named = MetadataRequestTopic::default().with_name(Some(text("frames-nowhere").into()));
    let metadata = MetadataRequest::default()
        .with_topics(Some(vec![named]))
        .with_allow_auto_topic_creation(false);
    for version in [4, 9, 13] {
        let whole = talk.frame(version, &metadata);
        for end in 4..whole.len() {
            let mut cut = BytesMut::from(&whole[..end]);
            relength(&mut cut);
            talk.send::<MetadataRequest>(&format!("cut at {end}"), version, &cut);
        }
        let mut more = whole.clone();
        more.put_slice(b"garbage behind");
        relength(&mut more);
        talk.send_edited::<MetadataRequest>("garbage behind", version, &more, |answer| {
            answer.brokers.clear();
        });
    }
    let garbage = frame(3, 1, &[PLAIN, &[0x7f, 0xff, 0xff, 0xff]].concat());
    talk.send::<MetadataRequest>("2^31-1 topics", 1, &garbage);
    let garbage = frame(3, 1, &[PLAIN, &[0xff, 0xff, 0xff, 0xfe]].concat());
    talk.send_edited::<MetadataRequest>("-2 topics", 1, &garbage, |answer| {
        answer.brokers.clear();
        answer.topics.clear();
    });
    let null = frame(3, 1, &[PLAIN, &[0, 0, 0, 1, 0xff, 0xff]].concat());
    talk.send::<MetadataRequest>("a null name", 1, &null);
    let null = frame(12, 0, &[PLAIN, &[0xff, 0xff, 0, 0, 0, 1, 0, 0]].concat());
    talk.send::<HeartbeatRequest>("a null group", 0, &null);
    let null = frame(12, 4, &[PLAIN, &[0], &[0, 0, 0, 0, 1, 1, 0, 0]].concat());
    talk.send::<HeartbeatRequest>("a null group", 4, &null);
    let null = frame(
        19,
        2,
        &[PLAIN, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0]].concat(),
    );
    talk.send::<CreateTopicsRequest>("null topics", 2, &null);
    let null = frame(
        0,
        3,
        &[
            PLAIN,
            &[0xff, 0xff, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff],
        ]
        .concat(),
    );
    talk.send::<ProduceRequest>("null topics", 3, &null);
    let tags = frame(
        12,
        4,
        &[
            PLAIN,
            &[1, 99, 2, 7, 7],
            &[2, b'g', 0, 0, 0, 0, 1, 0, 1, 88, 1, 5],
        ]
        .concat(),
    );
    talk.send::<HeartbeatRequest>("tags that nobody knows", 4, &tags);
    let tags = frame(
        12,
        4,
        &[PLAIN, &[0], &[2, b'g', 0, 0, 0, 0, 1, 0, 1, 88, 100, 5]].concat(),
    );
    talk.send::<HeartbeatRequest>("a tag longer than the frame", 4, &tags);
    let tags = frame(
        12,
        4,
        &[
            PLAIN,
            &[0],
            &[2, b'g', 0, 0, 0, 0, 1, 0, 2, 88, 1, 5, 88, 1, 5],
        ]
        .concat(),
    );
    talk.send::<HeartbeatRequest>("a tag twice", 4, &tags);
}
