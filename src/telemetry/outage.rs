//! A cluster is away, or back: one count and one line each, however many parts of a flow notice.
//!
//! Source, sink and supervisor notice at different moments, and what was on its way when the cluster went
//! still arrives. So whoever notices first begins the outage, and only a call that was made after that
//! and succeeded ends it. The supervisor asks both clusters every few seconds, so an end is not missed.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use wire::TopicPartition;

use super::{events::Throttle, metrics};

/// Whether one cluster is away for one flow. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Outage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    flow: String,
    cluster: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    away: bool,
    /// Outages so far.
    begun: u64,
}

/// A call on the cluster that is to be made; see [`Outage::attempt`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Attempt(u64);

/// Both clusters of one flow.
#[derive(Clone, Debug)]
pub struct Outages {
    /// The side that is read.
    pub source: Outage,
    /// The side that is written to.
    pub target: Outage,
}

impl Outages {
    /// Both are there, as far as `flow` knows.
    pub fn new(flow: &str, source: &str, target: &str) -> Self {
        Self {
            source: Outage::new(flow, source),
            target: Outage::new(flow, target),
        }
    }

    /// That of the cluster with this alias; the source's if it is not the target.
    pub fn of(&self, cluster: &str) -> &Outage {
        if self.target.0.cluster == cluster {
            &self.target
        } else {
            &self.source
        }
    }
}

impl Outage {
    fn new(flow: &str, cluster: &str) -> Self {
        Self(Arc::new(Inner {
            flow: flow.to_owned(),
            cluster: cluster.to_owned(),
            state: Mutex::default(),
        }))
    }

    /// No broker of the cluster can be reached.
    pub fn begins(&self, reason: &str) {
        let mut state = self.state();
        if std::mem::replace(&mut state.away, true) {
            return;
        }
        state.begun += 1;
        drop(state);
        let (flow, cluster) = (self.0.flow.clone(), self.0.cluster.clone());
        tracing::warn!(%flow, %cluster, reason, "cluster is unreachable, trying again");
        metrics::OUTAGES.counter(&[&flow, &cluster]).increment(1);
    }

    /// Counts how long the cluster's brokers ask the flow to wait, in answers to `request`.
    pub fn throttle(&self, request: &str) -> Throttle {
        Throttle::new(&self.0.flow, &self.0.cluster, request)
    }

    /// A partition of the cluster goes by a second connection to its broker for `stay`, since it holds others back.
    pub fn set_aside(&self, partition: &TopicPartition, why: &str, stay: Duration) {
        let (flow, cluster) = (&self.0.flow, &self.0.cluster);
        let seconds = stay.as_secs();
        tracing::info!(%flow, %cluster, %partition, why, seconds, "partition holds others back: it goes by the second connection to its broker");
        metrics::SET_ASIDE.counter(&[flow, cluster]).increment(1);
    }

    /// Whether it is away, as far as the flow knows.
    pub fn is_away(&self) -> bool {
        self.state().away
    }

    /// To be taken before a call on the cluster is made.
    pub fn attempt(&self) -> Attempt {
        Attempt(self.state().begun)
    }

    /// The call succeeded: the cluster is back, unless it went after the call was made.
    pub fn succeeded(&self, Attempt(begun): Attempt) {
        let mut state = self.state();
        if state.begun != begun || !std::mem::take(&mut state.away) {
            return;
        }
        drop(state);
        tracing::info!(flow = %self.0.flow, cluster = %self.0.cluster, "cluster is reachable again");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::testing::listener;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Runs `events` on a flow's outages; how often each line was logged, and the counts.
    fn told(events: impl FnOnce(&Outages)) -> ([usize; 2], String) {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone());
        let recorder = PrometheusBuilder::new().build_recorder();
        tracing::dispatcher::with_default(&listener(log.finish()), || {
            ::metrics::with_local_recorder(&recorder, || {
                events(&Outages::new("f", "east", "west"))
            });
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let count = |what| text.matches(what).count();
        let told = [count("cluster is unreachable"), count("reachable again")];
        (told, recorder.handle().render())
    }

    fn counted(rendered: &str, cluster: &str) -> Option<u64> {
        let start = format!("strait_outages_total{{flow=\"f\",cluster=\"{cluster}\"}} ");
        let mut lines = rendered.lines();
        lines.find_map(|line| line.strip_prefix(&start)?.parse().ok())
    }

    #[test]
    fn an_outage_that_three_parts_notice_is_one() {
        let (told, counts) = told(|outages| {
            let [supervisor, source, sink] = [0; 3].map(|_| outages.of("west").clone());
            let before = supervisor.attempt();
            sink.begins("all brokers down");
            source.begins("all brokers down");
            // What was asked before it went is no proof that it is back.
            supervisor.succeeded(before);
            supervisor.begins("connection refused");
            let after = supervisor.attempt();
            supervisor.succeeded(after);
            supervisor.succeeded(supervisor.attempt());
        });
        assert_eq!(told, [1, 1]);
        assert_eq!(
            (counted(&counts, "west"), counted(&counts, "east")),
            (Some(1), None)
        );
    }

    #[test]
    fn what_brokers_ask_for_by_quota_adds_up() {
        let (_, counts) = told(|outages| {
            let throttle = outages.source.throttle("fetch");
            for ms in [250, 0, -1, 50] {
                throttle.asked(ms);
            }
        });
        let line =
            r#"strait_throttle_milliseconds_total{flow="f",cluster="east",request="fetch"} 300"#;
        assert!(counts.contains(line), "{counts}");
    }

    #[test]
    fn outages_are_counted_by_cluster_and_one_by_one() {
        let (told, counts) = told(|outages| {
            for cluster in ["east", "west", "east"] {
                let outage = outages.of(cluster);
                outage.begins("away");
                outage.succeeded(outage.attempt());
            }
        });
        assert_eq!(told, [3, 3]);
        assert_eq!(
            (counted(&counts, "east"), counted(&counts, "west")),
            (Some(2), Some(1))
        );
    }
}
