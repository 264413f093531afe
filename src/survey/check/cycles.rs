//! Whether records would come back to a flow that has copied them, and whether clusters changed places.

use super::{FlowReport, note};
use crate::{
    flow::topics::{cycles::Web, writers::Writers},
    survey::Survey,
};

const WAY_OUT: &str =
    "leave the topic out of one of the flows, or give one of them another `naming`";

/// Cycles among the flows of one file.
pub(super) fn refuse(flows: &mut [FlowReport], web: &Web) {
    for flow in &mut *flows {
        let before = flow.problems.len();
        let cycles = flow
            .topics
            .iter()
            .filter_map(|topic| web.through(&flow.name, &topic.source));
        let found: Vec<_> = cycles
            .map(|cycle| format!("topics form a cycle: {cycle}: {WAY_OUT}"))
            .collect();
        flow.problems
            .extend(found.into_iter().map(|message| note("cycle", message)));
        if flow.problems.len() == before && !flow.knows_of_cycles() && !flow.topics.is_empty() {
            flow.pass(
                "cycles",
                "no topic is seen to come back to a flow that has copied it".to_owned(),
            );
        }
    }
    // `run` refuses it whether there is such a topic or not.
    if let Some(cycle) = web.by_pattern()
        && let Some(first) = cycle.flows.first()
        && let Some(flow) = flows.iter_mut().find(|flow| flow.name == *first)
        && !flow.has("cycle")
    {
        flow.passed.retain(|passed| passed.code != "cycles");
        flow.problem(
            "cycle",
            format!("topics would form a cycle: {cycle}: {WAY_OUT}"),
        );
    }
}

impl FlowReport {
    /// Whether something was said about cycles, or that nothing is known of some.
    fn knows_of_cycles(&self) -> bool {
        ["cycle", "cycle_at_rest", "groups_unreadable"]
            .iter()
            .any(|code| self.has(code))
    }

    /// Whether a problem or a warning with this code was found.
    fn has(&self, code: &str) -> bool {
        self.problems
            .iter()
            .chain(&self.warnings)
            .any(|found| found.code == code)
    }

    /// Cycles through other processes: `writers` are the flows that copy from the target to the source.
    pub(super) fn look_at_cycles(&mut self, survey: &Survey, writers: &Result<Writers, String>) {
        let (source, target) = (&survey.source.alias, &survey.target.alias);
        let writers = match writers {
            Ok(writers) => writers,
            Err(reason) => {
                let message = format!(
                    "the groups on {source} cannot be read ({reason}): another flow that copies topics back would not \
                     be noticed"
                );
                return self.warn("groups_unreadable", message);
            }
        };
        if writers.has(&survey.group) && survey.is_fresh {
            let group = &survey.group;
            let message = format!(
                "{source} and {target} have changed places: group {group} on {source} holds checkpoints of this flow that \
                 copied from {target}, and {target} has none; correct `source` and `target`, or give the flow another \
                 `name` if its direction is to be turned round"
            );
            return self.problem("swapped", message);
        }
        for topic in &survey.topics {
            let Some(existing) = &topic.existing else {
                continue;
            };
            let Some(writer) = writers.copying(existing.id, &topic.source) else {
                continue;
            };
            let (from, to, group) = (&topic.source, &topic.target, &writer.group);
            let way = format!("{source}:{from} → {target}:{to} → {source}:{from}");
            if writer.is_active() {
                let message = format!(
                    "topics form a cycle: {way}: the flow of group {group} on {source} copies it back; {WAY_OUT}"
                );
                self.problem("cycle", message);
            } else {
                let message = format!(
                    "{way}: the flow of group {group} on {source} copied it back and is at rest; keep it so, or delete \
                     the group"
                );
                self.warn("cycle_at_rest", message);
            }
        }
    }
}
