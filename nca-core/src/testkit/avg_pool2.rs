//! Average pooling against the oracle.

use proptest::prelude::*;

use super::cases::{for_all, numbers};
use super::compare::{Mismatch, Tolerance, compare};
use super::derivative::check_gradient;
use super::host::{absolute, download, oracle, poisoned, refuses_wrong_lengths, upload};
use crate::backend::Backend;
use crate::error::Result;

/// Planes, rows, columns and a seed.
type Case = (usize, usize, usize, u64);

fn pool_cases() -> impl Strategy<Value = Case> {
    (
        1..=4_usize,
        1..=9_usize,
        prop_oneof![1..=9_usize, 30..=67_usize],
        any::<u64>(),
    )
}

fn forward<B: Backend>(backend: &B, &(planes, height, width, _): &Case, x: &[f64]) -> Result<Vec<f64>> {
    let x = upload(backend, x)?;
    let mut y = poisoned(backend, planes * (height / 2) * (width / 2))?;
    backend.avg_pool2(planes, height, width, &x, &mut y)?;
    download(backend, &y)
}

fn backward<B: Backend>(backend: &B, &(planes, height, width, _): &Case, g_y: &[f64]) -> Result<Vec<f64>> {
    let g_y = upload(backend, g_y)?;
    let mut g_x = poisoned(backend, planes * height * width)?;
    backend.avg_pool2_backward(planes, height, width, &g_y, &mut g_x)?;
    download(backend, &g_x)
}

/// Forward and backward against the oracle, odd sizes and empty results included.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&pool_cases(), |case| {
        let &(planes, height, width, seed) = case;
        let (input, output) = (planes * height * width, planes * (height / 2) * (width / 2));
        let oracle = oracle();

        let x = numbers(seed, 0, input);
        let (got, want) = (forward(backend, case, &x)?, forward(&oracle, case, &x)?);
        let magnitude = forward(&oracle, case, &absolute(&x))?;
        compare("avg_pool2", "y", &got, &want, &magnitude, Tolerance::roundings(4))?;

        // A quarter is exact.
        let g_y = numbers(seed, 1, output);
        let (got, want) = (backward(backend, case, &g_y)?, backward(&oracle, case, &g_y)?);
        compare(
            "avg_pool2_backward",
            "g_x",
            &got,
            &want,
            &absolute(&want),
            Tolerance::EXACT,
        )?;

        refuses_wrong_lengths("avg_pool2", 2, |wrong| {
            let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
            backend.avg_pool2(planes, height, width, &buffer(0, input)?, &mut buffer(1, output)?)
        })?;
        refuses_wrong_lengths("avg_pool2_backward", 2, |wrong| {
            let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
            backend.avg_pool2_backward(planes, height, width, &buffer(0, output)?, &mut buffer(1, input)?)
        })
    })
}

/// Backward against differences; linear, so there is no kink.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&pool_cases(), |case| {
        let &(planes, height, width, seed) = case;
        let x = numbers(seed, 0, planes * height * width);
        let g_y = numbers(seed, 1, planes * (height / 2) * (width / 2));
        let g_x = backward(backend, case, &g_y)?;
        check_gradient("avg_pool2_backward", "g_x", &x, &g_x, &g_y, |x| {
            forward(backend, case, x)
        })
    })
}
