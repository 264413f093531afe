//! The bounded listener as axum wants it.

use std::{io, net::SocketAddr};

use host::bounded::{BoundedListener, BoundedStream};

pub(super) struct Bounded(pub(super) BoundedListener);

impl axum::serve::Listener for Bounded {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        let failed = |error: &io::Error| tracing::warn!(%error, "cannot accept an HTTP connection");
        self.0.accept(failed).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_address()
    }
}
