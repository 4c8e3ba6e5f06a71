//! What a GPU reaches: tables for a look at a new device.
//!
//! `cargo run --release -p benches --example device [PART|PRECISION…]` prints, for each figure, its time, operations a second
//! with their share of the device's peak in f32, and bytes a second with their share of what copies reach. Counted is
//! what must be done at least: operations as in `roofline`, those of active cells; bytes of states, pictures and weights,
//! each read and written once. A figure that fails says why and leaves the others alone. Without names, all parts in all
//! precisions of products.

use std::process::ExitCode;
use std::time::Instant;

use benches::{
    Appearance, BACKWARD, Case, ConvLayer, ConvSetup, FLOW_PAIRS, FlowPair, LOSSES, PASSES, PICTURES, Picture, SPYNET,
    STEPS, Setup, THROUGH, THROUGH_STEPS, TRAINING, TRAINING_STEPS, Through, Training, VGG, VggPass, write_vgg,
};
use nca_core::backend::Device;
use nca_core::{Error, Grid, Precision, Result};
use nca_cuda::Cuda;

/// Steps handed over before the host waits.
const RUN: u32 = 32;
/// Repetitions of each figure, of which the shortest counts,
const REPETITIONS: u32 = 7;
/// and the seconds after which no other begins: a small GPU takes long for the largest grids.
const PATIENCE: f64 = 1.0;
/// Share of cells that are active.
const FIRE_RATE: f64 = 0.5;
/// Bytes of a number.
const F32: f64 = 4.0;

/// Layers of the flow network at its finest level for a pair of 256² frames, and of a classifier's features for
/// four pictures of 128²: layer, size, batch.
const CONVOLUTIONS: [(ConvLayer, usize, usize); 5] = [
    (SPYNET[0], 256, 1),
    (SPYNET[1], 256, 1),
    (SPYNET[2], 256, 1),
    (VGG[1], 128, 4),
    (
        ConvLayer {
            inputs: 256,
            outputs: 256,
            kernel: 3,
        },
        32,
        4,
    ),
];

/// A part of the benchmark, by name.
type Part = (&'static str, fn(&mut Bench));

/// The parts, the most telling ones first.
const PARTS: [Part; 6] = [
    ("steps", Bench::steps),
    ("training", Bench::training),
    ("flow", Bench::flow),
    ("vgg", Bench::vgg),
    ("losses", Bench::losses),
    ("convolutions", Bench::convolutions),
];

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let (precisions, parts): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.parse::<Precision>().is_ok());
    let known = |name: &str| PARTS.iter().any(|(part, _)| *part == name);
    if let Some(name) = parts.iter().find(|name| !known(name)) {
        let (parts, precisions) = (PARTS.map(|(part, _)| part), Precision::ALL.map(Precision::name));
        eprintln!(
            "{name} is no part of this benchmark, expected {} or {}",
            parts.join(", "),
            precisions.join(", ")
        );
        return ExitCode::from(2);
    }
    let asked = |names: &[&String], name: &str| names.is_empty() || names.iter().any(|asked| *asked == name);
    let mut bench = match Bench::open() {
        Ok(bench) => bench,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    for precision in Precision::ALL {
        if !asked(&precisions, precision.name()) {
            continue;
        }
        println!("products in {precision}:");
        bench.cuda = bench.cuda.with_precision(precision);
        for (part, run) in PARTS {
            if asked(&parts, part) {
                run(&mut bench);
            }
        }
    }
    ExitCode::from(u8::from(bench.failures > 0))
}

/// What a figure is measured against, and how many could not be measured.
struct Bench {
    cuda: Cuda,
    /// Operations a second.
    peak: f64,
    /// Bytes a second, read and written.
    bandwidth: f64,
    failures: u32,
}

/// What a unit of work has to do at least.
#[derive(Clone, Copy)]
struct Work {
    /// Operations; `None` where they are not counted.
    flop: Option<f64>,
    /// Bytes read and written.
    bytes: f64,
}

impl Bench {
    /// The device, described, with the bandwidth of copies.
    fn open() -> Result<Self> {
        let peak = nca_cuda::probe()?.peak();
        let cuda = Cuda::new()?;
        let bandwidth = bandwidth(&cuda)?;
        println!(
            "{}: {:.1} TFLOP/s in f32, copies {:.0} GB/s read and written",
            cuda.describe(),
            peak / 1e12,
            bandwidth / 1e9
        );
        println!(
            "{:<10} {:<28} {:>11} {:>8} {:>5} {:>7} {:>5}",
            "what", "of", "µs", "TFLOP/s", "peak", "GB/s", "copy"
        );
        Ok(Self {
            cuda,
            peak,
            bandwidth,
            failures: 0,
        })
    }

    /// One line: `seconds` for `work`, or why not.
    fn show(&mut self, what: &str, of: &str, work: Work, seconds: Result<f64>) {
        let seconds = match seconds {
            Ok(seconds) => seconds,
            Err(error) => {
                self.failures += 1;
                println!("{what:<10} {of:<28} FAILED: {error}");
                return;
            }
        };
        let (flops, share) = work.flop.map_or_else(
            || ("-".to_owned(), "-".to_owned()),
            |flop| {
                let rate = flop / seconds;
                (
                    format!("{:.2}", rate / 1e12),
                    format!("{:.0} %", 100.0 * rate / self.peak),
                )
            },
        );
        let bytes = work.bytes / seconds;
        println!(
            "{what:<10} {of:<28} {:>11.1} {flops:>8} {share:>5} {:>7.0} {:>3.0} %",
            seconds * 1e6,
            bytes / 1e9,
            100.0 * bytes / self.bandwidth
        );
    }

    /// Single steps, each waited for; runs of them; and their gradients.
    fn steps(&mut self) {
        // Too large for the L2 cache.
        let large = Case {
            channels: 12,
            hidden: 96,
            grid: Grid::square(2048),
        };
        for case in STEPS.into_iter().chain([large]) {
            let mut setup = match Setup::new(&self.cuda, case, FIRE_RATE) {
                Ok(setup) => setup,
                Err(error) => {
                    self.show("step", &case.name(), NOTHING, Err(error));
                    continue;
                }
            };
            let run = f64::from(RUN);
            let cuda = self.cuda.clone();
            let (forward, backward) = (step(&case), step_backward(&case));
            let seconds = best(&cuda, |draw| setup.forward(&cuda, draw));
            self.show("step", &case.name(), forward, seconds);
            let seconds = best(&cuda, |draw| setup.run(&cuda, draw * RUN, RUN));
            self.show("in a run", &case.name(), forward, seconds.map(|s| s / run));
            let seconds = best(&cuda, |draw| setup.run_backward(&cuda, draw * RUN, RUN));
            self.show("backward", &case.name(), backward, seconds.map(|s| s / run));
        }
    }

    /// The gradient through many steps, and training iterations without the optimiser; only the automaton's operations
    /// are counted.
    fn training(&mut self) {
        let cuda = self.cuda.clone();
        for case in THROUGH {
            let seconds = Through::new(&cuda, case, FIRE_RATE, THROUGH_STEPS, Through::<Cuda>::BUDGET)
                .and_then(|mut through| best(&cuda, |draw| through.run(&cuda, u64::from(draw), THROUGH_STEPS)));
            let of = format!("{}, {THROUGH_STEPS} steps", case.name());
            self.show("through", &of, through(&case, THROUGH_STEPS), seconds);
        }
        for case in TRAINING {
            let seconds = Training::new(&cuda, case)
                .and_then(|mut training| best(&cuda, |draw| training.iterate(&cuda, u64::from(draw))));
            let of = format!("{}, {TRAINING_STEPS} steps", case.name());
            self.show("iteration", &of, through(&case, TRAINING_STEPS), seconds);
        }
    }

    /// The flow network, forward and with its gradient.
    fn flow(&mut self) {
        let cuda = self.cuda.clone();
        for pair in FLOW_PAIRS {
            let once = Work::of(pair.flop(), pair.numbers());
            let seconds = FlowPair::new(&cuda, pair).and_then(|mut flow| best(&cuda, |_| flow.forward(&cuda)));
            self.show("flow", &pair.name(), once, seconds);
            let seconds = FlowPair::new(&cuda, pair).and_then(|mut flow| best(&cuda, |_| flow.both(&cuda)));
            self.show("and back", &pair.name(), once.twice(), seconds);
        }
    }

    /// A classifier's features, forward and with their gradient.
    fn vgg(&mut self) {
        let cuda = self.cuda.clone();
        for picture in PICTURES {
            let once = Work::of(picture.flop(), picture.numbers());
            match vgg_pass(&cuda, picture) {
                Ok(mut pass) => {
                    let seconds = best(&cuda, |_| pass.forward(&cuda));
                    self.show("vgg", &picture.name(), once, seconds);
                    let seconds = best(&cuda, |_| pass.both(&cuda));
                    self.show("and back", &picture.name(), once.twice(), seconds);
                }
                Err(error) => self.show("vgg", &picture.name(), once, Err(error)),
            }
        }
    }

    /// The weight-free loss with its gradient: mostly sorting, so only the pictures' bytes are counted.
    fn losses(&mut self) {
        let cuda = self.cuda.clone();
        for case in LOSSES {
            let seconds = Appearance::new(&cuda, case)
                .and_then(|mut loss| best(&cuda, |draw| loss.evaluate(&cuda, u64::from(draw))));
            let work = Work {
                flop: None,
                bytes: 2.0 * 3.0 * F32 * case.grid.cells() as f64,
            };
            let Grid { batch, height, width } = case.grid;
            self.show("patch loss", &format!("{height}x{width}/{batch}"), work, seconds);
        }
    }

    /// A layer forward, and the gradients of its input and its weights.
    fn convolutions(&mut self) {
        let cuda = self.cuda.clone();
        for (layer, size, batch) in CONVOLUTIONS {
            let shape = layer.shape(size, batch);
            let numbers = shape.input_len() + shape.output_len() + shape.weight_len();
            let work = Work::of(layer.flop(size, batch), numbers as f64);
            for pass in PASSES {
                let seconds = ConvSetup::new(&cuda, layer, size, batch)
                    .and_then(|mut setup| best(&cuda, |_| setup.run(&cuda, pass)));
                self.show(pass.name(), &layer.name(size, batch), work, seconds);
            }
        }
    }
}

/// For a figure that is not there.
const NOTHING: Work = Work { flop: None, bytes: 0.0 };

impl Work {
    /// Operations, and numbers of four bytes read or written.
    fn of(flop: f64, numbers: f64) -> Self {
        Self {
            flop: Some(flop),
            bytes: F32 * numbers,
        }
    }

    /// The same again: a gradient.
    fn twice(self) -> Self {
        Self {
            flop: self.flop.map(|flop| 2.0 * flop),
            bytes: 2.0 * self.bytes,
        }
    }
}

/// A step: states are read and written.
fn step(case: &Case) -> Work {
    let flop = case.flop_per_cell() * FIRE_RATE * case.grid.cells() as f64;
    Work::of(flop, 2.0 * case.len() as f64)
}

/// Its gradient: the state and the gradient after it are read, the gradient before it is written.
fn step_backward(case: &Case) -> Work {
    let forward = step(case);
    Work::of(BACKWARD * forward.flop.unwrap_or(0.0), 3.0 * case.len() as f64)
}

/// `steps` steps with their gradients.
fn through(case: &Case, steps: u32) -> Work {
    let (forward, backward, steps) = (step(case), step_backward(case), f64::from(steps));
    Work {
        flop: forward.flop.zip(backward.flop).map(|(a, b)| steps * (a + b)),
        bytes: steps * (forward.bytes + backward.bytes),
    }
}

/// The features' network with weights of a file of its own.
fn vgg_pass(cuda: &Cuda, picture: Picture) -> Result<VggPass<Cuda>> {
    let path = std::env::temp_dir().join(format!("vgg-{}.safetensors", std::process::id()));
    write_vgg(&path, picture)?;
    let pass = VggPass::new(cuda, picture, &path);
    std::fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
    pass
}

/// Shortest time of `work`, finished, in seconds; it is done once before.
fn best(cuda: &Cuda, mut work: impl FnMut(u32) -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    for repetition in 0..=REPETITIONS {
        if best.is_finite() && begin.elapsed().as_secs_f64() > PATIENCE {
            break;
        }
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
    Ok(2.0 * F32 * len as f64 / seconds)
}
