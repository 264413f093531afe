//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup with several members.

use std::net::SocketAddr;

use bytes::Bytes;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse, join_group_request::JoinGroupRequestProtocol,
    leave_group_request::MemberIdentity, sync_group_request::SyncGroupRequestAssignment,
};

use super::client::{Client, Transcript, text};

/// The newest version of each API.
pub(crate) const JOIN: i16 = 9;
pub(crate) const SYNC: i16 = 5;

/// A request of `member` that supports `protocols`, each with the topic `coordination`.
pub(crate) fn join(
    group: &str,
    member: &str,
    instance: Option<&str>,
    protocols: &[&str],
) -> JoinGroupRequest {
    let protocol = |name: &&str| {
        JoinGroupRequestProtocol::default()
            .with_name(text(name))
            .with_metadata(subscription())
    };
    JoinGroupRequest::default()
        .with_group_id(text(group).into())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(20_000)
        .with_member_id(text(member))
        .with_group_instance_id(instance.map(text))
        .with_protocol_type(text("consumer"))
        .with_protocols(protocols.iter().map(protocol).collect())
}

/// ConsumerProtocolSubscription version 0 of the topic `coordination`.
fn subscription() -> Bytes {
    let topic = super::TOPIC.as_bytes();
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, u8::try_from(topic.len()).unwrap()];
    bytes.extend_from_slice(topic);
    bytes.extend_from_slice(&[0, 0, 0, 0]);
    bytes.into()
}

pub(crate) fn joined(t: &mut Transcript, what: &str, answer: &JoinGroupResponse) -> String {
    let id = answer.member_id.to_string();
    let (member, leader) = (t.name('M', &id), t.name('M', &answer.leader));
    let mut members: Vec<String> = Vec::new();
    for peer in &answer.members {
        let name = t.name('M', &peer.member_id);
        let instance = peer.group_instance_id.as_deref().unwrap_or("-");
        members.push(format!("{name}/{instance}/{}", peer.metadata.len()));
    }
    members.sort();
    t.note(format!(
        "{what}: {} member {member} generation {} type {:?} protocol {:?} leader {leader} skip {} {members:?}",
        answer.error_code,
        answer.generation_id,
        answer.protocol_type.as_deref(),
        answer.protocol_name.as_deref(),
        answer.skip_assignment,
    ));
    id
}

pub(crate) fn sync(
    group: &str,
    member: &str,
    generation: i32,
    assign: &[(&str, &str)],
) -> SyncGroupRequest {
    let assignment = |(id, bytes): &(&str, &str)| {
        SyncGroupRequestAssignment::default()
            .with_member_id(text(id))
            .with_assignment(Bytes::from((*bytes).to_owned()))
    };
    SyncGroupRequest::default()
        .with_group_id(text(group).into())
        .with_generation_id(generation)
        .with_member_id(text(member))
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(assign.iter().map(assignment).collect())
}

pub(crate) fn synced(t: &mut Transcript, what: &str, answer: &SyncGroupResponse) {
    t.note(format!(
        "{what}: {} type {:?} protocol {:?} assignment {:?}",
        answer.error_code,
        answer.protocol_type.as_deref(),
        answer.protocol_name.as_deref(),
        answer.assignment,
    ));
}

pub(crate) fn heartbeat(
    client: &mut Client,
    group: &str,
    member: &str,
    instance: Option<&str>,
    generation: i32,
) -> i16 {
    let beat = HeartbeatRequest::default()
        .with_group_id(text(group).into())
        .with_member_id(text(member))
        .with_group_instance_id(instance.map(text))
        .with_generation_id(generation);
    client.call(4, &beat).error_code
}

pub(crate) fn leave(
    client: &mut Client,
    t: &mut Transcript,
    what: &str,
    group: &str,
    who: &[(&str, Option<&str>)],
) {
    let identity = |(member, instance): &(&str, Option<&str>)| {
        MemberIdentity::default()
            .with_member_id(text(member))
            .with_group_instance_id(instance.map(text))
    };
    let request = LeaveGroupRequest::default()
        .with_group_id(text(group).into())
        .with_members(who.iter().map(identity).collect());
    let answer = client.call(5, &request);
    let mut members = Vec::new();
    for m in &answer.members {
        let name = t.name('M', &m.member_id);
        members.push(format!(
            "{name}/{}: {}",
            m.group_instance_id.as_deref().unwrap_or("-"),
            m.error_code
        ));
    }
    t.note(format!("{what}: {} {members:?}", answer.error_code));
}

/// The member id dance up to a member that waits for its group.
pub(crate) fn enter(client: &mut Client, t: &mut Transcript, group: &str) -> String {
    let asked = client.call(JOIN, &join(group, "", None, &["range"]));
    let id = joined(t, "join without id", &asked);
    client.send(JOIN, &join(group, &id, None, &["range"]));
    id
}

pub(crate) fn two_members(address: SocketAddr, t: &mut Transcript) {
    t.title("two members");
    let group = "two";
    let (mut a, mut b) = (Client::connect(address), Client::connect(address));
    let first = enter(&mut a, t, group);
    joined(t, "first", &a.receive::<JoinGroupRequest>(JOIN));
    synced(
        t,
        "sync",
        &a.call(SYNC, &sync(group, &first, 1, &[(&first, "one")])),
    );
    let second = enter(&mut b, t, group);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while heartbeat(&mut a, group, &first, None, 1) == 0 && std::time::Instant::now() < deadline {}
    t.note(format!(
        "heartbeat: {}",
        heartbeat(&mut a, group, &first, None, 1)
    ));
    synced(
        t,
        "sync while preparing",
        &a.call(SYNC, &sync(group, &first, 1, &[])),
    );
    joined(
        t,
        "first again",
        &a.call(JOIN, &join(group, &first, None, &["range", "sticky"])),
    );
    joined(t, "second", &b.receive::<JoinGroupRequest>(JOIN));
    t.note(format!(
        "heartbeat before sync: {}",
        heartbeat(&mut b, group, &second, None, 2)
    ));
    b.send(SYNC, &sync(group, &second, 2, &[]));
    let all = [
        (first.as_str(), "uno"),
        (second.as_str(), "due"),
        ("stranger", "tre"),
    ];
    let untyped = sync(group, &first, 2, &all).with_protocol_type(None);
    synced(t, "sync of no type", &a.call(SYNC, &untyped));
    let unnamed = sync(group, &first, 2, &all).with_protocol_name(None);
    synced(t, "sync of no protocol", &a.call(SYNC, &unnamed));
    let inconsistent = sync(group, &first, 2, &all).with_protocol_name(Some(text("sticky")));
    synced(t, "sync of another protocol", &a.call(SYNC, &inconsistent));
    synced(
        t,
        "sync first",
        &a.call(SYNC, &sync(group, &first, 2, &all)),
    );
    synced(t, "sync second", &b.receive::<SyncGroupRequest>(SYNC));
    synced(
        t,
        "sync once more",
        &b.call(SYNC, &sync(group, &second, 2, &[])),
    );
    synced(
        t,
        "sync of an old generation",
        &b.call(SYNC, &sync(group, &second, 1, &[])),
    );
    joined(
        t,
        "follower rejoins",
        &b.call(JOIN, &join(group, &second, None, &["range"])),
    );
    b.send(JOIN, &join(group, &second, None, &["range", "sticky"]));
    let leader = a.call(JOIN, &join(group, &first, None, &["sticky", "range"]));
    joined(t, "leader rejoins", &leader);
    joined(
        t,
        "follower with more protocols",
        &b.receive::<JoinGroupRequest>(JOIN),
    );
    leave(
        &mut a,
        t,
        "both leave",
        group,
        &[(&first, None), (&second, None), ("stranger", None)],
    );
}

pub(crate) fn refusals(address: SocketAddr, t: &mut Transcript) {
    t.title("refusals");
    let mut a = Client::connect(address);
    let group = "refusals";
    for (what, request) in [
        ("no group id", join("", "", None, &["range"])),
        (
            "short session",
            join(group, "", None, &["range"]).with_session_timeout_ms(5_999),
        ),
        (
            "long session",
            join(group, "", None, &["range"]).with_session_timeout_ms(1_800_001),
        ),
        (
            "unknown member of no group",
            join(group, "stranger", None, &["range"]),
        ),
        ("no protocols", join(group, "", None, &[])),
        (
            "no protocol type",
            join(group, "", None, &["range"]).with_protocol_type(text("")),
        ),
    ] {
        joined(t, what, &a.call(JOIN, &request));
    }
    for version in [0, 1, 4, 5, 6, 7, 8] {
        let mut request = join(group, "stranger", None, &["range"]);
        if version == 0 {
            request.rebalance_timeout_ms = -1;
        }
        joined(t, &format!("version {version}"), &a.call(version, &request));
    }
    let member = enter(&mut a, t, group);
    joined(t, "member", &a.receive::<JoinGroupRequest>(JOIN));
    for (what, request) in [
        ("other protocol", join(group, "", None, &["sticky"])),
        (
            "other type",
            join(group, "", None, &["range"]).with_protocol_type(text("connect")),
        ),
        ("unknown member", join(group, "stranger", None, &["range"])),
        (
            "unknown static member",
            join(group, &member, Some("x"), &["range"]),
        ),
        ("joined already", join(group, &member, None, &["range"])),
    ] {
        joined(t, what, &a.call(JOIN, &request));
    }
    for (what, group, member, generation) in [
        ("no group id", "", member.as_str(), 1),
        ("unknown group", "nowhere", &member, 1),
        ("unknown member", group, "stranger", 1),
        ("old generation", group, &member, 0),
        ("before sync", group, &member, 1),
    ] {
        t.note(format!(
            "heartbeat, {what}: {}",
            heartbeat(&mut a, group, member, None, generation)
        ));
        if what != "before sync" {
            synced(
                t,
                &format!("sync, {what}"),
                &a.call(SYNC, &sync(group, member, generation, &[])),
            );
        }
    }
    let old = sync(group, &member, 1, &[(&member, "mine")]);
    synced(t, "sync version 0", &a.call(0, &old));
    leave(&mut a, t, "leave", group, &[(&member, None)]);
}

pub(crate) fn static_members(address: SocketAddr, t: &mut Transcript) {
    t.title("static members");
    let group = "static";
    let (mut a, mut b) = (Client::connect(address), Client::connect(address));
    let x = joined(
        t,
        "x",
        &a.call(JOIN, &join(group, "", Some("x"), &["range"])),
    );
    b.send(JOIN, &join(group, "", Some("y"), &["range"]));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while heartbeat(&mut a, group, &x, Some("x"), 1) == 0 && std::time::Instant::now() < deadline {}
    joined(
        t,
        "x again",
        &a.call(JOIN, &join(group, &x, Some("x"), &["range"])),
    );
    let y = joined(t, "y", &b.receive::<JoinGroupRequest>(JOIN));
    b.send(SYNC, &sync(group, &y, 2, &[]));
    synced(
        t,
        "sync x",
        &a.call(SYNC, &sync(group, &x, 2, &[(&x, "of x"), (&y, "of y")])),
    );
    synced(t, "sync y", &b.receive::<SyncGroupRequest>(SYNC));
    let y2 = joined(
        t,
        "y restarts",
        &b.call(JOIN, &join(group, "", Some("y"), &["range"])),
    );
    synced(t, "sync y", &b.call(SYNC, &sync(group, &y2, 2, &[])));
    t.note(format!(
        "old y by name: {}",
        heartbeat(&mut a, group, &y, Some("y"), 2)
    ));
    t.note(format!(
        "old y by id: {}",
        heartbeat(&mut a, group, &y, None, 2)
    ));
    t.note(format!(
        "unknown name: {}",
        heartbeat(&mut a, group, &y, Some("z"), 2)
    ));
    joined(
        t,
        "old y joins",
        &a.call(JOIN, &join(group, &y, Some("y"), &["range"])),
    );
    let x2 = joined(
        t,
        "leader x restarts",
        &a.call(JOIN, &join(group, "", Some("x"), &["range"])),
    );
    let x3 = joined(
        t,
        "x restarts, version 8",
        &a.call(8, &join(group, "", Some("x"), &["range"])),
    );
    let x4 = joined(
        t,
        "x restarts, version 5",
        &a.call(5, &join(group, "", Some("x"), &["range"])),
    );
    t.note(format!(
        "x2 {} x3 {}",
        heartbeat(&mut a, group, &x2, Some("x"), 2),
        heartbeat(&mut a, group, &x3, None, 2)
    ));
    synced(t, "sync x", &a.call(SYNC, &sync(group, &x4, 2, &[])));
    b.send(JOIN, &join(group, "", Some("y"), &["sticky", "range"]));
    joined(
        t,
        "y with more protocols",
        &b.receive::<JoinGroupRequest>(JOIN),
    );
    leave(
        &mut a,
        t,
        "fenced leaves",
        group,
        &[(&y, Some("y")), ("", Some("z"))],
    );
    leave(
        &mut a,
        t,
        "by name",
        group,
        &[("", Some("y")), ("", Some("x"))],
    );
}

pub(crate) fn leaving(address: SocketAddr, t: &mut Transcript) {
    t.title("leaving");
    let mut a = Client::connect(address);
    let group = "leaving";
    let asked = a.call(JOIN, &join(group, "", None, &["range"]));
    let pending = joined(t, "asked", &asked);
    leave(&mut a, t, "unknown group", "nowhere", &[("stranger", None)]);
    leave(&mut a, t, "no group id", "", &[("stranger", None)]);
    leave(&mut a, t, "pending", group, &[(&pending, None)]);
    joined(
        t,
        "join with the id that left",
        &a.call(JOIN, &join(group, &pending, None, &["range"])),
    );
    for version in [0, 1, 2] {
        let member = enter(&mut a, t, group);
        joined(t, "member", &a.receive::<JoinGroupRequest>(JOIN));
        for (what, member) in [("stranger", "stranger"), ("member", &member)] {
            let request = LeaveGroupRequest::default()
                .with_group_id(text(group).into())
                .with_member_id(text(member));
            let error = a.call(version, &request).error_code;
            t.note(format!("version {version}, {what}: {error}"));
        }
    }
}
