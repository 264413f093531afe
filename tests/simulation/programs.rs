//! What runs on the machines: a broker, or a process of strait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker_lite::{Broker, faults::Faults};
use strait::{
    app::{App, Status},
    config::{Config, Sources},
    http::StatusSource,
    status::PartitionStatus,
};
use tokio_util::sync::CancellationToken;

use super::{logs::FOLDER, machine::Machine, plan::Plan};

/// Where strait keeps its checkpoints.
pub const GROUP: &str = "strait.sim";

/// A broker's machine.
#[derive(Clone, Debug)]
pub struct BrokerMachine {
    pub machine: Machine,
    settings: Vec<String>,
    slot: Arc<Mutex<BrokerSlot>>,
}

#[derive(Debug, Default)]
struct BrokerSlot {
    faults: Option<Faults>,
    stop: CancellationToken,
    failure: Option<String>,
}

fn locked<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BrokerMachine {
    pub fn new(machine: Machine, plan: &Plan, flush: bool) -> Self {
        let expiration = plan.expiration.as_millis();
        let mut settings = vec![
            format!("advertised.listeners=PLAINTEXT://{}:9092", machine.name),
            "auto.create.topics.enable=false".to_owned(),
            format!("producer.id.expiration.ms={expiration}"),
        ];
        let forgets_every = plan.forgets_every.as_millis();
        settings.push(format!(
            "producer.id.expiration.check.interval.ms={forgets_every}"
        ));
        if plan.segments {
            settings.push("log.segment.bytes=1048576".to_owned());
        }
        if flush {
            settings.push("log.flush.interval.messages=1".to_owned());
        }
        Self {
            machine,
            settings,
            slot: Arc::default(),
        }
    }

    /// Faults of the broker that runs, if one does.
    pub fn faults(&self) -> Option<Faults> {
        locked(&self.slot).faults.clone()
    }

    /// Asks it to end.
    pub fn stop(&self) {
        locked(&self.slot).stop.cancel();
    }

    /// Why it does not run, though it should.
    pub fn failure(&self) -> Option<String> {
        locked(&self.slot).failure.clone()
    }

    /// The machine's program.
    pub async fn run(self) -> turmoil::Result {
        locked(&self.slot).faults = None;
        if let Err(error) = self.machine.run(self.serve()).await {
            let failure = format!("broker {}: {error:#}", self.machine.name);
            locked(&self.slot).failure = Some(failure);
        }
        Ok(())
    }

    async fn serve(&self) -> anyhow::Result<()> {
        let mut config = broker_lite::Config::new("PLAINTEXT://0.0.0.0:9092", FOLDER);
        for setting in &self.settings {
            config.apply(setting)?;
        }
        let broker = Broker::start(config, self.machine.host()).await?;
        let stop = CancellationToken::new();
        {
            let mut slot = locked(&self.slot);
            slot.faults = Some(broker.faults());
            slot.stop = stop.clone();
        }
        stop.cancelled().await;
        locked(&self.slot).faults = None;
        Ok(broker.stop().await?)
    }
}

/// A machine that runs strait.
#[derive(Clone, Debug)]
pub struct StraitMachine {
    pub machine: Machine,
    config: String,
    slot: Arc<Mutex<StraitSlot>>,
}

#[derive(Debug, Default)]
struct StraitSlot {
    status: Option<Arc<Status>>,
    stop: CancellationToken,
    ends: Vec<u8>,
}

impl StraitMachine {
    pub fn new(machine: Machine, plan: &Plan) -> Self {
        let config = format!(
            "[clusters.source]\nbootstrap.servers = \"source:9092\"\n\
             [clusters.target]\nbootstrap.servers = \"target:9092\"\n\
             [limits]\nmemory = \"{}\"\n\
             [[flows]]\nname = \"sim\"\nsource = \"source\"\ntarget = \"target\"\ntopics = [\".*\"]\n\
             transport = \"wire\"\nassignment = \"solo\"\ngroup_offsets = true\n\
             checkpoint_interval = \"{}ms\"\n",
            plan.memory, plan.checkpoint_ms,
        );
        Self {
            machine,
            config,
            slot: Arc::default(),
        }
    }

    /// The partitions of the process that runs.
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        let status = locked(&self.slot).status.clone();
        let flows = status.map(|status| status.snapshot().flows);
        flows
            .into_iter()
            .flatten()
            .flat_map(|flow| flow.partitions)
            .collect()
    }

    /// Asks it to end.
    pub fn stop(&self) {
        locked(&self.slot).stop.cancel();
    }

    /// The exit codes of processes that ended by themselves.
    pub fn ends(&self) -> Vec<u8> {
        locked(&self.slot).ends.clone()
    }

    /// The machine's program.
    pub async fn run(self) -> turmoil::Result {
        locked(&self.slot).status = None;
        let code = self.machine.run(self.copy()).await?;
        let mut slot = locked(&self.slot);
        slot.status = None;
        slot.ends.push(code);
        Ok(())
    }

    /// `strait run`; its exit code.
    async fn copy(&self) -> anyhow::Result<u8> {
        let sources = Sources {
            variable: &|_| None,
            file: &|_| Err(std::io::ErrorKind::NotFound.into()),
        };
        let mut config = Config::parse(&self.config, &sources)?;
        config.http.listen = None;
        let app = App::new(config, self.machine.host());
        let stop = CancellationToken::new();
        {
            let mut slot = locked(&self.slot);
            slot.status = Some(app.status());
            slot.stop = stop.clone();
        }
        let outcome = app.run(stop).await;
        Ok(outcome.map_or_else(|error| error.exit_code(), |()| 0))
    }
}
