//! Authorized operations (KIP-430): what a client may do with a resource, as a bit for each operation.
//!
//! Without an authorizer Kafka answers all operations that it knows for the type of the resource
//! (`AclEntry.supportedOperations`, 4.1.1), and so does this broker, which has none.

/// Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs.
pub(super) const TOPIC: i32 = 3576;
/// Read, Delete, Describe, DescribeConfigs, AlterConfigs.
pub(super) const GROUP: i32 = 3400;
/// Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite.
pub(super) const CLUSTER: i32 = 8096;
/// Not asked for.
pub(super) const UNTOLD: i32 = i32::MIN;
