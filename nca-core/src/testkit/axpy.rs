//! Scaled vector addition against the oracle.

use proptest::prelude::*;

use super::cases::{for_all, numbers};
use super::compare::{Mismatch, Tolerance, compare};
use super::host::{download, oracle, refuses_wrong_lengths, upload};
use crate::backend::Backend;
use crate::error::Result;

fn axpy<B: Backend>(backend: &B, alpha: f64, x: &[f64], y: &[f64]) -> Result<Vec<f64>> {
    let (x, mut y) = (upload(backend, x)?, upload(backend, y)?);
    backend.axpy(alpha, &x, &mut y)?;
    download(backend, &y)
}

/// Any length, any factor.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    let cases = (
        1..=1000_usize,
        proptest::sample::select(vec![1.0, -0.1, 0.0]),
        any::<u64>(),
    );
    for_all(&cases, |&(len, alpha, seed)| {
        let (x, y) = (numbers(seed, 0, len), numbers(seed, 1, len));
        let got = axpy(backend, alpha, &x, &y)?;
        let want = axpy(&oracle(), alpha, &x, &y)?;
        let magnitude: Vec<f64> = x.iter().zip(&y).map(|(x, y)| (alpha * x).abs() + y.abs()).collect();
        // The factor, the product and the sum.
        compare("axpy", "y", &got, &want, &magnitude, Tolerance::roundings(3))
    })?;
    refuses_wrong_lengths("axpy", 2, |wrong| {
        let buffer = |i| backend.zeros(5 + usize::from(i == wrong));
        backend.axpy(1.0, &buffer(0)?, &mut buffer(1)?)
    })
}
