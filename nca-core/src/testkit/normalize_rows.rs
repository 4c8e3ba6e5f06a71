//! Rows of unit length against the oracle.

use proptest::prelude::*;

use super::cases::{for_all, numbers};
use super::compare::{Mismatch, Tolerance, compare};
use super::derivative::check_gradient;
use super::host::{absolute, download, oracle, poisoned, refuses_wrong_lengths, upload};
use crate::backend::Backend;
use crate::error::Result;

const EPSILON: f64 = 1e-4;

#[derive(Clone, Copy, Debug)]
struct Case {
    rows: usize,
    len: usize,
    seed: u64,
}

impl Case {
    fn numbers(&self, index: u64) -> Vec<f64> {
        numbers(self.seed, index, self.rows * self.len)
    }
}

fn cases(rows: usize, len: usize) -> impl Strategy<Value = Case> {
    (1..=rows, 1..=len, any::<u64>()).prop_map(|(rows, len, seed)| Case { rows, len, seed })
}

/// `(y, norms)`.
fn forward<B: Backend>(backend: &B, case: &Case, x: &[f64]) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut y, mut norms) = (poisoned(backend, x.len())?, poisoned(backend, case.rows)?);
    backend.normalize_rows(case.rows, case.len, EPSILON, &upload(backend, x)?, &mut y, &mut norms)?;
    Ok((download(backend, &y)?, download(backend, &norms)?))
}

fn backward<B: Backend>(backend: &B, case: &Case, y: &[f64], norms: &[f64], g_y: &[f64]) -> Result<Vec<f64>> {
    let (y, norms, g_y) = (upload(backend, y)?, upload(backend, norms)?, upload(backend, g_y)?);
    let mut g_x = poisoned(backend, case.rows * case.len)?;
    backend.normalize_rows_backward(case.rows, case.len, &y, &norms, &g_y, &mut g_x)?;
    download(backend, &g_x)
}

/// Forward and backward against the oracle; a row of zeros stays one.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&cases(20, 300), |case| {
        let mut x = case.numbers(0);
        x[..case.len].fill(0.0);
        let (got, want) = (forward(backend, case, &x)?, forward(&oracle(), case, &x)?);
        let terms = Tolerance::reduction(case.len);
        compare("normalize_rows", "y", &got.0, &want.0, &absolute(&want.0), terms)?;
        compare("normalize_rows", "norms", &got.1, &want.1, &want.1, terms)?;

        // Any numbers in place of the rows and norms of a forward: the same ones on both sides.
        let (y, g_y) = (case.numbers(1), case.numbers(2));
        let norms = numbers(case.seed, 3, case.rows);
        let norms: Vec<f64> = norms.iter().map(|v| f64::from((v.abs() + 0.5) as f32)).collect();
        let got = backward(backend, case, &y, &norms, &g_y)?;
        let want = backward(&oracle(), case, &y, &norms, &g_y)?;
        let magnitude = magnitudes(case, &y, &norms, &g_y);
        compare("normalize_rows_backward", "g_x", &got, &want, &magnitude, terms)?;
        lengths(backend, case)
    })
}

/// `(|g_y| + (|g_y|·|y|) |y|) / norms`.
fn magnitudes(case: &Case, y: &[f64], norms: &[f64], g_y: &[f64]) -> Vec<f64> {
    let rows = y.chunks(case.len).zip(g_y.chunks(case.len)).zip(norms);
    rows.flat_map(|((y, g_y), norm)| {
        let along: f64 = y.iter().zip(g_y).map(|(y, g)| (y * g).abs()).sum();
        y.iter().zip(g_y).map(move |(y, g)| (g.abs() + along * y.abs()) / norm)
    })
    .collect()
}

fn lengths<B: Backend>(backend: &B, case: &Case) -> Result<(), Mismatch> {
    let Case { rows, len, .. } = *case;
    let buffer = |wrong, i, len| backend.zeros(len + usize::from(i == wrong));
    refuses_wrong_lengths("normalize_rows", 3, |wrong| {
        let (x, mut y) = (buffer(wrong, 0, rows * len)?, buffer(wrong, 1, rows * len)?);
        backend.normalize_rows(rows, len, EPSILON, &x, &mut y, &mut buffer(wrong, 2, rows)?)
    })?;
    refuses_wrong_lengths("normalize_rows_backward", 4, |wrong| {
        let (y, norms) = (buffer(wrong, 0, rows * len)?, buffer(wrong, 1, rows)?);
        let (g_y, mut g_x) = (buffer(wrong, 2, rows * len)?, buffer(wrong, 3, rows * len)?);
        backend.normalize_rows_backward(rows, len, &y, &norms, &g_y, &mut g_x)
    })
}

/// Backward against differences; smooth everywhere.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&cases(4, 9), |case| {
        let (x, g_y) = (case.numbers(0), case.numbers(1));
        let (y, norms) = forward(backend, case, &x)?;
        let g_x = backward(backend, case, &y, &norms, &g_y)?;
        check_gradient("normalize_rows_backward", "g_x", &x, &g_x, &g_y, |x| {
            Ok(forward(backend, case, x)?.0)
        })
    })
}
