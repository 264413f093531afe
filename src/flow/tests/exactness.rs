//! EXACTNESS.md, rule by rule: what a broker may do to a sealed flow, and that nothing is lost or doubled by it.
//! Each test is named after its rule.

mod late;
mod owners;
mod truncation;

use broker_lite::faults::{ApiKey, Fault, ResponseError, What};

use super::*;

/// Old enough that no leader remembers the producer of such records.
pub(super) const OLD: i64 = 1_600_000_000_000;

pub(super) fn now() -> i64 {
    Host::real().clock.wall_ms()
}

fn values(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|index| format!("value-{index}")).collect()
}

/// Batches that a near target gets one by one, as they are.
pub(super) const APART: Codec = Codec::Lz4;
/// Small ones that go together, wherever the target is.
pub(super) const TOGETHER: Codec = Codec::None;

/// A pair whose source has topic `t`, and batches of three records written to it on demand.
pub(super) struct Bench {
    pub(super) pair: Pair,
    pub(super) codec: Codec,
    written: usize,
    timestamp: i64,
}

impl Bench {
    pub(super) async fn start(timestamp: i64) -> Self {
        Self::start_with(APART, timestamp).await
    }

    pub(super) async fn start_with(codec: Codec, timestamp: i64) -> Self {
        let pair = Pair::start().await;
        pair.east.create("t", &[]).await;
        Self {
            pair,
            codec,
            written: 0,
            timestamp,
        }
    }

    pub(super) async fn write(&mut self, batches: usize) {
        for _ in 0..batches {
            let values = values(self.written..self.written + 3);
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            let east = &self.pair.east;
            east.write_with(self.codec, "t", &values, self.timestamp)
                .await;
            self.written += 3;
        }
    }

    /// Everything written is on the target, in order, each record once.
    pub(super) async fn await_exactly(&self) {
        let all = values(0..self.written);
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        self.pair.await_read("t", &all).await;
    }

    /// The checkpoint is behind this target offset.
    async fn await_checkpoint(&self, target_offset: i64) {
        eventually("a checkpoint", async || {
            let committed = self.pair.west.client.group_offsets("strait.f").await;
            let committed = committed.unwrap().into_iter();
            let mut offsets = committed.map(|(partition, found)| (partition.topic, found.offset));
            match offsets.find(|(topic, _)| topic == "t") {
                Some((_, offset)) if offset == target_offset => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    pub(super) fn fault(&self, fault: Fault) -> broker_lite::faults::Hook {
        self.pair
            .west
            .broker
            .faults()
            .set(fault.topic("t"))
            .unwrap()
    }

    /// Writes on until `hook` has fired, however few batches became of what was written.
    pub(super) async fn await_fired(&mut self, hook: &broker_lite::faults::Hook) {
        while hook.fired() == 0 {
            self.write(1).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs a flow over `what` happening to Produce at the target some batches later.
    async fn survives(what: What, timestamp: i64) {
        let mut bench = Self::start(timestamp).await;
        let running = bench.pair.run("topics = [\"t\"]");
        bench.write(3).await;
        bench.await_exactly().await;
        let hook = bench.fault(Fault::new(ApiKey::Produce, what).skip(2).times(2));
        bench.write(12).await;
        bench.await_fired(&hook).await;
        bench.await_exactly().await;
        bench.write(3).await;
        bench.await_exactly().await;
        running.stop().await;
    }
}

const FLAVOURS: [fn() -> i64; 2] = [now, || OLD];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_4_an_append_that_was_answered_as_an_error_is_not_written_twice() {
    for error in [
        ResponseError::NotLeaderOrFollower,
        ResponseError::RequestTimedOut,
        ResponseError::NotEnoughReplicasAfterAppend,
        ResponseError::UnknownServerError,
    ] {
        Bench::survives(What::FailAfter(error), now()).await;
    }
    Bench::survives(What::FailAfter(ResponseError::NotLeaderOrFollower), OLD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_4_what_was_not_appended_is_sent_again() {
    for error in [
        ResponseError::NotEnoughReplicas,
        ResponseError::OutOfOrderSequenceNumber,
        ResponseError::CorruptMessage,
        ResponseError::KafkaStorageError,
        ResponseError::UnknownProducerId,
    ] {
        Bench::survives(What::Refuse(error), now()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_4_a_connection_lost_before_and_after_the_append() {
    for timestamp in FLAVOURS {
        Bench::survives(What::CloseAfter, timestamp()).await;
        Bench::survives(What::Close, timestamp()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_13_a_slow_answer_is_waited_for() {
    Bench::survives(What::DelayAfter(Duration::from_millis(700)), now()).await;
    Bench::survives(What::Delay(Duration::from_millis(700)), OLD).await;
}

/// Stops a flow whose checkpoints never got beyond its first one.
pub(super) async fn stop_with_an_old_checkpoint(bench: &mut Bench, flow: &str, batches: usize) {
    let running = bench.pair.run(flow);
    bench.write(1).await;
    bench.await_exactly().await;
    let faults = bench.pair.west.broker.faults();
    let refused = What::Refuse(ResponseError::UnknownServerError);
    let hook = faults
        .set(Fault::new(ApiKey::OffsetCommit, refused).always())
        .unwrap();
    bench.write(batches).await;
    bench.await_exactly().await;
    running.stop().await;
    hook.remove();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_8_a_checkpoint_that_stayed_behind_doubles_nothing() {
    for timestamp in FLAVOURS {
        let mut bench = Bench::start(timestamp()).await;
        stop_with_an_old_checkpoint(&mut bench, "topics = [\"t\"]", 20).await;
        bench.write(5).await;
        let running = bench.pair.run("topics = [\"t\"]");
        bench.await_exactly().await;
        running.stop().await;
    }
}

/// A broker that has just gone is still named: it must not leave a flow unguarded for as long as it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_2_a_broker_that_does_not_answer_at_the_start_is_asked_again() {
    let mut bench = Bench::start(now()).await;
    let faults = bench.pair.west.broker.faults();
    // Once, and once more on a new connection.
    let silent = Fault::new(ApiKey::DescribeConfigs, What::Close).times(2);
    let silent = faults.set(silent).unwrap();
    let running = bench.pair.run("topics = [\"t\"]");
    silent.wait(2).await;
    bench.write(3).await;
    bench.await_exactly().await;
    let lost = bench.fault(Fault::new(ApiKey::Produce, What::CloseAfter));
    let begun = std::time::Instant::now();
    bench.write(1).await;
    lost.wait(1).await;
    bench.await_exactly().await;
    // After the loss of an unguarded batch a late append is waited for.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(6), "not guarded: {took:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_6_the_log_tells_what_a_leader_forgot() {
    let mut bench = Bench::start(now()).await;
    stop_with_an_old_checkpoint(&mut bench, "topics = [\"t\"]", 20).await;
    let forgotten = bench
        .pair
        .west
        .broker
        .faults()
        .forget_producers("t", 0)
        .unwrap();
    assert_eq!(forgotten, 1);
    bench.write(5).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.await_exactly().await;
    // Forgotten under its feet, too.
    bench
        .pair
        .west
        .broker
        .faults()
        .forget_producers("t", 0)
        .unwrap();
    bench.write(5).await;
    bench.await_exactly().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_6_a_batch_of_somebody_else_behind_ours_is_passed_over() {
    let mut bench = Bench::start(now()).await;
    stop_with_an_old_checkpoint(&mut bench, "topics = [\"t\"]", 4).await;
    bench.pair.west.write("t", &["foreign"]).await;
    bench.write(2).await;
    let running = bench.pair.run("topics = [\"t\"]");
    let mut all = values(0..15);
    all.push("foreign".to_owned());
    all.extend(values(15..21));
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    bench.pair.await_read("t", &all).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_11_a_source_whose_leader_changes_is_read_on() {
    let mut bench = Bench::start(now()).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.write(3).await;
    bench.await_exactly().await;
    let faults = bench.pair.east.broker.faults();
    let raise = faults.clone();
    tokio::task::spawn_blocking(move || raise.raise_leader_epoch("t", 0))
        .await
        .unwrap()
        .unwrap();
    bench.write(3).await;
    bench.await_exactly().await;
    for what in [
        What::Refuse(ResponseError::NotLeaderOrFollower),
        What::Refuse(ResponseError::OffsetNotAvailable),
        What::Close,
        What::CloseAfter,
        What::Delay(Duration::from_millis(300)),
    ] {
        let hook = faults
            .set(Fault::new(ApiKey::Fetch, what).topic("t"))
            .unwrap();
        bench.write(3).await;
        hook.wait(1).await;
        bench.await_exactly().await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_11_a_source_that_was_cut_off_and_written_on_stops_the_worker() {
    let mut bench = Bench::start(now()).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.write(4).await;
    bench.await_exactly().await;
    let faults = bench.pair.east.broker.faults();
    tokio::task::spawn_blocking(move || {
        faults.truncate("t", 0, 6).unwrap();
        faults.raise_leader_epoch("t", 0).unwrap();
    })
    .await
    .unwrap();
    bench
        .pair
        .east
        .write("t", &["x", "y", "z", "0", "1", "2", "3"])
        .await;
    eventually("stopped", async || {
        let status = running.status();
        let reason = status
            .partitions
            .iter()
            .find_map(|partition| partition.reason.clone());
        match reason.as_deref() {
            Some("source_record_mismatch" | "offset_out_of_range") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let copied = bench.pair.west.read("t").await;
    assert_eq!(
        copied,
        values(0..12),
        "nothing of the other log was put behind it"
    );
    running.stop().await;
}

/// One checkpoint, three transports in turn: each begins behind a barrier, with a new epoch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_15_from_librdkafka_to_wire_and_back_on_one_checkpoint() {
    let mut bench = Bench::start(now()).await;
    for transport in ["librdkafka", "wire", "librdkafka", "wire", "auto"] {
        let running = bench
            .pair
            .run(&format!("topics = [\"t\"]\ntransport = \"{transport}\""));
        bench.write(4).await;
        bench.await_exactly().await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_15_what_librdkafka_left_behind_its_checkpoint_is_found_by_content() {
    let mut bench = Bench::start(now()).await;
    let flow = "topics = [\"t\"]\ntransport = \"librdkafka\"";
    stop_with_an_old_checkpoint(&mut bench, flow, 10).await;
    bench.write(3).await;
    for _ in 0..2 {
        let running = bench.pair.run("topics = [\"t\"]\ntransport = \"wire\"");
        bench.await_exactly().await;
        running.stop().await;
        bench.write(3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_14_transactions_and_append_times_leave_no_trace_on_the_target() {
    let mut bench = Bench::start(now()).await;
    bench
        .pair
        .east
        .create("times", &[("message.timestamp.type", "LogAppendTime")])
        .await;
    let before = now();
    bench.pair.east.write_at("times", &["a"], OLD).await;
    let running = bench.pair.run("topics = [\"t\", \"times\"]");
    bench.write(1).await;
    bench.await_exactly().await;
    bench.pair.await_read("times", &["a"]).await;
    let request = FetchRequest {
        partition: TopicPartition::new("times", 0),
        offset: 0,
        max_bytes: 1 << 20,
        max_wait: Duration::ZERO,
        isolation: Isolation::ReadUncommitted,
    };
    let fetched = bench.pair.west.client.fetch(request).await.unwrap();
    let committed = fetched.committed(0, Isolation::ReadUncommitted).unwrap();
    assert!(
        committed.records[0].timestamp >= before,
        "the time of the source's append is kept"
    );
    running.stop().await;
}

/// The checkpoint of `t`, once its flow has stopped.
async fn checkpoint_of(bench: &Bench) -> (TopicPartition, CommittedOffset) {
    let committed = bench.pair.west.client.group_offsets("strait.f").await;
    let mut committed = committed.unwrap().into_iter();
    committed
        .find(|(partition, _)| partition.topic == "t")
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_7_who_goes_on_unguarded_waits_for_late_appends_unless_the_last_one_ended_settled() {
    let mut bench = Bench::start(OLD).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.write(2).await;
    bench.await_exactly().await;
    running.stop().await;
    let (partition, mut committed) = checkpoint_of(&bench).await;
    assert!(committed.metadata.contains(" settled=yes"));

    // Nothing can be on its way: no wait.
    let begun = Instant::now();
    let running = bench.pair.run("topics = [\"t\"]");
    bench.write(1).await;
    bench.await_exactly().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    running.stop().await;

    // As a killed process leaves it.
    committed = checkpoint_of(&bench).await.1;
    committed.metadata = committed.metadata.replace(" settled=yes", "");
    bench.leave((partition, committed)).await;
    let hook = bench.fault(Fault::new(ApiKey::Produce, What::Delay(Duration::ZERO)));
    let begun = Instant::now();
    let running = bench.pair.run("topics = [\"t\"]");
    bench.write(1).await;
    hook.wait(1).await;
    assert!(
        begun.elapsed() >= Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
    bench.await_exactly().await;
    running.stop().await;
}

impl Bench {
    /// The flow with a `drain_timeout` that does not outlast a broker that hangs.
    fn run_impatient(&self) -> Running {
        let (east, west) = (
            self.pair.east.broker.address(),
            self.pair.west.broker.address(),
        );
        let text = config_text(east, west, "topics = [\"t\"]");
        run_text(&format!("{text}\n[limits]\ndrain_timeout = \"300ms\"\n"))
    }

    /// What a flow that was killed leaves: `committed` as its last checkpoint.
    async fn leave(&self, committed: (TopicPartition, CommittedOffset)) {
        let client = &self.pair.west.client;
        let committed = client.commit_group_offsets("strait.f", &[committed]).await;
        assert!(
            committed
                .unwrap()
                .iter()
                .all(|(_, outcome)| outcome.is_ok())
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_7_a_stop_that_leaves_a_batch_in_doubt_is_not_settled() {
    let mut bench = Bench::start(OLD).await;
    let running = bench.run_impatient();
    bench.write(2).await;
    bench.await_exactly().await;
    running.stop().await;
    assert!(
        checkpoint_of(&bench)
            .await
            .1
            .metadata
            .contains(" settled=yes")
    );

    // The start is settled, the end is not: a batch is with a broker that hangs.
    let running = bench.run_impatient();
    let hang = What::Delay(Duration::from_secs(4));
    let hook = bench.fault(Fault::new(ApiKey::Produce, hang));
    bench.write(1).await;
    hook.wait(1).await;
    running.stop().await;
    assert!(!checkpoint_of(&bench).await.1.metadata.contains("settled"));

    // It is appended after the next process has begun, which does not append it again.
    let running = bench.run_impatient();
    bench.write(1).await;
    bench.await_exactly().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_5_what_an_older_epoch_left_takes_no_number_of_the_new_one() {
    let mut bench = Bench::start(now()).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.write(2).await;
    bench.await_exactly().await;
    running.stop().await;
    let killed = checkpoint_of(&bench).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.write(2).await;
    bench.await_exactly().await;
    running.stop().await;
    bench.leave(killed).await;
    // Another mapping, so another epoch, while the leader remembers the one before.
    let running = bench.pair.run("topics = [\"t\"]\non_poison = \"skip\"");
    bench.write(2).await;
    bench.await_exactly().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_13_a_partition_whose_replicas_are_late_holds_back_no_other() {
    let pair = Pair::start().await;
    for topic in ["late", "well"] {
        pair.east.create(topic, &[]).await;
        pair.east.write_at(topic, &["0"], now()).await;
    }
    let running = pair.run("topics = [\"late\", \"well\"]");
    for topic in ["late", "well"] {
        pair.await_read(topic, &["0"]).await;
    }
    let faults = pair.west.broker.faults();
    let set = |what| faults.set(Fault::new(ApiKey::Produce, what).topic("late"));
    let told = set(What::FailAfter(ResponseError::RequestTimedOut)).unwrap();
    pair.east.write_at("late", &["1"], now()).await;
    told.wait(1).await;
    // The next request with it hangs, on a connection of which `well` is not: far longer than anything takes.
    let hangs = Duration::from_secs(10);
    let hook = set(What::Delay(hangs)).unwrap();
    pair.east.write_at("late", &["2"], now()).await;
    hook.wait(1).await;
    let begun = Instant::now();
    pair.east.write_at("well", &["1"], now()).await;
    pair.await_read("well", &["0", "1"]).await;
    assert!(begun.elapsed() < hangs);
    pair.await_read("late", &["0", "1", "2"]).await;
    running.stop().await;
}
