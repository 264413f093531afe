//! The stream of one connection: who waits for which answer, and the task that talks.
//!
//! Invariants:
//! * A request is registered and queued in one step without an await: whatever is registered gets
//!   written, whole, whether or not its caller still waits.
//! * A request holds a slot from before it is queued until its answer is in, so the queue, which has
//!   room for all slots, is never full.
//! * The first failure is the connection's reason for good, and all callers hear it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf, Bytes};
use host::ByteStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::AbortHandle,
};

use crate::frame::read_frame;

/// Requests on their way at once; more wait in their callers. The broker works on one at a time, so
/// more would only wait there.
pub(super) const IN_FLIGHT: usize = 64;

/// Why a connection broke that the broker closed.
pub(super) const CLOSED: &str = "closed by the broker";

/// The stream, shared by the callers. Closes it when dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    slots: Arc<Semaphore>,
    frames: mpsc::Sender<Bytes>,
    waiting: Arc<Waiting>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Waiting(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    callers: HashMap<i32, Caller>,
    broken: Option<String>,
}

/// A caller may be gone when its answer comes; the slot is taken until then. None: it holds them all.
#[derive(Debug)]
struct Caller {
    answer: oneshot::Sender<Bytes>,
    _slot: Option<OwnedSemaphorePermit>,
}

/// All slots: nothing else is on its way while this is held.
#[derive(Debug)]
pub(super) struct Alone {
    _slots: OwnedSemaphorePermit,
}

impl Exchange {
    pub(super) fn new(stream: Box<dyn ByteStream>, max_frame: usize) -> Self {
        let (frames, queue) = mpsc::channel(IN_FLIGHT);
        let waiting = Arc::new(Waiting::default());
        let task = tokio::spawn(converse(stream, queue, max_frame, Arc::clone(&waiting)));
        Self {
            slots: Arc::new(Semaphore::new(IN_FLIGHT)),
            frames,
            waiting,
            task: task.abort_handle(),
        }
    }

    /// Sends a frame and waits for the answer with the same correlation id; none if the connection
    /// broke. Cancel-safe: the frame is written whole or not at all.
    pub(super) async fn ask(&self, id: i32, frame: Bytes) -> Option<Bytes> {
        // The semaphore is never closed.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        self.send(id, frame, Some(slot)).await
    }

    /// Waits until all answers are in, and keeps other callers out until the result is dropped; none
    /// if the connection broke.
    pub(super) async fn alone(&self) -> Option<Alone> {
        let all = u32::try_from(IN_FLIGHT).ok()?;
        let slots = Arc::clone(&self.slots).acquire_many_owned(all).await.ok()?;
        Some(Alone { _slots: slots })
    }

    /// As [`Exchange::ask`], for who keeps the others out.
    pub(super) async fn ask_alone(&self, _alone: &Alone, id: i32, frame: Bytes) -> Option<Bytes> {
        self.send(id, frame, None).await
    }

    async fn send(
        &self,
        id: i32,
        frame: Bytes,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Option<Bytes> {
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.waiting.state();
            if state.broken.is_some() {
                return None;
            }
            let caller = Caller {
                answer,
                _slot: slot,
            };
            state.callers.insert(id, caller);
            // Fails only when the task has just ended, which also drops the caller.
            self.frames.try_send(frame).ok();
        }
        answered.await.ok()
    }

    /// Breaks the connection, for all callers.
    pub(super) fn close(&self, reason: &str) {
        self.waiting.fail(reason);
        self.task.abort();
    }

    /// Why the connection broke, if it did.
    pub(super) fn broken(&self) -> Option<String> {
        self.waiting.state().broken.clone()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Waiting {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, reason: &str) {
        let mut state = self.state();
        state.broken.get_or_insert_with(|| reason.to_owned());
        state.callers.clear();
    }

    /// Hands an answer to whoever asked; if nobody did, the two sides are out of step.
    fn answer(&self, frame: Bytes) -> Result<(), String> {
        if frame.len() < 4 {
            return Err(format!("an answer of {} bytes", frame.len()));
        }
        let id = frame.clone().get_i32();
        let caller = self.state().callers.remove(&id);
        let caller =
            caller.ok_or_else(|| format!("an answer to request {id}, which is not open"))?;
        // A caller that was cancelled does not mind.
        caller.answer.send(frame).ok();
        Ok(())
    }
}

/// Reads and writes until either fails; then the stream is closed and everybody told.
async fn converse(
    stream: Box<dyn ByteStream>,
    queue: mpsc::Receiver<Bytes>,
    max_frame: usize,
    waiting: Arc<Waiting>,
) {
    let (reader, writer) = tokio::io::split(stream);
    let reason = tokio::select! {
        biased;
        reason = read_answers(reader, max_frame, &waiting) => reason,
        reason = write_frames(writer, queue) => reason,
    };
    waiting.fail(&reason);
}

async fn write_frames(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Bytes>,
) -> String {
    while let Some(frame) = queue.recv().await {
        // TLS may keep what the socket does not take at once until it is flushed.
        let written = async {
            writer.write_all(&frame).await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            return error.to_string();
        }
    }
    "not used any more".to_owned()
}

async fn read_answers(
    mut reader: impl AsyncRead + Unpin,
    max_frame: usize,
    waiting: &Waiting,
) -> String {
    loop {
        match read_frame(&mut reader, max_frame).await {
            Ok(Some(frame)) => {
                if let Err(reason) = waiting.answer(frame) {
                    return reason;
                }
            }
            Ok(None) => return CLOSED.to_owned(),
            Err(error) => return error.to_string(),
        }
    }
}
