//! `cargo xtask watch`

mod grid;
#[cfg(test)]
mod made;
mod plain;
mod screen;
mod terminal;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use nca_core::Error;
use nca_train::sweep::Snapshot;

use crate::output::print_line;

/// Watch a sweep that is running, here or elsewhere
///
/// Shows Ψ of every model over (C, D), losses of those in training, and what is left to do, as they
/// are written to the directory. It only reads, so what it shows of models in training is as old as
/// their last checkpoint. It says when a sweep is not done and nobody is at work on it, and marks
/// models whose Ψ is not above their motion floor.
/// Keys: q or Ctrl-C quits, Tab shows the next texture, arrows scroll.
#[derive(Args)]
pub(crate) struct WatchArgs {
    /// Directory of the sweep
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Print the same as text, once; this also happens where standard output is not a terminal
    #[arg(long)]
    once: bool,
    /// Seconds between looks at the directory
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    interval: f64,
}

pub(crate) fn run(args: &WatchArgs) -> anyhow::Result<()> {
    let interval = Some(args.interval)
        .filter(|s| *s > 0.0)
        .and_then(|s| Duration::try_from_secs_f64(s).ok())
        .ok_or_else(|| Error::invalid("--interval", args.interval, "a positive number of seconds"))?;
    let snapshot = Snapshot::read(&args.directory)?;
    if args.once || !std::io::stdout().is_terminal() {
        return print_line(plain::text(&snapshot, &args.directory).trim_end());
    }
    terminal::run(&args.directory, snapshot, interval)
}
