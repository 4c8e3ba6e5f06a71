//! Direct convolutions against those by Fourier transforms.
//!
//! `cargo run --release -p benches --example convolutions [THREADS [SIZE…]]` runs both algorithms in turn on the layers
//! of SpyNet and of VGG and prints the best times of each pass in milliseconds, and their ratio.

use std::time::{Duration, Instant};

use benches::{ConvSetup, PASSES, SPYNET, VGG};
use nca_core::backend::Device;
use nca_core::cpu::{ConvAlgorithm, Cpu};

/// Time spent on each figure.
const BUDGET: Duration = Duration::from_millis(400);
/// Batch and size of the images unless sizes are given.
const SIZES: [(usize, usize); 4] = [(1, 32), (8, 32), (1, 64), (1, 128)];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().map_or(Ok(1), |threads| threads.parse())?;
    let sizes: Vec<usize> = arguments.map(|size| size.parse()).collect::<Result<_, _>>()?;
    let cases: Vec<(usize, usize)> = if sizes.is_empty() {
        SIZES.to_vec()
    } else {
        sizes.into_iter().map(|size| (1, size)).collect()
    };
    let [direct, fft] = [ConvAlgorithm::Direct, ConvAlgorithm::Fft].map(|conv| {
        let builder = Cpu::builder().threads(threads).conv(conv);
        builder.build()
    });
    let (direct, fft) = (direct?, fft?);
    println!(
        "{:<22}{:>26}{:>26}{:>26}",
        direct.describe(),
        "forward",
        "to images",
        "to weights"
    );
    for (batch, size) in cases {
        for layer in SPYNET.into_iter().chain(VGG) {
            print!("{:<22}", layer.name(size, batch));
            for pass in PASSES {
                let mut setup = ConvSetup::new(&direct, layer, size, batch)?;
                let mut best = [f64::INFINITY; 2];
                let start = Instant::now();
                while start.elapsed() < BUDGET {
                    for (cpu, best) in [&direct, &fft].into_iter().zip(&mut best) {
                        let before = Instant::now();
                        setup.run(cpu, pass)?;
                        *best = best.min(before.elapsed().as_secs_f64());
                    }
                }
                let [direct, fft] = best.map(|seconds| 1e3 * seconds);
                print!("  {direct:>8.3} {fft:>8.3} {:>5.2}", direct / fft);
            }
            println!();
        }
    }
    Ok(())
}
