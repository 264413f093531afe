//! The oracle is a model that looks at every rule and knows nothing of order or prefixes in a tree.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// `StandardAuthorizerData`, in the plainest words.
fn model(
    rules: &[Acl],
    asker: Asker<'_>,
    operation: Operation,
    resource: Resource,
    name: &str,
) -> Option<bool> {
    let is_on = |acl: &&Acl| {
        let pattern = &acl.pattern;
        pattern.resource == resource
            && match pattern.is_prefix {
                true => name.starts_with(&pattern.name),
                false => pattern.name == name || pattern.name == "*",
            }
    };
    let on: Vec<_> = rules.iter().filter(is_on).map(|acl| &acl.entry).collect();
    if on.is_empty() {
        return None;
    }
    let tells = |entry: &&&Entry| {
        let whose = entry.principal == asker.principal.as_str() || entry.principal == "User:*";
        let whence = entry.host == asker.host || entry.host == "*";
        let what = match (entry.operation, operation, entry.allows) {
            (a, b, _) if a == b => true,
            (Operation::All, _, _) => true,
            (
                Operation::Read | Operation::Write | Operation::Delete | Operation::Alter,
                Operation::Describe,
                true,
            ) => true,
            (Operation::AlterConfigs, Operation::DescribeConfigs, true) => true,
            _ => false,
        };
        whose && whence && what
    };
    let told: Vec<_> = on.iter().filter(tells).collect();
    Some(!told.is_empty() && told.iter().all(|entry| entry.allows))
}

/// `Authorizer.authorizeByResourceType`, as its loops stand there.
fn model_of_some(
    rules: &[Acl],
    asker: Asker<'_>,
    operation: Operation,
    resource: Resource,
) -> bool {
    let mut told = [[vec![], vec![]], [vec![], vec![]]];
    for Acl { pattern, entry } in rules {
        let is_it = pattern.resource == resource
            && [asker.host, "*"].contains(&&*entry.host)
            && [asker.principal.as_str(), "User:*"].contains(&&*entry.principal)
            && (entry.operation == operation || entry.operation == Operation::All);
        if is_it {
            told[usize::from(entry.allows)][usize::from(pattern.is_prefix)].push(&*pattern.name);
        }
    }
    let [[denied, denied_prefixes], [allowed, allowed_prefixes]] = &told;
    if denied.contains(&"*") {
        return false;
    }
    if allowed.contains(&"*") {
        return true;
    }
    let dominated = |name: &str| {
        denied_prefixes
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    allowed
        .iter()
        .any(|name| !denied.contains(name) && !dominated(name))
        || allowed_prefixes.iter().any(|name| !dominated(name))
}

const NAMES: &[&str] = &[
    "*",
    "a",
    "ab",
    "abc",
    "abd",
    "b",
    "a*",
    "é",
    "éa",
    "aé",
    "kafka-cluster",
];
const HOSTS: &[&str] = &["*", "1.1.1.1", "2.2.2.2"];

fn rule() -> impl Strategy<Value = Acl> {
    let pattern = (select(&Resource::ALL[..2]), select(NAMES), any::<bool>());
    let entry = (
        select(&["User:ann", "User:bob", "User:*"][..]),
        select(HOSTS),
        select(Operation::ALL),
        any::<bool>(),
    );
    (pattern, entry).prop_map(
        |((resource, name, is_prefix), (principal, host, operation, allows))| Acl {
            pattern: Pattern {
                resource,
                name: name.to_owned(),
                is_prefix,
            },
            entry: Entry {
                principal: principal.to_owned(),
                host: host.to_owned(),
                operation,
                allows,
            },
        },
    )
}

fn filter() -> impl Strategy<Value = Filter> {
    use PatternFilter::{Any, Literal, Match, Prefixed};
    use proptest::option::of;
    let name = of(select(NAMES)).prop_map(|name| name.map(str::to_owned));
    let host = of(select(HOSTS)).prop_map(|host| host.map(str::to_owned));
    let kind = select(&[Any, Match, Literal, Prefixed][..]);
    let rest = (of(select(Operation::ALL)), of(any::<bool>()));
    (of(select(&Resource::ALL[..2])), name, kind, host, rest).prop_map(
        |(resource, name, kind, host, (operation, allows))| Filter {
            resource,
            name,
            kind,
            principal: None,
            host,
            operation,
            allows,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn verdicts_are_those_of_the_model(
        rules in vec(rule(), 0..12),
        gone in vec(any::<prop::sample::Index>(), 0..4),
        operation in select(&Operation::ALL[1..]),
        name in select(NAMES),
        host in select(&HOSTS[1..]),
    ) {
        let mut acls = Acls::default();
        let mut left: BTreeSet<Acl> = BTreeSet::new();
        for rule in &rules {
            prop_assert_eq!(acls.add(rule.clone()), left.insert(rule.clone()));
        }
        for index in gone {
            if let Some(rule) = rules.get(index.index(rules.len().max(1))) {
                prop_assert_eq!(acls.remove(rule), left.remove(rule));
            }
        }
        let rules = Vec::from_iter(left);
        let principal = Principal::user("ann");
        let asker = Asker { principal: &principal, host };
        for &resource in &Resource::ALL[..2] {
            prop_assert_eq!(
                acls.may(asker, operation, resource, name),
                model(&rules, asker, operation, resource, name)
            );
            prop_assert_eq!(
                acls.may_some(asker, operation, resource),
                model_of_some(&rules, asker, operation, resource)
            );
        }
        let mut listed: Vec<_> = acls.iter().collect();
        listed.sort();
        prop_assert_eq!(listed, rules);
    }

    /// A filter for a name finds the rules that decide about it.
    #[test]
    fn match_finds_what_decides(rules in vec(rule(), 0..12), name in select(&NAMES[1..])) {
        let filter = Filter {
            resource: Some(Resource::Topic),
            name: Some(name.to_owned()),
            kind: PatternFilter::Match,
            ..Filter::default()
        };
        let principal = Principal::user("ann");
        let asker = Asker { principal: &principal, host: "1.1.1.1" };
        let found: Vec<_> = rules.iter().filter(|rule| filter.passes(rule)).cloned().collect();
        for &operation in &Operation::ALL[1..] {
            prop_assert_eq!(
                model(&rules, asker, operation, Resource::Topic, name),
                model(&found, asker, operation, Resource::Topic, name)
            );
        }
    }

    /// The more a filter wants, the less it finds.
    #[test]
    fn each_part_of_a_filter_narrows_it(rule in rule(), filter in filter()) {
        if filter.passes(&rule) {
            for wider in [
                Filter { resource: None, ..filter.clone() },
                Filter { name: None, ..filter.clone() },
                Filter { host: None, ..filter.clone() },
                Filter { operation: None, ..filter.clone() },
                Filter { allows: None, ..filter.clone() },
            ] {
                prop_assert!(wider.passes(&rule));
            }
        }
    }
}
