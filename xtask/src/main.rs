//! The command line of the workspace: parses, calls the libraries, prints.

// They panic where nobody reads: `output` has what does not.
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod backend;
mod commands;
mod files;
mod flags;
mod interrupt;
mod list;
mod lock;
mod model;
mod output;
mod progress;
mod python;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches as _, Parser, Subcommand};

use commands::{
    bench_peers, export, fetch, flow, flow_eval, flow_train, gpu_bundle, kernels, measure, render, report, sweep,
    train, watch,
};
use output::say;

/// Train neural cellular automata, measure how strongly they move by themselves, sweep over
/// architectures, and look at the result.
///
/// After "Emergent Dynamics in Neural Cellular Automata" (Xu, Pajouheshgar, Süsstrunk, ALIFE 2024,
/// arXiv 2404.06406). With no arguments at all, `sweep` runs that paper's experiment in miniature.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Sweep(sweep::SweepArgs),
    Train(train::TrainArgs),
    Measure(measure::MeasureArgs),
    Render(render::RenderArgs),
    Export(export::ExportArgs),
    Flow(flow::FlowArgs),
    FlowTrain(flow_train::FlowTrainArgs),
    FlowEval(flow_eval::FlowEvalArgs),
    Report(report::ReportArgs),
    Watch(watch::WatchArgs),
    Fetch(fetch::FetchArgs),
    Kernels(kernels::KernelsArgs),
    GpuBundle(gpu_bundle::GpuBundleArgs),
    BenchPeers(bench_peers::BenchPeersArgs),
}

/// Exit code of every error, as of a wrong flag.
const EXIT_ERROR: u8 = 2;

fn main() -> ExitCode {
    // RUST_LOG=debug shows more. A curve without points or an error bar without length is no news.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,usvg=error,tiny_skia=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        // By eprintln!, which would panic where what was to be said could not be.
        .log_internal_errors(false)
        .init();
    let given = flags::take_negative_numbers(Cli::command()).get_matches();
    let result = match Cli::from_arg_matches(&given)
        .unwrap_or_else(|error| error.exit())
        .command
    {
        Command::Sweep(args) => sweep::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Measure(args) => measure::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Flow(args) => flow::run(&args),
        Command::FlowTrain(args) => flow_train::run(&args),
        Command::FlowEval(args) => flow_eval::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Fetch(args) => fetch::run(&args),
        Command::Kernels(args) => kernels::run(&args),
        Command::GpuBundle(args) => gpu_bundle::run(&args),
        Command::BenchPeers(args) => bench_peers::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, whatever the causes.
            say!("error: {error:#}");
            ExitCode::from(EXIT_ERROR)
        }
    }
}
