//! Sockets: connect and listen.

use std::{any::Any, fmt::Debug, io, net::SocketAddr, time::Duration};

use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    net::{TcpListener, TcpStream, lookup_host},
    task::JoinSet,
};

use crate::{BoxFuture, File};

/// A connected byte stream, for example a TCP connection.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + Any {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + Any> ByteStream for T {}

/// What is sent at once; the system takes no more than 2 GB.
const MOST_SENT: usize = 1 << 30;

impl dyn ByteStream {
    /// Sends at most `max` bytes of `file` from `position` on, which the kernel takes to the socket itself
    /// (sendfile(2)): how many; 0 at the end of the file. None where that cannot be: under TLS, on simulated machines.
    /// A disk that does not support it says so by `InvalidInput` or `Unsupported`.
    pub fn send_file<'a>(
        &'a self,
        file: &'a dyn File,
        position: u64,
        max: usize,
    ) -> Option<impl Future<Output = io::Result<usize>> + Send + use<'a>> {
        let stream: &dyn Any = self;
        let socket: &TcpStream = stream.downcast_ref()?;
        let file = file.descriptor()?;
        Some(socket.async_io(Interest::WRITABLE, move || {
            let mut from = position;
            let sent = rustix::fs::sendfile(socket, file, Some(&mut from), max.min(MOST_SENT));
            Ok(sent?)
        }))
    }
}

/// A way to reach other machines and to be reached.
pub trait Net: Send + Sync + Debug {
    /// Connects to `host`, a name or an address. A name is resolved anew each time, and every address that
    /// it resolves to is tried.
    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>>;

    /// Listens on `address`, written `HOST:PORT`; port 0 takes a free one.
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;
}

/// A listening socket.
pub trait Listener: Send + Sync {
    /// The address that was bound.
    fn local_address(&self) -> io::Result<SocketAddr>;

    /// The next connection and the address of its peer. Cancel-safe: a connection is either
    /// returned or still in the queue.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn ByteStream>, SocketAddr)>>;
}

/// The machine's TCP, with Nagle's algorithm off: frames are written whole. Keepalive tells firewalls that
/// a quiet connection is still wanted, and finds a peer that is gone.
#[derive(Debug)]
pub struct Tcp;

/// How long an address may take before the next is tried beside it (RFC 8305, 5): one that swallows
/// packets must not hide the others.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Quiet time before the first probe; below what firewalls commonly allow.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// Between further probes.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// The first of `addresses` that takes the connection, tried in their order.
async fn connect_first(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut failure = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        let ended = match waiting.len() {
            0 => attempts.join_next().await,
            _ => tokio::select! {
                biased;
                ended = attempts.join_next() => ended,
                () = tokio::time::sleep(NEXT_ADDRESS_AFTER) => continue,
            },
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => failure = failure.or(Some(error)),
            Some(Err(error)) => failure = failure.or(Some(error.into())),
            None => {
                let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                return Err(failure.unwrap_or_else(none));
            }
        }
    }
}

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_EVERY)?;
    Ok(())
}

impl Net for Tcp {
    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let addresses = lookup_host((host, port)).await?.collect();
            let stream = connect_first(addresses).await?;
            stream.set_nodelay(true)?;
            keep_alive(&stream)?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }
}

impl Listener for TcpListener {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn ByteStream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = TcpListener::accept(self).await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as Box<dyn ByteStream>, peer))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::Files;

    use super::*;

    /// A port of this machine that refuses connections.
    async fn closed() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }

    #[tokio::test]
    async fn every_address_is_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        // A network for documentation, which nobody answers for: swallowed or refused by the system.
        let silent = "192.0.2.1:9".parse().unwrap();
        for before in [vec![], vec![closed().await], vec![silent, closed().await]] {
            let stream = connect_first([before, vec![open]].concat()).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), open);
        }
    }

    #[tokio::test]
    async fn the_first_failure_is_the_reason() {
        let error = connect_first(vec![closed().await, closed().await]).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let error = connect_first(Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    /// All of a file that is there, however much is asked for, in as many parts as the peer makes it.
    #[tokio::test]
    async fn the_kernel_sends_files() {
        let folder = std::env::temp_dir().join(format!("host-net-{}", std::process::id()));
        let file = crate::files::Disk.open(&folder).unwrap();
        std::fs::remove_file(&folder).unwrap();
        let bytes: Vec<u8> = (0..9_000_000u32).map(|at| (at * 7 / 5) as u8).collect();
        file.write_all_at(&bytes, 0).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = Tcp.connect("127.0.0.1", address.port()).await.unwrap();
        let (mut peer, _) = TcpListener::accept(&listener).await.unwrap();
        let from = 1_001;
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut peer, &mut read)
                .await
                .unwrap();
            read
        });
        let (mut position, mut parts) = (from as u64, 0);
        loop {
            match stream
                .send_file(&*file, position, usize::MAX)
                .unwrap()
                .await
                .unwrap()
            {
                0 => break,
                sent => position += sent as u64,
            }
            parts += 1;
        }
        drop(stream);
        assert!(
            parts > 1,
            "a socket does not take {} bytes at once",
            bytes.len()
        );
        assert!(reading.await.unwrap() == bytes[from..]);
    }

    #[tokio::test]
    async fn other_streams_and_files_do_not() {
        let (near, _far) = tokio::io::duplex(10);
        let near: Box<dyn ByteStream> = Box::new(near);
        let disk = crate::files::Disk
            .open(std::path::Path::new("/dev/null"))
            .unwrap();
        assert!(near.send_file(&*disk, 0, 1).is_none());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = Tcp.connect("127.0.0.1", port).await.unwrap();
        let files = crate::sim::SimFiles::default();
        files.create_dir_all(std::path::Path::new("/")).unwrap();
        let file = files.open(std::path::Path::new("/a")).unwrap();
        assert!(socket.send_file(&*file, 0, 1).is_none());
        assert!(socket.send_file(&*disk, 0, 1).is_some());
    }

    #[tokio::test]
    async fn connections_are_kept_alive() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = connect_first(vec![listener.local_addr().unwrap()])
            .await
            .unwrap();
        keep_alive(&stream).unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), KEEPALIVE_AFTER);
    }
}
