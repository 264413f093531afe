//! What arrives is what was sent.

use anyhow::{Context, Result, ensure};

use super::super::{
    clients::{Application, Content},
    kafka,
    model::{self, Record},
    pair::Pair,
};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Null and empty keys and values, duplicate and null headers, timestamps out of order and three
/// days old, each written by the producer in each codec.
pub async fn every_codec_and_shape_arrives_unaltered(pair: &mut Pair) -> Result<()> {
    let mut expected = Content::new();
    for (index, codec) in CODECS.into_iter().enumerate() {
        let topic = pair.topic(codec);
        pair.source.create_topic(&topic, 3, &[]).await?;
        let application = Application::new(&pair.source, codec)?;
        for partition in 0..3 {
            let records = model::mixed(index as u64, partition, 0, 500);
            application.produce(&topic, partition, &records)?;
            expected.insert((topic.clone(), partition), digests(&records));
        }
    }
    let mut strait = pair.strait("")?;
    strait.run()?;
    let verdict = pair.await_equal(&expected, 60).await?;
    ensure!(verdict.repeated == 0, "nothing crashed, but {verdict:?}");
    Ok(())
}

/// Between the usual limit of a producer (1 MB) and nothing.
pub async fn records_of_900_kilobytes_arrive(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("large");
    pair.source.create_topic(&topic, 1, &[]).await?;
    let records: Vec<Record> = (0..12u8)
        .map(|index| Record {
            timestamp: model::now_ms(),
            key: Some(vec![index]),
            // Not compressible: a multiplicative sequence, another one in each record.
            value: Some(
                (0..900_000u32)
                    .map(|n| {
                        (n.wrapping_add(u32::from(index)).wrapping_mul(2_654_435_761) >> 24) as u8
                    })
                    .collect(),
            ),
            headers: Vec::new(),
        })
        .collect();
    Application::new(&pair.source, "none")?.produce(&topic, 0, &records)?;
    let mut strait = pair.strait("")?;
    strait.run()?;
    pair.await_equal(&Content::from([((topic, 0), digests(&records))]), 60)
        .await?;
    Ok(())
}

/// Committed and aborted transactions in turn, and plain records of another producer among them.
pub async fn aborted_transactions_do_not_arrive(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("transactions");
    pair.source.create_topic(&topic, 1, &[]).await?;
    let plain = Application::new(&pair.source, "none")?;
    let transactional = Application::transactional(pair.source.client(), &pair.topic("writer"))?;
    let mut committed = Vec::new();
    for round in 0..20 {
        let records = model::mixed(7, 0, round * 100, 40);
        transactional.transaction(&topic, 0, &records, round % 3 != 1)?;
        if round % 3 != 1 {
            committed.extend(digests(&records));
        }
        let records = model::mixed(7, 0, round * 100 + 50, 10);
        plain.produce(&topic, 0, &records)?;
        committed.extend(digests(&records));
    }
    // The last transaction is an aborted one: the end of the topic holds nothing to copy.
    transactional.transaction(&topic, 0, &model::mixed(7, 0, 5_000, 40), false)?;
    let mut strait = pair.strait("")?;
    strait.run()?;
    pair.await_equal(&Content::from([((topic.clone(), 0), committed)]), 60)
        .await?;
    // And the flow knows that it is at the end, markers and all.
    super::lifecycle::await_lag_zero(&strait).await
}

/// The same number of partitions, and the configs that the source's operator set.
pub async fn target_topics_get_partitions_and_configs(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("configured");
    let configs = [("cleanup.policy", "compact"), ("retention.ms", "123456789")];
    pair.source.create_topic(&topic, 5, &configs).await?;
    let mut strait = pair.strait("")?;
    strait.run()?;
    let found = super::lifecycle::eventually(30, "the topic on the target", async || {
        pair.target.topic_configs(&topic).await
    })
    .await?;
    for (key, value) in configs {
        ensure!(
            found.get(key).is_some_and(|v| v == value),
            "{key} is {:?}",
            found.get(key)
        );
    }
    ensure!(
        pair.target.partition_count(&topic)? == 5,
        "partitions differ"
    );
    Ok(())
}

/// `verify` exits 0 on equal topics, 4 on a difference, and says where it is.
pub async fn verify_names_the_first_difference(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("verified");
    pair.source.create_topic(&topic, 2, &[]).await?;
    let application = Application::new(&pair.source, "zstd")?;
    let mut expected = Content::new();
    for partition in 0..2 {
        let records = model::mixed(3, partition, 0, 300);
        application.produce(&topic, partition, &records)?;
        expected.insert((topic.clone(), partition), digests(&records));
    }
    let mut strait = pair.strait("")?;
    strait.run()?;
    pair.await_equal(&expected, 60).await?;
    strait.terminate()?;
    let (code, text) = strait.call(&["verify"])?;
    ensure!(
        code == 0,
        "verify of equal topics ended with {code}:\n{text}"
    );
    // A record that somebody else writes to the target makes the two differ.
    Application::new(&pair.target, "none")?.produce(&topic, 1, &model::mixed(99, 1, 900, 1))?;
    let (code, text) = strait.call(&["verify"])?;
    ensure!(
        code == 4,
        "verify of different topics ended with {code}:\n{text}"
    );
    ensure!(
        text.contains(&format!("{topic}-1")),
        "the partition is not named:\n{text}"
    );
    Ok(())
}

/// What broker-lite wrote is what `kafka-dump-log` reads: every batch valid, every index entry right.
pub async fn kafka_dump_log_reads_broker_lites_segments(pair: &mut Pair) -> Result<()> {
    let Some(side) = [&pair.source, &pair.target]
        .into_iter()
        .find(|side| side.folder().is_some())
    else {
        println!("no broker-lite in this pair");
        return Ok(());
    };
    if !kafka::libs().is_dir() {
        println!("SKIPPED: kafka-dump-log needs the jars of tests/kafka/fetch.sh");
        return Ok(());
    }
    let topic = pair.topic("dumped");
    side.create_topic(&topic, 1, &[("segment.bytes", "1048576")])
        .await?;
    let mut count = 0;
    for (index, codec) in CODECS.into_iter().enumerate() {
        let records = model::mixed(index as u64, 0, count, 3_000);
        count += records.len();
        Application::new(side, codec)?.produce(&topic, 0, &records)?;
    }
    let transactional = Application::transactional(side.client(), &pair.topic("dumper"))?;
    transactional.transaction(&topic, 0, &model::mixed(9, 0, count, 10), true)?;
    count += 11;
    let folder = side
        .folder()
        .context("a folder")?
        .join(format!("{topic}-0"));
    let (mut records, mut segments) = (0, 0);
    for kind in ["log", "index", "timeindex"] {
        for file in std::fs::read_dir(&folder)? {
            let file = file?.path();
            if file.extension().is_none_or(|extension| extension != kind) {
                continue;
            }
            let dump = kafka::java("kafka.tools.DumpLogSegments")
                .args(["--deep-iteration", "--files"])
                .arg(&file)
                .output()?;
            let text = String::from_utf8(dump.stdout)?;
            let errors = String::from_utf8(dump.stderr)?;
            let wrong = [
                "isvalid: false",
                "Mismatches",
                "not found",
                "out of order",
                "Exception",
            ];
            for sign in wrong {
                ensure!(
                    !text.contains(sign) && !errors.contains(sign),
                    "{}: {text}{errors}",
                    file.display()
                );
            }
            records += text
                .lines()
                .filter(|line| line.starts_with("| offset:"))
                .count();
            segments += usize::from(kind == "log");
        }
    }
    ensure!(records == count, "{records} of {count} records dumped");
    ensure!(segments > 1, "the log did not roll");
    Ok(())
}

/// The digests of some records.
pub fn digests(records: &[Record]) -> Vec<String> {
    records.iter().map(Record::digest).collect()
}
