//! What clients learn of topics and brokers.

use kafka_protocol::messages::{
    MetadataRequest, MetadataResponse, metadata_request::MetadataRequestTopic,
};
use uuid::Uuid;

use super::topic;
use crate::talk::{Talk, text};

pub fn topics(talk: &mut Talk) {
    let here = topic(talk, "metadata-topics", 2, &[]);
    let named = |name: &str| MetadataRequestTopic::default().with_name(Some(text(name).into()));
    let only_ours = |answer: &mut MetadataResponse| {
        let is_ours = |name: &str| name.starts_with("metadata-topics");
        answer
            .topics
            .retain(|topic| topic.name.as_ref().is_some_and(|name| is_ours(name)));
    };
    for version in 0..=13 {
        let ask = |topics: Option<Vec<MetadataRequestTopic>>| {
            let request = MetadataRequest::default().with_topics(topics);
            if version >= 4 {
                request.with_allow_auto_topic_creation(false)
            } else {
                request
            }
        };
        talk.ask("one", version, &ask(Some(vec![named(&here.name)])));
        talk.ask(
            "twice",
            version,
            &ask(Some(vec![named(&here.name), named(&here.name)])),
        );
        talk.ask_edited("none", version, &ask(Some(vec![])), only_ours);
        for bad in ["", "a/b", &"x".repeat(250)] {
            talk.ask(
                &format!("name {bad:?}"),
                version,
                &ask(Some(vec![named(bad)])),
            );
        }
        if version >= 1 {
            talk.ask_edited("all", version, &ask(None), only_ours);
        }
        if version >= 4 {
            talk.ask(
                "unknown",
                version,
                &ask(Some(vec![named("metadata-nowhere"), named(&here.name)])),
            );
        }
        if version >= 8 {
            let told = ask(Some(vec![named(&here.name), named("metadata-nowhere")]))
                .with_include_topic_authorized_operations(true);
            talk.ask("operations", version, &told);
        }
        if (8..=10).contains(&version) {
            let told = ask(Some(vec![])).with_include_cluster_authorized_operations(true);
            talk.ask("operations on the cluster", version, &told);
        }
        if version >= 10 {
            let by_id = |id| {
                MetadataRequestTopic::default()
                    .with_name(None)
                    .with_topic_id(id)
            };
            talk.ask("by id", version, &ask(Some(vec![by_id(here.id)])));
            talk.ask(
                "by an unknown id",
                version,
                &ask(Some(vec![by_id(Uuid::from_u128(3))])),
            );
            talk.ask("by no id", version, &ask(Some(vec![by_id(Uuid::nil())])));
            talk.ask(
                "by name and id",
                version,
                &ask(Some(vec![named(&here.name).with_topic_id(here.id)])),
            );
            talk.ask(
                "by both ways",
                version,
                &ask(Some(vec![by_id(here.id), named(&here.name)])),
            );
        }
    }
}

/// The request that makes a topic does not find it yet.
pub fn auto_creation(talk: &mut Talk) {
    for version in 0..=13 {
        let name = text(&format!("metadata-made-{version}"));
        let named = MetadataRequestTopic::default().with_name(Some(name.into()));
        let request = MetadataRequest::default().with_topics(Some(vec![named]));
        talk.ask("a new one", version, &request);
        super::until(|| talk.quietly(version, &request).topics[0].error_code == 0);
        talk.ask("again", version, &request);
    }
}
