//! Signs of life of the flow.

use std::time::Duration;

use host::BoxFuture;

use super::keeper::{Content, KeepError};
use crate::{
    config::FlowConfig,
    flow::sync::groups::Copied,
    mm2::internal::{Encoded, Heartbeat},
    telemetry::Outage,
};

/// One record, again and again.
#[derive(Debug)]
pub(super) struct Heartbeats {
    source: String,
    target: String,
    period: Duration,
    /// Silent while that cluster is away.
    silent: Option<Outage>,
}

impl Heartbeats {
    pub(super) fn new(flow: &FlowConfig, period: Duration, silent: Option<Outage>) -> Self {
        Self {
            source: flow.source.clone(),
            target: flow.target.clone(),
            period,
            silent,
        }
    }
}

impl Content for Heartbeats {
    fn kind(&self) -> &'static str {
        "heartbeat"
    }

    fn period(&self) -> Duration {
        self.period
    }

    fn forget(&mut self) {}

    fn due<'a>(
        &'a mut self,
        _: &'a Copied,
        timestamp_ms: i64,
    ) -> BoxFuture<'a, Result<Vec<Encoded>, KeepError>> {
        let is_silent = self.silent.as_ref().is_some_and(Outage::is_away);
        let heartbeat = Heartbeat {
            source: self.source.clone(),
            target: self.target.clone(),
            timestamp_ms,
        };
        Box::pin(async move {
            match is_silent {
                true => Ok(Vec::new()),
                false => Ok(vec![heartbeat.encode()?]),
            }
        })
    }

    fn written(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, Sources},
        telemetry::Outages,
    };

    #[tokio::test]
    async fn the_sources_own_fall_silent_with_it() {
        let text = "[clusters.east]\nbootstrap.servers = \"e:1\"\n[clusters.west]\nbootstrap.servers = \"w:1\"\n\
             [[flows]]\nsource = \"east\"\ntarget = \"west\"\ntopics = [\".*\"]\n";
        let sources = Sources {
            variable: &|_| None,
            file: &|_| Err(std::io::ErrorKind::NotFound.into()),
        };
        let flow = Config::parse(text, &sources).unwrap().flows.remove(0);
        let outages = Outages::new("f", "east", "west");
        let period = Duration::from_secs(1);
        let mut own = Heartbeats::new(&flow, period, None);
        let mut copied = Heartbeats::new(&flow, period, Some(outages.source.clone()));
        let nothing = Copied::new();
        assert_eq!(copied.due(&nothing, 1).await.unwrap().len(), 1);
        outages.source.begins("test");
        assert!(copied.due(&nothing, 2).await.unwrap().is_empty());
        assert_eq!(own.due(&nothing, 2).await.unwrap().len(), 1);
        outages.source.succeeded(outages.source.attempt());
        assert_eq!(copied.due(&nothing, 3).await.unwrap().len(), 1);
    }
}
