//! The yardstick: a process that moves bytes from one socket to another, reading and writing them as any program must
//! that looks at some of them. What it moves is what a copier fetches, the same batches from the same broker.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};

use super::{
    fetch,
    measure::{Figures, follow},
    workload::Workload,
};

/// The argument that makes this program the relay; the address to relay to follows it.
pub const ARGUMENT: &str = "relay";
/// Bytes moved at a time, in a buffer that is used again.
const BUFFER: usize = 256 << 10;

/// Reads the whole workload from `source` through a relay.
pub fn measure(source: &str, workload: &Workload) -> Result<Figures> {
    let mut process = Command::new(std::env::current_exe()?)
        .args(["--bench", ARGUMENT, source])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut address = String::new();
    let output = process.stdout.take().context("its output")?;
    BufReader::new(output).read_line(&mut address)?;
    let copied = Arc::new(AtomicU64::new(0));
    let (partitions, seen) = (workload.partitions, Arc::clone(&copied));
    let reading = thread::spawn(move || fetch::whole(address.trim(), partitions, &seen));
    let figures = follow(process, workload, || Ok(copied.load(Ordering::Relaxed)));
    // Its end, and with it the reader's, comes before the last records.
    reading.join().ok();
    figures.context("relay")
}

/// Relays one connection to `upstream`, and prints where it listens.
pub fn serve(upstream: &str) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (below, _) = listener.accept()?;
    let above = TcpStream::connect(upstream)?;
    for stream in [&below, &above] {
        stream.set_nodelay(true)?;
    }
    let (from, to) = (below.try_clone()?, above.try_clone()?);
    thread::spawn(move || carry(from, to));
    carry(above, below)
}

/// Not by `std::io::copy`, which leaves it to the kernel (splice).
fn carry(mut from: TcpStream, mut to: TcpStream) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}
