//! One member of a group: who it is, what it supports, what it waits for.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// A protocol (for consumers: an assignor) that a member supports, and what it says under it.
/// The metadata is opaque: any protocol type may use groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Protocol {
    pub(crate) name: String,
    #[serde(with = "super::hex")]
    pub(crate) metadata: Bytes,
}

/// The answer to JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) error: Option<ResponseError>,
    pub(crate) member_id: String,
    /// -1 beside an error.
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    /// The leader need not assign: it took over a static member's place (KIP-814).
    pub(crate) skip_assignment: bool,
    /// All members, for the leader only.
    pub(crate) members: Vec<Peer>,
}

impl Joined {
    pub(crate) fn error(error: ResponseError, member_id: impl Into<String>) -> Self {
        Self {
            error: Some(error),
            member_id: member_id.into(),
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            skip_assignment: false,
            members: Vec::new(),
        }
    }
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) metadata: Bytes,
}

/// The answer to SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) error: Option<ResponseError>,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Bytes,
}

impl Synced {
    pub(crate) fn error(error: ResponseError) -> Self {
        Self {
            error: Some(error),
            protocol_type: None,
            protocol: None,
            assignment: Bytes::new(),
        }
    }
}

/// An answer on its way out. The state it speaks of is written to the journal first.
#[derive(Debug)]
pub(crate) enum Reply {
    Join(oneshot::Sender<Joined>, Joined),
    Sync(oneshot::Sender<Synced>, Synced),
}

impl Reply {
    /// Hands the answer to the waiting request; if its connection is gone, nobody wants it.
    pub(crate) fn deliver(self) {
        match self {
            Reply::Join(to, joined) => drop(to.send(joined)),
            Reply::Sync(to, synced) => drop(to.send(synced)),
        }
    }
}

/// A member that has been let in.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    /// The name of a static member (KIP-345).
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) session_timeout: Duration,
    /// In the member's order of preference.
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    /// Has never been told its generation, so it cannot send heartbeats yet.
    pub(crate) is_new: bool,
    /// When the member is given up unless it is heard of; `None` while a rebalance waits for it.
    pub(crate) deadline: Option<Duration>,
    pub(crate) awaiting_join: Option<oneshot::Sender<Joined>>,
    pub(crate) awaiting_sync: Option<oneshot::Sender<Synced>>,
}

impl Member {
    pub(crate) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|p| p.name == protocol)
    }

    /// What the member says under `protocol`; empty if it does not support it.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|p| p.name == protocol);
        found.map(|p| p.metadata.clone()).unwrap_or_default()
    }

    /// A member that waits for the group is alive by that, unless it never joined before.
    pub(crate) fn is_expected_silent(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}
