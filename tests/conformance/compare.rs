//! Two talks beside each other.

use super::{known::KNOWN, talk::Entry};

/// Differences that a report shows, at most.
const SHOWN: usize = 40;

/// What came of a comparison.
#[derive(Debug)]
pub enum Verdict {
    Same { answers: usize },
    Different(String),
}

/// Compares what broker-lite said with what Kafka said.
pub fn compare(case: &str, ours: &[Entry], kafka: &[Entry]) -> Verdict {
    let known = KNOWN.iter().filter(|known| known.case == case);
    let known: Vec<_> = known.map(|known| known.asked).collect();
    compare_but(&known, ours, kafka)
}

/// The same, where the answers to `known` are known to differ.
fn compare_but(known: &[&str], ours: &[Entry], kafka: &[Entry]) -> Verdict {
    let mut differences = Vec::new();
    if ours.len() != kafka.len() {
        let (ours, kafka) = (ours.len(), kafka.len());
        differences.push(format!("{ours} answers, Kafka gave {kafka}"));
    }
    for (ours, kafka) in ours.iter().zip(kafka) {
        if ours.asked != kafka.asked {
            differences.push(format!(
                "asked {:?}, of Kafka {:?}",
                ours.asked, kafka.asked
            ));
            break;
        }
        let is_known = known.contains(&&*ours.asked);
        match difference(ours, kafka) {
            Some(difference) if !is_known => differences.push(difference),
            None if is_known => differences.push(format!("{}: no longer differs", ours.asked)),
            _ => {}
        }
    }
    match differences.len() {
        0 => Verdict::Same {
            answers: ours.len() - known.len(),
        },
        count => {
            differences.truncate(SHOWN);
            Verdict::Different(format!("{count} differences\n{}", differences.join("\n")))
        }
    }
}

/// The lines that only one of them has.
fn difference(ours: &Entry, kafka: &Entry) -> Option<String> {
    let only = |mark: &str, of: &[String], not_of: &[String]| -> String {
        let only = of.iter().filter(|line| !not_of.contains(line));
        only.map(|line| format!("\n    {mark} {line}")).collect()
    };
    let mine = only("ours ", &ours.answer, &kafka.answer);
    let theirs = only("kafka", &kafka.answer, &ours.answer);
    let is_same = mine.is_empty() && theirs.is_empty();
    (!is_same).then(|| format!("{}{mine}{theirs}", ours.asked))
}

/// A comparer that finds nothing would pass everything.
pub fn self_test() {
    let entry = |asked: &str, answer: &[&str]| Entry {
        asked: asked.to_owned(),
        answer: answer.iter().map(ToString::to_string).collect(),
    };
    let one = [entry("a", &["x: 1", "y: 2"])];
    assert!(matches!(
        compare("", &one, &one),
        Verdict::Same { answers: 1 }
    ));
    let other = [entry("a", &["x: 1", "y: 3"])];
    assert!(matches!(
        compare_but(&["a"], &one, &other),
        Verdict::Same { .. }
    ));
    assert!(matches!(
        compare_but(&["a"], &one, &one),
        Verdict::Different(_)
    ));
    for other in [
        vec![],
        vec![entry("b", &["x: 1", "y: 2"])],
        vec![entry("a", &["x: 1", "y: 3"])],
        vec![entry("a", &["x: 1"])],
        vec![entry("a", &["x: 1", "y: 2", "z: 3"])],
    ] {
        assert!(
            matches!(compare("", &one, &other), Verdict::Different(_)),
            "{other:?}"
        );
    }
}
