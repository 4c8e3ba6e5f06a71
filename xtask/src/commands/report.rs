//! `cargo xtask report`

use std::path::PathBuf;

use clap::Args;

use crate::output::{print_json, print_line};

/// Write page, tables, plots and contact sheet again from what a sweep has left in its directory
///
/// Open report.html first: in it every trained model runs. Merges the parts of a sweep run with --shard, and works on a sweep that is still running.
/// What cannot be read is left out, and named.
#[derive(Args)]
pub(crate) struct ReportArgs {
    /// Directory of the sweep
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Print one JSON object to standard output, and nothing else there
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<()> {
    let outcome = nca_train::sweep::SweepOutcome::merge(&args.directory)?;
    if args.json {
        print_json(&outcome)
    } else {
        print_line(&outcome.summary())
    }
}
