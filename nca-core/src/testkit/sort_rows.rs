//! Sorting against the oracle, bit for bit.

use proptest::prelude::*;

use super::cases::{for_all, numbers};
use super::compare::{Mismatch, compare_bits};
use super::derivative::check_gradient;
use super::host::{download, oracle, poisoned, refuses_wrong_lengths, upload};
use crate::backend::Backend;
use crate::error::Result;
use crate::philox::{PhiloxRng, Stream};

/// A matrix to sort.
#[derive(Clone, Debug)]
struct SortCase {
    rows: usize,
    len: usize,
    seed: u64,
    contents: Contents,
}

#[derive(Clone, Copy, Debug)]
enum Contents {
    /// Uniform numbers, hardly ever equal.
    Distinct,
    /// A few levels: many ties, zeros of both signs.
    Ties,
    /// As `Ties`, with infinities and NaNs.
    Special,
}

impl SortCase {
    fn x(&self) -> Vec<f64> {
        let mut x = numbers(self.seed, 0, self.rows * self.len);
        if matches!(self.contents, Contents::Ties | Contents::Special) {
            for v in &mut x {
                *v = (*v * 4.0).round() / 4.0;
            }
        }
        if matches!(self.contents, Contents::Special) {
            let mut rng = PhiloxRng::new(self.seed, Stream::Test, 9);
            for v in &mut x {
                match rng.below(16) {
                    0 => *v = f64::NAN,
                    1 => *v = -f64::NAN,
                    2 => *v = f64::INFINITY,
                    3 => *v = f64::NEG_INFINITY,
                    _ => {}
                }
            }
        }
        x
    }
}

fn sort_cases() -> impl Strategy<Value = SortCase> {
    let contents = prop_oneof![Just(Contents::Distinct), Just(Contents::Ties), Just(Contents::Special)];
    let len = prop_oneof![3 => 1..=70_usize, 1 => 200..=600_usize, 1 => 1000..=1500_usize];
    (1..=5_usize, len, any::<u64>(), contents).prop_map(|(rows, len, seed, contents)| SortCase {
        rows,
        len,
        seed,
        contents,
    })
}

/// The sorted rows, their order, and what the backward makes of `g_sorted` with it.
fn both<B: Backend>(
    backend: &B,
    rows: usize,
    len: usize,
    x: &[f64],
    g_sorted: &[f64],
) -> Result<(Vec<f64>, Vec<u32>, Vec<f64>)> {
    let (x, g_sorted) = (upload(backend, x)?, upload(backend, g_sorted)?);
    let mut sorted = poisoned(backend, rows * len)?;
    let mut order = backend.zero_indices(rows * len)?;
    backend.sort_rows(rows, len, &x, &mut sorted, &mut order)?;
    let mut g_x = poisoned(backend, rows * len)?;
    backend.sort_rows_backward(rows, len, &order, &g_sorted, &mut g_x)?;
    let mut indices = vec![0; rows * len];
    backend.download_indices(&order, &mut indices)?;
    Ok((download(backend, &sorted)?, indices, download(backend, &g_x)?))
}

/// Values and order against the oracle, bit for bit: ties keep their order, zeros of both signs
/// are equal, NaNs of both signs come last.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&sort_cases(), |case| {
        let (rows, len, x) = (case.rows, case.len, case.x());
        let g_sorted = numbers(case.seed, 1, rows * len);
        let got = both(backend, rows, len, &x, &g_sorted)?;
        let want = both(&oracle(), rows, len, &x, &g_sorted)?;
        compare_bits("sort_rows", "sorted", &got.0, &want.0)?;
        let order = |indices: &[u32]| -> Vec<f64> { indices.iter().map(|&i| f64::from(i)).collect() };
        compare_bits("sort_rows", "order", &order(&got.1), &order(&want.1))?;
        compare_bits("sort_rows_backward", "g_x", &got.2, &want.2)?;

        let cells = rows * len;
        refuses_wrong_lengths("sort_rows", 3, |wrong| {
            let buffer = |i| backend.zeros(cells + usize::from(i == wrong));
            let mut order = backend.zero_indices(cells + usize::from(wrong == 2))?;
            backend.sort_rows(rows, len, &buffer(0)?, &mut buffer(1)?, &mut order)
        })?;
        refuses_wrong_lengths("sort_rows_backward", 3, |wrong| {
            let buffer = |i| backend.zeros(cells + usize::from(i == wrong));
            // A permutation of each row, as an order is.
            let order: Vec<u32> = (0..cells + usize::from(wrong == 2)).map(|i| (i % len) as u32).collect();
            let order = backend.indices(&order)?;
            backend.sort_rows_backward(rows, len, &order, &buffer(0)?, &mut buffer(1)?)
        })
    })
}

/// Backward against differences. Kinks are ties: the values are a shuffled ladder whose rungs are
/// at least half a rung apart.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&(1..=3_usize, 1..=40_usize, any::<u64>()), |&(rows, len, seed)| {
        let mut rng = PhiloxRng::new(seed, Stream::Test, 0);
        let x: Vec<f64> = (0..rows)
            .flat_map(|_| rng.choose(len, len))
            .zip(numbers(seed, 1, rows * len))
            .map(|(rung, jitter)| (rung as f64 + jitter / 4.0) / len as f64)
            .collect();
        let g_sorted = numbers(seed, 2, rows * len);
        let (_, _, g_x) = both(backend, rows, len, &x, &g_sorted)?;
        check_gradient("sort_rows_backward", "g_x", &x, &g_x, &g_sorted, |x| {
            Ok(both(backend, rows, len, x, &g_sorted)?.0)
        })
    })
}
