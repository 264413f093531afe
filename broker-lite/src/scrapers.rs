//! Connections of who reads metrics, with bounds: so many at a time, each for so long.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use host::{BoxFuture, ByteStream, Clock, Listener};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// At a time; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 32;
/// From accept to the last byte of the answer.
const MAX_LIFETIME: Duration = Duration::from_secs(10);
/// After a failed accept, for want of file descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Scrapers {
    socket: Box<dyn Listener>,
    clock: Arc<dyn Clock>,
    free: Arc<Semaphore>,
}

impl Scrapers {
    pub(crate) fn new(socket: Box<dyn Listener>, clock: Arc<dyn Clock>) -> Self {
        Self {
            socket,
            clock,
            free: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }
}

impl axum::serve::Listener for Scrapers {
    type Io = Scraper;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Scraper, SocketAddr) {
        // The semaphore is never closed; if it were, nobody would be let in without one.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    let deadline = self.clock.sleep(MAX_LIFETIME);
                    let scraper = Scraper {
                        stream,
                        deadline,
                        _permit: permit,
                    };
                    return (scraper, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection for metrics");
                    self.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_address()
    }
}

/// A connection that fails when its time is over.
pub(crate) struct Scraper {
    stream: Box<dyn ByteStream>,
    deadline: BoxFuture<'static, ()>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Scraper {
    /// The stream, or an error once the deadline has passed.
    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut dyn ByteStream>> {
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(Pin::new(&mut *self.stream)),
        }
    }
}

impl AsyncRead for Scraper {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(cx)?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Scraper {
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
    use axum::serve::Listener as _;
    use host::{Host, sim::SimClock};
    use tokio::{io::AsyncReadExt, net::TcpStream};

    use super::*;

    #[tokio::test]
    async fn they_are_few_and_short() {
        let clock = SimClock::new(0);
        let socket = Host::real().net.listen("127.0.0.1:0").await.unwrap();
        let mut scrapers = Scrapers::new(socket, Arc::new(clock.clone()));
        let address = scrapers.local_addr().unwrap();
        let (mut peers, mut accepted) = (Vec::new(), Vec::new());
        for _ in 0..=MAX_CONNECTIONS {
            peers.push(TcpStream::connect(address).await.unwrap());
        }
        for _ in 0..MAX_CONNECTIONS {
            accepted.push(scrapers.accept().await.0);
        }
        let moment = Duration::from_millis(20);
        assert!(
            tokio::time::timeout(moment, scrapers.accept())
                .await
                .is_err()
        );
        let mut silent = accepted.pop().unwrap();
        let (mut last, _) = {
            drop(accepted.pop());
            scrapers.accept().await
        };
        assert!(
            tokio::time::timeout(moment, silent.read_u8())
                .await
                .is_err()
        );
        clock.advance(MAX_LIFETIME);
        for one in [&mut silent, &mut last] {
            let error = one.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
    }
}
