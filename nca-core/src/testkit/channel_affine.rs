//! A factor and a summand for each channel, against the oracle.

use proptest::prelude::*;

use super::cases::{for_all, numbers};
use super::compare::{Mismatch, Tolerance, compare};
use super::derivative::check_gradient;
use super::host::{absolute, download, oracle, poisoned, refuses_wrong_lengths, upload};
use crate::backend::Backend;
use crate::error::Result;

/// Samples, channels, elements of a plane, and a seed.
type Case = (usize, usize, usize, u64);

fn affine_cases() -> impl Strategy<Value = Case> {
    (1..=3_usize, 1..=5_usize, 1..=70_usize, any::<u64>())
}

fn forward<B: Backend>(backend: &B, plane: usize, scale: &[f64], offset: &[f64], x: &[f64]) -> Result<Vec<f64>> {
    let mut y = poisoned(backend, x.len())?;
    backend.channel_affine(plane, scale, offset, &upload(backend, x)?, &mut y)?;
    download(backend, &y)
}

fn backward<B: Backend>(backend: &B, plane: usize, scale: &[f64], g_y: &[f64]) -> Result<Vec<f64>> {
    let mut g_x = poisoned(backend, g_y.len())?;
    backend.channel_affine_backward(plane, scale, &upload(backend, g_y)?, &mut g_x)?;
    download(backend, &g_x)
}

/// Forward and backward against the oracle.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&affine_cases(), |&(batch, channels, plane, seed)| {
        let (oracle, len) = (oracle(), batch * channels * plane);
        let (scale, offset) = (numbers(seed, 1, channels), numbers(seed, 2, channels));
        let x = numbers(seed, 0, len);
        let got = forward(backend, plane, &scale, &offset, &x)?;
        let want = forward(&oracle, plane, &scale, &offset, &x)?;
        let magnitude = forward(&oracle, plane, &absolute(&scale), &absolute(&offset), &absolute(&x))?;
        compare("channel_affine", "y", &got, &want, &magnitude, Tolerance::roundings(2))?;

        let (got, want) = (
            backward(backend, plane, &scale, &x)?,
            backward(&oracle, plane, &scale, &x)?,
        );
        let tolerance = Tolerance::roundings(1);
        compare(
            "channel_affine_backward",
            "g_x",
            &got,
            &want,
            &absolute(&want),
            tolerance,
        )?;

        refuses_wrong_lengths("channel_affine", 2, |wrong| {
            let buffer = |i| backend.zeros(len + usize::from(i == wrong));
            backend.channel_affine(plane, &scale, &offset, &buffer(0)?, &mut buffer(1)?)
        })?;
        refuses_wrong_lengths("channel_affine_backward", 2, |wrong| {
            let buffer = |i| backend.zeros(len + usize::from(i == wrong));
            backend.channel_affine_backward(plane, &scale, &buffer(0)?, &mut buffer(1)?)
        })
    })
}

/// Backward against differences; linear, so there is no kink.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&affine_cases(), |&(batch, channels, plane, seed)| {
        let len = batch * channels * plane;
        let (scale, offset) = (numbers(seed, 1, channels), numbers(seed, 2, channels));
        let (x, g_y) = (numbers(seed, 0, len), numbers(seed, 3, len));
        let g_x = backward(backend, plane, &scale, &g_y)?;
        check_gradient("channel_affine_backward", "g_x", &x, &g_x, &g_y, |x| {
            forward(backend, plane, &scale, &offset, x)
        })
    })
}
