//! Changes configs of topics on the target, without those that it refuses.
//!
//! A broker takes all changes of a topic or none. Where it names the config that it refuses, the others are asked for
//! again; where it names none, each by itself.

use std::collections::{BTreeMap, VecDeque};

use wire::{
    client::{Client, Outcomes},
    error::{ApiError, ClientError},
};

use crate::{
    flow::topics::{configs::Change, create::is_named},
    worker::Lease,
};

/// INVALID_CONFIG, INVALID_REQUEST, POLICY_VIOLATION: about what was to be set.
const ABOUT_CONFIGS: [i16; 3] = [40, 42, 44];

/// A change to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::flow) struct Step {
    pub(in crate::flow) change: Change,
    /// It undoes what somebody changed on the target.
    pub(in crate::flow) sets_back: bool,
}

/// What became of the steps of one topic.
#[derive(Debug, Default)]
pub(in crate::flow) struct Altered {
    pub(in crate::flow) done: Vec<Step>,
    /// What the target does not take, with its reason.
    pub(in crate::flow) refused: Vec<(Step, String)>,
    /// Why the topic could not be changed at all.
    pub(in crate::flow) failed: Option<ApiError>,
    /// Not all of it was asked for: this process may not write at the moment.
    pub(in crate::flow) unasked: bool,
}

/// Topics of the target by name, each with the steps that are asked for together.
struct Pending(BTreeMap<String, VecDeque<Vec<Step>>>);

/// Asks the target for `steps`, by topic; under the lease.
///
/// # Errors
/// If the target cannot be reached; what was done until then is found at the next look.
pub(in crate::flow) async fn alter(
    client: &Client,
    lease: &dyn Lease,
    steps: BTreeMap<String, Vec<Step>>,
) -> Result<BTreeMap<String, Altered>, ClientError> {
    let mut altered: BTreeMap<String, Altered> = BTreeMap::new();
    let steps = steps.into_iter().filter(|(_, steps)| !steps.is_empty());
    let mut pending = Pending(steps.map(|(name, steps)| (name, [steps].into())).collect());
    loop {
        let asked = pending.next();
        if asked.is_empty() {
            return Ok(altered);
        }
        if !lease.may_write() {
            let unasked = asked.into_keys().chain(pending.0.into_keys());
            unasked.for_each(|name| altered.entry(name).or_default().unasked = true);
            return Ok(altered);
        }
        let changes: Vec<_> = asked
            .iter()
            .map(|(name, s)| (name.clone(), ops(s)))
            .collect();
        let outcomes = client.alter_topic_configs(&changes).await?;
        pending.take(asked, outcomes, &mut altered);
    }
}

fn ops(steps: &[Step]) -> Vec<(String, wire::client::ConfigOp)> {
    steps.iter().map(|step| step.change.op()).collect()
}

impl Pending {
    /// For each topic what is asked for next; a request names a topic once.
    fn next(&mut self) -> BTreeMap<String, Vec<Step>> {
        let next = self.0.iter_mut();
        let next = next.filter_map(|(name, groups)| Some((name.clone(), groups.pop_front()?)));
        let next = next.collect();
        self.0.retain(|_, groups| !groups.is_empty());
        next
    }

    fn take(
        &mut self,
        mut asked: BTreeMap<String, Vec<Step>>,
        outcomes: Outcomes,
        altered: &mut BTreeMap<String, Altered>,
    ) {
        for (name, outcome) in outcomes {
            let Some(steps) = asked.remove(&name) else {
                continue;
            };
            let told = altered.entry(name.clone()).or_default();
            match outcome {
                Ok(()) => told.done.extend(steps),
                Err(error) if ABOUT_CONFIGS.contains(&error.code) => {
                    let groups = self.0.entry(name).or_default();
                    sort_out(steps, &error, groups, told);
                }
                Err(error) => {
                    told.failed = Some(error);
                    self.0.remove(&name);
                }
            }
        }
        for name in asked.into_keys() {
            altered.entry(name).or_default().unasked = true;
        }
    }
}

/// Every refusal leaves fewer steps together than there were.
fn sort_out(
    steps: Vec<Step>,
    error: &ApiError,
    groups: &mut VecDeque<Vec<Step>>,
    told: &mut Altered,
) {
    let message = error.message.as_deref().unwrap_or_default();
    let alone = steps.len() == 1;
    let (named, others): (Vec<_>, Vec<_>) = steps
        .into_iter()
        .partition(|step| alone || is_named(message, &step.change.name));
    let reason = error.to_string();
    match named.is_empty() {
        true => groups.extend(others.into_iter().map(|step| vec![step])),
        false if !others.is_empty() => groups.push_front(others),
        false => {}
    }
    let refused = named.into_iter().map(|step| (step, reason.clone()));
    told.refused.extend(refused);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str) -> Step {
        let change = Change {
            name: name.to_owned(),
            to: Some("1".to_owned()),
            from: None,
        };
        Step {
            change,
            sets_back: false,
        }
    }

    /// What a target takes that refuses configs in `bad`, naming them or not; and how often it was asked.
    fn taken(names: &[&str], bad: &[&str], tells: bool) -> (Vec<String>, Vec<String>, usize) {
        let steps: Vec<_> = names.iter().map(|name| step(name)).collect();
        let mut pending = Pending([("t".to_owned(), [steps].into())].into());
        let (mut altered, mut count) = (BTreeMap::new(), 0);
        loop {
            let asked = pending.next();
            let Some(steps) = asked.get("t") else {
                break;
            };
            count += 1;
            let first = steps
                .iter()
                .find(|step| bad.contains(&step.change.name.as_str()));
            let outcome = first.map_or(Ok(()), |step| {
                let named = tells.then(|| format!("Invalid value for {}.", step.change.name));
                Err(ApiError {
                    code: 40,
                    message: named,
                })
            });
            pending.take(asked, vec![("t".to_owned(), outcome)], &mut altered);
        }
        let told = altered.remove("t").unwrap();
        let name = |step: &Step| step.change.name.clone();
        let refused = told.refused.iter().map(|(step, _)| name(step)).collect();
        (told.done.iter().map(name).collect(), refused, count)
    }

    #[test]
    fn what_is_refused_keeps_nothing_else_back() {
        let text = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        for (bad, tells, requests) in [
            (&[][..], true, 1),
            (&["b"], true, 2),
            (&["b", "d"], true, 3),
            (&["b"], false, 5),
            (&["a", "b", "c", "d"], true, 4),
            (&["a", "b", "c", "d"], false, 5),
        ] {
            let all = ["a", "b", "c", "d"];
            let (mut done, mut refused, count) = taken(&all, bad, tells);
            done.sort();
            refused.sort();
            let good: Vec<_> = all.into_iter().filter(|name| !bad.contains(name)).collect();
            assert_eq!((done, refused, count), (text(&good), text(bad), requests));
        }
    }
}
