//! Simulation: two brokers, strait and an application on simulated machines, in one thread, under a network and a time
//! that a seed decides. Brokers and processes die, disks forget what was not synced, paths break, calendars jump; each
//! time every partition of the target must be the source's prefix, and in the end all of it.
//!
//! `cargo test --test simulation` runs the seeds from 1 on, `SIM_SEEDS=1000` as many (each takes seconds),
//! `SIM_FIRST=5000` from another one on. `SIM_SEED=17` repeats one and writes down what happened, `SIM_LOG` says what
//! of the logs with it (`debug`). A seed that fails is repeated by itself, and says where it is written down.

#![allow(unreachable_pub, reason = "a program: nothing reaches in from outside")]

mod app;
mod breaks;
mod check;
mod faults;
mod logs;
mod look;
mod machine;
mod model;
mod net;
mod outcome;
mod panics;
mod plan;
mod programs;
mod storm;
mod trace;
mod transactions;
mod wishes;
mod world;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use outcome::Outcome;
use plan::Plan;
use trace::Trace;
use world::World;

/// Of a plain `cargo test`.
const SEEDS: u64 = 20;

fn main() -> ExitCode {
    panics::watch();
    if let Some(seed) = number("SIM_SEED") {
        return replay(seed);
    }
    let mut arguments = Arguments::from_args();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads = arguments.test_threads.or(Some(cores));
    let first = number("SIM_FIRST").unwrap_or(1);
    let count = number("SIM_SEEDS").unwrap_or(SEEDS);
    let mut trials = vec![
        Trial::test("calm", || Ok(calm()?)),
        Trial::test("a_seed_repeats_in_another_process", || Ok(repeats()?)),
    ];
    let seeds =
        (first..first + count).map(|seed| Trial::test(format!("seed_{seed}"), move || one(seed)));
    trials.extend(seeds);
    let conclusion = libtest_mimic::run(&arguments, trials);
    println!("{}", total());
    conclusion.exit_code()
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

/// Runs a plan, quietly or with a log.
fn run(plan: Plan, is_logged: bool) -> (Trace, Result<Outcome>) {
    let trace = Trace::default();
    panics::taken();
    let work = || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            World::begin(plan, &trace).run()
        }));
        outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("{}", panics::taken().unwrap_or_default())))
    };
    let outcome = tracing::dispatcher::with_default(&trace.subscriber(!is_logged), work);
    (trace, outcome)
}

fn write_down(seed: u64, trace: &Trace) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("simulation-{seed}.log"));
    std::fs::write(&path, trace.log()).expect("the folder for tests can be written");
    path
}

/// Of all seeds that went well.
fn total() -> MutexGuard<'static, Outcome> {
    static TOTAL: Mutex<Outcome> = Mutex::new(Outcome::NONE);
    TOTAL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One seed by itself, with its log.
fn replay(seed: u64) -> ExitCode {
    let (trace, outcome) = run(Plan::draw(seed), std::env::var_os("SIM_QUIET").is_none());
    println!(
        "seed {seed}: hash {:016x}, {}",
        trace.hash(),
        write_down(seed, &trace).display()
    );
    match outcome {
        Ok(outcome) => {
            println!("{outcome}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn one(seed: u64) -> Result<(), Failed> {
    let (trace, outcome) = run(Plan::draw(seed), false);
    let error = match outcome {
        Ok(outcome) => {
            total().add(&outcome);
            return Ok(());
        }
        Err(error) => error,
    };
    let (again, _) = run(Plan::draw(seed), true);
    let repeats = if again.hash() == trace.hash() {
        "it repeats"
    } else {
        "IT DOES NOT REPEAT"
    };
    let events = trace.events().join("\n");
    let path = write_down(seed, &again);
    let how = format!(
        "SIM_SEED={seed} cargo test --test simulation; {repeats}; its log: {}",
        path.display()
    );
    Err(format!("{error:#}\n{events}\n{how}").into())
}

/// With nothing that happens: what follows is not the world's own fault.
fn calm() -> Result<()> {
    for seed in [1, 2] {
        let (_, outcome) = run(Plan::calm(seed), false);
        let outcome = outcome?;
        ensure!(outcome.shape.records > 100, "{outcome:?}");
    }
    Ok(())
}

/// The same bytes at the same times: here, here again, and in another process.
fn repeats() -> Result<()> {
    for seed in [3, 5] {
        let here = || run(Plan::draw(seed), false).0.hash();
        let first = here();
        ensure!(first == here(), "seed {seed}: another hash the second time");
        let output = Command::new(std::env::current_exe()?)
            .env("SIM_SEED", seed.to_string())
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let hash = text.split_once("hash ").context("a hash")?.1;
        ensure!(
            hash.starts_with(&format!("{first:016x}")),
            "seed {seed}: {first:016x} here, there {text}"
        );
    }
    Ok(())
}
