//! What goes wrong, and when.

use std::{
    fmt::{self, Debug, Formatter},
    io,
    path::Path,
};

/// The disk is full (`ENOSPC`).
pub const NO_SPACE: i32 = 28;

/// The disk fails (`EIO`).
pub const DISK_FAILS: i32 = 5;

/// What is done to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// A file or folder is made.
    Create,
    /// Bytes are written.
    Write,
    /// A file is cut or grown.
    SetLen,
    /// Content is made durable.
    Sync,
    /// A name changes.
    Rename,
    /// A file or folder goes.
    Remove,
    /// Names are made durable.
    SyncDir,
    /// Something is looked at; not counted.
    Read,
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// Changes before it.
    pub number: u64,
    /// What is done.
    pub kind: OperationKind,
    /// To which file or folder, as it was opened.
    pub path: &'a Path,
}

/// How an operation fails; the number is the system's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done.
    Fails(i32),
    /// Half of a write is done.
    Torn(i32),
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        let (Fault::Fails(number) | Fault::Torn(number)) = fault;
        Self::from_raw_os_error(number)
    }
}

type Judge = dyn Fn(&Operation<'_>) -> Option<Fault> + Send + Sync;

/// Which operations fail.
#[derive(Default)]
pub(super) struct Plan(Option<Box<Judge>>);

impl Plan {
    pub(super) fn new(
        judge: impl Fn(&Operation<'_>) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Box::new(judge)))
    }

    pub(super) fn judge(&self, operation: &Operation<'_>) -> Option<Fault> {
        self.0.as_ref()?(operation)
    }
}

impl Debug for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Plan").field(&self.0.is_some()).finish()
    }
}
