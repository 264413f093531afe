//! What is asked. A case is a list of requests; it says nothing about answers, those are Kafka's to give.

#![expect(clippy::too_many_lines, reason = "a case is a list")]

mod admin;
mod api_versions;
mod bearers;
mod cleaning;
mod cluster;
mod fetches;
mod frames;
mod groups;
mod limits;
mod logins;
mod metadata;
mod offsets;
mod produce;
mod producer;
mod records;
mod rights;
mod sequences;
mod topics;
mod transactions;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use kafka_protocol::messages::{
    CreateTopicsRequest, FindCoordinatorRequest, InitProducerIdRequest, ListOffsetsRequest,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};

use super::{
    batches::Topic,
    talk::{Talk, text},
};

/// A list of requests.
pub struct Case {
    pub name: &'static str,
    pub run: fn(&mut Talk),
}

macro_rules! cases {
    ($(#[$doc:meta])* $list:ident: $($module:ident: $($case:ident)*;)*) => {
        $(#[$doc])*
        pub const $list: &[Case] = &[$($(Case {
            name: concat!(stringify!($module), "::", stringify!($case)),
            run: $module::$case,
        },)*)*];
    };
}

cases! {
    /// For brokers that let everyone in.
    ALL:
    admin: acls quotas credentials leaders reassignments;
    api_versions: ranges versions;
    frames: headers bodies garbage;
    produce: envelopes headers contents times sizes codecs requests;
    sequences: one_epoch epochs wrapping;
    fetches: offsets sessions;
    records: offsets epochs deletes producers;
    topics: creating growing deleting;
    limits: partitions;
    metadata: topics auto_creation;
    cluster: describing altering altering_legacy brokers listing partitions log_dirs describe;
    cleaning: compacting expiring;
    groups: coordinators joining living listing;
    offsets: committing fetching deleting;
    transactions: producers partitions ends offsets writes newest shown;
}

cases! {
    /// For brokers with logins and an authorizer.
    SECURED:
    logins: states tokens renewals credentials;
    bearers: unsecured_tokens;
    rights: rules nothing some filters;
}

cases! {
    /// For listeners that take signed tokens.
    TOKENS:
    bearers: signed_tokens;
}

/// What brokers that let everyone in have: cleaners that come often, and defaults of topics that are not Kafka's.
pub const OPEN_SETTINGS: &str = "\
log.cleaner.backoff.ms=300
log.initial.task.delay.ms=300
log.retention.check.interval.ms=300
log.retention.hours=200
log.roll.ms=360000000
log.cleaner.delete.retention.ms=7200000";

/// What those brokers have beside their listeners. Everyone's password is the name.
pub const SECURED_SETTINGS: &str = "\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:root
connections.max.reauth.ms=60000
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.password.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.password.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_root=\"root\" user_ann=\"ann\" user_eve=\"eve\" user_zoe=\"zoe\";
listener.name.password.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.password.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.password.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule \
required unsecuredLoginStringClaim_sub=\"kafka\" unsecuredValidatorRequiredScope=\"one two\" \
unsecuredValidatorAllowableClockSkewMs=\"5000\";";

/// Lets a broker that has just started find its coordinators.
pub fn prepare(address: SocketAddr) {
    let mut talk = Talk::new(address);
    for key_type in [0, 1] {
        let find = FindCoordinatorRequest::default()
            .with_key(text("ready"))
            .with_key_type(key_type);
        until_accepted(|| talk.quietly(2, &find).error_code);
    }
    let producer = InitProducerIdRequest::default()
        .with_transactional_id(Some(text("ready").into()))
        .with_transaction_timeout_ms(1000);
    until_accepted(|| talk.quietly(2, &producer).error_code);
}

fn until_accepted(mut ask: impl FnMut() -> i16) {
    until(|| ask() == 0);
}

fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "the broker gets ready");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Makes a topic whose old records stay.
fn topic(talk: &mut Talk, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Topic {
    let config = |(name, value): &(&str, &str)| {
        CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    };
    let configs = configs.iter().chain(&[("retention.ms", "-1")]).map(config);
    let topic = CreatableTopic::default()
        .with_name(text(name).into())
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect());
    let create = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(5000);
    let created = talk.quietly(7, &create);
    let created = created.topics.first().expect("an answer for the topic");
    assert_eq!(created.error_code, 0, "{name}: {:?}", created.error_message);
    // Kafka's partitions take a moment to begin.
    let ask = ends(name, partitions);
    until_accepted(|| {
        let answer = talk.quietly(5, &ask);
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| partition.error_code).sum()
    });
    Topic {
        name: name.to_owned(),
        id: created.topic_id,
    }
}

/// Asks where the first partitions of a topic end.
fn ends(topic: &str, partitions: i32) -> ListOffsetsRequest {
    let partition = |index| {
        ListOffsetsPartition::default()
            .with_partition_index(index)
            .with_timestamp(-1)
    };
    let topic = ListOffsetsTopic::default()
        .with_name(text(topic).into())
        .with_partitions((0..partitions).map(partition).collect());
    ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_topics(vec![topic])
}
