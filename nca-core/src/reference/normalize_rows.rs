//! Rows of unit length.

use super::{Reference, view, view_mut};
use crate::backend::NormalizeRows;
use crate::error::Result;
use crate::real::Real;

impl<T: Real> NormalizeRows for Reference<T> {
    fn normalize_rows(
        &self,
        rows: usize,
        len: usize,
        epsilon: f64,
        x: &Vec<T>,
        y: &mut Vec<T>,
        norms: &mut Vec<T>,
    ) -> Result<()> {
        // x [R,N] -> y [R,N], norms [R]. Backward needs both.
        const OP: &str = "normalize_rows";
        let x = view(OP, "x", x, (rows, len))?;
        let mut y = view_mut(OP, "y", y, (rows, len))?;
        let mut norms = view_mut(OP, "norms", norms, rows)?;
        for ((x, mut y), norm) in x.rows().into_iter().zip(y.rows_mut()).zip(&mut norms) {
            *norm = (x.dot(&x) + T::of(epsilon)).sqrt();
            y.assign(&(&x / *norm));
        }
        Ok(())
    }

    fn normalize_rows_backward(
        &self,
        rows: usize,
        len: usize,
        y: &Vec<T>,
        norms: &Vec<T>,
        g_y: &Vec<T>,
        g_x: &mut Vec<T>,
    ) -> Result<()> {
        // g_y [R,N] -> g_x [R,N] (=).
        const OP: &str = "normalize_rows_backward";
        let y = view(OP, "y", y, (rows, len))?;
        let norms = view(OP, "norms", norms, rows)?;
        let g_y = view(OP, "g_y", g_y, (rows, len))?;
        let mut g_x = view_mut(OP, "g_x", g_x, (rows, len))?;
        for (r, mut g_x) in g_x.rows_mut().into_iter().enumerate() {
            let (y, g_y) = (y.row(r), g_y.row(r));
            g_x.assign(&((&g_y - &(&y * g_y.dot(&y))) / norms[r]));
        }
        Ok(())
    }
}
