//! Java's regular expressions (`java.util.regex.Pattern`) as the `regex` crate's.
//!
//! The two agree on most of what names of topics are selected with. What the crate does not have, or reads in another
//! way without a word (`a++`, `[a--b]`), is refused by its name. Names of topics are ASCII, so classes like `\d`, which are
//! wider in the crate, are the same.

use crate::config::NamePattern;

/// Why a pattern cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What the pattern has, and how it is written there.
    construct: String,
}

impl Refusal {
    fn new(name: &str, written: &str) -> Self {
        let construct = format!("{name} `{written}`");
        Self { construct }
    }

    /// As a reason.
    pub(super) fn text(&self, pattern: &str) -> String {
        format!(
            "the pattern `{pattern}` has {}, which strait's regular expressions do not have",
            self.construct
        )
    }
}

/// Names, as beginnings of a group behind `(?`.
const GROUPS: [(&str, &str); 5] = [
    ("<=", "a lookbehind"),
    ("<!", "a negative lookbehind"),
    ("=", "a lookahead"),
    ("!", "a negative lookahead"),
    (">", "an atomic group"),
];

/// The patterns of a list, as MirrorMaker 2 takes it apart: by commas, wherever they are.
pub(super) fn list(text: &str) -> Vec<&str> {
    let patterns = text.split(',').map(str::trim);
    let patterns: Vec<_> = patterns.filter(|pattern| !pattern.is_empty()).collect();
    // It puts them together with `|`, so a flag in one of them holds for those behind it.
    if patterns.len() > 1 && patterns.iter().any(|pattern| has_flags(pattern)) {
        return vec![text];
    }
    patterns
}

/// Whether flags are set for the rest of the pattern: `(?i)`.
fn has_flags(pattern: &str) -> bool {
    pattern.match_indices("(?").any(|(at, _)| {
        let flags =
            pattern[at + 2..].trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '-');
        flags.starts_with(')')
    })
}

/// The same pattern for strait.
pub(super) fn translate(java: &str) -> Result<String, Refusal> {
    let joined: Vec<_> = java
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect();
    let java = &unquote(&joined.join("|"));
    scan(java)?;
    match NamePattern::new(java) {
        Ok(_) => Ok(java.clone()),
        Err(error) => {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or_default();
            Err(Refusal::new(
                "what is no regular expression here:",
                last.trim_start_matches("error: "),
            ))
        }
    }
}

/// `\Q...\E`: what stands between means itself.
fn unquote(java: &str) -> String {
    let mut text = String::new();
    let mut rest = java;
    while let Some(at) = quote(rest) {
        text.push_str(&rest[..at]);
        let quoted = &rest[at + 2..];
        let (quoted, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
        text.push_str(&regex::escape(quoted));
        rest = after;
    }
    text + rest
}

/// Where the first `\Q` is whose `\` is not escaped itself.
fn quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let found = escaped && c == 'Q';
        escaped = c == '\\' && !escaped;
        found.then(|| at - 1)
    })
}

/// Looks for what the crate does not have.
fn scan(java: &str) -> Result<(), Refusal> {
    let mut rest = java;
    // How many `[` are open, and whether what is before can be repeated possessively.
    let (mut depth, mut repeated) = (0usize, false);
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        let was_repeated = std::mem::take(&mut repeated);
        match c {
            '\\' => length += escape(&rest[1..])?,
            '[' if depth > 0 && rest.starts_with("[:") => {
                return Err(Refusal::new("a class that begins with a colon", "[:"));
            }
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            '-' | '~' if depth > 0 && rest[1..].starts_with(c) => {
                let written = &rest[..2];
                return Err(Refusal::new("in a class", written));
            }
            _ if depth > 0 => {}
            '(' => group(&rest[1..])?,
            '+' if was_repeated => return Err(possessive(java, rest)),
            '*' | '+' | '?' => repeated = !was_repeated,
            '}' => repeated = true,
            _ => {}
        }
        rest = &rest[length..];
    }
    Ok(())
}

fn possessive(java: &str, rest: &str) -> Refusal {
    let at = java.len() - rest.len();
    let before = java[..at].chars().next_back().unwrap_or_default();
    Refusal::new("a possessive quantifier", &format!("{before}+"))
}

/// Looks at what is behind `(`.
fn group(rest: &str) -> Result<(), Refusal> {
    let Some(kind) = rest.strip_prefix('?') else {
        return Ok(());
    };
    let known = GROUPS.iter().find(|(begin, _)| kind.starts_with(begin));
    known.map_or(Ok(()), |(begin, name)| {
        Err(Refusal::new(name, &format!("(?{begin}")))
    })
}

/// Looks at what is behind `\`; the length of it.
fn escape(rest: &str) -> Result<usize, Refusal> {
    let Some(c) = rest.chars().next() else {
        return Ok(0);
    };
    let written = format!("\\{c}");
    match c {
        '1'..='9' | 'k' => Err(Refusal::new("a back reference", &written)),
        'G' | 'Z' | 'R' | 'X' | 'N' | 'h' | 'H' | 'V' | 'e' | 'c' | '0' => {
            Err(Refusal::new("the escape", &written))
        }
        c => Ok(c.len_utf8()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Java 17 says of these names (`Pattern.matcher(name).matches()`).
    #[test]
    fn patterns_match_what_they_match_in_java() {
        for (java, yes, no) in [
            (r"payments\..*", "payments.eu", "paymentsXeu"),
            (r"\Qa.b\E.*", "a.bc", "axbc"),
            (r"a\\Qx", r"a\Qx", "ax"),
            (r"\Qa", "a", r"\Qa"),
            (r"[a-z&&[^b]]+", "ac", "ab"),
            (r"[a[0-9]]+", "a1", "b"),
            (r"(?i)orders", "ORDERS", "order"),
            (r"(?<n>a|b)c", "ac", "c"),
            (r"a+?b*?", "aab", "b"),
            (r"a{2}", "aa", "aaa"),
            (r"x\+\+", "x++", "xx"),
            (r"[a++]b", "+b", "b"),
            (r"\d\d", "12", "1a"),
        ] {
            let pattern = NamePattern::new(&translate(java).unwrap()).unwrap();
            assert!(pattern.matches(yes) && !pattern.matches(no), "{java}");
        }
    }

    #[test]
    fn what_only_java_has_is_refused_by_name() {
        for (java, construct) in [
            ("(?!tmp).*", "a negative lookahead `(?!`"),
            ("a(?=b)b", "a lookahead `(?=`"),
            (".*(?<!-tmp)", "a negative lookbehind `(?<!`"),
            (".*(?<=x)", "a lookbehind `(?<=`"),
            ("(?>a|ab)c", "an atomic group `(?>`"),
            ("a*+b", "a possessive quantifier `*+`"),
            ("a++", "a possessive quantifier `++`"),
            ("a?+", "a possessive quantifier `?+`"),
            ("a{1}+b", "a possessive quantifier `}+`"),
            (r"(a)\1", r"a back reference `\1`"),
            (r"(?<n>a)\k<n>", r"a back reference `\k`"),
            (r"a\Z", r"the escape `\Z`"),
            ("[a--b]", "in a class `--`"),
            ("[[:a]]", "a class that begins with a colon `[:`"),
            ("b{1", "what is no regular expression here: `"),
            ("a(", "what is no regular expression here: `"),
        ] {
            let text = translate(java).unwrap_err().text(java);
            assert!(
                text.contains(construct) && text.contains(java),
                "{java}: {text}"
            );
        }
    }

    /// `MirrorUtils.compilePatternList`.
    #[test]
    fn a_list_is_taken_apart_by_commas() {
        assert_eq!(list(" a, b.* ,,c"), ["a", "b.*", "c"]);
        assert_eq!(list(""), [""; 0]);
        let flags = list("(?i)a, b");
        assert_eq!(flags, ["(?i)a, b"]);
        let pattern = NamePattern::new(&translate(flags[0]).unwrap()).unwrap();
        assert!(pattern.matches("A") && pattern.matches("B") && !pattern.matches("ab"));
        assert_eq!(list("(?i:a), b"), ["(?i:a)", "b"]);
    }
}
