//! What the factors of products in bf16 buy.
//!
//! `cargo run --release -p benches --example precisions [THREADS [CASE…]]` prints, for the cases whose names start with a
//! `CASE` (all if none is given), the time of a step at fire rate 0.5, of its gradient, and how many times as fast each
//! unit for bf16 that this machine has is. The backends take turns, and the best times count: others on the machine only
//! ever slow them down.

use std::time::Instant;

use benches::{Arguments, STEPS, Setup};
use nca_core::Precision;
use nca_core::backend::Device as _;
use nca_core::cpu::{Bf16, Cpu};

/// Seconds spent on each case with each backend, forward and backward.
const SECONDS: f64 = 1.0;
/// Turns in which they are spent.
const TURNS: u32 = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::read()?;
    let threads = arguments.cpu.threads();
    let units: Vec<Bf16> = Bf16::ALL
        .into_iter()
        .filter(|&unit| unit.available() && unit != Bf16::Portable)
        .collect();
    if units.is_empty() {
        println!("this processor does not multiply bf16");
        return Ok(());
    }
    let mut backends = vec![arguments.cpu.clone()];
    for &unit in &units {
        let bf16 = Cpu::builder().threads(threads).precision(Precision::Bf16).bf16(unit);
        backends.push(bf16.build()?);
    }
    println!("{}, milliseconds", arguments.cpu.describe());
    print!("{:<16} {:>9} {:>9}", "case", "forward", "backward");
    units
        .iter()
        .for_each(|unit| print!(" {:>9} {:>9}", unit.name(), unit.name()));
    println!();
    for case in STEPS.into_iter().filter(|case| arguments.want(case)) {
        let mut best = vec![[f64::INFINITY; 2]; backends.len()];
        let mut setups = Vec::new();
        for cpu in &backends {
            setups.push(Setup::new(cpu, case, 0.5)?);
        }
        for _ in 0..TURNS {
            for ((cpu, setup), best) in backends.iter().zip(&mut setups).zip(&mut best) {
                let passes: [fn(&mut Setup<Cpu>, &Cpu, u32) -> nca_core::Result<()>; 2] =
                    [Setup::forward, Setup::backward];
                for (pass, best) in passes.into_iter().zip(best) {
                    let start = Instant::now();
                    for step in 0.. {
                        let before = Instant::now();
                        pass(setup, cpu, step)?;
                        // The first call makes room and wakes up what has slept.
                        if step > 0 {
                            *best = best.min(before.elapsed().as_secs_f64());
                        }
                        if step > 1 && start.elapsed().as_secs_f64() > SECONDS / f64::from(2 * TURNS) {
                            break;
                        }
                    }
                }
            }
        }
        let f32 = best[0];
        print!("{:<16} {:>9.3} {:>9.3}", case.name(), 1e3 * f32[0], 1e3 * f32[1]);
        for bf16 in &best[1..] {
            print!(" {:>8.2}x {:>8.2}x", f32[0] / bf16[0], f32[1] / bf16[1]);
        }
        println!();
    }
    Ok(())
}
