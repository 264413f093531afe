//! The librdkafka producer as a sink: idempotent, at least once across restarts.
//!
//! One producer per codec and batch size. After any failed delivery a producer is *broken* for good:
//! librdkafka would renumber and deliver what stands behind the refused record, which is out of order
//! for us. So everything it still holds is purged, every lane hears about each of its batches, and
//! the next lane gets a new producer, which is not made before the old one has no answer outstanding
//! (EXACTNESS 15).

mod lane;
mod producer;

use std::{collections::HashMap, sync::Arc, time::Duration};

use host::BoxFuture;
use rdkafka::ClientConfig;
use tokio::sync::Mutex;
use wire::{TopicPartition, record::Codec};

use self::{lane::LibrdkafkaLane, producer::Generation};
use super::{Form, Lane, Limits, Sink, SinkError};
use crate::telemetry::Outage;

/// Room that a batch's own header takes of what the target topic allows.
const BATCH_OVERHEAD: usize = 1024;
/// Batches are not made larger than this, whatever the target takes.
const MAX_BATCH: usize = 1_000_000;
/// Between two looks at what a broken producer still holds.
const PURGE_POLL: Duration = Duration::from_millis(10);

/// Producers of one flow.
#[derive(Debug)]
pub struct LibrdkafkaSink {
    settings: Settings,
    producers: Mutex<HashMap<(Codec, usize), Arc<Generation>>>,
}

/// What a sink needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's properties of the cluster.
    pub properties: ClientConfig,
    /// Told when no broker can be reached.
    pub outage: Outage,
    /// Bytes that may be in flight: librdkafka's queue is as large, so that it is never what is full first.
    pub budget: usize,
}

impl LibrdkafkaSink {
    /// Producers are made when lanes open.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            producers: Mutex::default(),
        }
    }

    /// The producer for these batches; a new one in place of a broken one.
    async fn generation(&self, codec: Codec, batch: usize) -> Result<Arc<Generation>, String> {
        let mut producers = self.producers.lock().await;
        if let Some(generation) = producers.get(&(codec, batch)) {
            if !generation.is_broken() {
                return Ok(Arc::clone(generation));
            }
            // Its last answers must be known before anything is sent again.
            while generation.outstanding() > 0 {
                tokio::time::sleep(PURGE_POLL).await;
            }
        }
        let generation = Generation::start(&self.settings, codec, batch);
        let generation = Arc::new(generation.map_err(|error| error.to_string())?);
        producers.insert((codec, batch), Arc::clone(&generation));
        Ok(generation)
    }
}

impl Sink for LibrdkafkaSink {
    fn form(&self) -> Form {
        Form::Open
    }

    fn open<'a>(
        &'a self,
        partition: &'a TopicPartition,
        limits: &'a Limits,
    ) -> BoxFuture<'a, Result<Box<dyn Lane>, SinkError>> {
        Box::pin(async move {
            let Limits {
                codec,
                max_batch_bytes,
                ..
            } = *limits;
            let batch = max_batch_bytes
                .saturating_sub(BATCH_OVERHEAD)
                .clamp(1, MAX_BATCH);
            let generation = self.generation(codec, batch).await;
            let generation = generation.map_err(|reason| SinkError::Lost {
                partition: partition.clone(),
                reason,
                unanswered: false,
            })?;
            let limit = (codec == Codec::None).then_some(max_batch_bytes);
            Ok(
                Box::new(LibrdkafkaLane::new(generation, partition.clone(), limit))
                    as Box<dyn Lane>,
            )
        })
    }

    /// librdkafka cannot drop one partition's records alone.
    fn recall(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let producers = self.producers.lock().await;
            let holds = |generation: &&Arc<Generation>| generation.outstanding() > 0;
            producers
                .values()
                .filter(holds)
                .for_each(|generation| generation.fail());
        })
    }
}
