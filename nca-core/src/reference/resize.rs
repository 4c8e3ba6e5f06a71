//! Bilinear resizing to any size.

use super::{Reference, view, view_mut};
use crate::backend::{Resize, ResizeShape};
use crate::error::Result;
use crate::real::Real;

impl<T: Real> Resize for Reference<T> {
    fn resize(&self, shape: &ResizeShape, x: &Vec<T>, y: &mut Vec<T>) -> Result<()> {
        // x [N,H,W] -> y [N,H',W']. Linear: backward needs nothing.
        shape.validate()?;
        let x = view("resize", "x", x, (shape.planes, shape.height, shape.width))?;
        let mut y = view_mut("resize", "y", y, (shape.planes, shape.out_height, shape.out_width))?;
        for ((n, i, j), y) in y.indexed_iter_mut() {
            *y = corners(shape, i, j)
                .iter()
                .map(|&(p, q, weight)| T::of(weight) * x[[n, p, q]])
                .sum();
        }
        Ok(())
    }

    fn resize_backward(&self, shape: &ResizeShape, g_y: &Vec<T>, g_x: &mut Vec<T>) -> Result<()> {
        // g_y [N,H',W'] -> g_x [N,H,W] (=).
        const OP: &str = "resize_backward";
        shape.validate()?;
        let g_y = view(OP, "g_y", g_y, (shape.planes, shape.out_height, shape.out_width))?;
        let mut g_x = view_mut(OP, "g_x", g_x, (shape.planes, shape.height, shape.width))?;
        g_x.fill(T::zero());
        for ((n, i, j), &g) in g_y.indexed_iter() {
            for (p, q, weight) in corners(shape, i, j) {
                g_x[[n, p, q]] += T::of(weight) * g;
            }
        }
        Ok(())
    }
}

/// Row, column and weight of the four inputs of output `(i, j)`.
fn corners(shape: &ResizeShape, i: usize, j: usize) -> [(usize, usize, f64); 4] {
    bilinear(
        ResizeShape::taps(shape.height, shape.out_height, i),
        ResizeShape::taps(shape.width, shape.out_width, j),
    )
}

/// The four corners of a bilinear interpolation from its taps along rows and columns.
pub(super) fn bilinear(row: (usize, usize, f64), column: (usize, usize, f64)) -> [(usize, usize, f64); 4] {
    let ((top, bottom, s), (left, right, t)) = (row, column);
    [
        (top, left, (1.0 - s) * (1.0 - t)),
        (top, right, (1.0 - s) * t),
        (bottom, left, s * (1.0 - t)),
        (bottom, right, s * t),
    ]
}
