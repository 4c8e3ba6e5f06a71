//! Average pooling by two.

use super::{Reference, view, view_mut};
use crate::backend::AvgPool2;
use crate::error::Result;
use crate::real::Real;

impl<T: Real> AvgPool2 for Reference<T> {
    fn avg_pool2(&self, planes: usize, height: usize, width: usize, x: &Vec<T>, y: &mut Vec<T>) -> Result<()> {
        // x [N,H,W] -> y [N,⌊H/2⌋,⌊W/2⌋]. Linear: backward needs nothing.
        let x = view("avg_pool2", "x", x, (planes, height, width))?;
        let mut y = view_mut("avg_pool2", "y", y, (planes, height / 2, width / 2))?;
        for ((n, i, j), mean) in y.indexed_iter_mut() {
            let sum: T = BLOCK.iter().map(|&(di, dj)| x[[n, 2 * i + di, 2 * j + dj]]).sum();
            *mean = sum * T::of(0.25);
        }
        Ok(())
    }

    fn avg_pool2_backward(
        &self,
        planes: usize,
        height: usize,
        width: usize,
        g_y: &Vec<T>,
        g_x: &mut Vec<T>,
    ) -> Result<()> {
        // g_y [N,⌊H/2⌋,⌊W/2⌋] -> g_x [N,H,W] (=).
        let g_y = view("avg_pool2_backward", "g_y", g_y, (planes, height / 2, width / 2))?;
        let mut g_x = view_mut("avg_pool2_backward", "g_x", g_x, (planes, height, width))?;
        g_x.fill(T::zero());
        for ((n, i, j), &g) in g_y.indexed_iter() {
            for (di, dj) in BLOCK {
                g_x[[n, 2 * i + di, 2 * j + dj]] = g * T::of(0.25);
            }
        }
        Ok(())
    }
}

/// Offsets of the four elements of a block.
const BLOCK: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];
