//! Gradient normalisation against the oracle.

use proptest::prelude::*;

use super::cases::{for_all, numbers, rounded};
use super::compare::{Mismatch, Tolerance, compare};
use super::host::{absolute, download, oracle, upload};
use super::slots::{added, compare_slots, refuses_missing_slot, shows_nan};
use crate::backend::Backend;
use crate::error::Result;

/// `(g / (‖g‖ + ε), out)`.
fn normalize<B: Backend>(backend: &B, epsilon: f64, g: &[f64]) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut g = upload(backend, g)?;
    let out = added(backend, |out, slot| backend.normalize(epsilon, &mut g, out, slot))?;
    Ok((download(backend, &g)?, out))
}

/// Gradients of several sizes, some with squares beyond f32, a zero gradient, and gradients that are not finite.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    const OP: &str = "normalize";
    let cases = (
        1..=4000_usize,
        proptest::sample::select(vec![1.0, 1e-6, 0.0, 1e20]),
        any::<u64>(),
    );
    for_all(&cases, |&(len, scale, seed)| {
        let mut g = rounded(numbers(seed, 0, len).iter().map(|v| v * scale));
        let got = normalize(backend, 1e-8, &g)?;
        let want = normalize(&oracle(), 1e-8, &g)?;
        let norm = g.iter().map(|v| v * v).sum::<f64>().sqrt();
        let tolerance = Tolerance::reduction(len);
        compare(OP, "g", &got.0, &want.0, &absolute(&want.0), tolerance)?;
        compare_slots(OP, &got.1, &want.1, norm, tolerance)?;

        g[len / 2] = f64::NAN;
        shows_nan(OP, &normalize(backend, 1e-8, &g)?.1)
    })?;
    let mut g = backend.zeros(6)?;
    refuses_missing_slot(backend, OP, |out, slot| backend.normalize(1e-8, &mut g, out, slot))
}
