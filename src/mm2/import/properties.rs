//! Java's `.properties` text, as `java.util.Properties.load` reads it from bytes.
//!
//! Bytes are ISO-8859-1; `\` at the end of a line goes on in the next one, without its leading blanks; `#` and `!`
//! begin comments, which do not go on; a key ends at the first `=`, `:` or blank that no `\` is before; `\t`, `\n`,
//! `\r`, `\f` and `\uXXXX` (UTF-16) are what they say, `\` before anything else is left out.

use std::{char::decode_utf16, collections::BTreeMap, iter::Peekable};

/// A text that Java does not read either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: `\\u` without four hexadecimal digits")]
pub(super) struct Malformed {
    line: usize,
}

/// Keys and values; of a key that is there twice, the last.
pub(super) fn parse(bytes: &[u8]) -> Result<BTreeMap<String, String>, Malformed> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let mut pairs = BTreeMap::new();
    for (line, logical) in logical_lines(&text) {
        let (key, value) = split(&logical);
        let unescape = |part: &str| unescape(part).ok_or(Malformed { line });
        pairs.insert(unescape(key)?, unescape(value)?);
    }
    Ok(pairs)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Lines put together, with the number of the first, from 1; without blank ones and comments.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in natural_lines(text).enumerate() {
        let line = line.trim_start_matches(is_blank);
        if !goes_on && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let escapes = line.chars().rev().take_while(|c| *c == '\\').count();
        let continued = escapes % 2 == 1;
        let line = if continued {
            &line[..line.len() - 1]
        } else {
            line
        };
        match lines.last_mut() {
            Some((_, logical)) if goes_on => logical.push_str(line),
            _ => lines.push((index + 1, line.to_owned())),
        }
        goes_on = continued;
    }
    // A line of nothing but `\` and what it goes on in may be blank: no pair in Java.
    lines.retain(|(_, logical)| !logical.is_empty());
    lines
}

/// Ended by `\n`, `\r` or both.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split('\r')
    })
}

/// Where the key ends and the value begins.
fn split(logical: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = logical.find(|c: char| {
        let ends = !escaped && (is_blank(c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = logical.split_at(end.unwrap_or(logical.len()));
    let rest = rest.trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(is_blank))
}

/// None: `\u` without four digits. Half a surrogate pair becomes U+FFFD.
fn unescape(part: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(part.len());
    let mut chars = part.chars().peekable();
    while let Some(c) = chars.next() {
        let c = match c {
            // A `\` that ends the text is left out.
            '\\' => match chars.next() {
                Some('u') => {
                    units.push(unit(&mut chars)?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some(c) => c,
                None => break,
            },
            c => c,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    let chars = decode_utf16(units);
    Some(
        chars
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
    )
}

fn unit(chars: &mut Peekable<impl Iterator<Item = char>>) -> Option<u16> {
    (0..4).try_fold(0u16, |unit, _| {
        let digit = chars.next()?.to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Java 17 prints of these (`Properties.load` of the bytes).
    #[test]
    fn lines_are_read_as_java_reads_them() {
        type Case = (&'static [u8], &'static [(&'static str, &'static str)]);
        let cases: &[Case] = &[
            (
                b"a=1\nb = 2\r\nc:3\rd 4\n",
                &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")],
            ),
            (b"a=1\na=2\n", &[("a", "2")]),
            (b"# no\n ! no\n\n \t\nk = v # stays", &[("k", "v # stays")]),
            (b"# ends here \\\nk=v", &[("k", "v")]),
            (b"k = a, \\\n    b\\\r\n\t c", &[("k", "a, bc")]),
            (b"k = a\\\\\nl=b", &[("k", "a\\"), ("l", "b")]),
            (b"k = \\\n# no comment", &[("k", "# no comment")]),
            (b"k\\ e\\:y\\=z : v", &[("k e:y=z", "v")]),
            (b"k = = v", &[("k", "= v")]),
            (b"k", &[("k", "")]),
            (b"=v", &[("", "v")]),
            (b"\\\n\nk=v", &[("k", "v")]),
            (b"k=v \\", &[("k", "v ")]),
            (b"k = trailing  ", &[("k", "trailing  ")]),
            (
                b"p = b\\\\..* \\q\\t\\u0041\\u00e9",
                &[("p", "b\\..* q\tA\u{e9}")],
            ),
            (b"e = \\ud83d\\ude00 \xe9", &[("e", "\u{1f600} \u{e9}")]),
            (b"A->B.enabled=true", &[("A->B.enabled", "true")]),
        ];
        for (bytes, wanted) in cases {
            let wanted = wanted
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(parse(bytes), Ok(wanted.collect()), "{text}");
        }
        assert_eq!(parse(b"a=1\n\nk=\\u00g1"), Err(Malformed { line: 3 }));
        assert_eq!(parse(b"k=\\u00e"), Err(Malformed { line: 1 }));
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(pairs in prop::collection::btree_map(".{0,12}", ".{0,20}", 0..6)) {
            let escaped = |text: &str| -> String {
                text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
            };
            let lines: String = pairs.iter().map(|(k, v)| format!("{}={}\n", escaped(k), escaped(v))).collect();
            prop_assert_eq!(parse(lines.as_bytes()), Ok(pairs));
        }

        #[test]
        fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _read = parse(&bytes);
        }
    }
}
