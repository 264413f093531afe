//! Where the topics of a cluster come from, through flows of any processes.
//!
//! Each leader keeps in its control topic, for a source topic that is a copy itself, the ways by which its records came there.
//! Whoever reads from a cluster reads the control topics of the flows into it, and knows all ways to its own topics: those
//! that these flows keep, each with one place more. So what is copied is known over any number of flows, as far as
//! each of them may read the `strait.*` topics of its source. A flow that finds its own target topic among the places, or
//! itself among the flows, would close a cycle.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use wire::client::Client;

use super::writers::{GROUPS, Writers};
use crate::checkpoint::control_topic::{
    ControlError, ControlRecords, ControlTopic, Origin, TopicKey, Way,
};

/// Ways to one topic that are followed: it may be merged of several.
const MAX_WAYS: usize = 16;
/// Places of one way; no flow is in a way twice.
const MAX_PLACES: usize = 64;
/// Flows into one cluster whose control topics are read.
const MAX_FLOWS: usize = 256;

/// What control topics held when they were read last, by group: nothing is read twice.
#[derive(Debug, Default)]
pub struct Known(BTreeMap<String, (i64, ControlRecords)>);

/// The ways to the topics of one cluster.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    by_topic: BTreeMap<String, Vec<Way>>,
    /// A flow whose ways could not be read, and why.
    pub unread: Option<(String, String)>,
}

/// What a flow is about to copy.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The flow.
    pub flow: &'a str,
    /// Cluster id, alias and topic.
    pub source: (&'a str, &'a str, &'a str),
    /// The same of its target.
    pub target: (&'a str, &'a str, &'a str),
}

impl Origins {
    /// Reads them from the control topics of the flows among `writers` that are at work. A control topic that may not be
    /// read is told, and no error.
    ///
    /// # Errors
    /// If the cluster behind `client` does not answer.
    pub async fn read(
        client: &Client,
        writers: &Writers,
        known: &mut Known,
    ) -> Result<Self, ControlError> {
        let mut origins = Self::default();
        let groups = writers.at_work();
        known
            .0
            .retain(|group, _| groups.contains_key(group.as_str()));
        for (group, copies) in groups.into_iter().take(MAX_FLOWS) {
            let Some(flow) = group.strip_prefix(GROUPS) else {
                continue;
            };
            let control = ControlTopic::new(client.clone(), flow);
            match known.look(group, &control).await {
                Ok(records) => origins.take(flow, records, &copies),
                Err(error) if error.is_passing() => return Err(error),
                Err(error) => origins.unread = Some((flow.to_owned(), error.to_string())),
            }
        }
        Ok(origins)
    }

    fn take(&mut self, flow: &str, records: &ControlRecords, copies: &BTreeSet<(Uuid, &str)>) {
        let Some(about) = &records.flow else { return };
        for (key, record) in &records.topics {
            let target = record.target_topic.as_str();
            match key {
                TopicKey::Id(id) if copies.contains(&(*id, target)) => {}
                _ => continue,
            }
            let last = Origin {
                cluster: about.source_cluster.clone(),
                alias: about.source_alias.clone(),
                topic: record.source_topic.clone(),
                flow: flow.to_owned(),
            };
            let beginning = Vec::new();
            let ways = match record.ways.as_slice() {
                [] => std::slice::from_ref(&beginning),
                ways => ways,
            };
            let all = self
                .by_topic
                .entry(record.target_topic.clone())
                .or_default();
            let room = MAX_WAYS.saturating_sub(all.len());
            all.extend(ways.iter().take(room).map(|way| {
                let skip = (way.len() + 1).saturating_sub(MAX_PLACES);
                let places = way.iter().skip(skip).chain([&last]);
                places.cloned().collect()
            }));
        }
    }

    /// The ways to `step`'s source topic that it does not close: what the flow keeps, for those behind it.
    pub fn open(&self, step: Step<'_>) -> Vec<Way> {
        let ways = self.by_topic.get(step.source.2).into_iter().flatten();
        ways.filter(|way| closes(way, step).is_none())
            .cloned()
            .collect()
    }

    /// The cycle that `step` would close.
    pub fn cycle(&self, step: Step<'_>) -> Option<String> {
        let ways = self.by_topic.get(step.source.2)?.iter();
        let (way, from) = ways
            .filter_map(|way| closes(way, step).map(|from| (way, from)))
            .next()?;
        Some(text(&way[from..], step))
    }
}

impl Known {
    async fn look(
        &mut self,
        group: &str,
        control: &ControlTopic,
    ) -> Result<&ControlRecords, ControlError> {
        let end = control.end().await?;
        if self.0.get(group).is_none_or(|(known, _)| *known != end) {
            let records = control.read().await?;
            self.0.insert(group.to_owned(), (end, records));
        }
        Ok(&self.0[group].1)
    }
}

/// The last place of `way` from which records come back there by `step`: its target, or a flow that has copied them before.
fn closes(way: &Way, step: Step<'_>) -> Option<usize> {
    let (source, (target, _, topic)) = (step.source.0, step.target);
    way.iter().rposition(|place| {
        let is_target = place.cluster == target && place.topic == topic;
        is_target || (place.flow == step.flow && place.cluster == source)
    })
}

fn text(way: &[Origin], step: Step<'_>) -> String {
    let place = |alias: &str, topic: &str| format!("{alias}:{topic}");
    // The flow's own names for its clusters, and for others those of the flows that told.
    let alias = |origin: &Origin| {
        let known = [step.source, step.target];
        let known = known.iter().find(|(id, ..)| *id == origin.cluster);
        known.map_or_else(
            || match origin.alias.is_empty() {
                true => origin.cluster.clone(),
                false => origin.alias.clone(),
            },
            |(_, alias, _)| (*alias).to_owned(),
        )
    };
    let mut places: Vec<_> = way
        .iter()
        .map(|origin| place(&alias(origin), &origin.topic))
        .collect();
    for (_, alias, topic) in [step.source, step.target] {
        places.push(place(alias, topic));
    }
    if places.first() != places.last() {
        places.push("...".to_owned());
    }
    let flows = way.iter().map(|origin| origin.flow.as_str());
    let flows: Vec<_> = flows.chain([step.flow]).collect();
    format!("{} (flows {})", places.join(" → "), flows.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(cluster: &str, topic: &str, flow: &str) -> Origin {
        Origin {
            cluster: format!("id-{cluster}"),
            alias: cluster.to_owned(),
            topic: topic.to_owned(),
            flow: flow.to_owned(),
        }
    }

    fn origins(topic: &str, ways: &[&[(&str, &str, &str)]]) -> Origins {
        let ways = ways.iter().map(|way| {
            let places = way.iter();
            places.map(|(c, t, flow)| origin(c, t, flow)).collect()
        });
        Origins {
            by_topic: BTreeMap::from([(topic.to_owned(), ways.collect())]),
            unread: None,
        }
    }

    fn step<'a>(flow: &'a str, source: [&'a str; 3], target: [&'a str; 3]) -> Step<'a> {
        let [source, target] = [source, target].map(|[id, alias, topic]| (id, alias, topic));
        Step {
            flow,
            source,
            target,
        }
    }

    #[test]
    fn a_ring_of_three_is_closed_by_its_last_flow() {
        let origins = origins("orders", &[&[("a", "orders", "ab"), ("b", "orders", "bc")]]);
        let (c, a) = (["id-c", "c", "orders"], ["id-a", "north", "orders"]);
        let last = step("ca", c, a);
        assert_eq!(
            origins.cycle(last).unwrap(),
            "north:orders → b:orders → c:orders → north:orders (flows ab, bc, ca)"
        );
        assert!(origins.open(last).is_empty());
        // Into a cluster that it did not come from, or another topic there, it goes on.
        for target in [["id-d", "d", "orders"], ["id-a", "a", "c.orders"]] {
            let chain = step("c-on", c, target);
            assert_eq!(origins.cycle(chain), None);
            assert_eq!(origins.open(chain)[0].len(), 2);
        }
    }

    /// Names that only grow never come to the same topic again, but to the same flow.
    #[test]
    fn a_name_that_grows_is_noticed_by_the_flow_that_it_passed() {
        let way: &[_] = &[("a", "t", "ab"), ("b", "a.t", "bc"), ("c", "b.a.t", "ca")];
        let origins = origins("c.b.a.t", &[way]);
        let (a, b) = (["id-a", "a", "c.b.a.t"], ["id-b", "b", "a.c.b.a.t"]);
        assert_eq!(
            origins.cycle(step("ab", a, b)).unwrap(),
            "a:t → b:a.t → c:b.a.t → a:c.b.a.t → b:a.c.b.a.t → ... (flows ab, bc, ca, ab)"
        );
        // A flow of the same name elsewhere is another one.
        let other = step("ab", ["id-x", "x", "c.b.a.t"], b);
        assert_eq!(origins.cycle(other), None);
    }

    #[test]
    fn of_several_ways_those_that_are_open_are_kept() {
        let origins = origins("t", &[&[("a", "t", "ac")], &[("b", "t", "bc")]]);
        let into_b = step("cb", ["id-c", "c", "t"], ["id-b", "b", "t"]);
        assert_eq!(
            origins.cycle(into_b).unwrap(),
            "b:t → c:t → b:t (flows bc, cb)"
        );
        assert_eq!(origins.open(into_b), [vec![origin("a", "t", "ac")]]);
    }
}
