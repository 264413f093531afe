//! Rules of the source follow on the target: who may log in ([`users`]), do what ([`acls`]), and how much ([`quotas`]).
//!
//! Every ten seconds the flow's leader reads the rules of both sides, decides which the target is to have, and creates what is
//! missing ([`job`]). What it created it remembers ([`memory`]) before it does, and only that does it ever change or
//! remove. Rules that other flows created on the source are left out.

pub mod acls;
mod job;
mod memory;
pub mod quotas;
mod report;
pub mod users;

use std::{collections::BTreeSet, fmt::Debug, future::Future};

#[cfg(test)]
pub(crate) use job::PERIOD;
pub use job::{Follower, Settings};
use wire::{
    client::Client,
    error::{ApiError, ClientError},
};

use super::groups::Copied;
use crate::{flow::status::Board, status::Follows};

/// One rule.
pub trait Rule: Ord + Clone + Debug + Send + Sync {
    /// How it is remembered, as text that leads back.
    fn key(&self) -> String;

    /// From [`Self::key`]; the error says what is wrong with it.
    fn parse(key: &[u8]) -> Result<Self, String>;

    /// For people.
    fn text(&self) -> String;
}

/// Rules of one kind.
pub trait Kind: Debug + Send + Sync + 'static {
    /// One of them.
    type Rule: Rule;

    /// What they are called, and how the names of the topics end in which they are remembered.
    const NAME: &'static str;

    /// All that a cluster has.
    fn list(
        client: &Client,
    ) -> impl Future<Output = Result<Listed<Self::Rule>, ClientError>> + Send;

    /// Creates rules, or sets them anew; each has its outcome.
    fn create(
        &self,
        client: &Client,
        rules: &[Self::Rule],
    ) -> impl Future<Output = Result<Vec<Result<(), ApiError>>, ClientError>> + Send;

    /// Removes rules; each has its outcome.
    fn remove(
        client: &Client,
        rules: &[Self::Rule],
    ) -> impl Future<Output = Result<Vec<Result<(), ApiError>>, ClientError>> + Send;

    /// The rules of the target for those of the source.
    fn wanted(&self, source: &[Self::Rule], copied: &Copied) -> Wanted<Self::Rule>;

    /// From what the target has to what it is to have. Only what is in `created` is ever removed or changed.
    fn changes(
        &self,
        wanted: &BTreeSet<Self::Rule>,
        there: &BTreeSet<Self::Rule>,
        created: &BTreeSet<Self::Rule>,
    ) -> Changes<Self::Rule>;

    /// Shows what became of them; none: another process looks after them.
    fn tell(board: &Board, told: Option<Follows>);
}

/// Rules of a cluster.
#[derive(Debug)]
pub struct Listed<R> {
    /// All that are understood.
    pub rules: Vec<R>,
    /// How many more there are.
    pub unknown: usize,
}

/// Rules for the target.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted<R: Ord> {
    /// To be there.
    pub rules: BTreeSet<R>,
    /// Rules of the source that are about what the flow copies, and why they are not.
    pub left_out: Vec<(R, String)>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Changes<R> {
    /// Are missing, or have another value.
    pub create: Vec<R>,
    /// Were created here, and are no longer wanted.
    pub remove: Vec<R>,
    /// Were created here, and are neither wanted nor there.
    pub forget: Vec<R>,
    /// Are wanted, and cannot be had; why.
    pub left_out: Vec<(R, String)>,
}

/// What the topic of `flow` is called in which it remembers rules of a kind.
pub fn topic_name<K: Kind>(flow: &str) -> String {
    format!("strait.{flow}.{}", K::NAME)
}
