//! Topics that the target does not take as they come.

use broker_lite::faults::{ApiKey, Fault, ResponseError, What};

use wire::{client::NewTopic, error::ApiError};

use super::*;

/// More than one request, whatever it may hold.
const MANY: usize = 45;

async fn many(pair: &Pair) -> Vec<String> {
    let names: Vec<_> = (0..MANY).map(|number| format!("t{number:02}")).collect();
    for name in &names {
        pair.east.create(name, &[]).await;
        pair.east.write(name, &[name]).await;
    }
    names
}

fn throttled(times: u32) -> Fault {
    let refused = What::Refuse(ResponseError::ThrottlingQuotaExceeded);
    Fault::new(ApiKey::CreateTopics, refused)
        .topic("t44")
        .times(times)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_takes_few_topics_in_a_request_gets_them_all() {
    let pair = Pair::start().await;
    let names = many(&pair).await;
    pair.west.broker.faults().create_at_most(3);
    let topics = ["x1", "x2", "x3", "x4"].map(|name| NewTopic {
        name: name.to_owned(),
        partitions: 1,
        replication_factor: -1,
        configs: Vec::new(),
    });
    let four = pair
        .west
        .client
        .create_topics(&topics, false)
        .await
        .unwrap();
    let refused = |(_, outcome): &(String, Result<(), ApiError>)| {
        outcome
            .as_ref()
            .is_err_and(|error| error.code == ResponseError::PolicyViolation.code())
    };
    assert!(four.iter().all(refused), "{four:?}");
    let running = pair.run("topics = [\".*\"]");
    for name in &names {
        pair.await_read(name, &[name]).await;
    }
    assert_eq!(running.status().troubles, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_takes_no_more_at_the_moment_is_waited_for() {
    let pair = Pair::start().await;
    let names = many(&pair).await;
    let hook = pair.west.broker.faults().set(throttled(2)).unwrap();
    let running = pair.run("topics = [\".*\"]");
    eventually("it is told once for all", async || {
        let troubles = running.status().troubles;
        match &troubles[..] {
            [one] if one.code == "creation_waits" => {
                assert!(one.text.contains("44 more topics wait"), "{}", one.text);
                Ok(())
            }
            _ => Err(format!("{troubles:?}")),
        }
    })
    .await;
    for name in &names {
        pair.await_read(name, &[name]).await;
    }
    eventually("it is told no more", async || {
        let troubles = running.status().troubles;
        troubles
            .is_empty()
            .then_some(())
            .ok_or(format!("{troubles:?}"))
    })
    .await;
    assert_eq!(hook.fired(), 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_is_applied_once_waits_as_well() {
    let pair = Pair::start().await;
    let names = many(&pair).await;
    pair.west.broker.faults().create_at_most(3);
    let hook = pair.west.broker.faults().set(throttled(3)).unwrap();
    let addresses = [&pair.east, &pair.west].map(|side| side.broker.address());
    let config = parse(&config_text(
        addresses[0],
        addresses[1],
        "topics = [\".*\"]",
    ));
    let flow = App::new(config, Host::real()).flow("f").unwrap();
    let applied = flow.apply_once().await.unwrap();
    assert_eq!(applied.refused, [""; 0]);
    assert_eq!(hook.fired(), 3);
    for name in &names {
        assert!(pair.west.exists(name).await, "{name}");
    }
}
