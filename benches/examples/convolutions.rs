//! Direct convolutions against those by transforms.
//!
//! `cargo run --release -p benches --example convolutions [THREADS [SIZE…]]` runs the algorithms in turn on the
//! layers of SpyNet and on those of VGG that images of the size meet in pictures of up to 128×128. It prints for each
//! pass the best time of direct sums in milliseconds, and how many times as fast are Fourier transforms, Winograd's
//! algorithm (where there is one) and the automatic choice; and that in bf16, on processors that multiply it.

use std::time::{Duration, Instant};

use benches::{ConvSetup, PASSES, SPYNET, VGG};
use nca_core::Precision;
use nca_core::backend::Device;
use nca_core::cpu::{Bf16Unit, ConvAlgorithm, Cpu};

/// Time spent on each figure.
const BUDGET: Duration = Duration::from_millis(1000);
/// Batch and size of the images unless sizes are given.
const SIZES: [(usize, usize); 5] = [(1, 16), (1, 32), (8, 32), (1, 64), (1, 128)];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().map_or(Ok(1), |threads| threads.parse())?;
    let sizes: Vec<usize> = arguments.map(|size| size.parse()).collect::<Result<_, _>>()?;
    let cases: Vec<(usize, usize)> = if sizes.is_empty() {
        SIZES.to_vec()
    } else {
        sizes.into_iter().map(|size| (1, size)).collect()
    };
    let cpu = |conv| Cpu::builder().threads(threads).conv(conv).build();
    let mut cpus = vec![
        cpu(ConvAlgorithm::Direct)?,
        cpu(ConvAlgorithm::Fft)?,
        cpu(ConvAlgorithm::Winograd)?,
        cpu(ConvAlgorithm::Auto)?,
    ];
    if Bf16Unit::detect().is_some() {
        cpus.push(Cpu::builder().threads(threads).precision(Precision::Bf16).build()?);
    }
    let direct = &cpus[0];
    println!(
        "{:<20}{:>width$}{:>width$}{:>width$}",
        direct.describe(),
        "forward",
        "to images",
        "to weights",
        width = 2 + 8 + 8 * (cpus.len() - 1),
    );
    for (batch, size) in cases {
        for layer in SPYNET
            .into_iter()
            .chain(VGG.into_iter().filter(|layer| layer.is_met_at(size)))
        {
            print!("{:<20}", layer.name(size, batch));
            for pass in PASSES {
                let mut setup = ConvSetup::new(direct, layer, size, batch)?;
                let mut best = vec![f64::INFINITY; cpus.len()];
                let start = Instant::now();
                while start.elapsed() < BUDGET {
                    for (cpu, best) in cpus.iter().zip(&mut best) {
                        let before = Instant::now();
                        setup.run(cpu, pass)?;
                        *best = best.min(before.elapsed().as_secs_f64());
                    }
                }
                print!("  {:>8.3}", 1e3 * best[0]);
                for time in &best[1..] {
                    print!(" {:>6.2}×", best[0] / time);
                }
            }
            println!();
        }
    }
    Ok(())
}
