use broker_lite::faults::{ApiKey, Fault, ResponseError, What};
use wire::record::{BatchBuilder, Codec};

use super::*;
use crate::{checkpoint::offset_map::Entry, testing::Cluster};

/// One of its term, so that what is between two of them is counted.
fn anchor(number: u64, source_offset: i64, target_offset: i64) -> Anchor {
    Anchor {
        unit: 7,
        term: number,
        number,
        source_offset,
        target_offset,
        sequence: 0,
        left_out: 0,
    }
}

fn ladder(anchors: &[Anchor]) -> Ladder {
    let mut ladder = Ladder::default();
    for anchor in anchors {
        ladder.take(Entry::Anchor(*anchor));
    }
    ladder
}

struct Bench {
    source: Cluster,
    translator: Translator,
    unit: Unit,
}

impl Bench {
    /// With so many records on the source, ten in a batch.
    async fn new(records: usize) -> Self {
        let source = Cluster::start().await;
        source.create_topic("t", 1, &[]).await;
        let partition = TopicPartition::new("t", 0);
        for _ in 0..records / 10 {
            let mut batch = BatchBuilder::new(Codec::None);
            (0..10).for_each(|_| batch.push(5, None, Some(b"value"), &[]));
            let bytes = batch.build(0).unwrap();
            source.client.produce(&partition, bytes).await.unwrap();
        }
        let translator = Translator::new(source.client.clone(), Isolation::ReadCommitted);
        let unit = Unit {
            source: partition.clone(),
            target: partition,
            in_map: 7,
            begins_late: false,
            topics: [Uuid::nil(); 2],
        };
        Self {
            source,
            translator,
            unit,
        }
    }

    async fn ask(&mut self, anchors: &[Anchor], offsets: &[i64]) -> Vec<(i64, Told)> {
        self.translator.begin();
        let offsets = offsets.iter().copied().collect();
        let ladder = ladder(anchors);
        let told = self
            .translator
            .translate(&self.unit, &ladder, None, &offsets);
        told.await.unwrap().into_iter().collect()
    }

    /// From here on nothing may be read.
    fn seal(&self) {
        let refused = What::Refuse(ResponseError::UnknownServerError);
        let fault = Fault::new(ApiKey::Fetch, refused).always();
        self.source.broker.faults().set(fault).unwrap();
    }
}

fn between(low: i64, high: i64) -> Told {
    Told::Answer(Answer { low, high })
}

#[tokio::test]
async fn a_group_that_stands_still_is_counted_once_however_far_the_copy_goes() {
    // Exactly, and where others wrote to the target: 5 records between the two.
    for others in [0, 5] {
        let mut bench = Bench::new(300).await;
        let first = anchor(4, 0, 0);
        let told = [
            (77, between(77, 77 + others)),
            (120, between(120, 120 + others)),
        ];
        let near = [first, anchor(5, 200, 200 + others)];
        assert_eq!(bench.ask(&near, &[77, 120]).await, told);
        bench.seal();
        assert_eq!(bench.ask(&near, &[77, 120]).await, told);
        // The anchor behind them is left out, and they lie between others.
        let far = [first, anchor(6, 290, 290 + 2 * others)];
        assert_eq!(bench.ask(&far, &[77, 120]).await, told);
        // One is gone, and comes back.
        assert_eq!(bench.ask(&far, &[120]).await, told[1..]);
    }
}

#[test]
fn a_count_that_has_begun_goes_on_though_its_anchors_are_left_out() {
    let mut known = Known::default();
    let (first, near, far) = (anchor(4, 0, 0), anchor(5, 200, 200), anchor(6, 290, 290));
    assert_eq!(known.count(77, first, near), 0);
    assert_eq!(known.count(77, first, far), 0);
    // It does not reach so far, or tells of more than is between these.
    assert_eq!(known.count(200, first, far), 1);
    assert_eq!(known.count(77, first, anchor(5, 100, 100)), 2);
}

#[tokio::test]
async fn what_was_found_out_says_nothing_of_another_branch() {
    let mut bench = Bench::new(300).await;
    let near = [anchor(4, 0, 0), anchor(5, 200, 205)];
    assert_eq!(bench.ask(&near, &[77]).await, [(77, between(77, 82))]);
    // Copied a second time.
    let again = [anchor(4, 0, 0), anchor(9, 50, 400), anchor(10, 200, 555)];
    assert_eq!(bench.ask(&again, &[77]).await, [(77, between(427, 432))]);
}

#[test]
fn what_is_kept_is_bounded_and_next_to_what_is_asked() {
    let mut known = Known::default();
    for offset in 0..10_000 {
        known
            .pairs
            .insert((offset, offset), anchor(1, offset, offset));
    }
    known.end(&BTreeSet::from([500, 7_000]));
    let kept: Vec<i64> = known.pairs.keys().map(|(source, _)| *source).collect();
    assert_eq!(kept, [500, 7_000]);
}

/// On the way back after a move the target's own records before the beginning are those that the group has not read.
#[tokio::test]
async fn nobody_is_taken_past_what_the_target_held_before_the_flow_began() {
    let mut bench = Bench::new(0).await;
    let mut told = async |begins_late, target_offset| {
        bench.unit.begins_late = begins_late;
        let anchors = [
            anchor(0, 100, target_offset),
            anchor(1, 200, target_offset + 100),
        ];
        let told = bench.ask(&anchors, &[90, 100]).await;
        assert_eq!(told[1].1, between(target_offset, target_offset));
        told[0].1
    };
    assert_eq!(told(true, 500).await, Told::Unknown);
    // Nothing was there; or the source has no more than what is copied.
    assert_eq!(told(true, 0).await, between(0, 0));
    assert_eq!(told(false, 500).await, between(500, 500));
}
