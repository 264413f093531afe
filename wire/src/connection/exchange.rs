//! The stream of one connection: who waits for which answer, and the task that talks.
//!
//! Invariants:
//! * A request is registered and queued in one step without an await: whatever is registered gets
//!   written, whole, whether or not its caller still waits, unless its [`MayGo`] says no.
//! * While somebody is [`Alone`], others' requests are registered and held back, in their order.
//! * A request holds a slot from before it is queued until its answer is in, so the queue, which has
//!   room for all slots, is never full.
//! * The first failure is the connection's reason for good, and all callers hear it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, ready},
};

use bytes::{Buf, Bytes};
use host::ByteStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::AbortHandle,
};

use super::segments::Segments;
use crate::frame::FrameReader;

/// Requests on their way at once; more wait in their callers. The broker works on one at a time, so
/// more would only wait there.
pub(super) const IN_FLIGHT: usize = 64;

/// Why a connection broke that the broker closed.
pub(super) const CLOSED: &str = "closed by the broker";

/// Asked when a frame's turn to be written has come, which on a slow connection may be long after it was sent:
/// if it says no, the frame is not written and the connection breaks.
#[derive(Clone)]
pub struct MayGo(Arc<dyn Fn() -> bool + Send + Sync>);

impl MayGo {
    /// Asks `allowed`, which must not block.
    pub fn new(allowed: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(allowed))
    }
}

impl fmt::Debug for MayGo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MayGo")
    }
}

/// What is to be written.
#[derive(Debug)]
struct Frame {
    segments: Segments,
    may_go: Option<MayGo>,
}

/// The stream, shared by the callers. Closes it when dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    slots: Arc<Semaphore>,
    frames: mpsc::Sender<Frame>,
    waiting: Arc<Waiting>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Waiting {
    state: Mutex<State>,
    /// Something was answered, or the connection broke: for who wants to be alone.
    changed: Notify,
    /// Bytes that have arrived.
    arrived: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// By correlation id; a break wakes them in that order, so that a simulated run repeats.
    callers: BTreeMap<i32, Caller>,
    broken: Option<String>,
    /// What is not sent because somebody is, or wants to be, alone.
    held: Option<VecDeque<Frame>>,
}

/// A caller may be gone when its answer comes; the slot is taken until then. None: it is alone.
#[derive(Debug)]
struct Caller {
    answer: oneshot::Sender<Bytes>,
    _slot: Option<OwnedSemaphorePermit>,
}

/// Nothing else is on its way until this is dropped.
#[derive(Debug)]
pub(super) struct Alone<'a>(&'a Exchange);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        let mut state = self.0.waiting.state();
        for frame in state.held.take().unwrap_or_default() {
            // Each has a slot, so there is room.
            self.0.frames.try_send(frame).ok();
        }
    }
}

impl From<Bytes> for Frame {
    fn from(bytes: Bytes) -> Self {
        Self {
            segments: bytes.into(),
            may_go: None,
        }
    }
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
        let answered = self.queue(id, frame.into(), Some(slot))?;
        answered.await.ok()
    }

    /// Sends a frame now and leaves the waiting to the caller, who sees to it that no more than
    /// [`IN_FLIGHT`] are on their way; none if the connection broke.
    pub(super) fn begin(
        &self,
        id: i32,
        segments: Segments,
        may_go: MayGo,
    ) -> Option<oneshot::Receiver<Bytes>> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let may_go = Some(may_go);
        self.queue(id, Frame { segments, may_go }, Some(slot))
    }

    /// Waits until all answers are in; what others send from now on waits until the result is dropped.
    /// None if the connection broke. One caller at a time.
    pub(super) async fn alone(&self) -> Option<Alone<'_>> {
        self.waiting.state().held.get_or_insert_default();
        let alone = Alone(self);
        loop {
            {
                let state = self.waiting.state();
                if state.broken.is_some() {
                    drop(state);
                    return None;
                }
                if state.callers.len() == state.held.as_ref().map_or(0, VecDeque::len) {
                    break;
                }
            }
            // A change since then has left a permit.
            self.waiting.changed.notified().await;
        }
        Some(alone)
    }

    /// As [`Exchange::ask`], for who keeps the others out.
    pub(super) async fn ask_alone(
        &self,
        _alone: &Alone<'_>,
        id: i32,
        frame: Bytes,
    ) -> Option<Bytes> {
        self.queue(id, frame.into(), None)?.await.ok()
    }

    fn queue(
        &self,
        id: i32,
        frame: Frame,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Option<oneshot::Receiver<Bytes>> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.waiting.state();
        if state.broken.is_some() {
            return None;
        }
        let may_wait = slot.is_some();
        let caller = Caller {
            answer,
            _slot: slot,
        };
        state.callers.insert(id, caller);
        match &mut state.held {
            Some(held) if may_wait => held.push_back(frame),
            // Fails only when the task has just ended, which also drops the caller.
            _ => drop(self.frames.try_send(frame)),
        }
        Some(answered)
    }

    /// Breaks the connection, for all callers.
    pub(super) fn close(&self, reason: &str) {
        self.waiting.fail(reason);
        self.task.abort();
    }

    /// Bytes that have arrived so far, also of answers that are not whole yet.
    pub(super) fn arrived(&self) -> u64 {
        self.waiting.arrived.load(Ordering::Relaxed)
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, reason: &str) {
        let mut state = self.state();
        state.broken.get_or_insert_with(|| reason.to_owned());
        state.callers.clear();
        self.changed.notify_one();
    }

    /// Hands an answer to whoever asked; if nobody did, the two sides are out of step.
    fn answer(&self, frame: Bytes) -> Result<(), String> {
        if frame.len() < 4 {
            return Err(format!("an answer of {} bytes", frame.len()));
        }
        let id = frame.clone().get_i32();
        let caller = self.state().callers.remove(&id);
        self.changed.notify_one();
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
    queue: mpsc::Receiver<Frame>,
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
    mut queue: mpsc::Receiver<Frame>,
) -> String {
    while let Some(mut frame) = queue.recv().await {
        if frame.may_go.is_some_and(|MayGo(allowed)| !allowed()) {
            return "what it had to send may not be sent any more".to_owned();
        }
        if let Err(error) = writer.write_all_buf(&mut frame.segments).await {
            return error.to_string();
        }
        // TLS may keep what the socket does not take at once until it is flushed.
        if let Err(error) = writer.flush().await {
            return error.to_string();
        }
    }
    "not used any more".to_owned()
}

async fn read_answers(
    reader: impl AsyncRead + Unpin,
    max_frame: usize,
    waiting: &Waiting,
) -> String {
    let arrived = &waiting.arrived;
    let mut frames = FrameReader::new(Counted { reader, arrived }, max_frame);
    loop {
        match frames.next().await {
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

/// Counts what is read.
struct Counted<'a, R> {
    reader: R,
    arrived: &'a AtomicU64,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<'_, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.reader).poll_read(context, buffer))?;
        let more = (buffer.filled().len() - before) as u64;
        self.arrived.fetch_add(more, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}
