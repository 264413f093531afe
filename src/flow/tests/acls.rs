//! Rules (ACLs) that follow, between two broker-lites.

use std::collections::BTreeSet;

use wire::client::{Acl, AclPattern, AclResource, Operation};

use super::{Cluster, Pair, eventually};
use crate::flow::sync::rules::PERIOD;

const AUTHORIZER: [&str; 2] = [
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users=User:ANONYMOUS",
];
const READ: &str = "topics = [\".*\"]\nnaming = \"prefix\"\nacls = \"read\"";

fn rule(resource: AclResource, name: &str, operation: Operation) -> Acl {
    Acl {
        resource,
        pattern: AclPattern::Literal,
        name: name.to_owned(),
        principal: "User:ann".to_owned(),
        host: "*".to_owned(),
        operation,
        allows: true,
    }
}

fn topic(name: &str, operation: Operation) -> Acl {
    rule(AclResource::Topic, name, operation)
}

impl Cluster {
    async fn allow(&self, acls: &[Acl]) {
        for outcome in self.client.create_acls(acls).await.unwrap() {
            outcome.unwrap();
        }
    }

    async fn forbid(&self, acls: &[Acl]) {
        for outcome in self.client.delete_acls(acls).await.unwrap() {
            outcome.unwrap();
        }
    }

    async fn await_rules(&self, wanted: &[Acl]) {
        let wanted: BTreeSet<_> = wanted.iter().cloned().collect();
        eventually(&format!("{wanted:?}"), async || {
            let mut found = BTreeSet::new();
            for resource in [AclResource::Topic, AclResource::Group] {
                found.extend(self.client.describe_acls(resource).await.unwrap().acls);
            }
            match found == wanted {
                true => Ok(()),
                false => Err(format!("{found:?}")),
            }
        })
        .await;
    }
}

async fn pair() -> Pair {
    let pair = Pair {
        east: Cluster::start_with(&AUTHORIZER).await,
        west: Cluster::start_with(&AUTHORIZER).await,
    };
    pair.east.create("t", &[]).await;
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_follow_and_only_what_was_created_is_removed() {
    let pair = pair().await;
    let [read, write] = [Operation::Read, Operation::Write];
    let group = rule(AclResource::Group, "app", read);
    // Both are there already: whoever made them keeps them.
    let found = [topic("east.t", Operation::Describe), topic("mine", write)];
    pair.west.allow(&found).await;
    let rules = [
        topic("t", read),
        topic("t", write),
        topic("t", Operation::Describe),
        group.clone(),
    ];
    pair.east.allow(&rules).await;
    let running = pair.run(READ);
    let copied = topic("east.t", read);
    let [described, mine] = found;
    let all = [described.clone(), mine.clone(), copied.clone(), group];
    pair.west.await_rules(&all).await;
    running.stop().await;

    // Another process goes on: what its predecessor created is known.
    pair.east.forbid(&rules[..3]).await;
    let running = pair.run(READ);
    let [_, _, _, group] = all;
    pair.west
        .await_rules(&[described.clone(), mine.clone(), group.clone()])
        .await;
    // Who takes it away on the target gets it again.
    pair.west.forbid(std::slice::from_ref(&group)).await;
    pair.west
        .await_rules(&[described.clone(), mine.clone(), group.clone()])
        .await;
    let told = running.status().acls.unwrap();
    assert_eq!((told.off, told.follow, told.left_out), (None, 1, 0));
    // The last one: that all are gone is not believed.
    pair.east.forbid(std::slice::from_ref(&group)).await;
    eventually("it says that nothing is removed", async || {
        let told = running.status().acls.unwrap_or_default().off;
        match told.as_deref().is_some_and(|off| off.contains("none left")) {
            true => Ok(()),
            false => Err(format!("{told:?}")),
        }
    })
    .await;
    pair.west.await_rules(&[described, mine, group]).await;
    running.stop().await;
}

/// Each flow would make the rule anew that the other one has just removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_flows_between_two_clusters_do_not_keep_a_rule_alive() {
    let pair = pair().await;
    let group = |name| rule(AclResource::Group, name, Operation::Read);
    let [stays, goes] = ["stays", "goes"].map(group);
    let [stays_back, goes_back] = ["stays back", "goes back"].map(group);
    pair.east.allow(&[stays.clone(), goes.clone()]).await;
    let of_west = [stays_back.clone(), goes_back.clone()];
    pair.west.allow(&of_west).await;
    let running = pair.run(
        "topics = [\"t\"]\nacls = \"read\"\n[[flows]]\nname = \"g\"\nsource = \"west\"\ntarget = \"east\"\n\
         topics = [\"u\"]\nacls = \"read\"",
    );
    let rest = [stays.clone(), stays_back.clone()];
    let all = [stays, goes.clone(), stays_back, goes_back.clone()];
    pair.west.await_rules(&all).await;
    pair.east.await_rules(&all).await;
    // Whichever looks first, one of the two is still on its source.
    pair.east.forbid(&[goes]).await;
    pair.west.forbid(&[goes_back]).await;
    pair.west.await_rules(&rest).await;
    pair.east.await_rules(&rest).await;
    // Both have looked again since.
    tokio::time::sleep(PERIOD * 2).await;
    pair.east.await_rules(&rest).await;
    pair.west.await_rules(&rest).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_no_authorizer_records_are_copied_all_the_same() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1"]).await;
    let running = pair.run(READ);
    pair.await_read("east.t", &["1"]).await;
    eventually("it says why", async || {
        let told = running.status().acls.unwrap_or_default().off;
        match told
            .as_deref()
            .is_some_and(|off| off.contains("SECURITY_DISABLED"))
        {
            true => Ok(()),
            false => Err(format!("{told:?}")),
        }
    })
    .await;
    running.stop().await;
}
