//! What follows on the target beside the records: jobs of the flow's leader.

pub mod configs;
pub mod groups;
pub mod internal_topics;
pub mod rules;
