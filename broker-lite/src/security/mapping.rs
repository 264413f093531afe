//! `ssl.principal.mapping.rules`: from the subject of a certificate to the name of a principal
//! (`SslPrincipalMapper`).
//!
//! Rules are separated by commas and the first that matches wins: `DEFAULT` takes the subject as it is,
//! `RULE:PATTERN/REPLACEMENT/` replaces what the whole subject matches, with `L` or `U` behind it in lower or upper
//! case. Patterns are those of the `regex` crate, which has no look-around and no back references.

use regex::Regex;

/// The rules, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Mapping(Vec<Rule>);

#[derive(Clone, Debug)]
enum Rule {
    Default,
    Replace {
        pattern: Regex,
        replacement: String,
        case: Option<Case>,
    },
}

#[derive(Clone, Copy, Debug)]
enum Case {
    Lower,
    Upper,
}

impl Default for Mapping {
    fn default() -> Self {
        Self(vec![Rule::Default])
    }
}

impl Mapping {
    /// Reads rules.
    ///
    /// # Errors
    /// A reason.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut rules, mut rest) = (Vec::new(), text.trim());
        while !rest.is_empty() {
            let (rule, after) = match rest.strip_prefix("DEFAULT") {
                Some(after) => (Rule::Default, after),
                None => replacing(rest)?,
            };
            rules.push(rule);
            rest = after.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if rest.is_empty() => break,
                None => return Err(format!("{rest:?} behind a rule")),
            };
        }
        match rules.is_empty() {
            true => Err("there is no rule".to_owned()),
            false => Ok(Self(rules)),
        }
    }

    /// The name for a subject; none if no rule applies.
    pub(crate) fn apply(&self, subject: &str) -> Option<String> {
        self.0.iter().find_map(|rule| rule.apply(subject))
    }
}

/// One `RULE:...`, and what follows it.
fn replacing(text: &str) -> Result<(Rule, &str), String> {
    let wrong = || format!("{text:?} is neither DEFAULT nor RULE:pattern/replacement/");
    let rest = text.strip_prefix("RULE:").ok_or_else(wrong)?;
    let (pattern, rest) = until_slash(rest).ok_or_else(wrong)?;
    let (replacement, rest) = until_slash(rest).ok_or_else(wrong)?;
    let (case, rest) = match rest.chars().next() {
        Some('L') => (Some(Case::Lower), &rest[1..]),
        Some('U') => (Some(Case::Upper), &rest[1..]),
        _ => (None, rest),
    };
    let rule = Rule::Replace {
        pattern: Regex::new(&format!("^(?:{pattern})$")).map_err(|error| error.to_string())?,
        replacement: replacement.to_owned(),
        case,
    };
    Ok((rule, rest))
}

/// Up to the next slash that no backslash stands before, and what follows it.
fn until_slash(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '/' if !escaped => return Some((&text[..at], &text[at + 1..])),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

impl Rule {
    fn apply(&self, subject: &str) -> Option<String> {
        let Self::Replace {
            pattern,
            replacement,
            case,
        } = self
        else {
            return Some(subject.to_owned());
        };
        let found = pattern.captures(subject)?;
        let name = expand(replacement, &found);
        Some(match case {
            None => name,
            Some(Case::Lower) => name.to_lowercase(),
            Some(Case::Upper) => name.to_uppercase(),
        })
    }
}

/// `$N` is the group of that number. As in Kafka digits that would make the number too large stand for
/// themselves, and so does the whole of it if no group is left; a backslash takes the meaning from what follows.
fn expand(replacement: &str, found: &regex::Captures<'_>) -> String {
    let mut name = String::new();
    let mut rest = replacement.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => name.extend(rest.next()),
            '$' => {
                let mut group: Option<usize> = None;
                while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
                    let longer = group.unwrap_or(0) * 10 + digit as usize;
                    if longer >= found.len() {
                        break;
                    }
                    group = Some(longer);
                    rest.next();
                }
                match group {
                    Some(group) => name.push_str(found.get(group).map_or("", |m| m.as_str())),
                    None => name.push('$'),
                }
            }
            c => name.push(c),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After `SslPrincipalMapperTest` of Kafka.
    #[test]
    fn rules_are_tried_in_their_order() {
        let rules = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L, \
                     RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L, \
                     RULE:^cn=(.*?),ou=(.*?),dc=(.*?),dc=(.*?)$/$1@$2/U, \
                     RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/U, DEFAULT";
        let mapping = Mapping::parse(rules).unwrap();
        for (subject, name) in [
            ("CN=Duke,OU=ServiceUsers,O=Org,C=US", "duke"),
            ("CN=Duke,OU=SME,O=mycp,L=Fulton,ST=MD,C=US", "duke@sme"),
            ("cn=duke,ou=sme,dc=mycp,dc=com", "DUKE@SME"),
            ("OU=x,CN=a.b", "A.B"),
            ("O=none", "O=none"),
        ] {
            assert_eq!(mapping.apply(subject).as_deref(), Some(name), "{subject}");
        }
        let one = Mapping::parse("RULE:^CN=(.*?)$/$1-$2-\\$1/").unwrap();
        assert_eq!(one.apply("CN=a").as_deref(), Some("a-$2-$1"));
        assert_eq!(one.apply("OU=a"), None);
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for wrong in [
            "",
            "default",
            "RULE:a",
            "RULE:a/b",
            "RULE:(/b/",
            "DEFAULT x",
            "RULE:a/b/X",
        ] {
            assert!(Mapping::parse(wrong).is_err(), "{wrong}");
        }
    }
}
