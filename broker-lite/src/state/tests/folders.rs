//! Several data folders, of which one fails.

use std::path::Path;

use host::sim::{DISK_FAILS, Fault};
use kafka_protocol::error::ResponseError;
use wire::Isolation;

use super::world::World;

const MORE: &str = "/more";

/// Of each partition of `topic`, whether it is in the second folder.
fn is_in_more(world: &World, topic: &str) -> Vec<bool> {
    let topic = world.state().topics.get(topic).unwrap();
    let partitions = topic.partitions();
    let homes = partitions
        .iter()
        .map(|one| one.home().path() == Path::new(MORE));
    homes.collect()
}

#[test]
fn new_partitions_go_where_the_fewest_are_and_a_folder_that_fails_takes_only_its_own() {
    let mut world = World::on(false, &["/data", MORE]);
    world.create("one", 1, &[]).unwrap();
    world.create("four", 4, &[]).unwrap();
    assert_eq!(is_in_more(&world, "one"), [false]);
    assert_eq!(is_in_more(&world, "four"), [true, false, true, false]);
    for partition in 0..4 {
        world.send(7, "four", partition).unwrap();
    }
    world.files.fail(|one| {
        let is_there = one.path.starts_with(MORE);
        is_there.then_some(Fault::Fails(DISK_FAILS))
    });
    let storage = Err(ResponseError::KafkaStorageError);
    assert_eq!(world.send(7, "four", 0), storage);
    world.files.heal();
    for (partition, is_offline) in [(0, true), (1, false), (2, true), (3, false)] {
        let sent = world.send(7, "four", partition);
        assert_eq!(
            sent,
            if is_offline { storage } else { Ok(()) },
            "{partition}"
        );
        let read = world.partition(("four", partition)).unwrap();
        let read = read.find(0, Isolation::ReadUncommitted);
        assert_eq!(read.is_err(), is_offline, "{partition}");
    }
    world.create("later", 2, &[]).unwrap();
    assert_eq!(is_in_more(&world, "later"), [false, false]);
    let offline = world.state().topics.folders().iter();
    let offline: Vec<bool> = offline.map(|one| one.is_offline()).collect();
    assert_eq!(offline, [false, true]);
    world.stop();
    world.start();
    assert_eq!(is_in_more(&world, "four"), [true, false, true, false]);
    for partition in 0..4 {
        let ends = world.partition(("four", partition)).unwrap().ends();
        let sent = if partition % 2 == 0 { 1 } else { 2 };
        assert_eq!(ends.high_watermark, sent, "{partition}");
    }
    world.stop();
    let copy = Path::new("/data/four-0");
    host::Files::create_dir_all(&world.files, copy).unwrap();
    assert!(world.try_start().unwrap_err().to_string().contains("/more"));
    host::Files::remove_dir_all(&world.files, copy).unwrap();
    world.start();
    world.delete("four").unwrap();
    for folder in ["/data", MORE] {
        let names = host::Files::list(&world.files, Path::new(folder)).unwrap();
        assert!(names.iter().all(|name| !name.starts_with("four")));
    }
}
