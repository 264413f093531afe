//! Which rules follow, and that nothing is removed but what was created.

use std::collections::BTreeSet;

use proptest::prelude::*;
use wire::client::{AclPattern, Operation};

use super::*;
use crate::config::{Config, Sources};

fn config(flow: &str) -> FlowConfig {
    let text = format!(
        "[clusters.east]\nbootstrap.servers = \"e:1\"\n[clusters.west]\nbootstrap.servers = \"w:1\"\n\
         [[flows]]\nsource = \"east\"\ntarget = \"west\"\n{flow}\n"
    );
    let sources = Sources {
        variable: &|_| None,
        file: &|_| Err(std::io::ErrorKind::NotFound.into()),
    };
    Config::parse(&text, &sources).unwrap().flows.remove(0)
}

/// As `allow topic literal orders Read`.
fn acl(text: &str) -> Acl {
    let parts: Vec<_> = text.split(' ').collect();
    let [may, of, how, name, what] = parts[..] else {
        panic!("{text}")
    };
    Acl {
        resource: match of {
            "topic" => AclResource::Topic,
            _ => AclResource::Group,
        },
        pattern: match how {
            "literal" => AclPattern::Literal,
            _ => AclPattern::Prefixed,
        },
        name: name.to_owned(),
        principal: "User:ann".to_owned(),
        host: "*".to_owned(),
        operation: Operation::EACH
            .into_iter()
            .find(|one| one.to_string() == what)
            .unwrap(),
        allows: may == "allow",
    }
}

/// What becomes of a rule of the source, where `orders` and `pay.in` are copied and there.
fn becomes(flow: &str, rule: &str) -> Result<Option<Acl>, String> {
    let config = config(&format!(
        "topics = [\"orders\", \"pay.*\", \"later\"]\ngroups_exclude = [\"tmp.*\"]\n{flow}"
    ));
    let scope = Scope {
        mode: config.acls,
        selection: &Selection::new(&config),
        topics: &BTreeSet::from(["orders", "pay.in"]),
        naming: &Naming::new(&config.naming, &config.source),
        groups: &GroupSelection::new(&config),
    };
    let Wanted { rules, left_out } = scope.wanted(&[acl(rule)]);
    match left_out.first() {
        Some((_, why)) => Err(why.clone()),
        None => Ok(rules.into_iter().next()),
    }
}

fn same(flow: &str, rule: &str) {
    assert_eq!(becomes(flow, rule), Ok(Some(acl(rule))), "{flow}: {rule}");
}

fn other(flow: &str, rule: &str, then: &str) {
    assert_eq!(becomes(flow, rule), Ok(Some(acl(then))), "{flow}: {rule}");
}

fn nothing(flow: &str, rule: &str) {
    assert_eq!(becomes(flow, rule), Ok(None), "{flow}: {rule}");
}

const READ: &str = "acls = \"read\"";
const COMPLETE: &str = "acls = \"complete\"";

#[test]
fn nobody_may_write_to_a_copy_unless_all_rules_are_wanted() {
    nothing(READ, "allow topic literal orders Write");
    other(
        READ,
        "allow topic literal orders All",
        "allow topic literal orders Read",
    );
    other(
        READ,
        "allow group literal app All",
        "allow group literal app Read",
    );
    for rule in [
        "allow topic literal orders Read",
        "allow topic literal orders Describe",
        "deny topic literal orders Write",
        "deny topic literal orders All",
    ] {
        same(READ, rule);
    }
    for rule in [
        "allow topic literal orders Write",
        "allow topic literal orders All",
        "allow group literal app All",
    ] {
        same(COMPLETE, rule);
        nothing("acls = \"off\"", rule);
    }
}

#[test]
fn rules_are_about_topics_that_are_copied_under_their_names_there() {
    let prefix = format!("{READ}\nnaming = \"prefix\"");
    other(
        &prefix,
        "allow topic literal orders Read",
        "allow topic literal east.orders Read",
    );
    // Before the topic is there, too: rules are often made first.
    other(
        &prefix,
        "allow topic literal later Read",
        "allow topic literal east.later Read",
    );
    other(
        &prefix,
        "allow topic prefixed pay Read",
        "allow topic prefixed east.pay Read",
    );
    nothing(&prefix, "allow topic prefixed lat Read");
    nothing(&prefix, "allow topic prefixed pay.in.x Read");
    nothing(&prefix, "allow topic literal other Read");
    nothing(READ, "allow topic literal strait.probe Read");
    let behind = format!("{READ}\nnaming = \"{{topic}}-{{source}}\"");
    other(
        &behind,
        "allow topic literal orders Read",
        "allow topic literal orders-east Read",
    );
    other(
        &behind,
        "allow topic prefixed pay Read",
        "allow topic prefixed pay Read",
    );
    let long = format!("{READ}\nnaming = \"{{topic}}{}\"", "x".repeat(248));
    assert!(becomes(&long, "allow topic literal orders Read").is_err());
}

#[test]
fn a_rule_for_all_topics_is_one_for_all_that_are_copied() {
    let prefix = format!("{READ}\nnaming = \"prefix\"");
    other(
        &prefix,
        "allow topic literal * Read",
        "allow topic prefixed east. Read",
    );
    // Under kept names it would be about the target's own topics.
    assert!(becomes(READ, "allow topic literal * Read").is_err());
    same(READ, "deny topic literal * Read");
    same(COMPLETE, "allow topic literal * Read");
    nothing(READ, "allow topic literal * Write");
}

#[test]
fn groups_keep_their_names() {
    let prefix = format!("{READ}\nnaming = \"prefix\"");
    for rule in [
        "allow group literal app Read",
        "allow group literal * Read",
        "allow group prefixed tmp Read",
    ] {
        same(&prefix, rule);
    }
    nothing(&prefix, "allow group literal tmp1 Read");
    nothing(&prefix, "allow group literal strait.f Read");
    nothing(&prefix, "allow group prefixed strait. Describe");
}

fn some_acls() -> impl Strategy<Value = BTreeSet<Acl>> {
    let one = (0u8..12).prop_map(|number| acl(&format!("allow topic literal t{number} Read")));
    proptest::collection::btree_set(one, 0..12)
}

proptest! {
    /// Whoever made the others: they are there afterwards, too.
    #[test]
    fn only_what_was_created_is_removed(
        wanted in some_acls(), there in some_acls(), created in some_acls(),
    ) {
        let Changes { create, remove, forget, .. } = Acls::new(&config("topics = [\".*\"]")).changes(&wanted, &there, &created);
        let mut after = there.clone();
        after.extend(create.iter().cloned());
        after.retain(|acl| !remove.contains(acl));
        prop_assert!(wanted.is_subset(&after));
        let mut remembered: BTreeSet<_> = created.union(&create.iter().cloned().collect()).cloned().collect();
        remembered.retain(|acl| !remove.contains(acl) && !forget.contains(acl));
        for acl in &there {
            prop_assert!(after.contains(acl) || created.contains(acl) && !wanted.contains(acl));
        }
        // What is remembered is there and wanted; nothing else that is there is thought to be its own.
        prop_assert!(remembered.is_subset(&after) && remembered.is_subset(&wanted));
        prop_assert!(remembered.iter().all(|acl| created.contains(acl) || !there.contains(acl)));
    }
}

proptest! {
    #[test]
    fn a_key_leads_back(
        name in "[a-z.\"*é]{1,9}", principal in "User:[^\n]{0,9}", host in "[*0-9.]{1,9}",
        operation in 0..Operation::EACH.len(), bits in 0u8..8,
    ) {
        let is = |bit: u8| bits & bit != 0;
        let acl = Acl {
            resource: if is(1) { AclResource::Topic } else { AclResource::Group },
            pattern: if is(2) { AclPattern::Literal } else { AclPattern::Prefixed },
            name, principal, host,
            operation: Operation::EACH[operation],
            allows: is(4),
        };
        prop_assert_eq!(Acl::parse(acl.key().as_bytes()), Ok(acl));
    }

    #[test]
    fn hostile_keys_are_errors(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        prop_assert!(Acl::parse(&bytes).is_err());
    }
}

#[test]
fn a_key_is_text_that_people_read() {
    let acl = Acl::parse(br#"["topic","literal","orders","User:ann","*","Read","allow"]"#);
    assert_eq!(acl.map(|acl| acl.name), Ok("orders".to_owned()));
    for wrong in [
        &br#"["topic","literal","orders","User:ann","*","Read"]"#[..],
        br#"["cluster","literal","orders","User:ann","*","Read","allow"]"#,
        br#"["topic","literal","orders","User:ann","*","Fly","allow"]"#,
    ] {
        assert!(Acl::parse(wrong).is_err());
    }
}
