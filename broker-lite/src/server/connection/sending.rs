//! Answers on their way out: for as long as the peer takes some of them now and then.
//!
//! Records go from file to socket in the kernel, or, where it cannot do that, through a buffer of bounded size: no answer
//! needs memory for them.

use std::{io, sync::Arc};

use tokio::io::AsyncWriteExt;

use super::Connection;
use crate::{
    api::{Answer, Piece},
    log::Slice,
};

/// What is smaller goes out together with what is beside it, up to so many bytes: a call costs as much as to copy them.
const TOGETHER: usize = 64 << 10;
/// Records that are fewer bytes are copied for it.
const FEW: u64 = 16 << 10;

impl Connection {
    pub(super) async fn say_some(&mut self, answer: Option<impl Into<Answer>>) -> io::Result<()> {
        match answer {
            Some(answer) => self.say(answer.into()).await,
            None => Ok(()),
        }
    }

    async fn say(&mut self, answer: Answer) -> io::Result<()> {
        let state = Arc::clone(&self.state);
        let all = usize::try_from(answer.len()).unwrap_or(TOGETHER);
        let _held = state.answers.hold(answer.held() + all.min(TOGETHER));
        state.metrics.bytes_out.increment(answer.len());
        let mut ahead = Vec::new();
        for piece in &answer.0 {
            match piece {
                Piece::Bytes(bytes) => self.put(bytes, &mut ahead).await?,
                Piece::Records(records) => {
                    let sent = self.send(&records.slice, &mut ahead).await;
                    sent.inspect_err(|error| records.home.note(error))?;
                }
            }
        }
        self.write_out(&mut ahead).await?;
        // TLS holds bytes back.
        self.write_deadline.set(state.config.write_timeout);
        let flush = self.stream.flush();
        self.write_deadline.bound(TAKING, flush).await
    }

    async fn put(&mut self, bytes: &[u8], ahead: &mut Vec<u8>) -> io::Result<()> {
        if ahead.len() + bytes.len() <= TOGETHER {
            ahead.extend_from_slice(bytes);
            return Ok(());
        }
        self.write_out(ahead).await?;
        self.write(bytes).await
    }

    async fn write_out(&mut self, ahead: &mut Vec<u8>) -> io::Result<()> {
        self.write(ahead).await?;
        ahead.clear();
        Ok(())
    }

    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.write_deadline.set(self.state.config.write_timeout);
            let write = self.stream.write(bytes);
            match self.write_deadline.bound(TAKING, write).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => bytes = &bytes[written..],
            }
        }
        Ok(())
    }

    async fn send(&mut self, slice: &Slice, ahead: &mut Vec<u8>) -> io::Result<()> {
        let (mut position, end) = (slice.position, slice.position + slice.len);
        if slice.len < FEW {
            return self.copy(slice, position, ahead).await;
        }
        self.write_out(ahead).await?;
        while position < end {
            let left = usize::try_from(end - position).unwrap_or(usize::MAX);
            let Some(send) = self.stream.send_file(&*slice.file, position, left) else {
                break;
            };
            self.write_deadline.set(self.state.config.write_timeout);
            match self.write_deadline.bound(TAKING, send).await {
                Ok(0) => return Err(cut_off()),
                Ok(sent) => position += sent as u64,
                Err(error) if is_unsupported(&error) => break,
                Err(error) => return Err(error),
            }
        }
        self.copy(slice, position, ahead).await
    }

    /// Copies what is left of a slice from `position` on.
    async fn copy(
        &mut self,
        slice: &Slice,
        mut position: u64,
        ahead: &mut Vec<u8>,
    ) -> io::Result<()> {
        let end = slice.position + slice.len;
        while position < end {
            if ahead.len() >= TOGETHER {
                self.write_out(ahead).await?;
            }
            let (begun, left) = (ahead.len(), end - position);
            let room = TOGETHER - begun;
            ahead.resize(begun + usize::try_from(left).unwrap_or(room).min(room), 0);
            let read = slice.file.read_at(&mut ahead[begun..], position)?;
            if read == 0 {
                return Err(cut_off());
            }
            ahead.truncate(begun + read);
            position += read as u64;
        }
        Ok(())
    }
}

const TAKING: &str = "taking an answer";

/// Not every file system can do it.
fn is_unsupported(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, Unsupported};
    matches!(error.kind(), InvalidInput | Unsupported)
}

/// The answer's length is told already.
fn cut_off() -> io::Error {
    let reason = "a file was cut off while records of it were sent";
    io::Error::new(io::ErrorKind::UnexpectedEof, reason)
}

#[cfg(test)]
mod tests;
