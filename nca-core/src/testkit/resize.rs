//! Resizing against the oracle.

use proptest::prelude::*;

use super::cases::{for_all, numbers};
use super::compare::{Mismatch, Tolerance, compare};
use super::derivative::check_gradient;
use super::host::{absolute, download, oracle, poisoned, refuses_wrong_lengths, upload};
use crate::backend::{Backend, ResizeShape};
use crate::error::Result;

fn resize_cases() -> impl Strategy<Value = (ResizeShape, u64)> {
    let side = || prop_oneof![1..=9_usize, 30..=35_usize];
    // One in four keeps its size.
    let out = prop::option::weighted(0.75, (side(), side()));
    (1..=3_usize, side(), side(), out, any::<u64>()).prop_map(|(planes, height, width, out, seed)| {
        let (out_height, out_width) = out.unwrap_or((height, width));
        let shape = ResizeShape {
            planes,
            height,
            width,
            out_height,
            out_width,
        };
        (shape, seed)
    })
}

/// Roundings of an output: three of each of its weights, four products, three sums.
const ROUNDINGS: usize = 11;

fn forward<B: Backend>(backend: &B, shape: &ResizeShape, x: &[f64]) -> Result<Vec<f64>> {
    let mut y = poisoned(backend, shape.output_len())?;
    backend.resize(shape, &upload(backend, x)?, &mut y)?;
    download(backend, &y)
}

fn backward<B: Backend>(backend: &B, shape: &ResizeShape, g_y: &[f64]) -> Result<Vec<f64>> {
    let mut g_x = poisoned(backend, shape.input_len())?;
    backend.resize_backward(shape, &upload(backend, g_y)?, &mut g_x)?;
    download(backend, &g_x)
}

/// Forward and backward against the oracle; larger, smaller and equal sizes.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&resize_cases(), |(shape, seed)| {
        let oracle = oracle();
        let x = numbers(*seed, 0, shape.input_len());
        let (got, want) = (forward(backend, shape, &x)?, forward(&oracle, shape, &x)?);
        let magnitude = forward(&oracle, shape, &absolute(&x))?;
        compare("resize", "y", &got, &want, &magnitude, Tolerance::roundings(ROUNDINGS))?;

        let g_y = numbers(*seed, 1, shape.output_len());
        let (got, want) = (backward(backend, shape, &g_y)?, backward(&oracle, shape, &g_y)?);
        let magnitude = backward(&oracle, shape, &absolute(&g_y))?;
        // An input reaches all outputs at most.
        let tolerance = Tolerance::reduction(ROUNDINGS + shape.out_height * shape.out_width);
        compare("resize_backward", "g_x", &got, &want, &magnitude, tolerance)?;

        refuses_wrong_lengths("resize", 2, |wrong| {
            let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
            let (x, mut y) = (buffer(0, shape.input_len())?, buffer(1, shape.output_len())?);
            backend.resize(shape, &x, &mut y)
        })?;
        refuses_wrong_lengths("resize_backward", 2, |wrong| {
            let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
            let (g_y, mut g_x) = (buffer(0, shape.output_len())?, buffer(1, shape.input_len())?);
            backend.resize_backward(shape, &g_y, &mut g_x)
        })
    })
}

/// Backward against differences; linear, so there is no kink.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&resize_cases(), |(shape, seed)| {
        let x = numbers(*seed, 0, shape.input_len());
        let g_y = numbers(*seed, 1, shape.output_len());
        let g_x = backward(backend, shape, &g_y)?;
        check_gradient("resize_backward", "g_x", &x, &g_x, &g_y, |x| forward(backend, shape, x))
    })
}
