//! Classic groups: members, assignments, and what is shown of them.

use bytes::Bytes;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest,
    JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, ListGroupsResponse, SyncGroupRequest,
    join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
    sync_group_request::SyncGroupRequestAssignment,
};

use crate::talk::{Talk, text};

pub fn coordinators(talk: &mut Talk) {
    for version in 0..=6 {
        for kind in [0, 1, 2, 3, -1] {
            if version == 0 && kind != 0 {
                continue;
            }
            for key in ["groups-found", ""] {
                let request = match version {
                    ..=3 => FindCoordinatorRequest::default().with_key(text(key)),
                    _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![
                        text(key),
                        text("b"),
                        text(key),
                    ]),
                };
                talk.ask(
                    &format!("type {kind}, {key:?}"),
                    version,
                    &request.with_key_type(kind),
                );
            }
        }
        if version >= 4 {
            talk.ask("no keys", version, &FindCoordinatorRequest::default());
        }
    }
}

/// Version 0, no topics, no user data. Kafka's coordinator never completes a group of consumers whose metadata it cannot
/// read.
const SUBSCRIPTION: &[u8] = &[0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];

fn join(version: i16, group: &str, member: &str) -> JoinGroupRequest {
    let protocol = |name: &str| {
        JoinGroupRequestProtocol::default()
            .with_name(text(name))
            .with_metadata(Bytes::from_static(SUBSCRIPTION))
    };
    let request = JoinGroupRequest::default()
        .with_group_id(text(group).into())
        .with_session_timeout_ms(30_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol("range"), protocol("sticky")]);
    if version >= 1 {
        request.with_rebalance_timeout_ms(300)
    } else {
        request
    }
}

fn sync(version: i16, group: &str, generation: i32, member: &str) -> SyncGroupRequest {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(text(member))
        .with_assignment(Bytes::from_static(b"mine"));
    let request = SyncGroupRequest::default()
        .with_group_id(text(group).into())
        .with_generation_id(generation)
        .with_member_id(text(member))
        .with_assignments(vec![assignment]);
    match version {
        5 => request
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range"))),
        _ => request,
    }
}

/// A member that is in, and its generation.
fn member(talk: &mut Talk, version: i16, group: &str) -> (String, i32) {
    let mut joined = talk.ask("join", version, &join(version, group, ""));
    if joined.error_code == 79 {
        let id = joined.member_id.to_string();
        joined = talk.ask("join with the id", version, &join(version, group, &id));
    }
    (joined.member_id.to_string(), joined.generation_id)
}

pub fn joining(talk: &mut Talk) {
    for version in 0..=9 {
        let group = format!("groups-joining-{version}");
        let (id, _) = member(talk, version, &group);
        let mut ask = |what: &str, request: JoinGroupRequest| {
            talk.ask(what, version, &request);
        };
        ask("no group", join(version, "", ""));
        ask("unknown member", join(version, &group, "stranger"));
        ask(
            "unknown member of an unknown group",
            join(version, "groups-nowhere", "stranger"),
        );
        for timeout in [0, -1, 5_999, 1_800_001, i32::MAX] {
            ask(
                &format!("session timeout {timeout}"),
                join(version, &group, &id).with_session_timeout_ms(timeout),
            );
        }
        ask(
            "another type",
            join(version, &group, &id).with_protocol_type(text("connect")),
        );
        ask(
            "no type",
            join(version, &group, &id).with_protocol_type(text("")),
        );
        ask(
            "no protocols",
            join(version, &group, &id).with_protocols(vec![]),
        );
        ask(
            "no protocols, new group",
            join(version, "groups-nowhere", "").with_protocols(vec![]),
        );
        ask(
            "no type, new group",
            join(version, "groups-nowhere", "").with_protocol_type(text("")),
        );
        ask("again", join(version, &group, &id));
        if version >= 5 {
            let named = |name: &str, member: &str| {
                join(version, &format!("{group}-static"), member)
                    .with_group_instance_id(Some(text(name)))
            };
            let first = talk.ask("static", version, &named("one", ""));
            let member_id = first.member_id.to_string();
            talk.ask("static, other id", version, &named("one", "stranger"));
            talk.ask("static, its id", version, &named("one", &member_id));
            let elsewhere = |name: &str| {
                named(name, "").with_group_id(text(&format!("{group}-{}", name.len())).into())
            };
            talk.ask("static, no name", version, &elsewhere(""));
            talk.ask("static, bad name", version, &elsewhere("a/b"));
            talk.ask("unknown static with id", version, &named("two", "stranger"));
        }
    }
}

pub fn living(talk: &mut Talk) {
    for version in 0..=5 {
        let group = format!("groups-living-{version}");
        let (id, generation) = member(talk, 4, &group);
        let mut ask = |what: &str, request: SyncGroupRequest| {
            talk.ask(what, version, &request);
        };
        ask("no group", sync(version, "", generation, &id));
        ask(
            "unknown group",
            sync(version, "groups-nowhere", generation, &id),
        );
        ask(
            "unknown member",
            sync(version, &group, generation, "stranger"),
        );
        ask("no member", sync(version, &group, generation, ""));
        for other in [generation + 1, generation - 1, -1] {
            ask(
                &format!("generation {other}"),
                sync(version, &group, other, &id),
            );
        }
        if version == 5 {
            ask(
                "another type",
                sync(version, &group, generation, &id).with_protocol_type(Some(text("connect"))),
            );
            ask(
                "another protocol",
                sync(version, &group, generation, &id).with_protocol_name(Some(text("sticky"))),
            );
            ask(
                "no type",
                sync(version, &group, generation, &id).with_protocol_type(None),
            );
            ask(
                "no protocol",
                sync(version, &group, generation, &id).with_protocol_name(None),
            );
        }
        ask("sound", sync(version, &group, generation, &id));
        ask("again", sync(version, &group, generation, &id));
        for beat in 0..=4 {
            let beats = |group: &str, generation, member: &str| {
                HeartbeatRequest::default()
                    .with_group_id(text(group).into())
                    .with_generation_id(generation)
                    .with_member_id(text(member))
            };
            talk.ask("sound", beat, &beats(&group, generation, &id));
            talk.ask("no group", beat, &beats("", generation, &id));
            talk.ask(
                "unknown group",
                beat,
                &beats("groups-nowhere", generation, &id),
            );
            talk.ask(
                "unknown member",
                beat,
                &beats(&group, generation, "stranger"),
            );
            talk.ask("no member", beat, &beats(&group, generation, ""));
            talk.ask("old generation", beat, &beats(&group, generation - 1, &id));
            talk.ask("next generation", beat, &beats(&group, generation + 1, &id));
            if beat >= 3 {
                let named =
                    beats(&group, generation, &id).with_group_instance_id(Some(text("one")));
                talk.ask("unknown name", beat, &named);
            }
        }
        described(talk, &group);
        leaving(talk, version, &group, &id);
    }
}

fn leaving(talk: &mut Talk, version: i16, group: &str, id: &str) {
    let leave = |group: &str, ids: &[&str]| {
        let request = LeaveGroupRequest::default().with_group_id(text(group).into());
        match version {
            ..=2 => request.with_member_id(text(ids.first().unwrap_or(&""))),
            _ => request.with_members(
                ids.iter()
                    .map(|id| MemberIdentity::default().with_member_id(text(id)))
                    .collect(),
            ),
        }
    };
    talk.ask("no group", version, &leave("", &[id]));
    talk.ask("unknown group", version, &leave("groups-nowhere", &[id]));
    talk.ask("unknown member", version, &leave(group, &["stranger"]));
    talk.ask("nobody", version, &leave(group, &[]));
    if version >= 3 {
        let named = |name: &str, member: &str| {
            MemberIdentity::default()
                .with_member_id(text(member))
                .with_group_instance_id(Some(text(name)))
        };
        let mut request = leave(group, &[]);
        request.members = vec![named("one", ""), named("one", id), named("", "")];
        talk.ask("unknown names", version, &request);
    }
    talk.ask("sound, and again", version, &leave(group, &[id, id]));
    talk.ask("again", version, &leave(group, &[id]));
}

fn described(talk: &mut Talk, group: &str) {
    for version in 0..=6 {
        let ask = |groups: &[&str]| {
            DescribeGroupsRequest::default()
                .with_groups(groups.iter().map(|group| text(group).into()).collect())
        };
        talk.ask("one", version, &ask(&[group]));
        talk.ask("unknown and empty", version, &ask(&["groups-nowhere", ""]));
        talk.ask("twice", version, &ask(&[group, group]));
        talk.ask("none", version, &ask(&[]));
        if version >= 3 {
            let told = ask(&[group, "groups-nowhere"]).with_include_authorized_operations(true);
            talk.ask("operations", version, &told);
        }
    }
}

pub fn listing(talk: &mut Talk) {
    let (id, generation) = member(talk, 4, "groups-listing-stable");
    talk.quietly(3, &sync(3, "groups-listing-stable", generation, &id));
    member(talk, 4, "groups-listing-joining");
    let only_ours = |answer: &mut ListGroupsResponse| {
        answer
            .groups
            .retain(|group| group.group_id.starts_with("groups-listing"));
    };
    // Kafka lists what its log has committed, a moment later.
    super::until(|| {
        let mut answer = talk.quietly(4, &ListGroupsRequest::default());
        only_ours(&mut answer);
        let joining = "CompletingRebalance";
        answer.groups.len() == 2
            && answer
                .groups
                .iter()
                .any(|group| &*group.group_state == joining)
    });
    for version in 0..=5 {
        let request = ListGroupsRequest::default();
        talk.ask_edited("all", version, &request, only_ours);
        if version >= 4 {
            for states in [
                &["Stable"][..],
                &["stable", "Empty"],
                &["PreparingRebalance"],
                &["CompletingRebalance"],
                &["nonsense"],
                &[""],
            ] {
                let states_filter = states.iter().map(|state| text(state)).collect();
                let request = request.clone().with_states_filter(states_filter);
                talk.ask_edited(&format!("states {states:?}"), version, &request, only_ours);
            }
        }
        if version >= 5 {
            for types in [
                &["classic"][..],
                &["Classic", "consumer"],
                &["share"],
                &["nonsense"],
                &[""],
            ] {
                let types_filter = types.iter().map(|kind| text(kind)).collect();
                let request = request.clone().with_types_filter(types_filter);
                talk.ask_edited(&format!("types {types:?}"), version, &request, only_ours);
            }
        }
    }
    for version in 0..=2 {
        let ask = |groups: &[&str]| {
            DeleteGroupsRequest::default()
                .with_groups_names(groups.iter().map(|group| text(group).into()).collect())
        };
        talk.ask("not empty", version, &ask(&["groups-listing-stable"]));
        talk.ask(
            "unknown and no name",
            version,
            &ask(&["groups-nowhere", ""]),
        );
        talk.ask(
            "twice",
            version,
            &ask(&["groups-nowhere", "groups-nowhere"]),
        );
        talk.ask("none", version, &ask(&[]));
    }
}
