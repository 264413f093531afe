//! Connections: frames in, answers out, in order.
//!
//! Requests of one connection are served one after the other, as Kafka does (it mutes a connection
//! until its answer is sent), so answers need no reordering and a client that pipelines is held back.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use bytes::{Bytes, BytesMut};
use host::{ByteStream, Listener};
use tokio::{io::AsyncWriteExt, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use wire::frame::read_frame;

use crate::{
    api::{self, Context},
    state::State,
};

/// Accepts connections until `stop`.
pub(crate) async fn serve(listener: Box<dyn Listener>, state: Arc<State>, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(state.config.max_connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // Out of file descriptors, most likely: others may end soon.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                state
                    .host
                    .clock
                    .sleep(std::time::Duration::from_millis(100))
                    .await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            tracing::warn!(%peer, limit = state.config.max_connections, "too many connections");
            continue;
        };
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let _slot = slot;
            if let Err(error) = converse(stream, peer, state).await {
                tracing::debug!(%peer, %error, "connection ends");
            }
        });
    }
    connections.shutdown().await;
}

/// Serves one connection until the peer closes it or says something that cannot be answered.
async fn converse(
    mut stream: Box<dyn ByteStream>,
    peer: SocketAddr,
    state: Arc<State>,
) -> io::Result<()> {
    let max = state.config.max_request_bytes;
    while let Some(frame) = read_frame(&mut stream, max).await? {
        if let Some(answer) = answer(frame, peer, &state).await? {
            stream.write_all(&answer).await?;
        }
    }
    Ok(())
}

/// The answer as a frame; none for a request that wants none.
async fn answer(
    frame: Bytes,
    peer: SocketAddr,
    state: &Arc<State>,
) -> io::Result<Option<BytesMut>> {
    let mut reader = frame;
    let header = wire::request::header(&mut reader);
    let header = header.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let context = Context {
        state: Arc::clone(state),
        client_id: header.client_id.as_deref().unwrap_or_default().to_owned(),
        client_host: format!("/{}", peer.ip()),
        hangs_up: Arc::default(),
    };
    let answer = api::serve(&context, &header, reader).await?;
    if context.hangs_up.load(Ordering::Relaxed) {
        let reason = "a request that failed wants no answer";
        return Err(io::Error::new(io::ErrorKind::ConnectionAborted, reason));
    }
    Ok(answer)
}
