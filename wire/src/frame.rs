//! Frames: a 32-bit length, then as many bytes.

use std::{collections::VecDeque, io};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads one frame of at most `max` bytes; none if the peer closed before a first byte. The length
/// is checked before anything is reserved, and memory grows with what really arrives.
///
/// # Errors
/// `InvalidData` for an impossible length, `UnexpectedEof` inside a frame, else what the stream says.
pub async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> io::Result<Option<Bytes>> {
    match read_length(stream, max).await? {
        Some(length) => read_body(stream, length).await.map(Some),
        None => Ok(None),
    }
}

/// Reads the length of a frame of at most `max` bytes; none if the peer closed before a first byte.
///
/// # Errors
/// As [`read_frame`].
pub async fn read_length(
    stream: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> io::Result<Option<usize>> {
    let mut prefix = [0; 4];
    if stream.read(&mut prefix[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut prefix[1..]).await?;
    checked(i32::from_be_bytes(prefix), max).map(Some)
}

/// Reads a frame whose length was read.
///
/// # Errors
/// As [`read_frame`].
pub async fn read_body(stream: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<Bytes> {
    let mut frame = BytesMut::with_capacity(length.min(FIRST_RESERVE));
    while frame.len() < length {
        frame.reserve((length - frame.len()).min(FIRST_RESERVE));
        fill(stream, &mut frame, length).await?;
    }
    Ok(frame.freeze())
}

/// Bytes reserved for a frame before its bytes arrive.
const FIRST_RESERVE: usize = 64 << 10;

fn checked(announced: i32, max: usize) -> io::Result<usize> {
    let length = usize::try_from(announced).ok();
    length.filter(|length| *length <= max).ok_or_else(|| {
        let reason = format!("a frame of {announced} bytes where at most {max} are allowed");
        io::Error::new(io::ErrorKind::InvalidData, reason)
    })
}

/// Reads what is there of the bytes up to `length`, into room that is reserved already.
async fn fill(
    stream: &mut (impl AsyncRead + Unpin),
    frame: &mut BytesMut,
    length: usize,
) -> io::Result<()> {
    let missing = (length - frame.len()) as u64;
    match stream.take(missing).read_buf(frame).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Reads the frames of one stream: small ones many at a time, large ones into a few buffers that are used
/// again once nobody holds a slice of them. A fresh buffer costs as many page faults as copying its bytes
/// would cost, so this is what keeps large answers cheap.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    max: usize,
    /// What has arrived and was not handed out.
    ahead: BytesMut,
    /// Handles to large buffers, whose bytes may still be in use.
    buffers: VecDeque<BytesMut>,
    /// Bytes that a new one has room for: the largest frame so far, so that each fits the next frame too. What no
    /// frame has filled is not in memory.
    room: usize,
}

/// Frames up to this size share a buffer.
const SMALL: usize = 16 << 10;
/// Bytes of large buffers that are remembered: at least those that are usually in use at once, or none would be free
/// again before it is forgotten.
const KEPT: usize = 32 << 20;
/// Buffers come in multiples of this.
const STEP: usize = 256 << 10;
/// Up to here a frame's memory is reserved at once; beyond, it grows with what arrives, and is not kept.
const LARGE: usize = 8 << 20;

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Frames of at most `max` bytes.
    pub fn new(stream: R, max: usize) -> Self {
        Self {
            stream,
            max,
            ahead: BytesMut::with_capacity(SMALL),
            buffers: VecDeque::new(),
            room: STEP,
        }
    }

    /// The next frame; none if the peer closed between two.
    ///
    /// # Errors
    /// As [`read_frame`].
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.ahead.len() < 4 {
            self.ahead.reserve(SMALL);
            if self.stream.read_buf(&mut self.ahead).await? == 0 {
                return match self.ahead.len() {
                    0 => Ok(None),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
        let length = checked(self.ahead.get_i32(), self.max)?;
        if length > SMALL {
            return self.large(length).await.map(Some);
        }
        while self.ahead.len() < length {
            self.ahead.reserve(length - self.ahead.len());
            if self.stream.read_buf(&mut self.ahead).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Some(self.ahead.split_to(length).freeze()))
    }

    async fn large(&mut self, length: usize) -> io::Result<Bytes> {
        let mut buffer = self.buffer(length.min(LARGE));
        let arrived = self.ahead.len().min(length);
        buffer.extend_from_slice(&self.ahead[..arrived]);
        self.ahead.advance(arrived);
        while buffer.len() < length {
            if buffer.capacity() == buffer.len() {
                buffer.reserve(buffer.len().min(length - buffer.len()));
            }
            fill(&mut self.stream, &mut buffer, length).await?;
        }
        let frame = buffer.split().freeze();
        if length <= LARGE {
            self.buffers.push_back(buffer);
            if self.buffers.len() * self.room > KEPT {
                self.buffers.pop_front();
            }
        }
        Ok(frame)
    }

    /// An empty buffer with room for `length` bytes: one that is free again, or a new one.
    fn buffer(&mut self, length: usize) -> BytesMut {
        self.room = self.room.max(length.next_multiple_of(STEP));
        // What was used last is still in the processor's cache.
        let mut buffers = self.buffers.iter_mut().enumerate().rev();
        let free = buffers.find_map(|(index, buffer)| buffer.try_reclaim(length).then_some(index));
        let free = free.and_then(|index| self.buffers.remove(index));
        free.unwrap_or_else(|| BytesMut::with_capacity(self.room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_follow_each_other() {
        let mut stream = &b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01d"[..];
        for expected in ["abc", "", "d"] {
            assert_eq!(
                read_frame(&mut stream, 10).await.unwrap().unwrap(),
                expected
            );
        }
        assert_eq!(read_frame(&mut stream, 10).await.unwrap(), None);
    }

    #[tokio::test]
    async fn impossible_and_torn_frames_are_errors() {
        for (bytes, kind) in [
            (&b"\0\0\0\x0babcdefghijk"[..], io::ErrorKind::InvalidData),
            (b"\xff\xff\xff\xff", io::ErrorKind::InvalidData),
            (b"\0\0", io::ErrorKind::UnexpectedEof),
            (b"\0\0\0\x05abc", io::ErrorKind::UnexpectedEof),
        ] {
            let error = read_frame(&mut &bytes[..], 10).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            let error = FrameReader::new(bytes, 10).next().await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
        }
    }

    /// Whatever the sizes and however the bytes arrive, frames come out as they went in.
    #[tokio::test]
    async fn small_and_large_frames_are_read_whole() {
        let sizes = [
            0,
            1,
            SMALL - 4,
            SMALL,
            SMALL + 1,
            3 << 20,
            5,
            LARGE + 1,
            300_000,
            300_001,
            2,
        ];
        let (here, mut there) = tokio::io::duplex(70_000);
        let writing = tokio::spawn(async move {
            for (index, size) in sizes.into_iter().enumerate() {
                let mut frame = (size as i32).to_be_bytes().to_vec();
                frame.resize(size + 4, index as u8);
                tokio::io::AsyncWriteExt::write_all(&mut there, &frame)
                    .await
                    .unwrap();
            }
        });
        let mut reader = FrameReader::new(here, 20 << 20);
        let mut kept = Vec::new();
        for (index, size) in sizes.into_iter().enumerate() {
            let frame = reader.next().await.unwrap().unwrap();
            assert_eq!(frame.len(), size);
            assert!(frame.iter().all(|byte| *byte == index as u8));
            kept.push((index, frame));
        }
        assert_eq!(reader.next().await.unwrap(), None);
        // What was handed out stays as it was.
        assert!(
            kept.iter()
                .all(|(index, frame)| frame.iter().all(|b| *b == *index as u8))
        );
        writing.await.unwrap();
    }

    #[tokio::test]
    async fn a_large_buffer_is_used_again_once_it_is_free() {
        let mut stream = Vec::new();
        for byte in 0..3u8 {
            stream.extend_from_slice(&1_000_000i32.to_be_bytes());
            stream.resize(stream.len() + 1_000_000, byte);
        }
        let mut reader = FrameReader::new(&stream[..], 2_000_000);
        let first = reader.next().await.unwrap().unwrap();
        let place = first.as_ptr();
        let second = reader.next().await.unwrap().unwrap();
        assert_ne!(second.as_ptr(), place, "the first frame is still held");
        drop(first);
        let third = reader.next().await.unwrap().unwrap();
        assert_eq!(third.as_ptr(), place);
    }
}
