//! Minima along rows and columns against the oracle, their places included.

use proptest::prelude::*;

use super::cases::{first_of_seeds, for_all, numbers};
use super::compare::{Mismatch, Tolerance, compare, compare_bits};
use super::derivative::check_gradient;
use super::host::{download, oracle, poisoned, refuses_wrong_lengths, upload};
use super::kinks::STEP_MARGIN;
use crate::backend::Backend;
use crate::error::Result;

#[derive(Clone, Copy, Debug)]
struct Case {
    batch: usize,
    rows: usize,
    columns: usize,
    seed: u64,
}

impl Case {
    fn x_len(&self) -> usize {
        self.batch * self.rows * self.columns
    }

    /// Lengths of the results along rows and columns.
    fn lens(&self) -> [usize; 2] {
        [self.batch * self.rows, self.batch * self.columns]
    }
}

fn cases(batch: usize, side: usize) -> impl Strategy<Value = Case> {
    (1..=batch, 1..=side, 1..=side, any::<u64>()).prop_map(|(batch, rows, columns, seed)| Case {
        batch,
        rows,
        columns,
        seed,
    })
}

/// Minima of the rows, then of the columns, and their places.
fn forward<B: Backend>(backend: &B, case: &Case, x: &[f64]) -> Result<(Vec<f64>, Vec<f64>)> {
    let (x, [rows, columns]) = (upload(backend, x)?, case.lens());
    let (mut row_min, mut column_min) = (poisoned(backend, rows)?, poisoned(backend, columns)?);
    let (mut row_at, mut column_at) = (backend.zero_indices(rows)?, backend.zero_indices(columns)?);
    backend.minima(
        case.batch,
        case.rows,
        case.columns,
        &x,
        &mut row_min,
        &mut row_at,
        &mut column_min,
        &mut column_at,
    )?;
    let (mut row_places, mut column_places) = (vec![0; rows], vec![0; columns]);
    backend.download_indices(&row_at, &mut row_places)?;
    backend.download_indices(&column_at, &mut column_places)?;
    let minima = [download(backend, &row_min)?, download(backend, &column_min)?].concat();
    let places = row_places.into_iter().chain(column_places).map(f64::from).collect();
    Ok((minima, places))
}

/// `places` and `g` as [`forward`] gives minima and places.
fn backward<B: Backend>(backend: &B, case: &Case, places: &[f64], g: &[f64]) -> Result<Vec<f64>> {
    let [rows, _] = case.lens();
    let places: Vec<u32> = places.iter().map(|&at| at as u32).collect();
    let (row_at, column_at) = (backend.indices(&places[..rows])?, backend.indices(&places[rows..])?);
    let (g_row, g_column) = (upload(backend, &g[..rows])?, upload(backend, &g[rows..])?);
    let mut g_x = poisoned(backend, case.x_len())?;
    backend.minima_backward(
        case.batch,
        case.rows,
        case.columns,
        &row_at,
        &column_at,
        &g_row,
        &g_column,
        &mut g_x,
    )?;
    download(backend, &g_x)
}

/// Forward and backward against the oracle, with many ties; NaN by rule.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&cases(3, 300), |case| {
        let levels = numbers(case.seed, 0, case.x_len());
        let x: Vec<f64> = levels.iter().map(|v| (20.0 * v).round()).collect();
        let (minima, places) = forward(backend, case, &x)?;
        let want = forward(&oracle(), case, &x)?;
        compare_bits("minima", "row_min and column_min", &minima, &want.0)?;
        compare_bits("minima", "row_at and column_at", &places, &want.1)?;

        let g = numbers(case.seed, 1, minima.len());
        let got = backward(backend, case, &places, &g)?;
        let want = backward(&oracle(), case, &places, &g)?;
        let magnitude = vec![2.0; want.len()];
        // An element that is the minimum of its row and of its column gets two gradients.
        compare(
            "minima_backward",
            "g_x",
            &got,
            &want,
            &magnitude,
            Tolerance::roundings(1),
        )?;
        lengths(backend, case)
    })?;
    let square = Case {
        batch: 1,
        rows: 2,
        columns: 2,
        seed: 0,
    };
    let (minima, places) = forward(backend, &square, &[1.0, f64::NAN, 2.0, 3.0])?;
    compare_bits("minima", "minima beside NaN", &minima, &[f64::NAN, 2.0, 1.0, f64::NAN])?;
    compare_bits("minima", "places beside NaN", &places, &[1.0, 0.0, 0.0, 0.0])
}

fn lengths<B: Backend>(backend: &B, case: &Case) -> Result<(), Mismatch> {
    let Case {
        batch, rows, columns, ..
    } = *case;
    let (x_len, [row_len, column_len]) = (case.x_len(), case.lens());
    refuses_wrong_lengths("minima", 5, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        let indices = |i, len| backend.zero_indices(len + usize::from(i == wrong));
        let (mut row_min, mut row_at) = (buffer(1, row_len)?, indices(2, row_len)?);
        let (mut column_min, mut column_at) = (buffer(3, column_len)?, indices(4, column_len)?);
        let x = buffer(0, x_len)?;
        backend.minima(
            batch,
            rows,
            columns,
            &x,
            &mut row_min,
            &mut row_at,
            &mut column_min,
            &mut column_at,
        )
    })?;
    refuses_wrong_lengths("minima_backward", 5, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        let indices = |i, len| backend.zero_indices(len + usize::from(i == wrong));
        let (row_at, column_at) = (indices(0, row_len)?, indices(1, column_len)?);
        let (g_row, g_column, mut g_x) = (buffer(2, row_len)?, buffer(3, column_len)?, buffer(4, x_len)?);
        backend.minima_backward(batch, rows, columns, &row_at, &column_at, &g_row, &g_column, &mut g_x)
    })
}

/// Backward against differences, where no two elements are near each other.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&cases(2, 6), |case| {
        let x = first_of_seeds(case.seed, "minima", |seed| {
            let x = numbers(seed, 0, case.x_len());
            let mut sorted = x.clone();
            sorted.sort_by(f64::total_cmp);
            let clear = sorted.windows(2).all(|pair| pair[1] - pair[0] >= STEP_MARGIN);
            clear.then_some(x)
        })?;
        let (minima, places) = forward(backend, case, &x)?;
        let g = numbers(case.seed, 1, minima.len());
        let g_x = backward(backend, case, &places, &g)?;
        check_gradient("minima_backward", "g_x", &x, &g_x, &g, |x| {
            Ok(forward(backend, case, x)?.0)
        })
    })
}
