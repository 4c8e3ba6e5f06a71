//! Bilinear resizing to any size.

use rayon::prelude::*;

use super::{Buffer, Cpu};
use crate::backend::{Resize, ResizeShape};
use crate::error::{Result, check_len};

/// The two inputs of each output of a line, and the weight of the second.
pub(super) type Taps = Vec<(usize, usize, f32)>;

impl Resize for Cpu {
    fn resize(&self, shape: &ResizeShape, x: &Buffer, y: &mut Buffer) -> Result<()> {
        shape.validate()?;
        check_len("resize", "x", x.len(), shape.input_len())?;
        check_len("resize", "y", y.len(), shape.output_len())?;
        if x.is_empty() {
            return Ok(());
        }
        if same_size(shape) {
            y.copy_from_slice(x);
            return Ok(());
        }
        let (rows, columns) = taps(shape);
        self.interpolate((shape.height, shape.width), &rows, &columns, 1.0, x, y);
        Ok(())
    }

    fn resize_backward(&self, shape: &ResizeShape, g_y: &Buffer, g_x: &mut Buffer) -> Result<()> {
        shape.validate()?;
        check_len("resize_backward", "g_x", g_x.len(), shape.input_len())?;
        check_len("resize_backward", "g_y", g_y.len(), shape.output_len())?;
        if g_x.is_empty() {
            return Ok(());
        }
        if same_size(shape) {
            g_x.copy_from_slice(g_y);
            return Ok(());
        }
        let (rows, columns) = taps(shape);
        self.interpolate_backward((shape.height, shape.width), &rows, &columns, 1.0, g_y, g_x);
        Ok(())
    }
}

/// Whether nothing lies between pixels: every output is one input.
fn same_size(shape: &ResizeShape) -> bool {
    (shape.height, shape.width) == (shape.out_height, shape.out_width)
}

fn taps(shape: &ResizeShape) -> (Taps, Taps) {
    let line = |input: usize, output: usize| {
        (0..output)
            .map(|i| {
                let (low, high, t) = ResizeShape::taps(input, output, i);
                (low, high, t as f32)
            })
            .collect()
    };
    (line(shape.height, shape.out_height), line(shape.width, shape.out_width))
}

impl Cpu {
    /// `y = factor · interpolate(x)` for every plane, along rows and columns by taps.
    pub(super) fn interpolate(
        &self,
        (height, width): (usize, usize),
        rows: &Taps,
        columns: &Taps,
        factor: f32,
        x: &[f32],
        y: &mut [f32],
    ) {
        if y.is_empty() {
            return;
        }
        self.install(|| {
            y.par_chunks_exact_mut(columns.len())
                .enumerate()
                .for_each(|(index, y)| {
                    let x = &x[index / rows.len() * height * width..][..height * width];
                    let (top, bottom, s) = rows[index % rows.len()];
                    let (top, bottom) = (&x[top * width..][..width], &x[bottom * width..][..width]);
                    for (y, &(left, right, t)) in y.iter_mut().zip(columns) {
                        let above = (1.0 - t) * top[left] + t * top[right];
                        let below = (1.0 - t) * bottom[left] + t * bottom[right];
                        *y = factor * ((1.0 - s) * above + s * below);
                    }
                });
        });
    }

    /// Adjoint of [`Cpu::interpolate`]; each plane is one task, so its sums have a fixed order.
    pub(super) fn interpolate_backward(
        &self,
        (height, width): (usize, usize),
        rows: &Taps,
        columns: &Taps,
        factor: f32,
        g_y: &[f32],
        g_x: &mut [f32],
    ) {
        if g_x.is_empty() {
            return;
        }
        self.install(|| {
            g_x.par_chunks_exact_mut(height * width)
                .zip(g_y.par_chunks_exact(rows.len() * columns.len()))
                .for_each(|(g_x, g_y)| {
                    g_x.fill(0.0);
                    for (g_y, &(top, bottom, s)) in g_y.chunks_exact(columns.len()).zip(rows) {
                        for (g, &(left, right, t)) in g_y.iter().zip(columns) {
                            let g = factor * g;
                            let (above, below) = ((1.0 - s) * g, s * g);
                            g_x[top * width + left] += (1.0 - t) * above;
                            g_x[top * width + right] += t * above;
                            g_x[bottom * width + left] += (1.0 - t) * below;
                            g_x[bottom * width + right] += t * below;
                        }
                    }
                });
        });
    }
}
