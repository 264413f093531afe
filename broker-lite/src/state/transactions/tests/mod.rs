//! The transaction machine against Kafka's tables, and random histories.

mod coordinator;
mod table;
