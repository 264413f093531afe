//! The `strait` command.

mod cli;

use std::{env, io, process::ExitCode, thread::available_parallelism};

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match runtime() {
        Ok(runtime) => runtime.block_on(cli::main(cli)),
        Err(error) => {
            eprintln!("error: no threads to run on: {error}");
            ExitCode::FAILURE
        }
    }
}

/// On half of the cores, unless tokio's own variable says otherwise: what moves batches hardly computes, and to hand each
/// from core to core costs more than it gains (docs/decisions/0015).
fn runtime() -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let cores = available_parallelism().map_or(1, usize::from);
        builder.worker_threads((cores / 2).max(1));
    }
    builder.enable_all().build()
}
