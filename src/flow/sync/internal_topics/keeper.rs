//! Keeps one topic: makes it, writes what is due, and goes on after errors.

use std::{fmt::Debug, time::Duration};

use host::BoxFuture;

use super::Settings;
use crate::{
    base::backoff::Backoff,
    checkpoint::{
        offset_map::MapError,
        own_topic::{OwnTopic, TopicError},
    },
    flow::sync::groups::Copied,
    mm2::internal::{Encoded, FormatError},
    telemetry,
};

/// Records of one write.
pub(super) const MAX_RECORDS: usize = 1_000;
/// Where more is due than that, and behind the creation of the topic: brokers hear of it one after the other.
const SHORT: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// What is in the topic.
pub(super) trait Content: Send + Debug {
    /// Which kind it is, for the metric.
    fn kind(&self) -> &'static str;

    /// Between two looks.
    fn period(&self) -> Duration;

    /// This process does not lead: what it wrote is not to be relied on.
    fn forget(&mut self);

    /// What is to be written at `now_ms`, [`MAX_RECORDS`] at most. Cancel-safe.
    fn due<'a>(
        &'a mut self,
        copied: &'a Copied,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<Vec<Encoded>, KeepError>>;

    /// What was due is written.
    fn written(&mut self);
}

/// A round could not be finished.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error("on the target: {0}")]
    Topic(#[from] TopicError),
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("a record cannot be written: {0}")]
    Format(#[from] FormatError),
}

/// The job.
#[derive(Debug)]
pub(super) struct Keeper {
    flow: String,
    topic: OwnTopic,
    replicas: i16,
    settings: Settings,
    content: Box<dyn Content>,
    is_there: bool,
    failing: bool,
    backoff: Backoff,
}

impl Keeper {
    pub(super) fn new(
        flow: &str,
        topic: OwnTopic,
        replicas: i16,
        settings: Settings,
        content: Box<dyn Content>,
    ) -> Self {
        Self {
            flow: flow.to_owned(),
            topic,
            replicas,
            settings,
            content,
            is_there: false,
            failing: false,
            backoff: Backoff::new(FIRST_PAUSE, LAST_PAUSE),
        }
    }

    /// Writes again and again.
    pub(super) async fn run(mut self) {
        loop {
            let pause = self.round().await;
            self.settings.host.clock.sleep(pause).await;
        }
    }

    /// One look; how long until the next. Cancel-safe: what may not be written is written again.
    async fn round(&mut self) -> Duration {
        let copied = self.settings.copied.borrow().clone();
        let Some(copied) = copied else {
            self.content.forget();
            self.is_there = false;
            return self.content.period();
        };
        let written = self.write(&copied).await;
        let (flow, topic) = (&self.flow, &self.topic.partition.topic);
        match written {
            Ok(is_all) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(%flow, %topic, "the topic for MirrorMaker 2's clients is kept again");
                }
                self.backoff.reset();
                if is_all { self.content.period() } else { SHORT }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%flow, %topic, %error, "a topic for MirrorMaker 2's clients cannot be kept now");
                }
                self.backoff.delay(&*self.settings.host.random)
            }
        }
    }

    /// Whether all that was due is written.
    async fn write(&mut self, copied: &Copied) -> Result<bool, KeepError> {
        let lease = &self.settings.lease;
        if !self.is_there {
            if !lease.may_write() {
                return Ok(true);
            }
            if self.topic.ensure(self.replicas).await? {
                return Ok(false);
            }
            self.is_there = true;
        }
        let now_ms = self.settings.host.clock.wall_ms();
        let due = self.content.due(copied, now_ms).await?;
        if due.is_empty() || !lease.may_write() {
            return Ok(true);
        }
        let (count, is_all) = (due.len() as u64, due.len() < MAX_RECORDS);
        let records = due
            .into_iter()
            .map(|record| (record.key, Some(record.value)));
        if let Err(error) = self.topic.write(records, now_ms).await {
            // It may be gone, whichever way that shows.
            self.is_there = false;
            return Err(error.into());
        }
        self.content.written();
        telemetry::mm2_records(&self.flow, self.content.kind(), count);
        Ok(is_all)
    }
}
