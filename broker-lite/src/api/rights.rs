//! What whoever asks may do. Without an authorizer that is everything.

use kafka_protocol::{error::ResponseError, protocol::StrBytes};

use super::Context;
use crate::security::acl::{Asker, CLUSTER, Operation, Resource};

/// Authorized operations that were not asked for (KIP-430).
pub(super) const UNTOLD: i32 = i32::MIN;

impl Context {
    pub(super) fn asker(&self) -> Asker<'_> {
        Asker {
            principal: &self.principal,
            host: self.client_host.trim_start_matches('/'),
        }
    }

    /// Whether the client may do this.
    pub(super) fn may(&self, operation: Operation, resource: Resource, name: &str) -> bool {
        let authorizer = self.state.authorizer.as_ref();
        authorizer.is_none_or(|one| one.may(self.asker(), operation, resource, name))
    }

    pub(super) fn may_cluster(&self, operation: Operation) -> bool {
        self.may(operation, Resource::Cluster, CLUSTER)
    }

    pub(super) fn may_topic(&self, operation: Operation, name: &str) -> bool {
        self.may(operation, Resource::Topic, name)
    }

    pub(super) fn may_group(&self, operation: Operation, name: &str) -> bool {
        self.may(operation, Resource::Group, name)
    }

    pub(super) fn may_transactional_id(&self, operation: Operation, id: &str) -> bool {
        self.may(operation, Resource::TransactionalId, id)
    }

    /// Whether the client may do this to some topic, whichever it is.
    pub(super) fn may_some_topic(&self, operation: Operation) -> bool {
        let authorizer = self.state.authorizer.as_ref();
        authorizer.is_none_or(|one| one.may_some(self.asker(), operation, Resource::Topic))
    }

    /// Refuses who may not do this to the cluster (`AuthHelper.authorizeClusterOperation`).
    pub(super) fn check_cluster(&self, operation: Operation) -> Result<(), ResponseError> {
        match self.may_cluster(operation) {
            true => Ok(()),
            false => Err(ResponseError::ClusterAuthorizationFailed),
        }
    }

    /// All that the client may do, as a bit for each operation (KIP-430, `AuthHelper.authorizedOperations`).
    pub(super) fn operations(&self, resource: Resource, name: &str) -> i32 {
        let all = resource.operations().iter();
        let allowed = all.filter(|operation| self.may(**operation, resource, name));
        allowed.fold(0, |bits, operation| bits | 1 << operation.number())
    }

    /// The same for the cluster, which is told only to who may describe it.
    pub(super) fn cluster_operations(&self) -> i32 {
        match self.may_cluster(Operation::Describe) {
            true => self.operations(Resource::Cluster, CLUSTER),
            false => 0,
        }
    }
}

/// What Kafka's exceptions say of a request for which the cluster's rights are missing.
pub(super) const NOT_AUTHORIZED: StrBytes =
    StrBytes::from_static_str("The request is not authorized.");
