//! Whether a cell costs the same on any grid, and what a second thread brings.
//!
//! `cargo run --release -p benches --example scaling [CxD] [ROUNDS]` prints, for square grids and for batches, cell
//! updates a second of a rollout and of a rollout with its gradient, on one thread and on all, at the paper's fire
//! rate. In every round each figure is measured once, and the medians over the rounds count: a slow minute of the
//! machine meets all grids alike. The shortest times would not be fair, as of short calls there are many more.

use std::time::Instant;

use benches::{Case, Through};
use nca_core::Grid;
use nca_core::backend::Device as _;
use nca_core::cpu::Cpu;
use nca_train::report::stats::median;

/// Sides of single grids.
const SIDES: [usize; 6] = [64, 128, 256, 512, 1024, 2048];
/// Numbers of grids of [`BATCH_SIDE`].
const BATCHES: [usize; 3] = [2, 4, 8];
const BATCH_SIDE: usize = 128;
/// Most steps of a rollout, and the bytes that bound them.
const STEPS: usize = 16;
const STATE_BYTES: usize = 1 << 28;
/// Least steps of a rollout.
const LEAST_STEPS: usize = 2;
/// Grids whose states are larger, in bytes, are left out: a row needs ten times that, and all rows are held at once.
const LARGEST_STATE: usize = 1 << 28;
/// Seconds that a figure of a round is measured for, at least.
const TURN: f64 = 0.25;
const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let shape = arguments.next().unwrap_or_else(|| "12x96".into());
    let (channels, hidden) = shape.split_once('x').ok_or("CxD: expected two numbers, as 12x96")?;
    let (channels, hidden) = (channels.parse()?, hidden.parse()?);
    let rounds = arguments.next().map_or(Ok(ROUNDS), |rounds| rounds.parse())?.max(1);
    let all = Cpu::new()?;
    let one = Cpu::with_threads(1)?;
    println!(
        "{}, {channels}x{hidden}, millions of cell updates a second, medians of {rounds} rounds",
        all.describe()
    );
    let sides = SIDES.map(Grid::square);
    let batches = BATCHES.map(|batch| Grid::new(batch, BATCH_SIDE, BATCH_SIDE));
    let mut rows = Vec::new();
    for grid in sides.into_iter().chain(batches) {
        let case = Case { channels, hidden, grid };
        if 4 * case.len() > LARGEST_STATE {
            println!("{}², {} is left out: its states are too large", grid.height, grid.batch);
            continue;
        }
        let steps = (STATE_BYTES / (4 * case.len())).clamp(LEAST_STEPS, STEPS) as u32;
        // Room for all states and all hidden layers, so that every row does the same work.
        let budget = steps as usize * 4 * (case.len() + hidden * grid.cells()) + 8 * case.len();
        let through = Through::new(&all, case, 0.5, steps, budget)?;
        rows.push((grid, steps, through, [(); 4].map(|()| Vec::new())));
    }
    for _ in 0..rounds {
        for (grid, steps, through, figures) in &mut rows {
            let cells = grid.cells() as f64 * f64::from(*steps) / 1e6;
            for (pair, cpu) in [&all, &one].into_iter().enumerate() {
                let forward = seconds(|turn| through.setup.run(cpu, turn, *steps))?;
                let gradient = seconds(|turn| through.run(cpu, u64::from(turn), *steps))?;
                figures[pair].push(cells / forward);
                figures[2 + pair].push(cells / gradient);
            }
        }
    }
    println!(
        "{:<14} {:>9} {:>9} {:>7}   {:>9} {:>9} {:>7}",
        "grid, batch", "forward", "1 thread", "ratio", "gradient", "1 thread", "ratio"
    );
    for (grid, _, _, figures) in rows {
        print!("{:<14}", format!("{}², {}", grid.height, grid.batch));
        let medians = figures.map(|figures| median(&figures).unwrap_or(f64::NAN));
        let [forward, forward_one, gradient, gradient_one] = medians;
        for (many, single) in [(forward, forward_one), (gradient, gradient_one)] {
            print!(" {many:>9.2} {single:>9.2} {:>7.2}  ", many / single);
        }
        println!();
    }
    Ok(())
}

/// Mean time of a call over a turn, in seconds.
fn seconds<E>(mut call: impl FnMut(u32) -> Result<(), E>) -> Result<f64, E> {
    let start = Instant::now();
    for calls in 1.. {
        call(calls)?;
        let elapsed = start.elapsed().as_secs_f64();
        if elapsed >= TURN {
            return Ok(elapsed / f64::from(calls));
        }
    }
    unreachable!("a turn ends")
}
