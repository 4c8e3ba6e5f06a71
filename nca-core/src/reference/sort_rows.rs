//! Sorting, the heart of a one-dimensional Wasserstein distance.

use std::cmp::Ordering;

use super::{Reference, view, view_mut};
use crate::backend::SortRows;
use crate::error::{Error, Result};
use crate::real::Real;

impl<T: Real> SortRows for Reference<T> {
    fn sort_rows(&self, rows: usize, len: usize, x: &Vec<T>, sorted: &mut Vec<T>, order: &mut Vec<u32>) -> Result<()> {
        // x [R,N] -> sorted [R,N], order [R,N]. Backward needs order.
        let x = view("sort_rows", "x", x, (rows, len))?;
        let mut sorted = view_mut("sort_rows", "sorted", sorted, (rows, len))?;
        let mut order = view_mut("sort_rows", "order", order, (rows, len))?;
        let count = u32::try_from(len).map_err(|_| Error::invalid("sort_rows: row length", len, "below 2^32"))?;
        for r in 0..rows {
            let mut permutation: Vec<u32> = (0..count).collect();
            permutation.sort_by(|&i, &j| nan_last(x[[r, i as usize]], x[[r, j as usize]]));
            for (j, &i) in permutation.iter().enumerate() {
                sorted[[r, j]] = x[[r, i as usize]];
                order[[r, j]] = i;
            }
        }
        Ok(())
    }

    fn sort_rows_backward(
        &self,
        rows: usize,
        len: usize,
        order: &Vec<u32>,
        g_sorted: &Vec<T>,
        g_x: &mut Vec<T>,
    ) -> Result<()> {
        // g_sorted [R,N] -> g_x [R,N] (=).
        const OP: &str = "sort_rows_backward";
        let order = view(OP, "order", order, (rows, len))?;
        let g_sorted = view(OP, "g_sorted", g_sorted, (rows, len))?;
        let mut g_x = view_mut(OP, "g_x", g_x, (rows, len))?;
        for ((r, j), &g) in g_sorted.indexed_iter() {
            let i = order[[r, j]] as usize;
            *g_x.get_mut((r, i))
                .ok_or_else(|| Error::invalid("sort_rows_backward: order", i, format!("an index below {len}")))? = g;
        }
        Ok(())
    }
}

/// Ascending order of numbers, then NaNs.
fn nan_last<T: Real>(a: T, b: T) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}
