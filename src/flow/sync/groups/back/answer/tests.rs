use std::sync::LazyLock;

use uuid::Uuid;
use wire::{
    TopicPartition,
    record::{BatchBuilder, Codec},
};

use super::*;
use crate::testing::Cluster;

static UNIT: LazyLock<Unit> = LazyLock::new(|| Unit {
    source: TopicPartition::new("t", 0),
    target: TopicPartition::new("east.t", 0),
    in_map: 7,
    begins_late: true,
    topics: [Uuid::nil(); 2],
});

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

fn known(anchors: &[Anchor], start: i64, end: i64) -> Known<'static> {
    Known {
        unit: &UNIT,
        anchors: anchors.to_vec(),
        is_lost: false,
        held: Held { start, end },
    }
}

/// A source of 100 records in tens, and what is said of target offsets.
async fn told(known: &Known<'_>, asked: &[i64]) -> Vec<Told> {
    let source = Cluster::start().await;
    source.create_topic("t", 1, &[]).await;
    for _ in 0..10 {
        let mut batch = BatchBuilder::new(Codec::None);
        (0..10).for_each(|_| batch.push(5, None, Some(b"value"), &[]));
        let bytes = batch.build(0).unwrap();
        source.client.produce(&UNIT.source, bytes).await.unwrap();
    }
    let start = known.held.start.min(100);
    let deleted = source.client.delete_records(&UNIT.source, start).await;
    deleted.unwrap();
    let reader = Reader {
        source: &source.client,
        isolation: Isolation::ReadCommitted,
    };
    let asked = asked.iter().copied().collect();
    let told = reader.answers(known, &asked).await.unwrap();
    told.into_values().collect()
}

fn at(source_offset: i64, again: i64) -> Told {
    Told::At {
        source_offset,
        again,
    }
}

#[tokio::test]
async fn what_fits_the_count_is_exact_and_what_does_not_is_bounded() {
    let whole = known(&[anchor(1, 0, 0), anchor(2, 100, 100)], 0, 100);
    let exact = told(&whole, &[1, 47, 99, 100, 101]).await;
    assert_eq!(
        exact,
        [
            at(1, 0),
            at(47, 0),
            at(99, 0),
            at(100, 0),
            Told::Beyond(100)
        ]
    );
    // Ten of others on the target, or copied and lost on the source.
    let others = known(&[anchor(1, 0, 0), anchor(2, 100, 110)], 0, 100);
    let bounded = told(&others, &[5, 47, 108]).await;
    assert_eq!(bounded, [at(0, 5), at(37, 10), at(98, 2)]);
}

#[tokio::test]
async fn nobody_goes_to_where_the_source_holds_nothing() {
    let anchors = [anchor(1, 0, 0), anchor(2, 50, 50), anchor(3, 100, 100)];
    // Past retention: what is left is known from its end.
    let late = told(&known(&anchors, 60, 100), &[10, 50, 70]).await;
    assert_eq!(late, [at(60, 0), at(60, 0), at(70, 10)]);
    // It lost its end: in the last interval there is less to count than was copied.
    let cut = told(&known(&anchors, 0, 80), &[30, 70, 100]).await;
    assert_eq!(cut, [at(30, 0), at(50, 30), at(80, 0)]);
    let lost = Known {
        is_lost: true,
        ..known(&anchors, 0, 100)
    };
    assert_eq!(
        told(&lost, &[100, 120]).await,
        [at(100, 0), Told::Lost(100)]
    );
}

/// What the target held before may be those very records.
#[tokio::test]
async fn what_was_before_a_late_beginning_is_not_known() {
    let late = known(&[anchor(0, 40, 500), anchor(1, 100, 560)], 0, 100);
    assert_eq!(late.began_late_at(), Some(40));
    let late = told(&late, &[499, 500, 510]).await;
    assert_eq!(late, [Told::Unknown, at(40, 0), at(50, 0)]);
    let whole = known(&[anchor(0, 0, 500), anchor(1, 100, 600)], 0, 100);
    assert_eq!(told(&whole, &[3]).await, [at(0, 0)]);
    let later = known(&[anchor(3, 40, 500)], 0, 100);
    assert_eq!(told(&later, &[499]).await, [Told::Unknown]);
}
