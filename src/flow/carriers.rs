//! Which source and sink carry the records of a flow: our own, which keep batches sealed and write exactly once,
//! or librdkafka.

use std::{sync::Arc, time::Duration};

use super::{Flow, FlowError, boot::Booted, workers::Sealing};
use crate::{
    base::budget::Budget,
    sink::{self, Sink, wire::WireSink},
    source::{self, Source, wire::WireSource},
    worker::{Lease, reconcile::TargetReader},
};

/// Enough for answers and batches of the usual sizes, however low a rate is: the least that `[limits] memory` may
/// be.
const MIN_BUDGET: usize = 1 << 20;

/// A source and a sink that fit.
pub(super) struct Carriers {
    pub(super) source: Arc<dyn Source>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) sealing: Option<Sealing>,
}

impl Flow {
    /// What the flow may have in flight: no more than it may copy in a second or so, if it has a rate, so that it
    /// does not hold what other flows need.
    fn rated_budget(&self) -> Budget {
        match self.config.rate.bytes {
            None => self.budget.clone(),
            Some(rate) => {
                let second = usize::try_from(rate.get()).unwrap_or(usize::MAX);
                self.budget.part(second.max(MIN_BUDGET))
            }
        }
    }

    pub(super) fn carriers(
        &self,
        booted: &Booted,
        lease: Arc<dyn Lease>,
    ) -> Result<Carriers, FlowError> {
        if booted.provides.is_sealed() {
            Ok(self.wire(booted.expiration, lease))
        } else {
            self.librdkafka()
        }
    }

    fn wire(&self, expiration: Option<Duration>, lease: Arc<dyn Lease>) -> Carriers {
        let config = &self.config;
        let source = WireSource::new(source::wire::Settings {
            client: self.source.client().clone(),
            host: self.host.clone(),
            isolation: config.isolation,
            budget: self.rated_budget(),
            outage: self.outages.source.clone(),
            rack: self.source.rack().map(str::to_owned),
        });
        let target = self.target.client().clone();
        let outage = self.outages.target.clone();
        Carriers {
            source: Arc::new(source),
            sink: Arc::new(WireSink::new(
                target.clone(),
                self.host.clone(),
                outage,
                lease,
            )),
            sealing: Some(Sealing {
                reconciler: Arc::new(TargetReader::new(target)),
                expiration,
            }),
        }
    }

    fn librdkafka(&self) -> Result<Carriers, FlowError> {
        let config = &self.config;
        let source = source::librdkafka::LibrdkafkaSource::start(source::librdkafka::Settings {
            properties: self.source.properties(),
            client: self.source.client().clone(),
            flow: config.name.clone(),
            cluster: config.source.clone(),
            outage: self.outages.source.clone(),
            isolation: config.isolation,
            budget: self.rated_budget(),
            clock: Arc::clone(&self.host.clock),
        });
        let source = source.map_err(|error| FlowError::Source {
            alias: config.source.clone(),
            reason: format!("{error:#}"),
        })?;
        let sink = sink::librdkafka::LibrdkafkaSink::new(sink::librdkafka::Settings {
            properties: self.target.properties(),
            outage: self.outages.target.clone(),
            budget: self.budget.total(),
        });
        Ok(Carriers {
            source: Arc::new(source),
            sink: Arc::new(sink),
            sealing: None,
        })
    }
}
