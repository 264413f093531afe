//! strait copies Kafka topics from one cluster to another, keeps every partition's order, and
//! resumes where it stopped.

pub mod app;
pub mod base;
pub mod checkpoint;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod flow;
pub mod http;
pub mod sink;
pub mod source;
pub mod survey;
pub mod telemetry;
pub mod verify;
pub mod worker;
