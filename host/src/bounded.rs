//! A listener with bounds: so many connections at a time, each for so long. For pages and metrics, whose readers nobody
//! vouches for.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{BoxFuture, ByteStream, Clock, Listener};

/// Connections at a time; more wait in the operating system's queue.
pub const MAX_CONNECTIONS: usize = 32;
/// From accept to the last byte of the answer.
pub const MAX_LIFETIME: Duration = Duration::from_secs(10);
/// After a failed accept, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Accepts at most [`MAX_CONNECTIONS`] at a time.
pub struct BoundedListener {
    listener: Box<dyn Listener>,
    clock: Arc<dyn Clock>,
    free: Arc<Semaphore>,
}

impl BoundedListener {
    /// What `listener` accepts, by `clock`.
    pub fn new(listener: Box<dyn Listener>, clock: Arc<dyn Clock>) -> Self {
        Self {
            listener,
            clock,
            free: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }

    /// The next connection, once there is room for it; `failed` hears of each accept that fails, and another try follows
    /// after a pause. Cancel-safe.
    pub async fn accept(&mut self, failed: impl Fn(&io::Error)) -> (BoundedStream, SocketAddr) {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let stream = BoundedStream {
                        stream,
                        deadline: self.clock.sleep(MAX_LIFETIME),
                        _permit: permit,
                    };
                    return (stream, peer);
                }
                Err(error) => {
                    failed(&error);
                    self.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_address()
    }
}

impl fmt::Debug for BoundedListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundedListener")
    }
}

/// A connection that fails once [`MAX_LIFETIME`] is over.
pub struct BoundedStream {
    stream: Box<dyn ByteStream>,
    deadline: BoxFuture<'static, ()>,
    _permit: OwnedSemaphorePermit,
}

impl fmt::Debug for BoundedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundedStream")
    }
}

impl BoundedStream {
    /// The stream, or an error once the deadline has passed.
    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut dyn ByteStream>> {
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(Pin::new(&mut *self.stream)),
        }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(cx)?.poll_read(cx, buf)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(cx)?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpStream};

    use super::*;
    use crate::{Host, sim::SimClock};

    #[tokio::test]
    async fn connections_are_few_and_short() {
        let clock = SimClock::new(0);
        let socket = Host::real().net.listen("127.0.0.1:0").await.unwrap();
        let mut listener = BoundedListener::new(socket, Arc::new(clock.clone()));
        let address = listener.local_address().unwrap();
        let failed = |error: &io::Error| panic!("{error}");
        let (mut peers, mut accepted) = (Vec::new(), Vec::new());
        for _ in 0..=MAX_CONNECTIONS {
            peers.push(TcpStream::connect(address).await.unwrap());
        }
        for _ in 0..MAX_CONNECTIONS {
            accepted.push(listener.accept(failed).await.0);
        }
        let moment = Duration::from_millis(20);
        let one_more = tokio::time::timeout(moment, listener.accept(failed)).await;
        assert!(one_more.is_err());
        let mut silent = accepted.pop().unwrap();
        drop(accepted.pop());
        let (mut last, _) = listener.accept(failed).await;
        let read = tokio::time::timeout(moment, silent.read_u8()).await;
        assert!(read.is_err());
        clock.advance(MAX_LIFETIME);
        for one in [&mut silent, &mut last] {
            let error = one.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
    }
}
