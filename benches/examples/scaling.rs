//! Whether a cell costs the same on any grid, and what a second thread brings.
//!
//! `cargo run --release -p benches --example scaling [CxD]` prints, for square grids and for batches, cell updates a
//! second of a rollout and of a rollout with its gradient, on one thread and on all, at the paper's fire rate. One
//! thread and all take turns, and the best times count: others on the machine only ever slow it down.

use std::time::Instant;

use benches::{Case, Through};
use nca_core::Grid;
use nca_core::backend::Device as _;
use nca_core::cpu::Cpu;

/// Sides of single grids.
const SIDES: [usize; 6] = [64, 128, 256, 512, 1024, 2048];
/// Numbers of grids of [`BATCH_SIDE`].
const BATCHES: [usize; 3] = [2, 4, 8];
const BATCH_SIDE: usize = 128;
/// Most steps of a rollout, and the bytes that their states should not exceed, or some would be computed again.
const STEPS: usize = 16;
const STATE_BYTES: usize = 1 << 30;
/// Seconds spent on each figure, in turns of a quarter of a second.
const SECONDS: f64 = 4.0;
const TURN: f64 = 0.25;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shape = std::env::args().nth(1).unwrap_or_else(|| "12x96".into());
    let (channels, hidden) = shape.split_once('x').ok_or("CxD: expected two numbers, as 12x96")?;
    let (channels, hidden) = (channels.parse()?, hidden.parse()?);
    let all = Cpu::new()?;
    let one = Cpu::with_threads(1)?;
    println!(
        "{}, {channels}x{hidden}, millions of cell updates a second",
        all.describe()
    );
    println!(
        "{:<14} {:>9} {:>9} {:>7}   {:>9} {:>9} {:>7}",
        "grid, batch", "forward", "1 thread", "ratio", "gradient", "1 thread", "ratio"
    );
    let sides = SIDES.map(Grid::square);
    let batches = BATCHES.map(|batch| Grid::new(batch, BATCH_SIDE, BATCH_SIDE));
    for grid in sides.into_iter().chain(batches) {
        let case = Case { channels, hidden, grid };
        let state = 4 * case.len();
        let steps = (STATE_BYTES / state).clamp(2, STEPS) as u32;
        let cells = grid.cells() as f64 * f64::from(steps) / 1e6;
        let mut through = Through::new(&all, case, 0.5, steps, STATE_BYTES)?;
        let forward = race([&all, &one], |cpu, turn| through.setup.run(cpu, turn, steps))?;
        let gradient = race([&all, &one], |cpu, turn| through.run(cpu, u64::from(turn), steps))?;
        print!("{:<14}", format!("{}², {}", grid.height, grid.batch));
        for [many, single] in [forward, gradient] {
            print!(
                " {:>9.2} {:>9.2} {:>7.2}  ",
                cells / many,
                cells / single,
                single / many
            );
        }
        println!();
    }
    Ok(())
}

/// Shortest times of a call on two backends that take turns, in seconds.
fn race<E>(backends: [&Cpu; 2], mut call: impl FnMut(&Cpu, u32) -> Result<(), E>) -> Result<[f64; 2], E> {
    let start = Instant::now();
    let mut best = [f64::INFINITY; 2];
    let mut number = 0;
    while number == 0 || start.elapsed().as_secs_f64() < SECONDS {
        for (cpu, best) in backends.into_iter().zip(&mut best) {
            let turn = Instant::now();
            while turn.elapsed().as_secs_f64() < TURN {
                let before = Instant::now();
                call(cpu, number)?;
                *best = best.min(before.elapsed().as_secs_f64());
                number += 1;
            }
        }
    }
    Ok(best)
}
