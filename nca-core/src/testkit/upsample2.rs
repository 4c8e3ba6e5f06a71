//! Upsampling against the oracle.

use proptest::prelude::*;

use super::cases::{for_all, numbers};
use super::compare::{Mismatch, Tolerance, compare};
use super::derivative::check_gradient;
use super::host::{absolute, download, oracle, poisoned, refuses_wrong_lengths, upload};
use crate::backend::{Backend, Upsample2Shape};
use crate::error::Result;

fn upsample_cases() -> impl Strategy<Value = (Upsample2Shape, u64)> {
    let side = prop_oneof![1..=6_usize, 17..=20_usize];
    (1..=3_usize, side.clone(), side, 0..=1_usize, 0..=1_usize, any::<u64>()).prop_map(
        |(planes, height, width, below, right, seed)| {
            let shape = Upsample2Shape {
                planes,
                height,
                width,
                out_height: 2 * height + below,
                out_width: 2 * width + right,
            };
            (shape, seed)
        },
    )
}

/// As flow is scaled.
const FACTOR: f64 = 2.0;
/// Roundings of an output: three of each of its weights, four products, three sums, the factor.
const ROUNDINGS: usize = 12;

fn forward<B: Backend>(backend: &B, shape: &Upsample2Shape, x: &[f64]) -> Result<Vec<f64>> {
    let mut y = poisoned(backend, shape.output_len())?;
    backend.upsample2(shape, FACTOR, &upload(backend, x)?, &mut y)?;
    download(backend, &y)
}

fn backward<B: Backend>(backend: &B, shape: &Upsample2Shape, g_y: &[f64]) -> Result<Vec<f64>> {
    let mut g_x = poisoned(backend, shape.input_len())?;
    backend.upsample2_backward(shape, FACTOR, &upload(backend, g_y)?, &mut g_x)?;
    download(backend, &g_x)
}

/// Forward and backward against the oracle; one row, one column, the repeated last line.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&upsample_cases(), |(shape, seed)| {
        let oracle = oracle();
        let x = numbers(*seed, 0, shape.input_len());
        let (got, want) = (forward(backend, shape, &x)?, forward(&oracle, shape, &x)?);
        let magnitude = forward(&oracle, shape, &absolute(&x))?;
        compare(
            "upsample2",
            "y",
            &got,
            &want,
            &magnitude,
            Tolerance::roundings(ROUNDINGS),
        )?;

        let g_y = numbers(*seed, 1, shape.output_len());
        let (got, want) = (backward(backend, shape, &g_y)?, backward(&oracle, shape, &g_y)?);
        let magnitude = backward(&oracle, shape, &absolute(&g_y))?;
        // An input reaches at most 5 × 5 outputs.
        let tolerance = Tolerance::roundings(ROUNDINGS + 25);
        compare("upsample2_backward", "g_x", &got, &want, &magnitude, tolerance)?;

        refuses_wrong_lengths("upsample2", 2, |wrong| {
            let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
            let (x, mut y) = (buffer(0, shape.input_len())?, buffer(1, shape.output_len())?);
            backend.upsample2(shape, FACTOR, &x, &mut y)
        })?;
        refuses_wrong_lengths("upsample2_backward", 2, |wrong| {
            let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
            let (g_y, mut g_x) = (buffer(0, shape.output_len())?, buffer(1, shape.input_len())?);
            backend.upsample2_backward(shape, FACTOR, &g_y, &mut g_x)
        })
    })
}

/// Backward against differences; linear, so there is no kink.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&upsample_cases(), |(shape, seed)| {
        let x = numbers(*seed, 0, shape.input_len());
        let g_y = numbers(*seed, 1, shape.output_len());
        let g_x = backward(backend, shape, &g_y)?;
        check_gradient("upsample2_backward", "g_x", &x, &g_x, &g_y, |x| {
            forward(backend, shape, x)
        })
    })
}
