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

fn joins(c: &mut Client, t: &mut Transcript, what: &str, request: &JoinGroupRequest) -> String {
    joined(t, what, &c.call(JOIN, request))
}

fn syncs(c: &mut Client, t: &mut Transcript, what: &str, request: &SyncGroupRequest) {
    synced(t, what, &c.call(SYNC, request));
}

/// Waits until the group asks its members to join again.
fn until_rebalance(c: &mut Client, group: &str, member: &str, generation: i32) {
    super::until_accepted(|| match heartbeat(c, group, member, None, generation) {
        0 => 1,
        _ => 0,
    });
}

pub(crate) fn two_members(address: SocketAddr, t: &mut Transcript) {
    t.title("two members");
    let g = "two";
    let (mut a, mut b) = (Client::connect(address), Client::connect(address));
    let first = enter(&mut a, t, g);
    joined(t, "first", &a.receive::<JoinGroupRequest>(JOIN));
    syncs(&mut a, t, "sync", &sync(g, &first, 1, &[(&first, "one")]));
    let second = enter(&mut b, t, g);
    until_rebalance(&mut a, g, &first, 1);
    let beat = heartbeat(&mut a, g, &first, None, 1);
    t.note(format!("heartbeat: {beat}"));
    syncs(&mut a, t, "sync while preparing", &sync(g, &first, 1, &[]));
    let again = join(g, &first, None, &["range", "sticky"]);
    joins(&mut a, t, "first again", &again);
    joined(t, "second", &b.receive::<JoinGroupRequest>(JOIN));
    let beat = heartbeat(&mut b, g, &second, None, 2);
    t.note(format!("heartbeat before sync: {beat}"));
    b.send(SYNC, &sync(g, &second, 2, &[]));
    let all = [(&*first, "uno"), (&*second, "due"), ("stranger", "tre")];
    let all = sync(g, &first, 2, &all);
    let untyped = all.clone().with_protocol_type(None);
    syncs(&mut a, t, "sync of no type", &untyped);
    let unnamed = all.clone().with_protocol_name(None);
    syncs(&mut a, t, "sync of no protocol", &unnamed);
    let inconsistent = all.clone().with_protocol_name(Some(text("sticky")));
    syncs(&mut a, t, "sync of another protocol", &inconsistent);
    syncs(&mut a, t, "sync first", &all);
    synced(t, "sync second", &b.receive::<SyncGroupRequest>(SYNC));
    let more = sync(g, &second, 2, &[]);
    syncs(&mut b, t, "sync once more", &more);
    let old = sync(g, &second, 1, &[]);
    syncs(&mut b, t, "sync of an old generation", &old);
    let follower = join(g, &second, None, &["range"]);
    joins(&mut b, t, "follower rejoins", &follower);
    b.send(JOIN, &join(g, &second, None, &["range", "sticky"]));
    let leader = join(g, &first, None, &["sticky", "range"]);
    joins(&mut a, t, "leader rejoins", &leader);
    let follower = b.receive::<JoinGroupRequest>(JOIN);
    joined(t, "follower with more protocols", &follower);
    let all = [(&*first, None), (&*second, None), ("stranger", None)];
    leave(&mut a, t, "both leave", g, &all);
}

pub(crate) fn refusals(address: SocketAddr, t: &mut Transcript) {
    t.title("refusals");
    let mut a = Client::connect(address);
    let group = "refusals";
    let plain = |member: &str| join(group, member, None, &["range"]);
    let timeout = |ms: i32| plain("").with_session_timeout_ms(ms);
    for (what, request) in [
        ("no group id", join("", "", None, &["range"])),
        ("short session", timeout(5_999)),
        ("long session", timeout(1_800_001)),
        ("unknown member of no group", plain("stranger")),
        ("no protocols", join(group, "", None, &[])),
        ("no protocol type", plain("").with_protocol_type(text(""))),
    ] {
        joins(&mut a, t, what, &request);
    }
    for version in [0, 1, 4, 5, 6, 7, 8] {
        let mut request = plain("stranger");
        if version == 0 {
            request.rebalance_timeout_ms = -1;
        }
        joined(t, &format!("version {version}"), &a.call(version, &request));
    }
    let member = enter(&mut a, t, group);
    joined(t, "member", &a.receive::<JoinGroupRequest>(JOIN));
    let other_type = plain("").with_protocol_type(text("connect"));
    let unknown_name = join(group, &member, Some("x"), &["range"]);
    for (what, request) in [
        ("other protocol", join(group, "", None, &["sticky"])),
        ("other type", other_type),
        ("unknown member", plain("stranger")),
        ("unknown static member", unknown_name),
        ("joined already", plain(&member)),
    ] {
        joins(&mut a, t, what, &request);
    }
    strangers(&mut a, t, group, &member);
    let old = sync(group, &member, 1, &[(&member, "mine")]);
    synced(t, "sync version 0", &a.call(0, &old));
    leave(&mut a, t, "leave", group, &[(&member, None)]);
}

fn strangers(a: &mut Client, t: &mut Transcript, group: &str, member: &str) {
    for (what, group, member, generation) in [
        ("no group id", "", member, 1),
        ("unknown group", "nowhere", member, 1),
        ("unknown member", group, "stranger", 1),
        ("old generation", group, member, 0),
        ("before sync", group, member, 1),
    ] {
        let beat = heartbeat(a, group, member, None, generation);
        t.note(format!("heartbeat, {what}: {beat}"));
        if what != "before sync" {
            let request = sync(group, member, generation, &[]);
            syncs(a, t, &format!("sync, {what}"), &request);
        }
    }
}

pub(crate) fn static_members(address: SocketAddr, t: &mut Transcript) {
    t.title("static members");
    let g = "static";
    let (mut a, mut b) = (Client::connect(address), Client::connect(address));
    let named = |name: &str, member: &str| join(g, member, Some(name), &["range"]);
    let x = joins(&mut a, t, "x", &named("x", ""));
    b.send(JOIN, &named("y", ""));
    until_rebalance(&mut a, g, &x, 1);
    joins(&mut a, t, "x again", &named("x", &x));
    let y = joined(t, "y", &b.receive::<JoinGroupRequest>(JOIN));
    b.send(SYNC, &sync(g, &y, 2, &[]));
    let both = sync(g, &x, 2, &[(&x, "of x"), (&y, "of y")]);
    syncs(&mut a, t, "sync x", &both);
    synced(t, "sync y", &b.receive::<SyncGroupRequest>(SYNC));
    let y2 = joins(&mut b, t, "y restarts", &named("y", ""));
    syncs(&mut b, t, "sync y", &sync(g, &y2, 2, &[]));
    for (what, name) in [
        ("old y by name", Some("y")),
        ("old y by id", None),
        ("unknown name", Some("z")),
    ] {
        let beat = heartbeat(&mut a, g, &y, name, 2);
        t.note(format!("{what}: {beat}"));
    }
    joins(&mut a, t, "old y joins", &named("y", &y));
    let x2 = joins(&mut a, t, "leader x restarts", &named("x", ""));
    let x3 = a.call(8, &named("x", ""));
    let x3 = joined(t, "x restarts, version 8", &x3);
    let x4 = a.call(5, &named("x", ""));
    let x4 = joined(t, "x restarts, version 5", &x4);
    let beats = (
        heartbeat(&mut a, g, &x2, Some("x"), 2),
        heartbeat(&mut a, g, &x3, None, 2),
    );
    t.note(format!("x2 {} x3 {}", beats.0, beats.1));
    syncs(&mut a, t, "sync x", &sync(g, &x4, 2, &[]));
    let more = join(g, "", Some("y"), &["sticky", "range"]);
    joins(&mut b, t, "y with more protocols", &more);
    let fenced = [(&*y, Some("y")), ("", Some("z"))];
    leave(&mut a, t, "fenced leaves", g, &fenced);
    let by_name = [("", Some("y")), ("", Some("x"))];
    leave(&mut a, t, "by name", g, &by_name);
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
