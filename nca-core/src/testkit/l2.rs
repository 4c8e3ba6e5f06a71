//! The squared distance against the oracle.

use proptest::prelude::*;

use super::cases::{for_all, numbers};
use super::compare::{Mismatch, Tolerance, compare};
use super::derivative::check_gradient;
use super::host::{absolute, download, oracle, poisoned, refuses_wrong_lengths, upload};
use super::slots::{added, compare_slots, refuses_missing_slot, scalar, shows_nan};
use crate::backend::Backend;
use crate::error::Result;

/// Samples, their length, the weight and a seed.
type Case = (usize, usize, f64, u64);

fn l2_cases(longest: usize) -> impl Strategy<Value = Case> {
    (
        1..=3_usize,
        1..=longest,
        proptest::sample::select(vec![1.0, -0.3, 10.0]),
        any::<u64>(),
    )
}

fn forward<B: Backend>(backend: &B, weight: f64, a: &[f64], b: &[f64]) -> Result<Vec<f64>> {
    let (a, b) = (upload(backend, a)?, upload(backend, b)?);
    added(backend, |out, slot| backend.l2(weight, &a, &b, out, slot))
}

fn backward<B: Backend>(backend: &B, weight: f64, a: &[f64], b: &[f64]) -> Result<Vec<f64>> {
    let mut g_a = poisoned(backend, a.len())?;
    backend.l2_backward(weight, &upload(backend, a)?, &upload(backend, b)?, &mut g_a)?;
    download(backend, &g_a)
}

/// Forward and backward against the oracle; NaN, several samples.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&l2_cases(2000), |&(samples, len, weight, seed)| {
        let (mut a, b) = (numbers(seed, 0, samples * len), numbers(seed, 1, len));
        let got = forward(backend, weight, &a, &b)?;
        let want = forward(&oracle(), weight, &a, &b)?;
        // A difference is rounded relative to itself, so its square is a term without cancellation.
        let magnitude: f64 = (0..a.len()).map(|i| (a[i] - b[i % len]).powi(2)).sum();
        let terms = Tolerance::reduction(a.len());
        compare_slots("l2", &got, &want, weight.abs() * magnitude, terms)?;

        // Rounded: the weight, the difference, their product.
        let got = backward(backend, weight, &a, &b)?;
        let want = backward(&oracle(), weight, &a, &b)?;
        compare(
            "l2_backward",
            "g_a",
            &got,
            &want,
            &absolute(&want),
            Tolerance::roundings(3),
        )?;

        a[samples * len - 1] = f64::NAN;
        shows_nan("l2", &forward(backend, weight, &a, &b)?)
    })?;
    lengths(backend)
}

fn lengths<B: Backend>(backend: &B) -> Result<(), Mismatch> {
    let (a, b) = (backend.zeros(10)?, backend.zeros(5)?);
    refuses_missing_slot(backend, "l2", |out, slot| backend.l2(1.0, &a, &b, out, slot))?;
    refuses_wrong_lengths("l2", 2, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        backend.l2(1.0, &buffer(0, 10)?, &buffer(1, 5)?, &mut backend.zeros(1)?, 0)
    })?;
    refuses_wrong_lengths("l2_backward", 3, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        backend.l2_backward(1.0, &buffer(0, 10)?, &buffer(1, 5)?, &mut buffer(2, 10)?)
    })
}

/// Backward against differences; smooth everywhere.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&l2_cases(40), |&(samples, len, weight, seed)| {
        let (a, b) = (numbers(seed, 0, samples * len), numbers(seed, 1, len));
        let g_a = backward(backend, weight, &a, &b)?;
        check_gradient("l2_backward", "g_a", &a, &g_a, &[1.0], |a| {
            let (a, b) = (upload(backend, a)?, upload(backend, &b)?);
            scalar(backend, |out, slot| backend.l2(weight, &a, &b, out, slot))
        })
    })
}
