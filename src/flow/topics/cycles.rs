//! Whether records would go round in a cycle. Pure.
//!
//! They do if a flow copies a record and, by way of the flows of the same file, it arrives at a topic that the
//! same flow copies: under its old name, without end, or under a longer one each time round, until names are too
//! long. Chains and fans are no cycles, since no record passes a flow twice there.

use std::{collections::BTreeSet, fmt};

use super::{examples::examples, naming::Naming, selection::Selection};
use crate::config::FlowConfig;

/// The flows of a file, as what leads from cluster to cluster.
#[derive(Debug)]
pub struct Web(Vec<Strand>);

/// One flow.
#[derive(Debug)]
struct Strand {
    name: String,
    source: String,
    /// Which cluster its aliases stand for.
    from: String,
    to: String,
    selection: Selection,
    naming: Naming,
    patterns: Vec<String>,
}

/// A way by which records come back to a flow that has copied them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Cluster alias and topic; the last one is where the first flow would copy them again.
    pub places: Vec<(String, String)>,
    /// The flows between them.
    pub flows: Vec<String>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (cluster, topic)) in self.places.iter().enumerate() {
            let arrow = if index == 0 { "" } else { " → " };
            write!(f, "{arrow}{cluster}:{topic}")?;
        }
        if self.places.first() != self.places.last() {
            f.write_str(" → ...")?;
        }
        let flows = if self.flows.len() == 1 {
            "flow"
        } else {
            "flows"
        };
        write!(f, " ({flows} {})", self.flows.join(", "))
    }
}

impl Web {
    /// Of all flows of a file. `cluster` says what an alias stands for, where that is known better than by
    /// the alias itself: two aliases of one cluster are one place.
    pub fn new(flows: &[FlowConfig], cluster: impl Fn(&str) -> String) -> Self {
        let strands = flows.iter().map(|flow| Strand {
            name: flow.name.clone(),
            source: flow.source.clone(),
            from: cluster(&flow.source),
            to: cluster(&flow.target),
            selection: Selection::new(flow),
            naming: Naming::new(&flow.naming, &flow.source),
            patterns: flow
                .topics
                .iter()
                .map(|pattern| pattern.text().to_owned())
                .collect(),
        });
        Self(strands.collect())
    }

    /// A cycle that some topic would go round in, whether there is one of that name or not: shown with an example. There
    /// may be others, which [`Self::through`] finds once their topics are known.
    pub fn by_pattern(&self) -> Option<Cycle> {
        let patterns = self.0.iter().flat_map(|strand| &strand.patterns);
        let names: BTreeSet<_> = patterns.flat_map(|pattern| examples(pattern)).collect();
        let mut tries = self
            .0
            .iter()
            .flat_map(|flow| names.iter().map(move |name| (flow, name)));
        tries.find_map(|(flow, name)| self.through(&flow.name, name))
    }

    /// The cycle in which `flow` would send the records of its source topic `topic`.
    pub fn through(&self, flow: &str, topic: &str) -> Option<Cycle> {
        let first = self.0.iter().position(|strand| strand.name == flow)?;
        let mut walk = Walk {
            web: &self.0,
            first,
            seen: BTreeSet::new(),
            way: Vec::new(),
        };
        walk.copies(first, topic).then(|| {
            let way = walk
                .way
                .iter()
                .map(|(strand, _)| self.0[*strand].name.clone());
            let mut flows: Vec<_> = way.collect();
            // The last step is the first flow again, to be taken a second time.
            flows.pop();
            let alias =
                |(strand, topic): &(usize, String)| (self.0[*strand].source.clone(), topic.clone());
            Cycle {
                places: walk.way.iter().map(alias).collect(),
                flows,
            }
        })
    }
}

/// Follows the records of one topic through the web.
struct Walk<'a> {
    web: &'a [Strand],
    first: usize,
    /// Flow and source topic; what did not lead back once never does.
    seen: BTreeSet<(usize, String)>,
    way: Vec<(usize, String)>,
}

impl Walk<'_> {
    /// Whether records of `topic` come back to the first flow, if `strand` copies it; then `way` is how. Ends since
    /// names only grow, and not beyond what naming refuses.
    fn copies(&mut self, strand: usize, topic: &str) -> bool {
        let flow = &self.web[strand];
        if !flow.selection.selects(topic, false) {
            return false;
        }
        let back = strand == self.first && !self.way.is_empty();
        if !back && !self.seen.insert((strand, topic.to_owned())) {
            return false;
        }
        self.way.push((strand, topic.to_owned()));
        if back {
            return true;
        }
        let leads_back = flow.naming.target(topic).is_ok_and(|target| {
            let next = self
                .web
                .iter()
                .enumerate()
                .filter(|(_, next)| next.from == flow.to);
            next.map(|(index, _)| index)
                .any(|index| self.copies(index, &target))
        });
        if !leads_back {
            self.way.pop();
        }
        leads_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    /// Flows as `(source, target, topics, naming)`.
    fn web(flows: &[(&str, &str, &str, &str)]) -> Web {
        let mut text = String::new();
        for cluster in ["east", "west", "north"] {
            text.push_str(&format!(
                "[clusters.{cluster}]\nbootstrap.servers = \"{cluster}:9092\"\n"
            ));
        }
        for (source, target, topics, naming) in flows {
            text.push_str(&format!(
                "[[flows]]\nsource = \"{source}\"\ntarget = \"{target}\"\ntopics = ['{topics}']\nnaming = \"{naming}\"\n"
            ));
        }
        let sources = Sources {
            variable: &|_| None,
            file: &|_| Err(std::io::ErrorKind::NotFound.into()),
        };
        let config = Config::parse(&text, &sources).unwrap();
        Web::new(&config.flows, str::to_owned)
    }

    fn found(flows: &[(&str, &str, &str, &str)]) -> Option<String> {
        web(flows).by_pattern().map(|cycle| cycle.to_string())
    }

    #[test]
    fn a_pair_that_keeps_names_is_a_cycle() {
        let pair = [
            ("east", "west", "orders", "identity"),
            ("west", "east", "o.*", "identity"),
        ];
        assert_eq!(
            found(&pair).unwrap(),
            "east:orders → west:orders → east:orders (flows east-to-west, west-to-east)"
        );
        let web = web(&pair);
        assert!(web.through("east-to-west", "orders").is_some());
        assert!(web.through("west-to-east", "orders").is_some());
        assert!(
            web.through("west-to-east", "other").is_none(),
            "the other flow does not copy it"
        );
    }

    #[test]
    fn a_pair_with_a_prefix_is_none_if_copies_are_left_alone() {
        let prefix = |topics| {
            [
                ("east", "west", topics, "prefix"),
                ("west", "east", topics, "prefix"),
            ]
        };
        assert_eq!(found(&prefix("orders")), None);
        assert_eq!(
            found(&prefix(".*")).unwrap(),
            "east:topic → west:east.topic → east:west.east.topic → ... (flows east-to-west, west-to-east)"
        );
    }

    #[test]
    fn cycles_may_be_long_and_need_every_step() {
        let mut ring = vec![
            ("east", "west", ".*", "identity"),
            ("west", "north", "orders", "identity"),
            ("north", "east", "orders|other", "identity"),
        ];
        assert!(
            found(&ring)
                .unwrap()
                .starts_with("east:orders → west:orders → north:orders → east:orders")
        );
        ring[1].2 = "invoices";
        assert_eq!(found(&ring), None);
    }

    #[test]
    fn chains_and_fans_are_none() {
        let chain = [
            ("east", "west", ".*", "identity"),
            ("west", "north", ".*", "identity"),
        ];
        let fan = [
            ("east", "west", ".*", "identity"),
            ("east", "north", ".*", "identity"),
        ];
        let merge = [
            ("east", "north", ".*", "prefix"),
            ("west", "north", ".*", "prefix"),
        ];
        let apart = [
            ("east", "west", "a.*", "identity"),
            ("west", "east", "b.*", "identity"),
        ];
        for flows in [&chain[..], &fan, &merge, &apart] {
            assert_eq!(found(flows), None, "{flows:?}");
        }
    }

    /// A flow that feeds a cycle is not in it.
    #[test]
    fn what_leads_into_a_cycle_is_not_in_it() {
        let flows = web(&[
            ("north", "east", "orders", "identity"),
            ("east", "west", "orders", "identity"),
            ("west", "east", "orders", "identity"),
        ]);
        assert!(flows.through("north-to-east", "orders").is_none());
        assert!(flows.through("east-to-west", "orders").is_some());
    }

    #[test]
    fn two_aliases_of_one_cluster_are_one_place() {
        let pair = [
            ("east", "west", "orders", "identity"),
            ("west", "north", "orders", "identity"),
        ];
        assert_eq!(found(&pair), None);
        let mut same = web(&pair);
        for strand in &mut same.0 {
            for place in [&mut strand.from, &mut strand.to] {
                if place == "north" {
                    *place = "east".to_owned();
                }
            }
        }
        let cycle = same.by_pattern().unwrap().to_string();
        assert!(
            cycle.starts_with("east:orders → west:orders → east:orders"),
            "{cycle}"
        );
    }
}
