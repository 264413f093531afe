//! Memory for requests, shared by all connections (`queued.max.request.bytes`).

use std::{io, sync::Arc};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Two budgets of the same size, taken one after the other, so that nobody who waits for the second holds up those who have
/// it: a frame's bytes from when its length is read until nobody holds a part of them ([`Room::keep`]), and what it becomes
/// once decoded, with the answer, from before that until the answer is written.
#[derive(Debug)]
pub(crate) struct Memory {
    frames: Budget,
    decoded: Budget,
}

/// Memory that may be used until this is dropped.
#[derive(Debug)]
pub(super) struct Room {
    _permit: OwnedSemaphorePermit,
}

impl Room {
    /// The same bytes, which have this room until the last part of them is dropped.
    pub(super) fn keep(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Kept { bytes, _room: self })
    }
}

struct Kept {
    bytes: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What is decoded into less is not counted: requests of everyday must not wait for large ones. `max.connections` bounds
/// what they take together.
pub(super) const SMALL: usize = 64 << 10;

/// The second budget is never smaller: one request that decoding lets pass at all must have room in it.
const LEAST_DECODED: usize = 128 << 20;

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            frames: Budget::new(bytes),
            decoded: Budget::new(bytes.max(LEAST_DECODED)),
        }
    }

    /// Waits until there is room for a frame; for one that is larger than all room, until it is alone.
    pub(super) async fn for_frame(&self, bytes: usize) -> io::Result<Room> {
        self.frames.take(bytes).await
    }

    /// Waits until there is room for what a request becomes.
    ///
    /// # Errors
    /// If there never is.
    pub(super) async fn for_decoded(&self, bytes: usize) -> io::Result<Option<Room>> {
        if bytes <= SMALL {
            return Ok(None);
        }
        if bytes > self.decoded.bytes {
            let reason = format!("a request that takes about {bytes} bytes of memory");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        self.decoded.take(bytes).await.map(Some)
    }
}

/// Bytes that are counted as one.
const UNIT: usize = 1024;

#[derive(Debug)]
struct Budget {
    units: Arc<Semaphore>,
    all: u32,
    bytes: usize,
}

impl Budget {
    fn new(bytes: usize) -> Self {
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        let all = (bytes / UNIT).clamp(1, most);
        Self {
            units: Arc::new(Semaphore::new(all)),
            all: u32::try_from(all).unwrap_or(u32::MAX),
            bytes,
        }
    }

    async fn take(&self, bytes: usize) -> io::Result<Room> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let all = Arc::clone(&self.units);
        let permit = all.acquire_many_owned(units.min(self.all)).await;
        let permit = permit.map_err(io::Error::other)?;
        Ok(Room { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_ones_wait_and_small_ones_do_not() {
        let memory = Memory::new(1 << 20);
        let first = memory.for_decoded(100 << 20).await.unwrap();
        let mut second = Box::pin(memory.for_decoded(100 << 20));
        let waits = std::time::Duration::from_millis(10);
        assert!(tokio::time::timeout(waits, &mut second).await.is_err());
        assert!(memory.for_decoded(SMALL).await.unwrap().is_none());
        let frame = memory.for_frame(2 << 20).await.unwrap();
        drop((first, frame));
        assert!(second.await.unwrap().is_some());
        assert!(memory.for_decoded(LEAST_DECODED + 1).await.is_err());
    }

    #[tokio::test]
    async fn a_frame_has_its_room_while_a_part_of_it_is_held() {
        let memory = Memory::new(1 << 20);
        let room = memory.for_frame(1 << 20).await.unwrap();
        let frame = room.keep(Bytes::from(vec![7; 1 << 20]));
        let part = frame.slice(5..9);
        drop(frame);
        let waits = std::time::Duration::from_millis(10);
        let mut next = Box::pin(memory.for_frame(1));
        assert!(tokio::time::timeout(waits, &mut next).await.is_err());
        assert_eq!(part, [7; 4][..]);
        drop(part);
        next.await.unwrap();
    }
}
