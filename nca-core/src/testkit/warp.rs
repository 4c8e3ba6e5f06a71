//! Warping against the oracle.

use proptest::prelude::*;

use super::cases::{for_all, numbers};
use super::compare::{Mismatch, Tolerance, compare};
use super::derivative::check_gradient;
use super::host::{absolute, download, oracle, poisoned, refuses_wrong_lengths, upload};
use crate::backend::Backend;
use crate::error::Result;

/// An image stack and the flow it is warped by.
#[derive(Clone, Copy, Debug)]
struct Case {
    batch: usize,
    channels: usize,
    height: usize,
    width: usize,
    /// Longest component of the flow, pixels.
    reach: f64,
    seed: u64,
}

impl Case {
    fn image_len(&self) -> usize {
        self.batch * self.channels * self.height * self.width
    }

    fn flow_len(&self) -> usize {
        self.batch * 2 * self.height * self.width
    }

    fn image(&self) -> Vec<f64> {
        numbers(self.seed, 0, self.image_len())
    }

    /// Flow on a grid of 1/64 pixel, off the pixels and off the borders by half a step: exact in
    /// f32, and far from the kinks that lie there.
    fn flow(&self) -> Vec<f64> {
        numbers(self.seed, 1, self.flow_len())
            .into_iter()
            .map(|v| ((v * self.reach * 64.0).floor() + 0.5) / 64.0)
            .collect()
    }
}

fn warp_cases() -> impl Strategy<Value = Case> {
    let side = || prop_oneof![1..=9_usize, 31..=35_usize];
    let reach = proptest::sample::select(vec![0.4, 3.0, 50.0]);
    ((1..=2_usize, 1..=4_usize), side(), side(), reach, any::<u64>()).prop_map(
        |((batch, channels), height, width, reach, seed)| Case {
            batch,
            channels,
            height,
            width,
            reach,
            seed,
        },
    )
}

/// Roundings of an output: those of its position within the pixel (exact here), two of each weight,
/// four products, three sums.
const ROUNDINGS: usize = 9;

fn forward<B: Backend>(backend: &B, case: &Case, x: &[f64], flow: &[f64]) -> Result<Vec<f64>> {
    let (x, flow) = (upload(backend, x)?, upload(backend, flow)?);
    let mut y = poisoned(backend, case.image_len())?;
    backend.warp(case.batch, case.channels, case.height, case.width, &x, &flow, &mut y)?;
    download(backend, &y)
}

/// `g_x` and `g_flow`.
fn backward<B: Backend>(backend: &B, case: &Case, x: &[f64], flow: &[f64], g_y: &[f64]) -> Result<[Vec<f64>; 2]> {
    let (x, flow, g_y) = (upload(backend, x)?, upload(backend, flow)?, upload(backend, g_y)?);
    let mut g_x = poisoned(backend, case.image_len())?;
    let mut g_flow = poisoned(backend, case.flow_len())?;
    let &Case {
        batch,
        channels,
        height,
        width,
        ..
    } = case;
    backend.warp_backward(batch, channels, height, width, &x, &flow, &g_y, &mut g_x, &mut g_flow)?;
    Ok([download(backend, &g_x)?, download(backend, &g_flow)?])
}

/// Forward and backward against the oracle: inside, across and far beyond the borders.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&warp_cases(), |case| {
        let oracle = oracle();
        let (x, flow) = (case.image(), case.flow());
        let (got, want) = (forward(backend, case, &x, &flow)?, forward(&oracle, case, &x, &flow)?);
        let magnitude = forward(&oracle, case, &absolute(&x), &flow)?;
        compare("warp", "y", &got, &want, &magnitude, Tolerance::roundings(ROUNDINGS))?;

        // Zero flow is the identity, to the bit.
        let still = vec![0.0; case.flow_len()];
        let got = forward(backend, case, &x, &still)?;
        compare("warp", "y", &got, &x, &x, Tolerance::EXACT)?;

        let g_y = numbers(case.seed, 2, case.image_len());
        let [g_x, g_flow] = backward(backend, case, &x, &flow, &g_y)?;
        let [want_x, want_flow] = backward(&oracle, case, &x, &flow, &g_y)?;
        let [magnitude, _] = backward(&oracle, case, &x, &flow, &absolute(&g_y))?;
        // Every pixel of the plane may have been drawn from one.
        let tolerance = Tolerance::reduction(ROUNDINGS + case.height * case.width);
        compare("warp_backward", "g_x", &g_x, &want_x, &magnitude, tolerance)?;
        // A slope is the sum over channels of products with differences of numbers below 1.
        let magnitude = vec![4.0 * case.channels as f64; g_flow.len()];
        let tolerance = Tolerance::reduction(ROUNDINGS + case.channels);
        compare("warp_backward", "g_flow", &g_flow, &want_flow, &magnitude, tolerance)?;
        lengths(backend, case)
    })
}

fn lengths<B: Backend>(backend: &B, case: &Case) -> Result<(), Mismatch> {
    let &Case {
        batch,
        channels,
        height,
        width,
        ..
    } = case;
    let (image, flow) = (case.image_len(), case.flow_len());
    refuses_wrong_lengths("warp", 3, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        let (x, flow, mut y) = (buffer(0, image)?, buffer(1, flow)?, buffer(2, image)?);
        backend.warp(batch, channels, height, width, &x, &flow, &mut y)
    })?;
    refuses_wrong_lengths("warp_backward", 5, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        let (x, given, g_y) = (buffer(0, image)?, buffer(1, flow)?, buffer(2, image)?);
        let (mut g_x, mut g_flow) = (buffer(3, image)?, buffer(4, flow)?);
        backend.warp_backward(batch, channels, height, width, &x, &given, &g_y, &mut g_x, &mut g_flow)
    })
}

/// Both gradients against differences; positions are 1/128 pixel off the kinks at pixels and borders.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&warp_cases(), |case| {
        let (x, flow) = (case.image(), case.flow());
        let g_y = numbers(case.seed, 2, case.image_len());
        let [g_x, g_flow] = backward(backend, case, &x, &flow, &g_y)?;
        check_gradient("warp_backward", "g_x", &x, &g_x, &g_y, |x| {
            forward(backend, case, x, &flow)
        })?;
        check_gradient("warp_backward", "g_flow", &flow, &g_flow, &g_y, |flow| {
            forward(backend, case, &x, flow)
        })
    })
}
