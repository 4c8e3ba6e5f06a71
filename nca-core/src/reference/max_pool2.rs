//! Max pooling by two.

use super::{Reference, view, view_mut};
use crate::backend::MaxPool2;
use crate::error::Result;
use crate::real::Real;

impl<T: Real> MaxPool2 for Reference<T> {
    fn max_pool2(&self, planes: usize, height: usize, width: usize, x: &Vec<T>, y: &mut Vec<T>) -> Result<()> {
        // x [N,H,W] -> y [N,⌊H/2⌋,⌊W/2⌋]. Backward needs x.
        let x = view("max_pool2", "x", x, (planes, height, width))?;
        let mut y = view_mut("max_pool2", "y", y, (planes, height / 2, width / 2))?;
        for ((n, i, j), max) in y.indexed_iter_mut() {
            let block = BLOCK.map(|(di, dj)| x[[n, 2 * i + di, 2 * j + dj]]);
            *max = block[first_maximum(block)];
        }
        Ok(())
    }

    fn max_pool2_backward(
        &self,
        planes: usize,
        height: usize,
        width: usize,
        x: &Vec<T>,
        g_y: &Vec<T>,
        g_x: &mut Vec<T>,
    ) -> Result<()> {
        // g_y [N,⌊H/2⌋,⌊W/2⌋] -> g_x [N,H,W] (=).
        const OP: &str = "max_pool2_backward";
        let x = view(OP, "x", x, (planes, height, width))?;
        let g_y = view(OP, "g_y", g_y, (planes, height / 2, width / 2))?;
        let mut g_x = view_mut(OP, "g_x", g_x, (planes, height, width))?;
        g_x.fill(T::zero());
        for ((n, i, j), &g) in g_y.indexed_iter() {
            let (di, dj) = BLOCK[first_maximum(BLOCK.map(|(di, dj)| x[[n, 2 * i + di, 2 * j + dj]]))];
            g_x[[n, 2 * i + di, 2 * j + dj]] = g;
        }
        Ok(())
    }
}

/// Offsets of the four elements of a block.
const BLOCK: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// Index of the first largest element; NaN is larger than any number.
fn first_maximum<T: Real>(block: [T; 4]) -> usize {
    let mut best = 0;
    for (i, &v) in block.iter().enumerate() {
        if v > block[best] || (v.is_nan() && !block[best].is_nan()) {
            best = i;
        }
    }
    best
}
