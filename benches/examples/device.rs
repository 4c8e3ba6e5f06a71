//! What a GPU reaches: one table for a look at a new device.
//!
//! `cargo run --release -p benches --example device` measures the bandwidth of copies, runs of steps forward and
//! backward, convolutions of the two networks, and training iterations, and prints each as a time and as a
//! share of the device's peak or bandwidth. Operations are counted as in `roofline`: those of active cells.

use std::time::Instant;

use benches::{
    BACKWARD, Case, ConvLayer, ConvSetup, PASSES, SPYNET, STEPS, Setup, TRAINING, TRAINING_STEPS, Training, VGG,
};
use nca_core::backend::Device;
use nca_core::{Grid, Result};
use nca_cuda::{Cuda, CudaInfo};

/// Steps handed over before the host waits.
const RUN: u32 = 32;
/// Repetitions of each figure, of which the shortest counts.
const REPETITIONS: u32 = 5;

/// A layer of the features' network beyond those of the table.
const DEEP: ConvLayer = ConvLayer {
    inputs: 256,
    outputs: 256,
    kernel: 3,
};

/// Layers of the flow network at its finest level for a pair of 256² frames, and of a classifier's features for
/// four pictures of 128²: layer, size, batch.
const CONVOLUTIONS: [(ConvLayer, usize, usize); 5] = [
    (SPYNET[0], 256, 1),
    (SPYNET[1], 256, 1),
    (SPYNET[2], 256, 1),
    (VGG[1], 128, 4),
    (DEEP, 32, 4),
];

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let info = nca_cuda::probe()?;
    let cuda = Cuda::new()?;
    println!("{}: {:.1} TFLOP/s in f32", cuda.describe(), info.peak() / 1e12);
    println!("copy: {:.0} GB/s read and written", bandwidth(&cuda)? / 1e9);
    for case in STEPS {
        steps(&cuda, &info, case)?;
    }
    // Too large for the L2 cache.
    let large = Case {
        channels: 12,
        hidden: 96,
        grid: Grid::square(2048),
    };
    steps(&cuda, &info, large)?;
    for (layer, size, batch) in CONVOLUTIONS {
        convolution(&cuda, &info, layer, size, batch)?;
    }
    for case in TRAINING {
        let mut training = Training::new(&cuda, case)?;
        let seconds = best(&cuda, |draw| training.iterate(&cuda, u64::from(draw)))?;
        println!(
            "training iteration {:<18} {TRAINING_STEPS} steps and loss: {:>9.1} µs",
            case.name(),
            seconds * 1e6
        );
    }
    Ok(())
}

/// Shortest time of `work`, finished, in seconds; it is done once before.
fn best(cuda: &Cuda, mut work: impl FnMut(u32) -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for repetition in 0..=REPETITIONS {
        cuda.synchronize()?;
        let start = Instant::now();
        work(repetition)?;
        cuda.synchronize()?;
        // The first time kernels are translated and memory is allocated.
        if repetition > 0 {
            best = best.min(start.elapsed().as_secs_f64());
        }
    }
    Ok(best)
}

/// Bytes a second that a copy of 1 GiB reads and writes together.
fn bandwidth(cuda: &Cuda) -> Result<f64> {
    let len = 1 << 28;
    let (from, mut to) = (cuda.zeros(len)?, cuda.zeros(len)?);
    let seconds = best(cuda, |_| cuda.copy(&from, 0, &mut to, 0, len))?;
    Ok(2.0 * 4.0 * len as f64 / seconds)
}

/// Runs of steps forward and backward.
fn steps(cuda: &Cuda, info: &CudaInfo, case: Case) -> Result<()> {
    const FIRE_RATE: f64 = 0.5;
    let mut setup = Setup::new(cuda, case, FIRE_RATE)?;
    let flop = case.flop_per_cell() * FIRE_RATE * case.grid.cells() as f64;
    let run = f64::from(RUN);
    let backward = best(cuda, |draw| setup.run_backward(cuda, draw * RUN, RUN))? / run;
    let forward = best(cuda, |draw| setup.run(cuda, draw * RUN, RUN))? / run;
    println!(
        "step {:<20} forward {:>9.1} µs {:>4.0} % of peak, backward {:>9.1} µs {:>4.0} %",
        case.name(),
        forward * 1e6,
        100.0 * flop / forward / info.peak(),
        backward * 1e6,
        100.0 * BACKWARD * flop / backward / info.peak(),
    );
    Ok(())
}

/// A layer forward, and the gradients of its input and its weights.
fn convolution(cuda: &Cuda, info: &CudaInfo, layer: ConvLayer, size: usize, batch: usize) -> Result<()> {
    let mut setup = ConvSetup::new(cuda, layer, size, batch)?;
    let flop = layer.flop(size, batch);
    print!("conv {:<20}", layer.name(size, batch));
    for pass in PASSES {
        let seconds = best(cuda, |_| setup.run(cuda, pass))?;
        let share = 100.0 * flop / seconds / info.peak();
        print!(" {:<10} {:>8.1} µs {share:>3.0} %", pass.name(), seconds * 1e6);
    }
    println!(" of peak");
    Ok(())
}
