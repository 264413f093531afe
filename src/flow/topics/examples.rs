//! Topic names that a pattern matches. Pure.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Most examples of one pattern: alternatives multiply.
const MOST: usize = 32;
/// What is legal in topic names, the nicest first.
const LEGAL: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_-.";
/// What stands for any text.
const ANY: &str = "topic";

/// Some names that match `pattern`, at least one for most patterns; each is to be tried, since anchors and
/// word boundaries are not minded.
pub(super) fn examples(pattern: &str) -> Vec<String> {
    let parsed = regex_syntax::parse(pattern);
    parsed.map(|parsed| of(&parsed)).unwrap_or_default()
}

/// The one name that `pattern` matches, if it is written like a name.
pub fn literal(pattern: &str) -> Option<String> {
    match regex_syntax::parse(pattern).ok()?.kind() {
        HirKind::Literal(literal) => String::from_utf8(literal.0.to_vec()).ok(),
        _ => None,
    }
}

fn of(hir: &Hir) -> Vec<String> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8_lossy(&literal.0).into_owned()],
        HirKind::Class(class) => legal(class).map(String::from).into_iter().collect(),
        HirKind::Repetition(repetition) => match (repetition.sub.kind(), repetition.max) {
            (_, Some(0)) => vec![String::new()],
            (HirKind::Class(class), None) if is_any(class) => vec![ANY.to_owned()],
            _ => {
                let times = repetition.min.clamp(1, MOST as u32) as usize;
                of(&repetition.sub)
                    .iter()
                    .map(|one| one.repeat(times))
                    .collect()
            }
        },
        HirKind::Capture(capture) => of(&capture.sub),
        HirKind::Concat(parts) => parts.iter().fold(vec![String::new()], |heads, part| {
            let tails = of(part);
            let pairs = heads
                .iter()
                .flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}")));
            pairs.take(MOST).collect()
        }),
        HirKind::Alternation(parts) => parts.iter().flat_map(of).take(MOST).collect(),
    }
}

/// Whether the class has all letters that [`ANY`] is made of.
fn is_any(class: &Class) -> bool {
    ANY.chars().all(|letter| has(class, letter))
}

fn legal(class: &Class) -> Option<char> {
    LEGAL.chars().find(|one| has(class, *one))
}

fn has(class: &Class, one: char) -> bool {
    match class {
        Class::Unicode(class) => class.iter().any(|r| (r.start()..=r.end()).contains(&one)),
        Class::Bytes(class) => class
            .iter()
            .any(|r| (char::from(r.start())..=char::from(r.end())).contains(&one)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::NamePattern;

    #[test]
    fn patterns_have_readable_examples() {
        for (pattern, wanted) in [
            ("orders", vec!["orders"]),
            (".*", vec!["topic"]),
            ("payments\\..*", vec!["payments.topic"]),
            ("orders|invoices", vec!["orders", "invoices"]),
            ("[a-c]{2}x?", vec!["aax"]),
            ("(a|b)\\.(c|d)", vec!["a.c"]),
            ("[0-9]+", vec!["0"]),
        ] {
            let found = examples(pattern);
            assert!(
                found.starts_with(&wanted.iter().map(ToString::to_string).collect::<Vec<_>>()),
                "{pattern}: {found:?}"
            );
        }
        assert_eq!(examples("("), [""; 0]);
        assert_eq!(literal("payments\\.eu").as_deref(), Some("payments.eu"));
        assert!(literal("payments.*").is_none() && literal("a|b").is_none());
        assert!(examples("(a|bb|ccc|dddd)(a|bb|ccc|dddd)(a|bb|ccc|dddd)").len() <= MOST);
    }

    proptest! {
        #[test]
        fn examples_match(pattern in "(orders|[a-f]{1,3}|x\\.y){1,3}(\\.\\*|[a-z]\\+)?") {
            for example in examples(&pattern) {
                prop_assert!(NamePattern::new(&pattern).unwrap().matches(&example), "{} {}", pattern, example);
            }
        }
    }
}
