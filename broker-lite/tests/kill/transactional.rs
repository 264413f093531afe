//! Producers write numbers, each with an offset in the same transaction that says which comes next; every fourth
//! transaction is aborted and done again. After a kill they go on at the offset that is committed. In the end who
//! reads what is committed sees each number once, in order, and nothing is open.

use bytes::Bytes;
use host::Host;
use kafka_protocol::{
    error::ResponseError,
    messages::{
        AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest,
        OffsetFetchRequest, ProducerId, TxnOffsetCommitRequest,
        add_partitions_to_txn_request::AddPartitionsToTxnTopic,
        offset_fetch_request::OffsetFetchRequestTopic,
        txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
    },
    protocol::StrBytes,
};
use tokio::time::{Duration, sleep};
use wire::{
    Isolation,
    batch::{BatchView, TRANSACTIONAL, batches},
    connection::Connection,
    record::{Aborted, BatchBuilder, Codec, decode},
};

use super::{Load, connect, fetch, in_time, produce, topic, under_kills};

/// Bytes of a record: segments of 1 MiB are rolled now and then.
const BYTES: usize = 20_000;

/// What ended the work: the connection, or that it has to be asked again.
type Done<T> = Result<T, Failed>;

#[derive(Debug)]
struct Failed;

/// A transactional producer that is a reader's group too.
struct Producer<'a> {
    connection: &'a Connection,
    partition: i32,
    id: ProducerId,
    epoch: i16,
    sequence: i32,
}

fn name(partition: i32) -> StrBytes {
    StrBytes::from_string(format!("copy-{partition}"))
}

/// Errors that end with time; any other is wrong.
fn check(code: i16) -> Done<()> {
    match ResponseError::try_from_code(code) {
        None => Ok(()),
        Some(ResponseError::ConcurrentTransactions) => Err(Failed),
        Some(error) => panic!("{error}"),
    }
}

impl<'a> Producer<'a> {
    /// The next epoch: what the one before left open is aborted.
    async fn begin(connection: &'a Connection, partition: i32) -> Done<Self> {
        let init = InitProducerIdRequest::default()
            .with_transactional_id(Some(name(partition).into()))
            .with_transaction_timeout_ms(60_000);
        loop {
            let answer = connection.call(&init, 4..=4).await.map_err(|_| Failed)?;
            if check(answer.error_code).is_ok() {
                return Ok(Self {
                    connection,
                    partition,
                    id: answer.producer_id,
                    epoch: answer.producer_epoch,
                    sequence: 0,
                });
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The number that comes next.
    async fn next(&self) -> Done<i64> {
        let one = OffsetFetchRequestTopic::default()
            .with_name(topic())
            .with_partition_indexes(vec![self.partition]);
        let request = OffsetFetchRequest::default()
            .with_group_id(name(self.partition).into())
            .with_require_stable(true)
            .with_topics(Some(vec![one]));
        let answer = self.connection.call(&request, 7..=7).await;
        let answer = answer.map_err(|_| Failed)?;
        check(answer.error_code)?;
        let one = &answer.topics[0].partitions[0];
        check(one.error_code)?;
        Ok(one.committed_offset.max(0))
    }

    async fn transact(&mut self, number: i64, commit: bool) -> Done<()> {
        let (id, epoch) = (self.id, self.epoch);
        let part = AddPartitionsToTxnTopic::default()
            .with_name(topic())
            .with_partitions(vec![self.partition]);
        let add = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(name(self.partition).into())
            .with_v3_and_below_producer_id(id)
            .with_v3_and_below_producer_epoch(epoch)
            .with_v3_and_below_topics(vec![part]);
        let added = self
            .connection
            .call(&add, 3..=3)
            .await
            .map_err(|_| Failed)?;
        check(added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code)?;
        let transactional_id = name(self.partition).into();
        let write = produce(
            self.partition,
            self.batch(number, commit),
            Some(transactional_id),
        );
        let written = self.connection.call(&write, 9..=9).await;
        let written = written.map_err(|_| Failed)?;
        check(written.responses[0].partition_responses[0].error_code)?;
        self.commit_offset(number + 1).await?;
        let end = EndTxnRequest::default()
            .with_transactional_id(name(self.partition).into())
            .with_producer_id(id)
            .with_producer_epoch(epoch)
            .with_committed(commit);
        let ended = self.connection.call(&end, 3..=3).await;
        check(ended.map_err(|_| Failed)?.error_code)
    }

    fn batch(&mut self, number: i64, commit: bool) -> Bytes {
        let mut builder =
            BatchBuilder::new(Codec::None).producer(self.id.0, self.epoch, self.sequence);
        self.sequence += 1;
        let mut value = vec![0; BYTES];
        value[0] = u8::from(commit);
        let key = number.to_string();
        let now = Host::real().clock.wall_ms();
        builder.push(now, Some(key.as_bytes()), Some(&value), &[]);
        let batch = BatchView::read(&builder.build(0).unwrap());
        let batch = batch.unwrap().unwrap();
        let mut header = batch.header;
        header.attributes |= TRANSACTIONAL;
        batch.with_header(header).bytes
    }

    async fn commit_offset(&self, offset: i64) -> Done<()> {
        let group = name(self.partition);
        let add = AddOffsetsToTxnRequest::default()
            .with_transactional_id(name(self.partition).into())
            .with_producer_id(self.id)
            .with_producer_epoch(self.epoch)
            .with_group_id(group.clone().into());
        let added = self.connection.call(&add, 3..=3).await;
        check(added.map_err(|_| Failed)?.error_code)?;
        let one = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(self.partition)
            .with_committed_offset(offset);
        let one = TxnOffsetCommitRequestTopic::default()
            .with_name(topic())
            .with_partitions(vec![one]);
        let commit = TxnOffsetCommitRequest::default()
            .with_transactional_id(name(self.partition).into())
            .with_group_id(group.into())
            .with_producer_id(self.id)
            .with_producer_epoch(self.epoch)
            .with_topics(vec![one]);
        let committed = self.connection.call(&commit, 3..=3).await;
        let committed = committed.map_err(|_| Failed)?;
        check(committed.topics[0].partitions[0].error_code)
    }
}

/// Writes until it is to stop, across kills. How many numbers there are.
async fn write(mut load: Load) -> i64 {
    let mut acknowledged = 0;
    loop {
        let connection = connect(&mut load.port).await;
        if let Ok(count) = write_on(&load, &connection, &mut acknowledged).await {
            return count;
        }
    }
}

/// Until it is to stop, or something fails.
async fn write_on(load: &Load, connection: &Connection, acknowledged: &mut i64) -> Done<i64> {
    let mut producer = Producer::begin(connection, load.partition).await?;
    loop {
        let next = producer.next().await?;
        assert!(next >= *acknowledged, "a commit is gone");
        if load.stop.is_cancelled() {
            return Ok(next);
        }
        if next % 4 == 3 {
            producer.transact(next, false).await?;
        }
        producer.transact(next, true).await?;
        *acknowledged = next + 1;
        load.acknowledge();
    }
}

/// The numbers that a reader of what is committed sees.
async fn read(connection: &Connection, partition: i32) -> Vec<i64> {
    let (mut numbers, mut next) = (Vec::new(), 0);
    loop {
        let data = fetch(connection, partition, next, 1).await;
        let records = data.records.unwrap_or_default();
        if records.is_empty() {
            let ends = (data.last_stable_offset, data.high_watermark);
            assert_eq!(ends, (next, next), "nothing is open");
            return numbers;
        }
        let aborted = data.aborted_transactions.unwrap_or_default();
        let aborted: Vec<_> = aborted
            .iter()
            .map(|one| (one.producer_id.0, one.first_offset))
            .collect();
        let mut aborted = Aborted::new(&aborted, Isolation::ReadCommitted);
        for batch in batches(records) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            next = batch.header.next_offset();
            if aborted.skips(&batch).unwrap() {
                continue;
            }
            for record in decode(&batch, 1 << 20).unwrap() {
                assert_eq!(record.value.unwrap()[0], 1, "it was aborted");
                let key = record.key.unwrap();
                numbers.push(std::str::from_utf8(&key).unwrap().parse().unwrap());
            }
        }
    }
}

#[tokio::test]
async fn transactions_are_there_once_or_not_at_all_and_none_stays_open() {
    let data = tempfile::tempdir().unwrap();
    in_time(async {
        let (written, _broker, connection) = under_kills(data.path(), write).await;
        for (partition, count) in (0..).zip(written) {
            let numbers = read(&connection, partition).await;
            let all: Vec<i64> = (0..count).collect();
            assert_eq!(numbers, all, "partition {partition}: every number once");
        }
    })
    .await;
}
