//! Topics of a flow: which, under which name, and made of what.

pub mod configs;
pub mod create;
pub mod cycles;
pub mod examples;
pub mod naming;
pub mod origins;
pub mod portions;
pub mod retire;
pub mod selection;
pub mod writers;
