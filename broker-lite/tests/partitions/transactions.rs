//! What readers see of transactions, offset by offset.

use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest,
    add_partitions_to_txn_request::AddPartitionsToTxnTopic,
};
use wire::{batch::TRANSACTIONAL, batch::batches};

use super::{
    batches::{edited, fetch, from, note, request, sequenced},
    client::{Client, Transcript, text},
    offsets, topic,
};

const TOPIC: &str = "aborted";

/// A producer with an open transaction.
struct Producer {
    name: &'static str,
    id: i64,
    epoch: i16,
    sequence: i32,
}

impl Producer {
    fn new(c: &mut Client, name: &'static str) -> Self {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(text(name).into()))
            .with_transaction_timeout_ms(60_000);
        let answer = c.call(2, &request);
        assert_eq!(answer.error_code, 0);
        let (id, epoch) = (answer.producer_id.0, answer.producer_epoch);
        Self {
            name,
            id,
            epoch,
            sequence: 0,
        }
    }

    fn begin(&self, c: &mut Client) {
        let wanted = AddPartitionsToTxnTopic::default()
            .with_name(text(TOPIC).into())
            .with_partitions(vec![0]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(text(self.name).into())
            .with_v3_and_below_producer_id(self.id.into())
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![wanted]);
        super::until_accepted(|| {
            let answer = c.call(3, &request);
            answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        });
    }

    fn write(&mut self, c: &mut Client, t: &mut Transcript, count: i32) {
        let records = sequenced(self.id, self.epoch, self.sequence, count);
        let records = edited(&records, |header| header.attributes |= TRANSACTIONAL);
        self.sequence += count;
        let request = request(TOPIC, &[(0, Some(records))]);
        let request = request.with_transactional_id(Some(text(self.name).into()));
        note(
            t,
            &format!("{} writes {count}", self.name),
            &c.call(9, &request),
        );
    }

    fn end(&self, c: &mut Client, t: &mut Transcript, commit: bool) {
        let request = EndTxnRequest::default()
            .with_transactional_id(text(self.name).into())
            .with_producer_id(self.id.into())
            .with_producer_epoch(self.epoch)
            .with_committed(commit);
        super::until_accepted(|| c.call(3, &request).error_code);
        // Kafka writes markers after its answer.
        self.settled(c);
        t.note(format!("{} ends, commit {commit}", self.name));
    }

    /// Waits until the next transaction may begin: then all markers are written.
    fn settled(&self, c: &mut Client) {
        self.begin(c);
    }
}

fn read(c: &mut Client, t: &mut Transcript, offset: i64, max: i32) {
    for isolation in [0, 1] {
        let request = fetch(TOPIC, vec![from(0, offset, max)]).with_isolation_level(isolation);
        let answer = c.call(11, &request);
        let p = &answer.responses[0].partitions[0];
        let bases = batches(p.records.clone().unwrap_or_default());
        let bases: Vec<_> = bases
            .map(|batch| batch.unwrap().header.base_offset)
            .collect();
        let mut aborted: Vec<_> = p.aborted_transactions.iter().flatten().collect();
        aborted.sort_by_key(|one| one.first_offset);
        let aborted: Vec<_> = aborted
            .iter()
            .map(|one| {
                format!(
                    "{} from {}",
                    t.name('P', &one.producer_id.0.to_string()),
                    one.first_offset
                )
            })
            .collect();
        let listed = p.aborted_transactions.is_some();
        if max == 1 {
            // Kafka's list reaches to the next entry of an index, ours to the end of what was read.
            t.note(format!(
                "read {isolation} one from {offset}: {bases:?} listed {listed}"
            ));
            continue;
        }
        t.note(format!(
            "read {isolation} from {offset}: end {} stable {} batches {bases:?} aborted {aborted:?} listed {listed}",
            p.high_watermark, p.last_stable_offset
        ));
    }
}

pub(crate) fn aborted(c: &mut Client, t: &mut Transcript) {
    t.title("aborted transactions");
    topic(c, TOPIC, 1, &[]);
    let mut a = Producer::new(c, "a");
    let mut b = Producer::new(c, "b");
    a.begin(c);
    b.begin(c);
    a.write(c, t, 2);
    b.write(c, t, 2);
    a.write(c, t, 1);
    read(c, t, 0, 1 << 20);
    offsets::one(c, t, TOPIC, 0, -1);
    offsets::one(c, t, TOPIC, 1, -1);
    a.end(c, t, false);
    read(c, t, 0, 1 << 20);
    b.end(c, t, true);
    b.write(c, t, 2);
    b.end(c, t, false);
    a.write(c, t, 2);
    a.end(c, t, true);
    for offset in 0..=12 {
        read(c, t, offset, 1 << 20);
        read(c, t, offset, 1);
    }
    offsets::one(c, t, TOPIC, 1, -1);
    offsets::one(c, t, TOPIC, 1, -2);
}
