//! How many topics a controller is asked to create at once. Pure.
//!
//! Kafka refuses what makes more than 10,000 records of its log (`QuorumController.MAX_RECORDS_PER_USER_OP`), a record for
//! each partition and config, and has to answer in time. Managed services want fewer ("cannot contain more than 5 topics"):
//! where all of several are refused alike, half as many are tried, until one is taken or refused by itself.

use wire::{client::NewTopic, error::ApiError};

const MOST_PARTITIONS: i32 = 1000;
/// Topics in one request.
pub const MOST_TOPICS: usize = 100;

/// UNKNOWN_SERVER_ERROR, MESSAGE_TOO_LARGE, INVALID_REQUEST, POLICY_VIOLATION: how one may hear that it is too many.
const TOO_MANY: [i16; 4] = [-1, 10, 42, 44];

/// The portions in which many topics are created.
#[derive(Debug)]
pub struct Portions {
    most: usize,
    /// Whether smaller ones may help.
    halves: bool,
}

impl Default for Portions {
    fn default() -> Self {
        Self {
            most: MOST_TOPICS,
            halves: true,
        }
    }
}

impl Portions {
    /// The first of `topics`: as many as are created at once.
    pub fn next<'a>(&self, topics: impl Iterator<Item = &'a NewTopic>) -> Vec<NewTopic> {
        let mut partitions = 0;
        let fit = topics.take(self.most).take_while(|topic| {
            let alone = partitions == 0;
            partitions += topic.partitions.max(1);
            alone || partitions <= MOST_PARTITIONS
        });
        fit.cloned().collect()
    }

    /// Takes note of what became of a portion; whether all of it is to be asked for again, in smaller ones.
    pub fn are_too_large(&mut self, outcomes: &[Option<&ApiError>]) -> bool {
        let refused = |outcome: &Option<&ApiError>| {
            outcome.is_some_and(|error| TOO_MANY.contains(&error.code))
        };
        if !self.halves || outcomes.is_empty() || !outcomes.iter().all(refused) {
            return false;
        }
        if outcomes.len() > 1 {
            self.most = outcomes.len() / 2;
            return true;
        }
        // It was not about how many there are.
        *self = Self {
            halves: false,
            ..Self::default()
        };
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(count: usize, partitions: i32) -> Vec<NewTopic> {
        let topic = |index| NewTopic {
            name: format!("t{index}"),
            partitions,
            replication_factor: -1,
            configs: Vec::new(),
        };
        (0..count).map(topic).collect()
    }

    /// The sizes of the portions that a target is asked for which answers with `answer`, and how many topics it took.
    fn asked(mut left: Vec<NewTopic>, answer: impl Fn(&[NewTopic]) -> i16) -> (Vec<usize>, usize) {
        let (mut portions, mut sizes, mut taken) = (Portions::default(), Vec::new(), 0);
        while !left.is_empty() {
            let portion = portions.next(left.iter());
            assert_eq!(portion, left[..portion.len()]);
            sizes.push(portion.len());
            let error = ApiError {
                code: answer(&portion),
                message: None,
            };
            let outcome = (error.code != 0).then_some(&error);
            if !portions.are_too_large(&vec![outcome; portion.len()]) {
                left.drain(..portion.len());
                taken += portion.len() * usize::from(error.code == 0);
            }
        }
        (sizes, taken)
    }

    #[test]
    fn many_topics_are_created_in_portions() {
        let sizes = |topics| asked(topics, |_| 0).0;
        assert_eq!(sizes(topics(250, 1)), [100, 100, 50]);
        assert_eq!(sizes(topics(200, 8)), [100, 100]);
        assert_eq!(sizes(topics(25, 100)), [10, 10, 5]);
        assert_eq!(sizes(topics(3, 1001)), [1, 1, 1]);
    }

    #[test]
    fn a_target_that_takes_few_at_once_gets_few() {
        let five = |portion: &[NewTopic]| if portion.len() > 5 { 42 } else { 0 };
        let (sizes, taken) = asked(topics(20, 1), five);
        assert_eq!((sizes, taken), (vec![20, 10, 5, 5, 5, 5], 20));
    }

    #[test]
    fn a_target_that_takes_none_is_not_asked_for_each() {
        let (sizes, taken) = asked(topics(150, 1), |_| 44);
        assert_eq!(sizes, [100, 50, 25, 12, 6, 3, 1, 100, 49]);
        assert_eq!(taken, 0);
        // What has nothing to do with it is not tried again.
        assert_eq!(asked(topics(150, 1), |_| 29).0, [100, 50]);
    }
}
