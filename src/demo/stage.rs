//! What the demo runs on: two brokers, a file, and the flow's process.

use std::{
    fs::File,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use broker_lite::Broker;
use host::Host;
use rustix::process::{Pid, Signal, kill_process};
use wire::client::{Client, ClientSettings};

use super::{DemoError, Sample, Settings};
use crate::http::client::{self, Address};

/// See the module.
#[derive(Debug)]
pub(super) struct Stage {
    folder: tempfile::TempDir,
    program: PathBuf,
    client: Client,
    source: Broker,
    target: Option<Broker>,
    target_address: SocketAddr,
    http: Address,
    flow: Option<Child>,
}

impl Stage {
    /// Starts both brokers in a fresh folder and writes the file.
    pub(super) async fn set(host: &Host, settings: &Settings) -> Result<Self, DemoError> {
        let folder = tempfile::Builder::new().prefix("strait-demo-").tempdir();
        let folder = folder.map_err(io("make a folder"))?;
        let start = |name: &str| {
            let config = broker_lite::Config::new("127.0.0.1:0", folder.path().join(name));
            Broker::start(config, host.clone())
        };
        let (source, target) = (start("source").await?, start("target").await?);
        let target_address = target.address();
        // A port that is free now; the flow says so in its log if it is not any more.
        let listener = host
            .net
            .listen("127.0.0.1:0")
            .await
            .map_err(io("find a free port"))?;
        let http = listener.local_address().map_err(io("find a free port"))?;
        drop(listener);
        let text = format!(
            "[clusters.source]\nbootstrap.servers = \"{}\"\n\
             [clusters.target]\nbootstrap.servers = \"{target_address}\"\n\
             [http]\nlisten = \"{http}\"\n\
             [[flows]]\nname = \"demo\"\nsource = \"source\"\ntarget = \"target\"\ntopics = [\".*\"]\n",
            source.address()
        );
        let file = folder.path().join("strait.toml");
        host::files::replace(&*host.files, &file, text.as_bytes()).map_err(io("write the file"))?;
        let address = source.address();
        let bootstrap = vec![(address.ip().to_string(), address.port())];
        let client = Client::new(host.clone(), ClientSettings::new(bootstrap, "strait-demo"));
        let http = format!("http://{http}")
            .parse()
            .map_err(|error| DemoError::Io {
                what: "find a free port",
                error: std::io::Error::other(error),
            })?;
        Ok(Self {
            folder,
            program: settings.program.clone(),
            client,
            source,
            target: Some(target),
            target_address,
            http,
            flow: None,
        })
    }

    pub(super) fn source(&self) -> SocketAddr {
        self.source.address()
    }

    pub(super) fn target(&self) -> SocketAddr {
        self.target_address
    }

    /// A client of the source.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The flow's file.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("strait.toml")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("strait.log")
    }

    pub(super) fn start_flow(&mut self) -> Result<(), DemoError> {
        let log = File::options().create(true).append(true).open(self.log());
        let log = log.map_err(io("open the flow's log"))?;
        let child = Command::new(&self.program)
            .arg("run")
            .arg(self.file())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.flow = Some(child.map_err(io("start the flow's process"))?);
        Ok(())
    }

    pub(super) fn kill_flow(&mut self) -> Result<(), DemoError> {
        let Some(mut flow) = self.flow.take() else {
            return Ok(());
        };
        flow.kill()
            .and_then(|()| flow.wait())
            .map_err(io("kill the flow's process"))?;
        Ok(())
    }

    /// Waits until the flow has nothing left to copy, then stops it cleanly.
    pub(super) async fn stop_flow(
        &mut self,
        host: &Host,
        patience: Duration,
    ) -> Result<(), DemoError> {
        let end = host.clock.monotonic() + patience;
        let late = || DemoError::Late(patience, self.log());
        let mut calm = 0;
        // The lag is counted from ends that were listed a moment ago: it must stay 0 for a while.
        while calm < 4 {
            let lag = self.sample(host).await.map(|sample| sample.lag);
            calm = if lag == Some(0) { calm + 1 } else { 0 };
            if host.clock.monotonic() > end {
                return Err(late());
            }
            host.clock.sleep(Duration::from_millis(300)).await;
        }
        let Some(mut flow) = self.flow.take() else {
            return Ok(());
        };
        kill_process(Pid::from_child(&flow), Signal::TERM).map_err(|errno| DemoError::Io {
            what: "stop the flow",
            error: errno.into(),
        })?;
        while flow.try_wait().map_err(io("stop the flow"))?.is_none() {
            if host.clock.monotonic() > end {
                flow.kill().map_err(io("stop the flow"))?;
                return Err(DemoError::Late(patience, self.log()));
            }
            host.clock.sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    pub(super) async fn kill_target(&mut self) {
        if let Some(target) = self.target.take() {
            target.kill().await;
        }
    }

    pub(super) async fn start_target(&mut self, host: &Host) -> Result<(), DemoError> {
        let (address, data) = (
            self.target_address.to_string(),
            self.folder.path().join("target"),
        );
        let config = broker_lite::Config::new(address, data);
        self.target = Some(Broker::start(config, host.clone()).await?);
        Ok(())
    }

    /// What the flow's process says of itself; none while there is none.
    pub(super) async fn sample(&self, host: &Host) -> Option<Sample> {
        self.flow.as_ref()?;
        let status = client::status(host, &self.http).await.ok()?;
        let flow = status.flows.first()?;
        let text = client::metrics(host, &self.http).await.ok()?;
        let metric = |name: &str| {
            let lines = text
                .lines()
                .filter_map(|line| line.strip_prefix(name)?.rsplit(' ').next());
            lines
                .filter_map(|value| value.parse::<f64>().ok())
                .sum::<f64>()
        };
        let (sum, count) = (
            metric("strait_batch_seconds_sum"),
            metric("strait_batch_seconds_count"),
        );
        Some(Sample {
            produced: 0,
            copied: flow.records?,
            bytes: flow.bytes?,
            lag: flow.lag,
            latency: Duration::from_secs_f64(if count > 0.0 { sum / count } else { 0.0 }),
        })
    }

    /// Ends everything; the folder, if it is kept.
    pub(super) fn end(mut self, keep: bool) -> Option<PathBuf> {
        self.folder.disable_cleanup(keep);
        keep.then(|| self.folder.path().to_owned())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = self.kill_flow() {
            tracing::warn!(%error, "the flow's process may still run");
        }
    }
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> DemoError {
    move |error| DemoError::Io { what, error }
}
