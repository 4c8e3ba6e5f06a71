//! Average pooling by two.

use rayon::prelude::*;

use super::{Buffer, Cpu};
use crate::backend::{AvgPool2, check};
use crate::error::Result;

impl AvgPool2 for Cpu {
    fn avg_pool2(&self, planes: usize, height: usize, width: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        let (rows, cols) = (height / 2, width / 2);
        check::shape("avg_pool2", "x", x.len(), &[planes, height, width])?;
        check::shape("avg_pool2", "y", y.len(), &[planes, rows, cols])?;
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
                            *y = 0.25 * ((t[0] + t[1]) + (b[0] + b[1]));
                        }
                    }
                });
        });
        Ok(())
    }

    fn avg_pool2_backward(
        &self,
        planes: usize,
        height: usize,
        width: usize,
        g_y: &Buffer,
        g_x: &mut Buffer,
    ) -> Result<()> {
        let (rows, cols) = (height / 2, width / 2);
        check::shape("avg_pool2_backward", "g_x", g_x.len(), &[planes, height, width])?;
        check::shape("avg_pool2_backward", "g_y", g_y.len(), &[planes, rows, cols])?;
        if g_x.is_empty() {
            return Ok(());
        }
        self.install(|| {
            g_x.par_chunks_exact_mut(height * width)
                .enumerate()
                .for_each(|(plane, g_x)| {
                    let g_y = &g_y[plane * rows * cols..][..rows * cols];
                    for (y, row) in g_x.chunks_exact_mut(width).enumerate() {
                        if y / 2 >= rows {
                            row.fill(0.0);
                            continue;
                        }
                        let g_row = &g_y[y / 2 * cols..][..cols];
                        for (x, g) in row.iter_mut().enumerate() {
                            *g = g_row.get(x / 2).map_or(0.0, |g| 0.25 * g);
                        }
                    }
                });
        });
        Ok(())
    }
}
