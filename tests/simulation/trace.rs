//! What happened in a run: a hash over every byte on the wire with its time, and, where somebody wants to read it,
//! the log.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tracing::Dispatch;
use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, format::Writer, time::FormatTime},
};

/// Of one run. Clones share it.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Its keys are fixed, so two processes agree.
    hash: DefaultHasher,
    events: Vec<String>,
    log: Vec<u8>,
    error: Option<String>,
}

/// The log is cut off there: a run writes a few megabytes.
const LONGEST_LOG: usize = 256 << 20;

impl Trace {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that a machine wrote to a connection.
    pub fn bytes(&self, at: Duration, machine: &str, bytes: &[u8]) {
        let mut inner = self.inner();
        (at, machine).hash(&mut inner.hash);
        inner.hash.write(bytes);
    }

    /// Something that was done to the machines.
    pub fn event(&self, at: Duration, what: fmt::Arguments<'_>) {
        let line = format!("{:>9.3} {what}", at.as_secs_f64());
        tracing::info!("{line}");
        let mut inner = self.inner();
        line.hash(&mut inner.hash);
        inner.events.push(line);
    }

    /// Stands for everything that was hashed.
    pub fn hash(&self) -> u64 {
        self.inner().hash.finish()
    }

    /// Everything that was done to the machines.
    pub fn events(&self) -> Vec<String> {
        self.inner().events.clone()
    }

    /// What the programs logged, between the events.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.inner().log).into_owned()
    }

    /// The first error that a program logged.
    pub fn error(&self) -> Option<String> {
        self.inner().error.clone()
    }

    /// Collects what the programs of this thread log: errors only, or what `SIM_LOG` says, as `RUST_LOG` does.
    pub fn subscriber(&self, errors_only: bool) -> Dispatch {
        let wanted = std::env::var("SIM_LOG").unwrap_or_else(|_| "debug".to_owned());
        // The spans of turmoil name the machine.
        let filter = if errors_only {
            EnvFilter::new("error")
        } else {
            EnvFilter::new(format!("{wanted},turmoil=info"))
        };
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_timer(Simulated)
            .with_writer(self.clone())
            .finish();
        Dispatch::new(subscriber)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({:x})", self.hash())
    }
}

impl Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut inner = self.inner();
        // Every line comes by itself.
        let line = String::from_utf8_lossy(bytes);
        if inner.error.is_none() && line.contains(" ERROR ") {
            inner.error = Some(line.trim().to_owned());
        }
        if inner.log.len() < LONGEST_LOG {
            inner.log.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Trace {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

struct Simulated;

impl FormatTime for Simulated {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        write!(writer, "{:>9.3}", elapsed.as_secs_f64())
    }
}
