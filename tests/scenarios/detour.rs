//! A way to brokers that is cut at any moment, in the middle of a frame.

use anyhow::Result;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::kafka::Detour;

/// Carries bytes between clients and brokers until it is dropped.
#[derive(Debug)]
pub struct Way {
    cuts: watch::Sender<u64>,
    _doors: JoinSet<()>,
}

impl Way {
    /// Listens where clients are told to connect to.
    pub async fn open(detours: &[Detour]) -> Result<Self> {
        let cuts = watch::Sender::new(0);
        let mut doors = JoinSet::new();
        for detour in detours {
            let door = TcpListener::bind(("127.0.0.1", detour.told)).await?;
            doors.spawn(serve(door, detour.real, cuts.subscribe()));
        }
        Ok(Self {
            cuts,
            _doors: doors,
        })
    }

    /// Cuts every connection there is, behind half of what it carries next.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn serve(door: TcpListener, broker: u16, cuts: watch::Receiver<u64>) {
    let mut carried = JoinSet::new();
    while let Ok((client, _)) = door.accept().await {
        carried.spawn(carry(client, broker, cuts.clone()));
        while carried.try_join_next().is_some() {}
    }
}

/// Where the broker is down, the client sees its connection close.
async fn carry(client: TcpStream, broker: u16, mut cuts: watch::Receiver<u64>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", broker)).await else {
        return;
    };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    cuts.mark_unchanged();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Whoever ends first ends both, as a broken connection does.
    tokio::select! {
        _ = pump(from_client, to_server, cuts.clone()) => {}
        _ = pump(from_server, to_client, cuts) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    cuts: watch::Receiver<u64>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        if cuts.has_changed().unwrap_or(true) {
            return to.write_all(&buffer[..count / 2]).await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}
