use proptest::prelude::*;

use super::{
    super::super::count::tests::{Log, written},
    *,
};

proptest! {
    /// Against a list of all records: whatever is left of the batches, however the interval cuts them, and in however many
    /// reads they come.
    #[test]
    fn it_finds_the_record_with_each_number(
        log in proptest::collection::vec(written(), 1..12), cut in 0usize..8,
        from in 0i64..12, to in 12i64..60, wanted in proptest::collection::btree_set(0i64..40, 0..8),
    ) {
        let log = Log::new(&log);
        let to = to.min(log.end);
        prop_assume!(from < to);
        let mut find = Find::new(from, to, wanted.clone());
        for fetched in log.reads(cut) {
            find.take(&fetched, Isolation::ReadCommitted).unwrap();
        }
        prop_assert!(find.is_done());
        let there: Vec<i64> = log.records.range(from..to).copied().collect();
        let numbered = (0..).zip(there.iter().copied());
        let expected = numbered.filter(|(number, _)| wanted.contains(number)).collect();
        prop_assert_eq!(find.result(), (there.len() as i64, expected));
    }
}
