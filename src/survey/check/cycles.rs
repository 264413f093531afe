//! Whether records would come back to a flow that has copied them, and whether clusters changed places.

use super::{FlowReport, note};
use crate::{
    flow::topics::{
        cycles::Web,
        origins::{Origins, Step},
        writers::{Writer, Writers},
    },
    survey::{Survey, Topic},
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

    /// Cycles through other processes: `writers` are the flows that copy to the source, `origins` is where its topics come from.
    pub(super) fn look_at_cycles(
        &mut self,
        survey: &Survey,
        writers: &Result<Writers, String>,
        origins: &Result<Origins, String>,
    ) {
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
        if writers.has(&survey.group, &survey.target.cluster_id) && survey.is_fresh {
            let group = &survey.group;
            let message = format!(
                "{source} and {target} have changed places: group {group} on {source} holds checkpoints of this flow that \
                 copied from {target}, and {target} has none; correct `source` and `target`, or give the flow another \
                 `name` if its direction is to be turned round"
            );
            return self.problem("swapped", message);
        }
        self.look_at_unread(source, origins);
        for topic in &survey.topics {
            let existing = topic.existing.as_ref();
            let writer = existing.and_then(|it| writers.copying(it.id, &topic.source));
            match writer {
                Some(writer) => self.copied_back(survey, topic, writer),
                None => self.come_back(survey, topic, origins.as_ref().ok()),
            }
        }
    }

    /// Directly, by another flow.
    fn copied_back(&mut self, survey: &Survey, topic: &Topic, writer: &Writer) {
        let (source, target) = (&survey.source.alias, &survey.target.alias);
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

    /// Through further clusters.
    fn come_back(&mut self, survey: &Survey, topic: &Topic, origins: Option<&Origins>) {
        let (source, target) = (&survey.source, &survey.target);
        let step = Step {
            flow: &survey.flow,
            source: (&source.cluster_id, &source.alias, &topic.source),
            target: (&target.cluster_id, &target.alias, &topic.target),
        };
        if let Some(cycle) = origins.and_then(|origins| origins.cycle(step)) {
            let message = format!("topics form a cycle: {cycle}: {WAY_OUT}");
            self.problem("cycle", message);
        }
    }

    fn look_at_unread(&mut self, source: &str, origins: &Result<Origins, String>) {
        let unread = match origins {
            Ok(origins) => origins.unread.as_ref().map(|(flow, reason)| {
                format!("where flow {flow} into {source} takes its topics from cannot be read ({reason})")
            }),
            Err(reason) => Some(format!(
                "where the topics of {source} come from cannot be read ({reason})"
            )),
        };
        if let Some(unread) = unread {
            let message =
                format!("{unread}: a cycle through further clusters would not be noticed");
            self.warn("groups_unreadable", message);
        }
    }
}
