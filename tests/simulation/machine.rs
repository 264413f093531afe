//! A simulated machine: a [`Host`] on turmoil. What is turmoil's is here, in `net.rs` and in `world.rs`.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use host::{
    BoxFuture, Clock, File, Files, Host, Lock, Random,
    files::Work,
    sim::{SeededRandom, SimFiles},
};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    net::{Lines, SimNet},
    trace::Trace,
};

/// When every simulation begins, in milliseconds since 1970.
const BEGIN_MS: i64 = 1_780_000_000_000;

/// One machine of a simulation. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Machine {
    pub name: &'static str,
    pub disk: SimFiles,
    pub lines: Lines,
    host: Host,
    clock: Arc<MachineClock>,
    wanted: watch::Sender<Wanted>,
    dying: Arc<AtomicBool>,
}

/// What a machine's program is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Run,
    Wait,
    Die,
}

impl Machine {
    /// A machine whose randomness repeats with `seed`, and whose disk takes up to `sync` for what waits for it.
    pub fn new(name: &'static str, seed: u64, sync: Duration, trace: &Trace) -> Self {
        let clock = Arc::new(MachineClock::default());
        let disk = SimFiles::default();
        let lines = Lines::default();
        let dying = Arc::<AtomicBool>::default();
        let random = Arc::new(SeededRandom::new(seed));
        let files = MachineFiles {
            disk: disk.clone(),
            sync,
            random: SeededRandom::new(!seed),
        };
        let net = SimNet {
            machine: name,
            lines: lines.clone(),
            trace: trace.clone(),
            dying: Arc::clone(&dying),
        };
        let host = Host {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            net: Arc::new(net),
            files: Arc::new(files),
            random,
        };
        Self {
            name,
            disk,
            lines,
            host,
            clock,
            wanted: watch::Sender::new(Wanted::Run),
            dying,
        }
    }

    /// What programs on it are given.
    pub fn host(&self) -> Host {
        self.host.clone()
    }

    /// Runs the machine's program when it is wanted, until it ends or is to die; then its connections are closed.
    pub async fn run<T>(&self, program: impl Future<Output = T>) -> T {
        let mut wanted = self.wanted.subscribe();
        // The sender is in `self`.
        wanted.wait_for(|wanted| *wanted != Wanted::Wait).await.ok();
        tokio::select! {
            biased;
            _ = wanted.wait_for(|wanted| *wanted == Wanted::Die) => {}
            ended = program => {
                self.lines.close();
                return ended;
            }
        }
        self.lines.close();
        std::future::pending().await
    }

    /// The program is to run when the machine does.
    pub fn wants(&self, runs: bool) {
        self.dying.store(false, Ordering::Relaxed);
        self.wanted
            .send_replace(if runs { Wanted::Run } else { Wanted::Wait });
    }

    /// The program ends within the next millisecond, and goes no further meanwhile than what it had begun.
    pub fn die(&self) {
        self.dying.store(true, Ordering::Relaxed);
        self.wanted.send_replace(Wanted::Die);
    }

    /// What the calendar says beside the truth, from now on.
    pub fn skew(&self, ms: i64) {
        self.clock.skew_ms.store(ms, Ordering::Relaxed);
    }

    /// While a program dies its clock stands still: turmoil's has no answer then.
    pub fn freeze(&self, frozen: bool, now: Duration) {
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.clock.last.store(now, Ordering::Relaxed);
        self.clock.frozen.store(frozen, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct MachineClock {
    skew_ms: AtomicI64,
    last: AtomicU64,
    frozen: AtomicBool,
}

impl Clock for MachineClock {
    fn wall_ms(&self) -> i64 {
        let passed = i64::try_from(self.monotonic().as_millis()).unwrap_or(i64::MAX);
        BEGIN_MS + passed + self.skew_ms.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        let last = Duration::from_micros(self.last.load(Ordering::Relaxed));
        if self.frozen.load(Ordering::Relaxed) {
            return last;
        }
        turmoil::sim_elapsed().unwrap_or(last)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The disk, which takes its time where that holds up only who waits for it.
#[derive(Debug)]
struct MachineFiles {
    disk: SimFiles,
    sync: Duration,
    random: SeededRandom,
}

impl Files for MachineFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.disk.open(path)
    }

    fn exists(&self, path: &Path) -> bool {
        self.disk.exists(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk.lock(path)
    }

    fn spawn(&self, work: Work) -> JoinHandle<io::Result<()>> {
        let delay = self.sync.mul_f64(self.random.fraction());
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            work()
        })
    }
}
