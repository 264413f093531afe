//! ApiVersions: what is advertised, and what is answered to versions that are not there.

use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use crate::talk::{Talk, text};

/// What Kafka advertises and broker-lite does not: `broker-lite/SKIPPED.md` says why.
const LEFT_OUT: &[(i16, &str)] = &[
    (17, "SaslHandshake"),
    (27, "WriteTxnMarkers"),
    (34, "AlterReplicaLogDirs"),
    (36, "SaslAuthenticate"),
    (38, "CreateDelegationToken"),
    (39, "RenewDelegationToken"),
    (40, "ExpireDelegationToken"),
    (41, "DescribeDelegationToken"),
    (45, "AlterPartitionReassignments"),
    (49, "AlterClientQuotas"),
    (51, "AlterUserScramCredentials"),
    (55, "DescribeQuorum"),
    (57, "UpdateFeatures"),
    (64, "UnregisterBroker"),
    (68, "ConsumerGroupHeartbeat"),
    (69, "ConsumerGroupDescribe"),
    (76, "ShareGroupHeartbeat"),
    (77, "ShareGroupDescribe"),
    (78, "ShareFetch"),
    (79, "ShareAcknowledge"),
    (80, "AddRaftVoter"),
    (81, "RemoveRaftVoter"),
    (83, "InitializeShareGroupState"),
    (84, "ReadShareGroupState"),
    (85, "WriteShareGroupState"),
    (86, "DeleteShareGroupState"),
    (87, "ReadShareGroupStateSummary"),
    (90, "DescribeShareGroupOffsets"),
    (91, "AlterShareGroupOffsets"),
    (92, "DeleteShareGroupOffsets"),
];

fn request(version: i16) -> ApiVersionsRequest {
    let request = ApiVersionsRequest::default();
    match version {
        0..=2 => request,
        _ => request
            .with_client_software_name(text("conformance"))
            .with_client_software_version(text("1")),
    }
}

/// The ranges of what both serve; broker-lite serves nothing that Kafka does not.
pub fn ranges(talk: &mut Talk) {
    talk.ask_edited("all ranges", 4, &request(4), served);
}

pub fn versions(talk: &mut Talk) {
    for version in 0..=4 {
        talk.ask_edited("", version, &request(version), no_list);
    }
    // Names as KIP-511 allows them, and others.
    for name in ["", "-a", "a b", "a_b", "a.", "9"] {
        let request = request(3).with_client_software_name(text(name));
        talk.ask_edited(&format!("name {name:?}"), 3, &request, no_list);
        let request = request
            .with_client_software_name(text("n"))
            .with_client_software_version(text(name));
        talk.ask_edited(&format!("version {name:?}"), 3, &request, no_list);
    }
}

/// Whether broker-lite is meant to serve it.
pub fn is_served(key: i16) -> bool {
    LEFT_OUT.iter().all(|(left_out, _)| *left_out != key)
}

fn served(answer: &mut ApiVersionsResponse) {
    answer.api_keys.retain(|api| is_served(api.api_key));
    answer.api_keys.sort_by_key(|api| api.api_key);
    no_features(answer);
}

/// Its own range stands for the list.
fn no_list(answer: &mut ApiVersionsResponse) {
    answer.api_keys.retain(|api| api.api_key == 18);
    no_features(answer);
}

/// broker-lite finalizes none, so that clients take the protocol of transactions that it serves.
fn no_features(answer: &mut ApiVersionsResponse) {
    answer.supported_features.clear();
    answer.finalized_features.clear();
    answer.finalized_features_epoch = 0;
}
