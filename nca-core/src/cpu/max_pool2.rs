//! Max pooling by two.

use rayon::prelude::*;

use super::{Buffer, Cpu};
use crate::backend::{MaxPool2, check};
use crate::error::Result;

impl MaxPool2 for Cpu {
    fn max_pool2(&self, planes: usize, height: usize, width: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        let (rows, cols) = (height / 2, width / 2);
        check::shape("max_pool2", "x", x.len(), &[planes, height, width])?;
        check::shape("max_pool2", "y", y.len(), &[planes, rows, cols])?;
        if y.is_empty() {
            return Ok(());
        }
        self.install(|| {
            y.par_chunks_exact_mut(rows * cols)
                .zip(x.par_chunks_exact(height * width))
                .for_each(|(y, x)| {
                    for (y, pair) in y.chunks_exact_mut(cols).zip(x.chunks_exact(2 * width)) {
                        let (top, bottom) = pair.split_at(width);
                        for ((y, t), b) in y.iter_mut().zip(top.chunks_exact(2)).zip(bottom.chunks_exact(2)) {
                            *y = larger(larger(t[0], t[1]), larger(b[0], b[1]));
                        }
                    }
                });
        });
        Ok(())
    }

    fn max_pool2_backward(
        &self,
        planes: usize,
        height: usize,
        width: usize,
        x: &Buffer,
        g_y: &Buffer,
        g_x: &mut Buffer,
    ) -> Result<()> {
        let (rows, cols) = (height / 2, width / 2);
        check::shape("max_pool2_backward", "x", x.len(), &[planes, height, width])?;
        check::shape("max_pool2_backward", "g_y", g_y.len(), &[planes, rows, cols])?;
        check::shape("max_pool2_backward", "g_x", g_x.len(), &[planes, height, width])?;
        if g_x.is_empty() {
            return Ok(());
        }
        self.install(|| {
            g_x.par_chunks_exact_mut(height * width)
                .zip(x.par_chunks_exact(height * width))
                .enumerate()
                .for_each(|(plane, (g_x, x))| {
                    g_x.fill(0.0);
                    for (i, &g) in g_y[plane * rows * cols..][..rows * cols].iter().enumerate() {
                        let top = i / cols * 2 * width + i % cols * 2;
                        let bottom = top + width;
                        let block = [top, top + 1, bottom, bottom + 1];
                        let first = block
                            .into_iter()
                            .reduce(|best, at| if exceeds(x[at], x[best]) { at } else { best });
                        if let Some(first) = first {
                            g_x[first] = g;
                        }
                    }
                });
        });
        Ok(())
    }
}

/// The larger one, NaN if there is one.
fn larger(a: f32, b: f32) -> f32 {
    if exceeds(b, a) { b } else { a }
}

/// `v > best`; NaN is larger than any number.
fn exceeds(v: f32, best: f32) -> bool {
    v > best || (v.is_nan() && !best.is_nan())
}
