//! Frames: a 32-bit length, then as many bytes.

use std::io;

use bytes::{Bytes, BytesMut};
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
    let mut prefix = [0; 4];
    if stream.read(&mut prefix[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut prefix[1..]).await?;
    let announced = i32::from_be_bytes(prefix);
    let length = usize::try_from(announced)
        .ok()
        .filter(|length| *length <= max);
    let length = length.ok_or_else(|| {
        let reason = format!("a frame of {announced} bytes where at most {max} are allowed");
        io::Error::new(io::ErrorKind::InvalidData, reason)
    })?;
    let mut frame = BytesMut::with_capacity(length.min(FIRST_RESERVE));
    while frame.len() < length {
        let missing = length - frame.len();
        frame.reserve(missing.min(FIRST_RESERVE));
        if (&mut *stream)
            .take(missing as u64)
            .read_buf(&mut frame)
            .await?
            == 0
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(frame.freeze()))
}

/// Bytes reserved for a frame before its bytes arrive.
const FIRST_RESERVE: usize = 64 << 10;

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
        }
    }
}
