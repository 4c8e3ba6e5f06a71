//! The rectifier against the oracle, bit for bit.

use proptest::prelude::*;

use super::cases::{first_of_seeds, for_all, numbers};
use super::compare::{Mismatch, compare_bits};
use super::derivative::check_gradient;
use super::host::{download, oracle, refuses_wrong_lengths, upload};
use super::kinks::STEP_MARGIN;
use crate::backend::Backend;
use crate::error::Result;

fn forward<B: Backend>(backend: &B, x: &[f64]) -> Result<Vec<f64>> {
    let mut x = upload(backend, x)?;
    backend.relu(&mut x)?;
    download(backend, &x)
}

fn backward<B: Backend>(backend: &B, y: &[f64], g: &[f64]) -> Result<Vec<f64>> {
    let (y, mut g) = (upload(backend, y)?, upload(backend, g)?);
    backend.relu_backward(&y, &mut g)?;
    download(backend, &g)
}

/// Forward and backward against the oracle, for any length; zeros and NaN by rule.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&(0..=3000_usize, any::<u64>()), |&(len, seed)| {
        let x = numbers(seed, 0, len);
        let y = forward(&oracle(), &x)?;
        compare_bits("relu", "x", &forward(backend, &x)?, &y)?;
        let g = numbers(seed, 1, len);
        compare_bits(
            "relu_backward",
            "g",
            &backward(backend, &y, &g)?,
            &backward(&oracle(), &y, &g)?,
        )
    })?;
    let x = [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let y = [0.0, 0.0, f64::NAN, f64::INFINITY, 0.0];
    compare_bits("relu", "special values", &forward(backend, &x)?, &y)?;
    compare_bits(
        "relu_backward",
        "at special values",
        &backward(backend, &y, &[2.0; 5])?,
        &[0.0, 0.0, 0.0, 2.0, 0.0],
    )?;
    refuses_wrong_lengths("relu_backward", 1, |wrong| {
        let mut g = backend.zeros(7 + usize::from(wrong == 0))?;
        backend.relu_backward(&backend.zeros(7)?, &mut g)
    })
}

/// Backward against differences, away from the kink.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&(1..=40_usize, any::<u64>()), |&(len, seed)| {
        let (x, g_y) = first_of_seeds(seed, "relu", |seed| {
            let x = numbers(seed, 0, len);
            x.iter()
                .all(|v| v.abs() >= STEP_MARGIN)
                .then(|| (x, numbers(seed, 1, len)))
        })?;
        let g_x = backward(backend, &forward(backend, &x)?, &g_y)?;
        check_gradient("relu_backward", "g", &x, &g_x, &g_y, |x| forward(backend, x))
    })
}
