//! Batches that were made one, and what a broker may do to them: EXACTNESS.md 3, 5 and 6.

use broker_lite::faults::{ApiKey, Fault, Hook, ResponseError, What};
use wire::batch::batches;

use super::{
    exactness::{APART, Bench, OLD, TOGETHER, now, stop_with_an_old_checkpoint},
    *,
};

/// What goes together because the way to the target is long, and what goes together anyway.
const REASONS: [Codec; 2] = [APART, TOGETHER];
/// Longer than the way to a target that is near takes.
const LATE: What = What::DelayAfter(Duration::from_millis(15));
/// Batches of the source: at most five are unresolved, so that they pile up behind late answers.
const MANY: usize = 60;

impl Cluster {
    /// How many records each batch of `t` has.
    pub(super) async fn batch_sizes(&self) -> Vec<i32> {
        let request = FetchRequest {
            partition: TopicPartition::new("t", 0),
            offset: 0,
            max_bytes: 1 << 20,
            max_wait: Duration::ZERO,
            isolation: Isolation::ReadUncommitted,
        };
        let fetched = self.client.fetch(request).await.unwrap();
        let found = batches(fetched.records).map(|batch| batch.unwrap().header.record_count);
        found.collect()
    }
}

/// The target answers late.
pub(super) struct Late(Vec<Hook>);

impl Late {
    pub(super) fn ends(&self) {
        self.0.iter().for_each(Hook::remove);
    }
}

impl Bench {
    /// The target is far, for whatever the sink asks; for batches that go together anyway it is near and busy.
    pub(super) fn is_late(&self) -> Late {
        let faults = self.pair.west.broker.faults();
        let late = |api: &ApiKey| faults.set(Fault::new(*api, LATE).always()).unwrap();
        let far = [ApiKey::Produce, ApiKey::ApiVersions];
        let apis = if self.codec == APART {
            &far[..]
        } else {
            &far[..1]
        };
        Late(apis.iter().map(late).collect())
    }

    /// Writes until what arrives was made one of several.
    async fn coalesce(&mut self) {
        self.write(MANY).await;
        eventually("coalesced", async || {
            let sizes = self.pair.west.batch_sizes().await;
            let found = sizes.iter().any(|size| *size > 3);
            found.then_some(()).ok_or_else(|| format!("{sizes:?}"))
        })
        .await;
    }

    /// Fills a target that is late, to which `what` happens while coalesced batches are on their way.
    async fn survives_coalesced(codec: Codec, what: What, timestamp: i64) {
        let mut bench = Self::start_with(codec, timestamp).await;
        let late = bench.is_late();
        let running = bench.pair.run("topics = [\"t\"]");
        bench.coalesce().await;
        let hook = bench.fault(Fault::new(ApiKey::Produce, what).skip(1).times(2));
        bench.write(MANY).await;
        bench.await_fired(&hook).await;
        // What comes next is other batches than before: quick answers, less that waits, no reason to open any.
        late.ends();
        bench.write(MANY / 2).await;
        bench.await_exactly().await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_3_coalesced_batches_whose_answer_is_lost_are_not_cut_anew_before_the_target_was_read()
{
    for what in [
        What::CloseAfter,
        What::Close,
        What::FailAfter(ResponseError::NotLeaderOrFollower),
        What::Refuse(ResponseError::NotEnoughReplicas),
    ] {
        for codec in REASONS {
            Bench::survives_coalesced(codec, what, now()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_2_unguarded_batches_are_coalesced_one_at_a_time() {
    for codec in REASONS {
        let what = What::FailAfter(ResponseError::RequestTimedOut);
        Bench::survives_coalesced(codec, what, OLD).await;
    }
}

/// The process before sent other batches than this one would: sequence and content find the place all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_6_coalesced_batches_behind_an_old_checkpoint_are_found_by_sequence_and_content() {
    for (codec, forgets) in REASONS
        .iter()
        .flat_map(|codec| [(*codec, false), (*codec, true)])
    {
        let mut bench = Bench::start_with(codec, now()).await;
        let late = bench.is_late();
        stop_with_an_old_checkpoint(&mut bench, "topics = [\"t\"]", MANY).await;
        let sizes = bench.pair.west.batch_sizes().await;
        assert!(sizes.iter().any(|size| *size > 3), "{sizes:?}");
        late.ends();
        if forgets {
            let faults = bench.pair.west.broker.faults();
            faults.forget_producers("t", 0).unwrap();
        }
        bench.write(5).await;
        let running = bench.pair.run("topics = [\"t\"]");
        bench.await_exactly().await;
        running.stop().await;
    }
}

/// A checkpoint of a coalesced batch knows its last record by content, for no batch of the source has these bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_11_a_start_behind_a_coalesced_batch_finds_its_last_record_on_the_source() {
    for codec in REASONS {
        let mut bench = Bench::start_with(codec, now()).await;
        let late = bench.is_late();
        let running = bench.pair.run("topics = [\"t\"]");
        bench.coalesce().await;
        bench.await_exactly().await;
        running.stop().await;
        late.ends();
        let running = bench.pair.run("topics = [\"t\"]");
        bench.write(2).await;
        bench.await_exactly().await;
        running.stop().await;
    }
}

/// As with `max.message.bytes` that was lowered while the flow runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_4_a_target_that_refuses_what_was_coalesced_gets_every_record_and_no_more_of_it() {
    for codec in REASONS {
        let mut bench = Bench::start_with(codec, now()).await;
        bench.is_late();
        let running = bench.pair.run("topics = [\"t\"]\non_poison = \"skip\"");
        bench.coalesce().await;
        let refused = What::Refuse(ResponseError::MessageTooLarge);
        let hook = bench.fault(Fault::new(ApiKey::Produce, refused));
        bench.write(MANY).await;
        hook.wait(1).await;
        bench.await_exactly().await;
        let before = bench.pair.west.batch_sizes().await.len();
        bench.write(MANY).await;
        bench.await_exactly().await;
        let sizes = bench.pair.west.batch_sizes().await;
        assert_eq!(sizes[before..], vec![3; MANY]);
        running.stop().await;
    }
}
