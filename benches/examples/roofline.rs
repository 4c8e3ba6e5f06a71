//! How near the steps come to what the processor can multiply and add.
//!
//! `cargo run --release -p benches --example roofline [THREADS [CASE…]]` measures the peak of a loop of fused
//! multiply-adds in registers, then the cases whose names start with a `CASE` (all if none is given), and prints
//! the best time of each as cell updates a second and as a share of that peak. Counted are the operations that must be done: those
//! of active cells, `10·C·D` forward and [`BACKWARD`] times as many backward.

use std::time::Instant;

use benches::{Arguments, BACKWARD, STEPS, Setup, fma_peak};
use nca_core::backend::Device as _;

/// Fire rates measured.
const FIRE_RATES: [f64; 2] = [0.5, 1.0];
/// Seconds spent on each figure.
const SECONDS: f64 = 0.4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::read()?;
    let cpu = &arguments.cpu;
    let threads = cpu.threads();
    let peak = fma_peak(threads);
    println!("{}: {:.1} GFLOP/s peak", cpu.describe(), peak / 1e9);
    println!(
        "{:<20} {:>4}  {:>9} {:>6}  {:>9} {:>6}",
        "case", "rate", "forward/s", "peak", "backward/s", "peak"
    );
    for case in STEPS.into_iter().filter(|case| arguments.want(&case.name())) {
        for fire_rate in FIRE_RATES {
            let mut setup = Setup::new(cpu, case, fire_rate)?;
            let cells = case.grid.cells() as f64;
            let flop = case.flop_per_cell() * fire_rate * cells;
            let forward = best(|step| setup.forward(cpu, step))?;
            let backward = best(|step| setup.backward(cpu, step))?;
            println!(
                "{:<20} {fire_rate:>4}  {:>8.2}M {:>5.1}%  {:>8.2}M {:>5.1}%",
                case.name(),
                cells / forward / 1e6,
                100.0 * flop / forward / peak,
                cells / backward / 1e6,
                100.0 * BACKWARD * flop / backward / peak,
            );
        }
    }
    Ok(())
}

/// Shortest time of one call within [`SECONDS`], in seconds.
fn best<E>(mut call: impl FnMut(u32) -> Result<(), E>) -> Result<f64, E> {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    for step in 0.. {
        let before = Instant::now();
        call(step)?;
        best = best.min(before.elapsed().as_secs_f64());
        if step > 2 && start.elapsed().as_secs_f64() > SECONDS {
            break;
        }
    }
    Ok(best)
}
