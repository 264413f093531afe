//! What a leader appends after whoever sent it is gone (EXACTNESS 7).

use std::time::Duration;

use broker_lite::faults::{ApiKey, Fault, What};

use super::*;

/// A leader that forgets producers of old records as soon as it may.
const FORGETS: &str = "producer.id.expiration.check.interval.ms=1";

/// The late batch is refused as long as the leader remembers the one that was sent in its place, and an old batch
/// behind that would make it forget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_7_an_old_batch_waits_while_a_guarded_one_may_come_late() {
    let mut bench = Bench::start(now()).await;
    bench.pair.west = Cluster::start_with(&[FORGETS]).await;
    let running = bench.run_impatient();
    bench.write(2).await;
    bench.await_exactly().await;
    let late = Duration::from_secs(4);
    let hook = bench.fault(Fault::new(ApiKey::Produce, What::Delay(late)));
    let begun = Instant::now();
    bench.write(1).await;
    hook.wait(1).await;
    running.stop().await;

    // The next process sends it again at once, and has an old one to send.
    let running = bench.run_impatient();
    bench.await_exactly().await;
    assert!(begun.elapsed() < late, "nothing came late");
    bench.timestamp = OLD;
    bench.write(2).await;
    tokio::time::sleep_until(begun + late + Duration::from_secs(1)).await;
    bench.await_exactly().await;
    running.stop().await;
}
