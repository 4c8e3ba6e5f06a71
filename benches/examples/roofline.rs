//! How near the steps come to what the processor can multiply and add.
//!
//! `cargo run --release -p benches --example roofline [THREADS]` measures the peak of a loop of fused
//! multiply-adds in registers, then every case of the table, and prints the best time of each as cell
//! updates a second and as a share of that peak. Counted are the operations that must be done: those
//! of active cells, `10·C·D` forward and [`BACKWARD`] times as many backward.

// A loop compiled for the instructions that the machine was asked about.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

use benches::{BACKWARD, STEPS, Setup};
use nca_core::backend::Device;
use nca_core::cpu::Cpu;

/// Fire rates measured.
const FIRE_RATES: [f64; 2] = [0.5, 1.0];
/// Seconds spent on each figure.
const SECONDS: f64 = 0.4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cpu = match std::env::args().nth(1) {
        Some(threads) => Cpu::with_threads(threads.parse()?)?,
        None => Cpu::new()?,
    };
    let threads = cpu.threads();
    let peak = fma_peak(threads);
    println!("{}: {:.1} GFLOP/s peak", cpu.describe(), peak / 1e9);
    println!(
        "{:<20} {:>4}  {:>9} {:>6}  {:>9} {:>6}",
        "case", "rate", "forward/s", "peak", "backward/s", "peak"
    );
    for case in STEPS {
        for fire_rate in FIRE_RATES {
            let mut setup = Setup::new(&cpu, case, fire_rate)?;
            let cells = case.grid.cells() as f64;
            let flop = case.flop_per_cell() * fire_rate * cells;
            let forward = best(|step| setup.forward(&cpu, step))?;
            let backward = best(|step| setup.backward(&cpu, step))?;
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

/// Operations a second of `threads` threads that do nothing but fused multiply-adds.
fn fma_peak(threads: usize) -> f64 {
    let one = || (0..20).map(|_| fma_rate()).fold(0.0, f64::max);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).sum()
    })
}

/// Operations a second of one run of the loop on this thread.
fn fma_rate() -> f64 {
    const LOOPS: u64 = 2_000_000;
    let start = Instant::now();
    let lanes = fma_loop(LOOPS);
    (2 * LOOPS * lanes) as f64 / start.elapsed().as_secs_f64()
}

/// Runs `loops` rounds of independent multiply-adds; returns how many each round has.
fn fma_loop(loops: u64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: asked just now.
            return unsafe { fma_loop_avx512(loops) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: asked just now.
            return unsafe { fma_loop_avx2(loops) };
        }
    }
    fma_loop_lanes::<4>(loops)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,fma")]
unsafe fn fma_loop_avx512(loops: u64) -> u64 {
    fma_loop_lanes::<16>(loops)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn fma_loop_avx2(loops: u64) -> u64 {
    fma_loop_lanes::<8>(loops)
}

/// Twelve vectors that do not wait for each other: more than the latency of a multiply-add times the
/// number of units.
#[inline(always)]
fn fma_loop_lanes<const LANES: usize>(loops: u64) -> u64 {
    const VECTORS: usize = 12;
    let mut sums = [[black_box(0.0f32); LANES]; VECTORS];
    let (factor, summand) = ([black_box(0.999f32); LANES], [black_box(1e-3f32); LANES]);
    for _ in 0..loops {
        for sum in &mut sums {
            for lane in 0..LANES {
                sum[lane] = sum[lane].mul_add(factor[lane], summand[lane]);
            }
        }
    }
    black_box(sums);
    (LANES * VECTORS) as u64
}
