//! Columns by their indices against the oracle, bit for bit: nothing is computed, only moved.

use proptest::prelude::*;

use super::cases::{for_all, numbers};
use super::compare::{Mismatch, compare_bits};
use super::derivative::check_gradient;
use super::host::{download, oracle, poisoned, refuses_wrong_lengths, upload};
use crate::backend::Backend;
use crate::error::Result;
use crate::philox::{PhiloxRng, Stream};

#[derive(Clone, Copy, Debug)]
struct Case {
    batch: usize,
    rows: usize,
    columns: usize,
    count: usize,
    seed: u64,
}

impl Case {
    fn x_len(&self) -> usize {
        self.batch * self.rows * self.columns
    }

    fn y_len(&self) -> usize {
        self.batch * self.count * self.rows
    }

    /// Distinct indices for each sample.
    fn index(&self) -> Vec<u32> {
        let mut rng = PhiloxRng::new(self.seed, Stream::Test, 100);
        (0..self.batch)
            .flat_map(|_| rng.choose(self.count, self.columns))
            .map(|i| i as u32)
            .collect()
    }
}

fn cases(batch: usize, rows: usize, columns: usize) -> impl Strategy<Value = Case> {
    (1..=batch, 1..=rows, 1..=columns, 0.0..=1.0_f64, any::<u64>()).prop_map(|(batch, rows, columns, share, seed)| {
        Case {
            batch,
            rows,
            columns,
            count: ((columns as f64 * share) as usize).max(1),
            seed,
        }
    })
}

fn forward<B: Backend>(backend: &B, case: &Case, x: &[f64]) -> Result<Vec<f64>> {
    let (x, index) = (upload(backend, x)?, backend.indices(&case.index())?);
    let mut y = poisoned(backend, case.y_len())?;
    backend.gather_columns(case.batch, case.rows, case.columns, case.count, &x, &index, &mut y)?;
    download(backend, &y)
}

fn backward<B: Backend>(backend: &B, case: &Case, g_y: &[f64]) -> Result<Vec<f64>> {
    let (g_y, index) = (upload(backend, g_y)?, backend.indices(&case.index())?);
    let mut g_x = poisoned(backend, case.x_len())?;
    backend.gather_columns_backward(case.batch, case.rows, case.columns, case.count, &index, &g_y, &mut g_x)?;
    download(backend, &g_x)
}

/// Forward and backward against the oracle, from one column to all of them.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&cases(3, 40, 200), |case| {
        let (x, g_y) = (numbers(case.seed, 0, case.x_len()), numbers(case.seed, 1, case.y_len()));
        compare_bits(
            "gather_columns",
            "y",
            &forward(backend, case, &x)?,
            &forward(&oracle(), case, &x)?,
        )?;
        let want = backward(&oracle(), case, &g_y)?;
        compare_bits("gather_columns_backward", "g_x", &backward(backend, case, &g_y)?, &want)?;
        lengths(backend, case)
    })
}

fn lengths<B: Backend>(backend: &B, case: &Case) -> Result<(), Mismatch> {
    let Case {
        batch,
        rows,
        columns,
        count,
        ..
    } = *case;
    let buffer = |wrong, i, len| backend.zeros(len + usize::from(i == wrong));
    // Those of a sample must differ here, too.
    let indices = |wrong, i| {
        let mut index = case.index();
        index.extend((i == wrong).then_some(0));
        backend.indices(&index)
    };
    refuses_wrong_lengths("gather_columns", 3, |wrong| {
        let (x, mut y) = (buffer(wrong, 0, case.x_len())?, buffer(wrong, 1, case.y_len())?);
        backend.gather_columns(batch, rows, columns, count, &x, &indices(wrong, 2)?, &mut y)
    })?;
    refuses_wrong_lengths("gather_columns_backward", 3, |wrong| {
        let (mut g_x, g_y) = (buffer(wrong, 0, case.x_len())?, buffer(wrong, 1, case.y_len())?);
        backend.gather_columns_backward(batch, rows, columns, count, &indices(wrong, 2)?, &g_y, &mut g_x)
    })
}

/// Backward against differences; linear, so there is no kink.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&cases(2, 5, 9), |case| {
        let (x, g_y) = (numbers(case.seed, 0, case.x_len()), numbers(case.seed, 1, case.y_len()));
        let g_x = backward(backend, case, &g_y)?;
        check_gradient("gather_columns_backward", "g_x", &x, &g_x, &g_y, |x| {
            forward(backend, case, x)
        })
    })
}
