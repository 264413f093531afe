//! DescribeLogDirs.

use kafka_protocol::messages::{
    DescribeLogDirsRequest, DescribeLogDirsResponse,
    describe_log_dirs_request::DescribableLogDirTopic,
};
use wire::record::Codec;

use super::{
    batches::{T, batch, note as note_produced, request, write},
    client::{Client, Transcript, text},
    offsets::delete,
    topic,
};

fn ask(topics: Option<&[(&str, &[i32])]>) -> DescribeLogDirsRequest {
    let topics = topics.map(|topics| {
        let topics = topics.iter().map(|(name, partitions)| {
            DescribableLogDirTopic::default()
                .with_topic(text(name).into())
                .with_partitions(partitions.to_vec())
        });
        topics.collect()
    });
    DescribeLogDirsRequest::default().with_topics(topics)
}

/// Notes folders, and the partitions of those topics that this scene made.
fn note(t: &mut Transcript, what: &str, answer: &DescribeLogDirsResponse) {
    t.note(format!("{what}: error {}", answer.error_code));
    for dir in &answer.results {
        let space = match (dir.total_bytes, dir.usable_bytes) {
            (-1, -1) => "not told".to_owned(),
            (total, usable) => format!("told, sound {}", 0 < usable && usable <= total),
        };
        let absolute = dir.log_dir.starts_with('/');
        let (error, count) = (dir.error_code, dir.topics.len());
        t.note(format!(
            " error {error}, absolute {absolute}, space {space}, any topics {}",
            count > 0
        ));
        let mut topics: Vec<_> = dir.topics.iter().collect();
        topics.sort_by_key(|topic| topic.name.0.to_string());
        for topic in topics
            .into_iter()
            .filter(|topic| topic.name.starts_with("size-"))
        {
            let mut partitions: Vec<_> = topic.partitions.iter().collect();
            partitions.sort_by_key(|p| p.partition_index);
            for p in partitions {
                t.note(format!(
                    " {}-{}: {} bytes, lag {}, future {}",
                    topic.name.0,
                    p.partition_index,
                    p.partition_size,
                    p.offset_lag,
                    p.is_future_key
                ));
            }
        }
    }
}

pub(crate) fn sizes(c: &mut Client, t: &mut Transcript) {
    t.title("sizes");
    topic(c, "size-1", 2, &[]);
    topic(c, "size-2", 1, &[("segment.bytes", "1048576")]);
    for count in [1, 5] {
        write(c, t, "size-1", "fill", &batch(Codec::None, &vec![T; count]));
    }
    let mut large = wire::record::BatchBuilder::new(Codec::None);
    large.push(T, None, Some(&vec![7; 700_000]), &[]);
    let large = large.build(0).unwrap();
    for _ in 0..3 {
        let answer = c.call(9, &request("size-2", &[(0, Some(large.clone()))]));
        note_produced(t, "three segments", &answer);
    }
    for version in 1..=4 {
        note(
            t,
            &format!("version {version}"),
            &c.call(version, &ask(None)),
        );
    }
    note(t, "none", &c.call(4, &ask(Some(&[]))));
    let some = [("size-1", &[1, 7][..]), ("nowhere", &[0])];
    note(t, "some", &c.call(4, &ask(Some(&some))));
    note(
        t,
        "no partitions",
        &c.call(4, &ask(Some(&[("size-1", &[])]))),
    );
    delete(c, t, "size-1", 2);
    note(t, "records deleted", &c.call(4, &ask(Some(&some))));
}
