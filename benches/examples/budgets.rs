//! What the memory of a rollout buys.
//!
//! `cargo run --release -p benches --example budgets [THREADS [CASE…]]` prints, for the rollouts of
//! [`benches::THROUGH`] whose names start with a `CASE` (all if none is given), the time of their steps forward and back
//! within several memory budgets. The budgets take turns, and the best times count: others on the machine only ever slow
//! it down.

use std::time::Instant;

use benches::{Arguments, THROUGH, THROUGH_STEPS, Through};
use nca_core::backend::Device as _;

/// Budgets, in MiB.
const BUDGETS: [usize; 4] = [2048, 1024, 256, 64];
/// Runs with each.
const RUNS: u64 = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::read()?;
    let cpu = &arguments.cpu;
    println!("{}, {THROUGH_STEPS} steps forward and back, seconds", cpu.describe());
    print!("{:<20}", "case");
    BUDGETS.iter().for_each(|mib| print!(" {mib:>5} MiB"));
    println!();
    for case in THROUGH.into_iter().filter(|case| arguments.want(&case.name())) {
        let mut best = [f64::INFINITY; BUDGETS.len()];
        let mut rollouts = Vec::new();
        for mib in BUDGETS {
            rollouts.push(Through::new(cpu, case, 0.5, THROUGH_STEPS, mib << 20)?);
        }
        for run in 0..RUNS {
            for (rollout, best) in rollouts.iter_mut().zip(&mut best) {
                let start = Instant::now();
                rollout.run(cpu, run, THROUGH_STEPS)?;
                *best = best.min(start.elapsed().as_secs_f64());
            }
        }
        print!("{:<20}", case.name());
        best.iter().for_each(|seconds| print!(" {seconds:>9.3}"));
        println!();
    }
    Ok(())
}
