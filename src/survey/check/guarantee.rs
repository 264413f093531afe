//! What the flow would provide: the target is probed.

use std::collections::BTreeMap;

use host::Host;

use super::{FlowReport, Report, facts::Facts};
use crate::{
    cluster::guarantee::{Once, Probed, TOPIC},
    config::{FlowConfig, Transport},
    flow::provides::{provides, refusal},
    survey::collect::Pair,
};

/// Problems that speak of the wrong cluster, or keep the flow from starting: nothing is written to its target.
const LEFT_ALONE: &[&str] = &[
    "control_topic",
    "cycle",
    "foreign_cluster",
    "same_cluster",
    "swapped",
    "unreachable",
];

impl Report {
    /// Probes the targets, each once.
    pub(super) async fn probe(&mut self, host: &Host, pairs: &[Pair<'_>]) {
        let mut probes: BTreeMap<&str, Once> = BTreeMap::new();
        for (report, pair) in self.flows.iter_mut().zip(pairs) {
            let flow = pair.flow;
            if flow.transport == Transport::Librdkafka || report.is_to_be_left_alone() {
                continue;
            }
            let once = probes.entry(&flow.target).or_default();
            let factor = flow.defaults.replication_factor;
            let probed = once.get(&pair.target.client, host, factor).await;
            let probed = probed.cloned().unwrap_or_else(Probed::Not);
            report.look_at_guarantee(flow, &probed);
        }
        self.ready = self.flows.iter().all(|flow| flow.problems.is_empty());
    }
}

impl FlowReport {
    fn is_to_be_left_alone(&self) -> bool {
        let mut problems = self.problems.iter();
        problems.any(|problem| LEFT_ALONE.contains(&problem.code))
    }

    pub(super) fn look_at_guarantee(&mut self, flow: &FlowConfig, probed: &Probed) {
        self.provides = provides(flow.transport, probed, self.expiration);
        let target = &self.target.cluster;
        if let Some(refusal) = refusal(flow, probed, &self.provides) {
            self.problem("guarantee", refusal);
        } else if self.provides.is_exactly_once() {
            let message = format!("{target} does what exactly once rests on (probed on {TOPIC})");
            self.pass("guarantee", message);
        } else {
            let message = format!("{target}: {}", self.provides.guarantee_reason);
            self.warn("at_least_once", message);
        }
    }

    pub(super) fn look_at_expiration(&mut self, facts: &Facts) {
        match &facts.expiration {
            None => {}
            Some(Ok(expiration)) => self.expiration = Some(*expiration),
            Some(Err(reason)) => {
                let target = &self.target.cluster;
                let message = format!(
                    "{target} does not tell its producer.id.expiration.ms ({reason}): batches are written one at a \
                     time; DescribeConfigs on the cluster would tell, or producer_id_expiration under its [clusters.{target}.strait]"
                );
                self.warn("expiration_unknown", message);
            }
        }
    }
}
