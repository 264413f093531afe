//! turmoil's TCP behind [`host::Net`], with connections that can be cut at one end.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use host::{BoxFuture, ByteStream, Listener, Net};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use super::trace::Trace;

/// A packet has no more; frames come in several, each with a delay of its own.
const PACKET: usize = 8 << 10;

/// The ends of connections on one machine, in the order in which they came to be.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Mutex<Vec<Weak<Line>>>>);

impl Lines {
    fn add(&self, peer: IpAddr, stream: TcpStream) -> Arc<Line> {
        let state = State {
            stream: Some(stream),
            ..State::default()
        };
        let line = Arc::new(Line {
            peer,
            state: Mutex::new(state),
        });
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|line| line.strong_count() > 0);
        all.push(Arc::downgrade(&line));
        line
    }

    fn all(&self) -> Vec<Arc<Line>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).collect()
    }

    /// Resets this end of all connections with `peer`: the other end hears of it in its time, behind what is on its
    /// way already.
    pub fn cut(&self, peer: IpAddr) {
        let all = self.all();
        all.iter()
            .filter(|line| line.peer == peer)
            .for_each(|line| line.end(|state| state.is_cut = true));
    }

    /// Closes all, as an operating system does for a process that ended. In their order: that in which tokio drops
    /// tasks does not repeat.
    pub fn close(&self) {
        let all = self.all();
        all.iter().for_each(|line| {
            line.end(|state| {
                state.is_cut = true;
                state.stream = None;
            });
        });
    }
}

/// One end.
#[derive(Debug)]
struct Line {
    peer: IpAddr,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stream: Option<TcpStream>,
    is_cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, how: impl FnOnce(&mut State)) {
        let mut state = self.state();
        how(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl State {
    fn open(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.stream {
            Some(stream) if !self.is_cut => Ok(Pin::new(stream)),
            _ => Err(ErrorKind::ConnectionReset.into()),
        }
    }
}

#[derive(Debug)]
pub(super) struct SimNet {
    pub(super) machine: &'static str,
    pub(super) lines: Lines,
    pub(super) trace: Trace,
    /// Set while the machine's program dies: it comes to nothing new.
    pub(super) dying: Arc<AtomicBool>,
}

impl SimNet {
    async fn stream(&self, stream: TcpStream, peer: IpAddr) -> Box<dyn ByteStream> {
        let line = self.lines.add(peer, stream);
        if self.dying.load(Ordering::Relaxed) {
            line.end(|state| state.stream = None);
            std::future::pending::<()>().await;
        }
        Box::new(Stream {
            line,
            machine: self.machine,
            trace: self.trace.clone(),
        })
    }
}

impl Net for SimNet {
    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let peer = turmoil::lookup(host);
            let stream = TcpStream::connect((peer, port)).await?;
            Ok(self.stream(stream, peer).await)
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            let net = Self {
                machine: self.machine,
                lines: self.lines.clone(),
                trace: self.trace.clone(),
                dying: Arc::clone(&self.dying),
            };
            Ok(Box::new(SimListener { listener, net }) as Box<dyn Listener>)
        })
    }
}

struct SimListener {
    listener: TcpListener,
    net: SimNet,
}

impl Listener for SimListener {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn ByteStream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            Ok((self.net.stream(stream, peer.ip()).await, peer))
        })
    }
}

struct Stream {
    line: Arc<Line>,
    machine: &'static str,
    trace: Trace,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.line.state().stream = None;
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.line.state();
        state.reader = Some(cx.waker().clone());
        state.open()?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.line.state();
        state.writer = Some(cx.waker().clone());
        let bytes = &bytes[..bytes.len().min(PACKET)];
        let written = ready!(state.open()?.poll_write(cx, bytes))?;
        let at = turmoil::sim_elapsed().unwrap_or_default();
        self.trace.bytes(at, self.machine, &bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.state().open()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.state().open()?.poll_shutdown(cx)
    }
}
