//! Lines of `sasl.jaas.config`: a login module's class, a flag, `key="value"` pairs, a semicolon.
//!
//! After `JaasConfig`, which reads them as Java's `StreamTokenizer` does: values are in quotes, `\` escapes in them.

use std::collections::BTreeMap;

/// The users of a broker's PLAIN logins (`PlainServerCallbackHandler`): each `user_NAME="PASSWORD"`.
///
/// # Errors
/// A reason, which shows nothing of the line.
pub(crate) fn plain_users(line: &str) -> Result<BTreeMap<String, String>, String> {
    let options = options(line, "PlainLoginModule")?;
    let users = options.into_iter().filter_map(|(key, value)| {
        let name = key.strip_prefix("user_")?;
        Some((name.to_owned(), value))
    });
    Ok(users.collect())
}

/// The options of one login module of the class `module`.
///
/// # Errors
/// A reason, which shows nothing of the line.
pub(crate) fn options(line: &str, module: &str) -> Result<Vec<(String, String)>, String> {
    let mut rest = line.trim();
    let class = word(&mut rest);
    if class.rsplit('.').next() != Some(module) {
        return Err(format!("it does not begin with {module}"));
    }
    let flag = word(&mut rest);
    if !["required", "requisite", "sufficient", "optional"]
        .iter()
        .any(|one| flag.eq_ignore_ascii_case(one))
    {
        return Err(format!("no \"required\" behind {module}"));
    }
    let mut options = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(end) = rest.strip_prefix(';') {
            return match end.trim() {
                "" => Ok(options),
                _ => Err("more than one login module".to_owned()),
            };
        }
        let (key, after) = rest
            .split_once('=')
            .ok_or("it does not end with a semicolon")?;
        rest = after.trim_start();
        options.push((key.trim().to_owned(), value(&mut rest)?));
    }
}

/// Up to the next space or semicolon.
fn word<'a>(rest: &mut &'a str) -> &'a str {
    let text = rest.trim_start();
    let end = text.find([' ', '\t', '\r', '\n', ';']);
    let (word, after) = text.split_at(end.unwrap_or(text.len()));
    *rest = after;
    word
}

/// In quotes, or a word.
fn value(rest: &mut &str) -> Result<String, String> {
    let Some(quoted) = rest.strip_prefix('"') else {
        return Ok(word(rest).to_owned());
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                *rest = &quoted[at + 1..];
                return Ok(value);
            }
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, c)) => value.push(c),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err("a quote that does not end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required";

    #[test]
    fn users_are_options() {
        let line = format!(
            r#"{PLAIN} username="me" password="x" user_ann="a \"b\" ;c" user_bob=plain  user_c.d="";"#
        );
        let users = plain_users(&line).unwrap();
        let users: Vec<_> = users
            .iter()
            .map(|(n, p)| (n.as_str(), p.as_str()))
            .collect();
        assert_eq!(
            users,
            [("ann", "a \"b\" ;c"), ("bob", "plain"), ("c.d", "")]
        );
    }

    #[test]
    fn what_is_no_line_is_refused_and_not_shown() {
        for wrong in [
            String::new(),
            format!("{PLAIN} user_a=\"hunter2\""),
            format!("{PLAIN} user_a=\"hunter2;"),
            format!("{PLAIN} user_a=\"hunter2\"; {PLAIN};"),
            "org.example.Other required user_a=\"hunter2\";".to_owned(),
            "org.apache.kafka.common.security.plain.PlainLoginModule user_a=\"hunter2\";"
                .to_owned(),
            format!("{PLAIN} user_a;"),
        ] {
            let error = plain_users(&wrong).unwrap_err();
            assert!(!error.contains("hunter2"), "{wrong}: {error}");
        }
    }
}
