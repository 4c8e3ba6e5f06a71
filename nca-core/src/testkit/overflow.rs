//! The overflow loss against the oracle.

use proptest::prelude::*;

use super::cases::{for_all, numbers};
use super::compare::{Mismatch, Tolerance, compare};
use super::derivative::check_gradient;
use super::host::{download, oracle, poisoned, refuses_wrong_lengths, upload};
use super::slots::{added, compare_slots, refuses_missing_slot, scalar, shows_nan};
use crate::backend::Backend;
use crate::error::Result;

/// Length, weight and a seed.
type Case = (usize, f64, u64);

fn overflow_cases(longest: usize) -> impl Strategy<Value = Case> {
    (1..=longest, proptest::sample::select(vec![10.0, 0.1]), any::<u64>())
}

fn forward<B: Backend>(backend: &B, weight: f64, x: &[f64]) -> Result<Vec<f64>> {
    let x = upload(backend, x)?;
    added(backend, |out, slot| backend.overflow(weight, &x, out, slot))
}

fn backward<B: Backend>(backend: &B, weight: f64, x: &[f64]) -> Result<Vec<f64>> {
    let mut g_x = poisoned(backend, x.len())?;
    backend.overflow_backward(weight, &upload(backend, x)?, &mut g_x)?;
    download(backend, &g_x)
}

/// Forward and backward against the oracle; states of both signs within, on and beyond the bounds.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&overflow_cases(4000), |&(len, weight, seed)| {
        let mut x: Vec<f64> = numbers(seed, 0, len).iter().map(|v| 2.0 * v).collect();
        for (i, v) in x.iter_mut().enumerate().step_by(5) {
            *v = [1.0, -1.0, 1.0 + f64::from(f32::EPSILON), 0.0][i % 4];
        }
        // All terms have one sign: the sum is its own magnitude.
        let got = forward(backend, weight, &x)?;
        let want = forward(&oracle(), weight, &x)?;
        let magnitude: f64 = x.iter().map(|v| weight * (v.abs() - 1.0).max(0.0)).sum();
        compare_slots("overflow", &got, &want, magnitude, Tolerance::reduction(len))?;

        // The weight is rounded, nothing else.
        let got = backward(backend, weight, &x)?;
        let want = backward(&oracle(), weight, &x)?;
        compare(
            "overflow_backward",
            "g_x",
            &got,
            &want,
            &vec![weight; len],
            Tolerance::roundings(1),
        )?;

        x[len - 1] = f64::NAN;
        shows_nan("overflow", &forward(backend, weight, &x)?)
    })?;
    let x = backend.zeros(6)?;
    refuses_missing_slot(backend, "overflow", |out, slot| backend.overflow(1.0, &x, out, slot))?;
    refuses_wrong_lengths("overflow_backward", 2, |wrong| {
        let buffer = |i| backend.zeros(6 + usize::from(i == wrong));
        backend.overflow_backward(1.0, &buffer(0)?, &mut buffer(1)?)
    })
}

/// Backward against differences; the kinks at ±1 are kept 0.01 away.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&overflow_cases(60), |&(len, weight, seed)| {
        let x: Vec<f64> = numbers(seed, 0, len)
            .iter()
            .map(|v| 2.0 * v)
            .map(|v| if (v.abs() - 1.0).abs() < 0.01 { 1.1 * v } else { v })
            .collect();
        let g_x = backward(backend, weight, &x)?;
        check_gradient("overflow_backward", "g_x", &x, &g_x, &[1.0], |x| {
            let x = upload(backend, x)?;
            scalar(backend, |out, slot| backend.overflow(weight, &x, out, slot))
        })
    })
}
