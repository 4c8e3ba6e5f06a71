//! Bilinear upsampling by two.

use super::{Reference, view, view_mut};
use crate::backend::{Upsample2, Upsample2Shape};
use crate::error::Result;
use crate::real::Real;

impl<T: Real> Upsample2 for Reference<T> {
    fn upsample2(&self, shape: &Upsample2Shape, factor: f64, x: &Vec<T>, y: &mut Vec<T>) -> Result<()> {
        // x [N,H,W] -> y [N,H',W']. Linear: backward needs nothing.
        shape.validate()?;
        let x = view("upsample2", "x", x, (shape.planes, shape.height, shape.width))?;
        let mut y = view_mut("upsample2", "y", y, (shape.planes, shape.out_height, shape.out_width))?;
        for ((n, i, j), y) in y.indexed_iter_mut() {
            *y = corners(shape, i, j)
                .iter()
                .map(|&(p, q, weight)| T::of(factor * weight) * x[[n, p, q]])
                .sum();
        }
        Ok(())
    }

    fn upsample2_backward(&self, shape: &Upsample2Shape, factor: f64, g_y: &Vec<T>, g_x: &mut Vec<T>) -> Result<()> {
        // g_y [N,H',W'] -> g_x [N,H,W] (=).
        const OP: &str = "upsample2_backward";
        shape.validate()?;
        let g_y = view(OP, "g_y", g_y, (shape.planes, shape.out_height, shape.out_width))?;
        let mut g_x = view_mut(OP, "g_x", g_x, (shape.planes, shape.height, shape.width))?;
        g_x.fill(T::zero());
        for ((n, i, j), &g) in g_y.indexed_iter() {
            for (p, q, weight) in corners(shape, i, j) {
                g_x[[n, p, q]] += T::of(factor * weight) * g;
            }
        }
        Ok(())
    }
}

/// Row, column and weight of the four inputs of output `(i, j)`.
fn corners(shape: &Upsample2Shape, i: usize, j: usize) -> [(usize, usize, f64); 4] {
    super::resize::bilinear(
        Upsample2Shape::taps(shape.height, i),
        Upsample2Shape::taps(shape.width, j),
    )
}
