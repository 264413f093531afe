//! What an operator decides: policies in the file, checkpoints by hand.

use anyhow::{Result, ensure};

use super::{
    super::{
        clients::{Application, Content},
        model::{self, Record},
        pair::Pair,
    },
    fidelity::digests,
    lifecycle::eventually,
    stops::{append, await_stop, copied_topic, recreate},
};

/// A gap is passed over where the file says so, and nothing is copied twice because of it.
pub async fn on_gap_earliest_goes_on_behind_the_gap(pair: &mut Pair) -> Result<()> {
    let (topic, mut strait, mut expected) = copied_topic(pair).await?;
    append(pair, &topic, 0, &mut expected)?;
    let end = expected[&(topic.clone(), 0)].len();
    let gone = end as i64 - 50;
    pair.source.delete_records(&topic, 0, gone).await?;
    if let Some(all) = expected.get_mut(&(topic.clone(), 0)) {
        all.drain(100..end - 50);
    }
    strait.edit(|text| text + "on_gap = \"earliest\"\n")?;
    strait.run()?;
    append_digests(pair, &topic, 0, end, &mut expected)?;
    await_exactly(pair, &expected).await?;
    // The next start finds no gap.
    ensure!(strait.terminate()?.success(), "{}", strait.log());
    strait.run()?;
    append_digests(pair, &topic, 0, end + 20, &mut expected)?;
    await_exactly(pair, &expected).await?;
    let log = strait.log();
    ensure!(log.contains("records are gone from the source"), "{log}");
    Ok(())
}

/// Records of others stay, the flow's come behind them.
pub async fn on_existing_append_writes_behind_what_is_there(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("occupied");
    pair.source.create_topic(&topic, 1, &[]).await?;
    pair.target.create_topic(&topic, 1, &[]).await?;
    let (ours, theirs) = (model::mixed(1, 0, 0, 50), model::mixed(2, 0, 0, 20));
    Application::new(&pair.source, "lz4")?.produce(&topic, 0, &ours)?;
    Application::new(&pair.target, "none")?.produce(&topic, 0, &theirs)?;
    let mut strait = pair.strait("on_existing = \"append\"")?;
    let mut all = digests(&theirs);
    all.extend(digests(&ours));
    let mut expected = Content::from([((topic.clone(), 0), all)]);
    for start in [50, 60] {
        strait.run()?;
        await_exactly(pair, &expected).await?;
        strait.kill()?;
        let more = model::mixed(1, 0, start, 10);
        Application::new(&pair.source, "lz4")?.produce(&topic, 0, &more)?;
        expected
            .entry((topic.clone(), 0))
            .or_default()
            .extend(digests(&more));
    }
    Ok(())
}

/// What the target refuses is left out, and nothing else; a crash meanwhile changes nothing about it.
pub async fn on_poison_skip_leaves_out_what_is_refused(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("keys");
    pair.source.create_topic(&topic, 1, &[]).await?;
    let compacted = [("cleanup.policy", "compact")];
    pair.target.create_topic(&topic, 1, &compacted).await?;
    let records = model::mixed(3, 0, 0, 100);
    Application::new(&pair.source, "lz4")?.produce(&topic, 0, &records)?;
    let expected = Content::from([((topic.clone(), 0), keyed(&records))]);
    let mut strait = pair.strait("on_poison = \"skip\"\nconfigs.follow = false")?;
    strait.run()?;
    eventually(60, "a skip", async || {
        ensure!(strait.log().contains("left out"), "{}", strait.log());
        Ok(())
    })
    .await?;
    strait.kill()?;
    strait.run()?;
    await_exactly(pair, &expected).await
}

/// Without the policy it stops at the record, and goes on behind it by the command that it names.
pub async fn the_command_of_a_stop_continues_behind_a_refused_record(
    pair: &mut Pair,
) -> Result<()> {
    let topic = pair.topic("keys");
    pair.source.create_topic(&topic, 1, &[]).await?;
    let compacted = [("cleanup.policy", "compact")];
    pair.target.create_topic(&topic, 1, &compacted).await?;
    let mut records = model::mixed(3, 0, 0, 30);
    // One without a key, in the middle.
    let mut without = 0;
    records.retain(|record| {
        without += usize::from(record.key.is_none());
        record.key.is_some() || without == 3
    });
    let at = records.iter().position(|record| record.key.is_none());
    Application::new(&pair.source, "lz4")?.produce(&topic, 0, &records)?;
    let mut strait = pair.strait("configs.follow = false")?;
    strait.run()?;
    await_stop(&strait, "record_refused", &topic).await?;
    let to = at.map(|at| (at + 1).to_string()).unwrap_or_default();
    let command = format!("--topic {topic} --partition 0 --to {to}");
    ensure!(
        strait.log().contains(&command),
        "no {command}:\n{}",
        strait.log()
    );
    let set = ["set", "--topic", &topic, "--partition", "0", "--to", &to];
    // The process has it, or its group does: nobody else may change it.
    let (code, text) = strait.checkpoint(&set)?;
    ensure!(code == 4 && text.contains("--url"), "{code}: {text}");
    let url = strait.url();
    let (code, text) = strait.checkpoint(&[&set[..], &["--url", &url]].concat())?;
    ensure!(code == 0, "{code}: {text}");
    let expected = Content::from([((topic.clone(), 0), keyed(&records))]);
    await_exactly(pair, &expected).await?;
    strait.terminate()?;
    Ok(())
}

/// Back by the command while nothing runs: what is copied again is written behind, and in a numbering that the
/// leader takes.
pub async fn a_checkpoint_is_set_back_and_listed(pair: &mut Pair) -> Result<()> {
    let (topic, mut strait, mut expected) = copied_topic(pair).await?;
    let set = ["set", "--topic", &topic, "--partition", "0", "--to", "90"];
    let (code, text) = strait.checkpoint(&[&set[..], &["--dry-run"]].concat())?;
    ensure!(code == 0 && text.contains("100 -> 90"), "{code}: {text}");
    eventually(30, "an empty group", async || {
        let (code, text) = strait.checkpoint(&set)?;
        ensure!(code == 0, "{code}: {text}");
        Ok(())
    })
    .await?;
    let (code, text) = strait.checkpoint(&["list", "--json"])?;
    ensure!(
        code == 0 && text.contains("\"source_offset\": 90"),
        "{code}: {text}"
    );
    strait.run()?;
    append(pair, &topic, 0, &mut expected)?;
    let verdict = pair.await_equal(&expected, 60).await?;
    ensure!(verdict.repeated == 10, "{verdict:?}");
    strait.terminate()?;
    Ok(())
}

/// A target topic that was deleted and created anew is filled once an operator says so.
pub async fn a_reset_fills_a_recreated_target_topic(pair: &mut Pair) -> Result<()> {
    let (topic, mut strait, expected) = copied_topic(pair).await?;
    recreate(&pair.target, &topic).await?;
    strait.run()?;
    await_stop(&strait, "target_topic_recreated", &topic).await?;
    let url = strait.url();
    let (code, text) = strait.checkpoint(&["reset", "--topic", &topic, "--url", &url])?;
    ensure!(code == 0, "{code}: {text}");
    await_exactly(pair, &expected).await?;
    strait.terminate()?;
    Ok(())
}

fn keyed(records: &[Record]) -> Vec<String> {
    let keyed = records.iter().filter(|record| record.key.is_some());
    digests(&keyed.cloned().collect::<Vec<_>>())
}

/// More of the model's records from `first` on.
fn append_digests(
    pair: &Pair,
    topic: &str,
    partition: i32,
    first: usize,
    expected: &mut Content,
) -> Result<()> {
    let records = model::mixed(5, partition, first, 20);
    Application::new(&pair.source, "lz4")?.produce(topic, partition, &records)?;
    let all = expected.entry((topic.to_owned(), partition)).or_default();
    all.extend(digests(&records));
    Ok(())
}

/// Everything arrives, each record as often as it should; over librdkafka a crash may repeat some.
async fn await_exactly(pair: &Pair, expected: &Content) -> Result<()> {
    let verdict = pair.await_equal(expected, 60).await?;
    let at_least_once = std::env::var("STRAIT_TEST_TRANSPORT").is_ok();
    ensure!(
        at_least_once || verdict.repeated == 0,
        "repeated: {verdict:?}"
    );
    Ok(())
}
