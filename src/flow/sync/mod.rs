//! What follows on the target beside the records: jobs of the flow's leader.

pub mod acls;
pub mod groups;
