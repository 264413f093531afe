//! The whole broker on a disk that ends at each of its steps, or is full for a while: what was acknowledged is there,
//! nothing else is, and it goes on.

mod check;
mod folders;
mod world;

use std::ops::Range;

use host::sim::{DISK_FAILS, Fault, NO_SPACE, OperationKind, SeededRandom};

use self::world::World;

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The process ends: what was written stays.
    Kill,
    /// The power goes, and with it all that is not durable.
    Crash,
    /// The power goes, and with it any part of what is not durable.
    Torn(u64),
}

/// The operations of a run that nothing disturbs.
fn operations(flush: bool) -> Range<u64> {
    let mut world = World::new(flush);
    let first = world.files.operations();
    world.run().unwrap();
    first..world.files.operations()
}

fn stop_at_each_step(flush: bool, end: End) {
    for at in operations(flush) {
        let mut world = World::new(flush);
        world.files.fail(move |one| {
            let is_due = one.number >= at && one.kind != OperationKind::Read;
            is_due.then_some(Fault::Torn(DISK_FAILS))
        });
        let done = world.run();
        world.stop();
        world.files.heal();
        match end {
            End::Kill => {}
            End::Crash => world.files.crash(),
            End::Torn(seed) => world.files.crash_keeping(&SeededRandom::new(seed ^ at)),
        }
        world.start();
        let context = format!("stopped at {at} ({done:?}), flush {flush}, {end:?}");
        world.check(end != End::Kill, &context);
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    stop_at_each_step(false, End::Kill);
}

#[test]
fn a_loss_of_power_takes_nothing_that_was_flushed() {
    stop_at_each_step(true, End::Crash);
    stop_at_each_step(true, End::Torn(1));
}

#[test]
fn a_loss_of_power_takes_nothing_from_before_the_last_sync() {
    stop_at_each_step(false, End::Crash);
    stop_at_each_step(false, End::Torn(2));
}

/// One operation fails, whichever; what was answered before and after it holds.
#[test]
fn a_disk_that_fails_once_takes_nothing_that_was_acknowledged() {
    for flush in [false, true] {
        for at in operations(flush) {
            let mut world = World::new(flush);
            world.files.fail(move |one| {
                let is_due = one.number == at && one.kind != OperationKind::Read;
                is_due.then_some(Fault::Torn(DISK_FAILS))
            });
            let done = world.run();
            world.files.heal();
            world.stop();
            world.start();
            let context = format!("failed at {at} ({done:?}), flush {flush}");
            world.check(false, &context);
        }
    }
}

/// From some step on the disk is full; when there is room again all goes on, without a restart.
#[test]
fn a_full_disk_holds_up_and_nothing_more() {
    for flush in [false, true] {
        for at in operations(flush).step_by(3) {
            for length in [1, 7] {
                let mut world = World::new(flush);
                world.tries_again = true;
                world.files.fail(move |one| {
                    use OperationKind::{Create, Write};
                    let is_full = (at..at + length).contains(&one.number);
                    let needs_room = matches!(one.kind, Create | Write);
                    (is_full && needs_room).then_some(Fault::Torn(NO_SPACE))
                });
                let context = format!("full from {at} for {length}, flush {flush}");
                world
                    .run()
                    .unwrap_or_else(|error| panic!("{context}: {error}"));
                world.files.heal();
                world.check(false, &context);
                world.stop();
                world.start();
                world.check(false, &context);
            }
        }
    }
}
