//! What the processor can multiply and add at most.

// A loop compiled for the instructions that the machine was asked about.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

/// Operations a second of `threads` threads that do nothing but fused multiply-adds in registers.
#[must_use]
pub fn fma_peak(threads: usize) -> f64 {
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

/// Vectors that do not wait for each other: more than the latency of a multiply-add times the number of units, and
/// with both factors no more than the registers: sixteen of AVX2, 32 of NEON, whose units may be four.
const VECTORS: usize = if cfg!(target_arch = "aarch64") { 24 } else { 12 };

/// Runs `loops` rounds of independent multiply-adds; returns how many each round has.
fn fma_loop(loops: u64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: asked just now.
            return unsafe { x86::avx512(loops) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: asked just now.
            return unsafe { x86::avx2(loops) };
        }
    }
    const LANES: usize = 4;
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

/// The loop in vector instructions: one written on arrays is left scalar where the compiler finds vectors of
/// sixteen lanes too dear.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm512_fmadd_ps, _mm512_set1_ps};
    use std::hint::black_box;

    use super::VECTORS;

    macro_rules! fma_loop {
        ($name:ident, $features:literal, $lanes:literal, $splat:ident, $fma:ident) => {
            /// # Safety
            /// The machine must have these instructions.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name(loops: u64) -> u64 {
                let mut sums = [$splat(black_box(0.0)); VECTORS];
                let (factor, summand) = ($splat(black_box(0.999)), $splat(black_box(1e-3)));
                for _ in 0..loops {
                    for sum in &mut sums {
                        *sum = $fma(*sum, factor, summand);
                    }
                }
                black_box(sums);
                $lanes * VECTORS as u64
            }
        };
    }

    fma_loop!(avx512, "avx512f", 16, _mm512_set1_ps, _mm512_fmadd_ps);
    fma_loop!(avx2, "avx2,fma", 8, _mm256_set1_ps, _mm256_fmadd_ps);
}
