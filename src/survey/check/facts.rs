//! What `check` asks beyond the survey: rights, brokers, configs, what the flow remembers, and who else writes.
//!
//! Every answer stands for itself: one that is refused is a fact as well.

use std::{collections::BTreeMap, time::Duration};

use tokio::task::JoinSet;
use wire::{
    TopicPartition,
    client::{ConfigEntry, Operation, TopicToBe},
    error::ApiError,
};

use super::{
    brokers::{Dialled, is_loopback},
    rights::{End, Need, Resource, Told, needs},
    settings::{Settings, TargetSettings},
};
use crate::{
    checkpoint::{
        Stored,
        control_topic::{ControlRecords, ControlTopic},
    },
    cluster::guarantee,
    config::{FlowConfig, Transport},
    flow::topics::{
        create::{Draft, LeftOut},
        examples::literal,
        origins::{Known, Origins},
        portions::Portions,
        selection::Selection,
        writers::{GROUPS, Writers},
    },
    survey::{
        Survey, Topic,
        collect::{Asked, Pair},
    },
};

/// Brokers that are dialled at one time.
const AT_ONCE: usize = 16;
/// Topics in one question about configs.
const CHUNK: usize = 500;

/// All of it.
#[derive(Debug)]
pub struct Facts {
    /// Where each side's tools find it.
    pub bootstrap: BTreeMap<End, String>,
    /// What is allowed on each resource that matters.
    pub rights: BTreeMap<(End, Resource), Told>,
    /// Whether topics of any name may be created on the target.
    pub creates_any: bool,
    /// Topics that the configuration names as they are, and that the source does not show.
    pub absent: Vec<(String, ApiError)>,
    /// Configs on both sides, by source topic.
    pub settings: Result<BTreeMap<String, Settings>, String>,
    /// The control topic; empty if there is none.
    pub control: Result<ControlRecords, String>,
    /// All that the flow's group holds.
    pub held: Vec<(TopicPartition, Stored)>,
    /// Flows that copy to the source.
    pub writers: Result<Writers, String>,
    /// Where the source's topics come from.
    pub origins: Result<Origins, String>,
    /// How long the target's leaders remember producers; none: nothing rests on it.
    pub expiration: Option<Result<Duration, String>>,
}

/// Every broker of both sides, dialled where it advertises itself.
pub(super) async fn dial(pair: &Pair<'_>) -> Vec<Dialled> {
    let mut dialled = Vec::new();
    for side in [&pair.source, &pair.target] {
        // Sides that cannot be asked at all were told already.
        let Ok(cluster) = side.client.describe_cluster().await else {
            continue;
        };
        let near = side.bootstrap.iter().all(|(host, _)| is_loopback(host));
        let mut waiting = cluster.brokers.into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < AT_ONCE
                && let Some(broker) = waiting.next()
            {
                let (client, alias) = (side.client.clone(), side.alias.clone());
                running.spawn(async move {
                    let failure = client
                        .dial(broker.id)
                        .await
                        .err()
                        .map(|error| error.to_string());
                    Dialled {
                        alias,
                        id: broker.id,
                        host: broker.host,
                        port: broker.port,
                        near,
                        failure,
                    }
                });
            }
            match running.join_next().await {
                Some(ended) => dialled.extend(ended.ok()),
                None => break,
            }
        }
    }
    dialled.sort_by(|a, b| (&a.alias, a.id).cmp(&(&b.alias, b.id)));
    dialled
}

impl Facts {
    pub(super) async fn ask(pair: &Pair<'_>, flow: &FlowConfig, survey: &Survey) -> Self {
        let (source, target) = (&pair.source, &pair.target);
        let client = &source.client;
        let cluster = target.client.cluster_rights().await.ok().flatten();
        let held = target
            .stored(&survey.group)
            .await
            .map(|held| held.into_iter().collect());
        let mut rights = rights(source, End::Source, &needs(flow, survey)).await;
        rights.extend(self::rights(target, End::Target, &needs(flow, survey)).await);
        let writers = match rights.get(&(End::Source, Resource::Group(GROUPS.to_owned()))) {
            // Told with the rights.
            Some(Ok(Some(rights))) if !rights.allow(Operation::Describe) => Ok(Writers::default()),
            _ => Writers::read(client, &survey.source.cluster_id)
                .await
                .map_err(|error| error.to_string()),
        };
        let origins = match &writers {
            Ok(writers) => Origins::read(client, writers, &mut Known::default()).await,
            Err(_) => Ok(Origins::default()),
        };
        Self {
            bootstrap: BTreeMap::from([
                (End::Source, servers(source)),
                (End::Target, servers(target)),
            ]),
            creates_any: cluster.is_some_and(|rights| rights.allow(Operation::Create)),
            absent: absent(source, flow, survey).await,
            settings: settings(pair, survey).await,
            control: control(target, flow, survey).await,
            held: held.unwrap_or_default(),
            writers,
            origins: origins.map_err(|error| error.to_string()),
            rights,
            expiration: match flow.transport {
                Transport::Librdkafka => None,
                Transport::Auto | Transport::Wire => {
                    let told = guarantee::expiration(&target.client).await;
                    let set = target.producer_id_expiration;
                    Some(told.or_else(|error| set.ok_or_else(|| error.to_string())))
                }
            },
        }
    }
}

fn servers(side: &Asked) -> String {
    let servers: Vec<_> = side
        .bootstrap
        .iter()
        .map(|(host, port)| format!("{host}:{port}"))
        .collect();
    servers.join(",")
}

async fn rights(side: &Asked, end: End, needs: &[Need]) -> BTreeMap<(End, Resource), Told> {
    let mut told = BTreeMap::new();
    let mut topics = Vec::new();
    for need in needs.iter().filter(|need| need.end == end) {
        match &need.resource {
            Resource::Topic(topic) => topics.push(topic.clone()),
            Resource::Cluster => {
                let rights = side.client.cluster_rights().await;
                let rights = rights.map_err(|error| error.to_string());
                told.insert((end, Resource::Cluster), rights);
            }
            Resource::Group(group) => {
                let rights = side
                    .client
                    .group_rights(group)
                    .await
                    .map_err(|error| error.to_string());
                told.insert((end, need.resource.clone()), rights);
            }
        }
    }
    if topics.is_empty() {
        return told;
    }
    match side.client.topic_rights(&topics).await {
        Ok(rights) => told.extend(rights.into_iter().map(|(topic, rights)| {
            let rights = rights.map_err(|error| format!("{topic}: {error}"));
            ((end, Resource::Topic(topic)), rights)
        })),
        Err(error) => told.extend(
            topics
                .into_iter()
                .map(|topic| ((end, Resource::Topic(topic)), Err(error.to_string()))),
        ),
    }
    told
}

async fn absent(source: &Asked, flow: &FlowConfig, survey: &Survey) -> Vec<(String, ApiError)> {
    let selection = Selection::new(flow);
    let known = |name: &String| {
        survey.topics.iter().any(|topic| topic.source == *name)
            || survey.troubles.iter().any(|trouble| trouble.topic == *name)
    };
    let names = flow
        .topics
        .iter()
        .filter_map(|pattern| literal(pattern.text()));
    let names: Vec<_> = names
        .filter(|name| selection.selects(name, false) && !known(name))
        .collect();
    if names.is_empty() {
        return Vec::new();
    }
    let found = source.client.topics(Some(&names)).await.unwrap_or_default();
    found
        .into_iter()
        .filter_map(|topic| Some((topic.name, topic.error?)))
        .collect()
}

type Described = BTreeMap<String, Result<Vec<ConfigEntry>, ApiError>>;

async fn describe(side: &Asked, names: &[String]) -> Result<Described, String> {
    let mut described = Described::new();
    for names in names.chunks(CHUNK) {
        let answer = side.client.describe_topic_configs(names).await;
        described.extend(answer.map_err(|error| format!("cluster {}: {error}", side.alias))?);
    }
    Ok(described)
}

/// Topics whose configs nobody answers for are left out.
async fn settings(pair: &Pair<'_>, survey: &Survey) -> Result<BTreeMap<String, Settings>, String> {
    let (there, new): (Vec<_>, Vec<_>) = survey
        .topics
        .iter()
        .partition(|topic| topic.existing.is_some());
    let names = |topics: &[&Topic], name: fn(&Topic) -> &String| -> Vec<String> {
        topics.iter().map(|topic| name(topic).clone()).collect()
    };
    let all: Vec<_> = survey.topics.iter().collect();
    let mut sources = describe(&pair.source, &names(&all, |topic| &topic.source)).await?;
    let mut targets = describe(&pair.target, &names(&there, |topic| &topic.target)).await?;
    let mut to_be = to_be(&pair.target, &new, &sources).await;
    let both = survey.topics.iter().filter_map(|topic| {
        let source = sources.remove(&topic.source)?;
        let target = match &topic.existing {
            Some(_) => TargetSettings::There(targets.remove(&topic.target)?),
            None => {
                let (to_be, left_out) = to_be.remove(&topic.target)?;
                TargetSettings::ToBe(to_be, left_out)
            }
        };
        Some((topic.source.clone(), Settings { source, target }))
    });
    Ok(both.collect())
}

type ToBe = BTreeMap<String, (Result<TopicToBe, ApiError>, Vec<LeftOut>)>;

/// What the target says to the topics that `run` would create; a config that it refuses is left out, as there.
async fn to_be(target: &Asked, new: &[&Topic], sources: &Described) -> ToBe {
    let mut told = ToBe::new();
    let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
    for topic in new {
        let configs = match sources.get(&topic.source) {
            Some(Ok(configs)) => configs.as_slice(),
            _ => &[],
        };
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        // How many replicas the target's default comes to is asked when topics are created.
        let factor = topic.config.replication_factor;
        let replicas = usize::try_from(factor).unwrap_or(0);
        let draft = Draft::new(
            &topic.target,
            count,
            (factor, replicas),
            configs,
            &topic.config.configs,
        );
        drafts.insert(topic.target.clone(), draft);
    }
    let mut portions = Portions::default();
    // Every round decides a topic, takes a config out of its draft, or makes the portions smaller.
    while !drafts.is_empty() {
        let wanted = portions.next(drafts.values().map(|draft| &draft.topic));
        let Ok(answers) = target.client.topics_to_be(&wanted).await else {
            break;
        };
        let errors = answers.iter().map(|(_, answer)| answer.as_ref().err());
        if portions.are_too_large(&errors.collect::<Vec<_>>()) {
            continue;
        }
        let asked = wanted.iter().filter_map(|t| drafts.remove_entry(&t.name));
        let mut asked: BTreeMap<_, _> = asked.collect();
        for (name, answer) in answers {
            let Some(mut draft) = asked.remove(&name) else {
                continue;
            };
            if answer.as_ref().is_err_and(|error| draft.yield_to(error)) {
                drafts.insert(name, draft);
            } else {
                told.insert(name, (answer, draft.left_out));
            }
        }
    }
    told
}

async fn control(
    target: &Asked,
    flow: &FlowConfig,
    survey: &Survey,
) -> Result<ControlRecords, String> {
    if !survey.control_exists {
        return Ok(ControlRecords::default());
    }
    let control = ControlTopic::new(target.client.clone(), &flow.name);
    control
        .replicas()
        .await
        .map_err(|error| error.to_string())?;
    control.read().await.map_err(|error| error.to_string())
}
