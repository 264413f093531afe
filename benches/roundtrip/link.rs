//! A link between two machines, as a TCP proxy: so many bytes per second and direction, all connections together, and
//! so much time from one end to the other.
//!
//! It is a pipe, not a pause between pieces: each piece gets its time of arrival from when the link has carried what
//! came before it, and pieces travel one behind another. Before the link there is room for [`QUEUE`]; who sends more
//! waits, as with a router in between.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// Bytes of one piece.
const PIECE: usize = 16 << 10;
/// What may wait to be carried, as time.
const QUEUE: Duration = Duration::from_millis(20);
/// Pieces of one connection that are under way at once: 8 MiB, more than 25 MB/s in 150 ms.
const PIECES: usize = 512;

/// The way to one broker. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Link {
    pub port: u16,
    shape: Arc<Shape>,
}

#[derive(Debug)]
struct Shape {
    broker: Mutex<Option<SocketAddr>>,
    /// Bytes per second; 0: no limit.
    rate: AtomicU64,
    /// From end to end.
    delay_us: AtomicU64,
    /// When the link has carried all that came, by direction.
    free_at: [Mutex<Instant>; 2],
}

impl Link {
    /// A port of its own, without limits yet.
    pub async fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let link = Self {
            port: listener.local_addr()?.port(),
            shape: Arc::new(Shape {
                broker: Mutex::default(),
                rate: AtomicU64::new(0),
                delay_us: AtomicU64::new(0),
                free_at: [Mutex::new(Instant::now()), Mutex::new(Instant::now())],
            }),
        };
        tokio::spawn(serve(listener, Arc::clone(&link.shape)));
        Ok(link)
    }

    /// Where it leads.
    pub fn leads_to(&self, broker: SocketAddr) {
        *lock(&self.shape.broker) = Some(broker);
    }

    /// From now on it carries `rate` bytes per second (0: any number), there and back in `round_trip`.
    pub fn shape(&self, rate: u64, round_trip: Duration) {
        let delay = round_trip.as_micros() as u64 / 2;
        self.shape.rate.store(rate, Ordering::Relaxed);
        self.shape.delay_us.store(delay, Ordering::Relaxed);
    }
}

impl Shape {
    /// When a piece of `bytes` that comes now has been carried in this direction.
    fn carry(&self, direction: usize, bytes: usize) -> Instant {
        let rate = self.rate.load(Ordering::Relaxed);
        let mut free_at = lock(&self.free_at[direction]);
        let from = (*free_at).max(Instant::now());
        *free_at = match rate {
            0 => from,
            rate => from + Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate),
        };
        *free_at
    }

    fn delay(&self) -> Duration {
        Duration::from_micros(self.delay_us.load(Ordering::Relaxed))
    }
}

async fn serve(listener: TcpListener, shape: Arc<Shape>) {
    while let Ok((near, _)) = listener.accept().await {
        let shape = Arc::clone(&shape);
        tokio::spawn(async move {
            let broker = *lock(&shape.broker);
            let Some(broker) = broker else { return };
            let Ok(far) = TcpStream::connect(broker).await else {
                return;
            };
            near.set_nodelay(true).ok();
            far.set_nodelay(true).ok();
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            // Either end that closes closes both.
            tokio::select! {
                () = pipe(near_in, far_out, 0, &shape) => {}
                () = pipe(far_in, near_out, 1, &shape) => {}
            }
        });
    }
}

async fn pipe(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: usize,
    shape: &Shape,
) {
    let (pieces, mut under_way) = mpsc::channel::<(Instant, Bytes)>(PIECES);
    let take = async move {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            let mut piece = (&mut from).take(PIECE as u64);
            if piece.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                break;
            }
            let carried = shape.carry(direction, buffer.len());
            let arrives = carried + shape.delay();
            if pieces
                .send((arrives, buffer.split().freeze()))
                .await
                .is_err()
            {
                break;
            }
            sleep_until(carried - QUEUE).await;
        }
    };
    let give = async move {
        while let Some((arrives, piece)) = under_way.recv().await {
            sleep_until(arrives).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(take, give);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
