//! Topics that would form a cycle, and clusters that changed places.

use super::*;
use crate::{checkpoint::control_topic::ControlTopic, survey::check};

/// One flow of a file of its own.
fn one(source: (&str, &Cluster), target: (&str, &Cluster), name: &str, flow: &str) -> Running {
    run_text(&text_of_one(source, target, name, flow))
}

fn text_of_one(
    (from, from_cluster): (&str, &Cluster),
    (to, to_cluster): (&str, &Cluster),
    name: &str,
    flow: &str,
) -> String {
    format!(
        "[clusters.{from}]\nbootstrap.servers = \"{}\"\n[clusters.{to}]\nbootstrap.servers = \"{}\"\n\
         [[flows]]\nname = \"{name}\"\nsource = \"{from}\"\ntarget = \"{to}\"\ncheckpoint_interval = \"100ms\"\n{flow}\n",
        from_cluster.broker.address(),
        to_cluster.broker.address(),
    )
}

async fn refused(running: Running) -> String {
    let error = running.ended().await.unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

const ORDERS: &str = "topics = [\"orders\"]";

#[tokio::test]
async fn a_cycle_in_one_file_is_refused_with_its_way_before_anything_is_reached() {
    let text = "[clusters.east]\nbootstrap.servers = \"127.0.0.1:1\"\n\
         [clusters.west]\nbootstrap.servers = \"127.0.0.1:1\"\n\
         [[flows]]\nsource = \"east\"\ntarget = \"west\"\ntopics = [\"orders\"]\n\
         [[flows]]\nsource = \"west\"\ntarget = \"east\"\ntopics = [\".*\"]\n";
    let error = refused(run_text(text)).await;
    assert!(
        error.contains("east:orders → west:orders → east:orders"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_that_is_at_work_elsewhere_closes_a_cycle_that_the_next_start_refuses() {
    let pair = Pair::start().await;
    let (east, west) = (("east", &pair.east), ("west", &pair.west));
    pair.east.create("orders", &[]).await;
    pair.east.write("orders", &["1"]).await;
    let there = one(east, west, "there", ORDERS);
    pair.await_read("orders", &["1"]).await;
    there.stop().await;

    // A checkpoint that rests is no flow at work: directions are turned round in peace.
    let client = &pair.west.client;
    let partition = TopicPartition::new("orders", 0);
    let held = client.group_offsets("strait.there").await.unwrap();
    let (_, held) = held
        .into_iter()
        .find(|(found, _)| *found == partition)
        .unwrap();
    let back = one(west, east, "back", ORDERS);
    back.await_reason("orders", "checkpoint_missing").await;
    back.stop().await;

    // One with a member that has the partition is: here a member by name only, and at first one that has another topic.
    pair.west.create("invoices", &[]).await;
    let elsewhere = member_with(&pair, "invoices").await;
    let back = one(west, east, "back", ORDERS);
    back.await_reason("orders", "checkpoint_missing").await;
    back.stop().await;
    drop(elsewhere);
    let member = member_with(&pair, "orders").await;
    assert!(held.offset > 0);
    let error = refused(one(west, east, "back", ORDERS)).await;
    for part in [
        "west:orders → east:orders → west:orders",
        "strait.there on west",
    ] {
        assert!(error.contains(part), "{error}");
    }
    // Another topic is no cycle.
    let other = one(west, east, "back", "topics = [\"invoices\"]");
    other.await_ready().await;
    other.stop().await;
    drop(member);
}

/// A member of the flow's group that was handed `topic`, and nothing else.
async fn member_with(pair: &Pair, topic: &str) -> rdkafka::consumer::BaseConsumer {
    let mut properties = rdkafka::ClientConfig::new();
    properties.set("bootstrap.servers", pair.west.broker.address().to_string());
    properties.set("group.id", "strait.there");
    let member: rdkafka::consumer::BaseConsumer = properties.create().unwrap();
    rdkafka::consumer::Consumer::subscribe(&member, &[topic]).unwrap();
    let client = &pair.west.client;
    eventually("the member has the topic", async || {
        assert!(
            member
                .poll(Duration::from_millis(100))
                .is_none_or(|polled| polled.is_ok())
        );
        let group = ["strait.there".to_owned()];
        let (_, found) = client.describe_groups(&group).await.unwrap().remove(0);
        let found = found.map_err(|error| error.to_string())?;
        let mut has = found.members.iter().flat_map(|member| &member.assignment);
        match found.members.len() == 1 && has.any(|partition| partition.topic == topic) {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    })
    .await;
    member
}

/// Both start where there is no topic yet, so that neither sees the other at its start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cycle_that_closes_while_flows_run_is_cut() {
    let pair = Pair::start().await;
    let (east, west) = (("east", &pair.east), ("west", &pair.west));
    let there = one(east, west, "there", ORDERS);
    let back = one(west, east, "back", ORDERS);
    there.await_ready().await;
    back.await_ready().await;
    pair.east.create("orders", &[]).await;
    pair.east.write("orders", &["1"]).await;
    let cut = |running: &Running| {
        let status = running.status();
        let trouble = status
            .troubles
            .iter()
            .any(|trouble| trouble.code == "cycle");
        let mut partitions = status.partitions.iter();
        trouble && partitions.all(|partition| partition.reason.as_deref() == Some("cycle"))
    };
    eventually("one is cut", async || match cut(&there) || cut(&back) {
        true => Ok(()),
        false => Err("neither".to_owned()),
    })
    .await;
    there.stop().await;
    back.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_that_changed_places_are_refused() {
    let pair = Pair::start().await;
    pair.east.create("orders", &[]).await;
    pair.east.write("orders", &["1"]).await;
    let flow = "topics = [\"orders\"]\nnaming = \"prefix\"";
    let right = one(("a", &pair.east), ("b", &pair.west), "dr", flow);
    pair.await_read("a.orders", &["1"]).await;
    right.stop().await;
    let error = refused(one(("a", &pair.west), ("b", &pair.east), "dr", flow)).await;
    assert!(error.contains("a and b have changed places"), "{error}");
    assert!(
        !pair.east.exists("strait.dr.control").await,
        "nothing was written"
    );
    // Under another name it is another flow.
    let turned = one(("a", &pair.west), ("b", &pair.east), "dr-back", flow);
    turned.await_ready().await;
    turned.stop().await;
}

/// Three clusters, and three processes that know two of them each.
struct Ring {
    clusters: [Cluster; 3],
}

impl Ring {
    async fn start() -> Self {
        let (a, b, c) = tokio::join!(Cluster::start(), Cluster::start(), Cluster::start());
        Self {
            clusters: [a, b, c],
        }
    }

    /// The file of the flow from this cluster to the next one.
    fn text(&self, from: usize, flow: &str) -> String {
        let (names, to) = (["a", "b", "c"], (from + 1) % 3);
        let side = |index: usize| (names[index], &self.clusters[index]);
        let name = format!("{}{}", names[from], names[to]);
        text_of_one(side(from), side(to), &name, flow)
    }

    fn run(&self, from: usize, flow: &str) -> Running {
        run_text(&self.text(from, flow))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_of_processes_is_refused_by_the_one_that_would_close_it() {
    let ring = Ring::start().await;
    let [a, b, c] = &ring.clusters;
    a.create("orders", &[]).await;
    a.write("orders", &["1"]).await;
    let first = ring.run(0, ORDERS);
    await_read(b, "orders", &["1"]).await;
    // A chain is none.
    let second = ring.run(1, ORDERS);
    await_read(c, "orders", &["1"]).await;
    let control = ControlTopic::new(c.client.clone(), "bc");
    eventually("it says where its topic comes from", async || {
        let records = control.read().await.unwrap();
        let topic = records.topics.into_values().next().unwrap();
        match topic.ways.as_slice() {
            [way] if way.len() == 1 && way[0].flow == "ab" && way[0].alias == "a" => Ok(()),
            ways => Err(format!("{ways:?}")),
        }
    })
    .await;
    let way = "a:orders → b:orders → c:orders → a:orders (flows ab, bc, ca)";
    let report = check::run(&Host::real(), &parse(&ring.text(2, ORDERS))).await;
    let problems = &report.flows[0].problems;
    let mut cycles = problems.iter().filter(|found| found.code == "cycle");
    assert!(
        cycles
            .next()
            .is_some_and(|found| found.message.contains(way)),
        "{problems:?}"
    );
    assert!(cycles.next().is_none(), "{problems:?}");
    let error = refused(ring.run(2, ORDERS)).await;
    assert!(error.contains(way), "{error}");
    assert!(!a.exists("strait.ca.control").await, "nothing was written");
    // Under another name it comes to another topic, and nobody copies that on.
    let back = ring.run(2, &format!("{ORDERS}\nnaming = \"prefix\""));
    await_read(a, "c.orders", &["1"]).await;
    for running in [first, second, back] {
        assert!(running.status().troubles.is_empty());
        running.stop().await;
    }
}

/// No flow sees another one at its start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_closes_while_its_flows_run_is_cut() {
    let ring = Ring::start().await;
    let running: Vec<_> = (0..3).map(|from| ring.run(from, ORDERS)).collect();
    for one in &running {
        one.await_ready().await;
    }
    ring.clusters[0].create("orders", &[]).await;
    ring.clusters[0].write("orders", &["1"]).await;
    eventually("one is cut", async || {
        let status: Vec<_> = running.iter().map(Running::status).collect();
        let is_cut = status.iter().any(|status| {
            let mut partitions = status.partitions.iter();
            let stopped = |reason: Option<&str>| reason == Some("cycle");
            let told = status
                .troubles
                .iter()
                .any(|it| it.code == "cycle" && it.text.matches(":orders").count() >= 4);
            told && partitions.all(|partition| stopped(partition.reason.as_deref()))
        });
        match is_cut {
            true => Ok(()),
            false => Err(format!(
                "{:?}",
                status.iter().map(|it| &it.troubles).collect::<Vec<_>>()
            )),
        }
    })
    .await;
    for one in running {
        one.stop().await;
    }
}
