//! How far a target is ahead of a position, by content. Pure.
//!
//! MirrorMaker 2 writes the records of a partition in their order, and what its position tells of is there. So the target's
//! end is the record at the position and the ones behind it on the source, as far as they were copied; or, if
//! MirrorMaker 2 began again at that position meanwhile, those behind it alone. Where records are equal, several counts
//! may fit: the smallest is taken, which may repeat some and leaves out none.

/// How many records behind the first of `source` are at the end of `target`; none if that cannot be told. `source` begins
/// with the record at the position, `target` is as much of its end as may hold that.
pub(super) fn copied<T: Copy + Eq>(source: &[T], target: &[T]) -> Option<usize> {
    if let Some(length) = shortest(source, target) {
        return Some(length - 1);
    }
    shortest(source.get(1..)?, target)
}

/// The length of the shortest beginning of `source`, of one at least, that `target` ends with.
fn shortest<T: Copy + Eq>(source: &[T], target: &[T]) -> Option<usize> {
    let borders = borders(source);
    // How much of the beginning of `source` ends here (Knuth, Morris, Pratt).
    let mut matched = 0;
    for one in target {
        while matched > 0 && source.get(matched) != Some(one) {
            matched = borders[matched - 1];
        }
        if source.get(matched) == Some(one) {
            matched += 1;
        }
    }
    let mut length = matched;
    while length > 0 && borders[length - 1] > 0 {
        length = borders[length - 1];
    }
    (length > 0).then_some(length)
}

/// Of each beginning of `source`: how long the longest shorter one is that it ends with.
fn borders<T: Eq>(source: &[T]) -> Vec<usize> {
    let mut borders = vec![0; source.len()];
    for at in 1..source.len() {
        let mut matched: usize = borders[at - 1];
        while matched > 0 && source[matched] != source[at] {
            matched = borders[matched - 1];
        }
        borders[at] = matched + usize::from(source[matched] == source[at]);
    }
    borders
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(source: &str, target: &str) -> Option<usize> {
        copied(source.as_bytes(), target.as_bytes())
    }

    #[test]
    fn what_follows_the_position_is_counted() {
        assert_eq!(of("fghij", "abcdef"), Some(0));
        assert_eq!(of("fghij", "abcdefgh"), Some(2));
        assert_eq!(of("fgh", "fgh"), Some(2));
        assert_eq!(of("f", "abcdef"), Some(0));
    }

    #[test]
    fn who_began_again_at_the_position_is_recognised() {
        assert_eq!(of("fghijk", "defghighij"), Some(4));
        assert_eq!(of("fghijk", "defghighigh"), Some(2));
    }

    #[test]
    fn what_others_wrote_or_changed_is_not() {
        for (source, target) in [
            ("fghi", "abcdefx"),
            ("fghi", "abcdefgx"),
            ("fghi", ""),
            ("", "abc"),
        ] {
            assert_eq!(of(source, target), None, "{source} {target}");
        }
        // One is missing.
        assert_eq!(of("fghi", "abcdefgi"), None);
    }

    #[test]
    fn equal_records_are_rather_repeated_than_left_out() {
        assert_eq!(of("aaaa", "aaa"), Some(0));
        assert_eq!(of("abab", "abab"), Some(1));
        assert_eq!(of("ababa", "cababa"), Some(0));
    }

    proptest! {
        /// By trying every count, the smallest first.
        #[test]
        fn the_smallest_count_that_fits_is_found(source in "[ab]{0,8}", target in "[ab]{0,12}") {
            let (source, target) = (source.as_bytes(), target.as_bytes());
            let fits = |beginning: &[u8]| !beginning.is_empty() && target.ends_with(beginning);
            let behind = (0..source.len()).find(|count| fits(&source[..=*count]));
            let again = || (1..source.len()).find(|count| fits(&source[1..=*count]));
            prop_assert_eq!(copied(source, target), behind.or_else(again));
        }

        /// Whatever was copied behind the position, no more than that is passed over.
        #[test]
        fn nothing_is_left_out(source in "[a-c]{1,12}", at in 0usize..12, more in 0usize..12) {
            let source = source.as_bytes();
            let at = at % source.len();
            let end = (at + 1 + more).min(source.len());
            let found = copied(&source[at..], &source[..end]);
            prop_assert!(found.is_some_and(|count| count < end - at), "{:?}", found);
        }
    }
}
