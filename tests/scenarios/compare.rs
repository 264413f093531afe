//! Does the target hold the source's records, all of them, in their order?

use std::collections::HashMap;

/// What a comparison of one partition found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records of the source that the target never shows.
    pub missing: usize,
    /// Records on the target that the source never had.
    pub altered: usize,
    /// Records that follow another than their predecessor.
    pub out_of_order: usize,
    /// Repeats, after a crash, of records that were there already.
    pub repeated: usize,
}

impl Verdict {
    /// Nothing lost, nothing altered, order kept; repeats are allowed at least once.
    pub fn is_complete(&self) -> bool {
        (self.missing, self.altered, self.out_of_order) == (0, 0, 0)
    }

    /// The sum of two partitions.
    pub fn plus(self, other: Self) -> Self {
        Self {
            missing: self.missing + other.missing,
            altered: self.altered + other.altered,
            out_of_order: self.out_of_order + other.out_of_order,
            repeated: self.repeated + other.repeated,
        }
    }
}

/// Walks the target along the source. `expected` is the next source record that was never seen; a
/// jump back below it begins a repeat, which must itself go on record by record, and may reach
/// `expected` and go on from there. Any other step is out of order.
pub fn compare(source: &[String], target: &[String]) -> Verdict {
    let position: HashMap<&str, usize> = source
        .iter()
        .enumerate()
        .map(|(index, record)| (record.as_str(), index))
        .collect();
    assert_eq!(position.len(), source.len(), "the model repeats itself");
    let mut verdict = Verdict::default();
    let (mut expected, mut next) = (0, 0);
    for record in target {
        let Some(&index) = position.get(record.as_str()) else {
            verdict.altered += 1;
            continue;
        };
        let begins_repeat = index < expected && next == expected;
        let jumps_back_again = index < next;
        if index != next && !begins_repeat && !jumps_back_again {
            verdict.out_of_order += 1;
        }
        if index < expected {
            verdict.repeated += 1;
        } else {
            // A jump ahead skips records; they may still come, but then out of order.
            verdict.missing += index - expected;
            expected = index + 1;
        }
        next = index + 1;
    }
    verdict.missing += source.len() - expected;
    verdict
}

/// The comparison itself must be able to fail: run before the scenarios.
pub fn self_test() {
    let all = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
    let verdict = |target| compare(&all("abcdef"), &all(target));
    let zero = Verdict::default();
    assert_eq!(verdict("abcdef"), zero);
    assert_eq!(
        verdict("abcbcdef"),
        Verdict {
            repeated: 2,
            ..zero
        }
    );
    assert_eq!(
        verdict("abcdabcdef"),
        Verdict {
            repeated: 4,
            ..zero
        }
    );
    assert_eq!(
        verdict("abcabcbcdef"),
        Verdict {
            repeated: 5,
            ..zero
        }
    );
    assert_eq!(verdict("abcde"), Verdict { missing: 1, ..zero });
    assert_eq!(
        verdict("abdef"),
        Verdict {
            missing: 1,
            out_of_order: 1,
            ..zero
        }
    );
    assert_eq!(verdict("abxcdef"), Verdict { altered: 1, ..zero });
    assert!(!verdict("abdcef").is_complete());
    assert!(!verdict("abcacdef").is_complete());
}
