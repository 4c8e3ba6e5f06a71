//! The update network on whole planes.
//!
//! The fused step does not come this way; this is the plain operation for callers that want the
//! hidden layer itself. Columns of [`BLOCK`] cells stay in L1 while the inputs stream past.

use rayon::prelude::*;

use super::{Buffer, Cpu};
use crate::backend::{Mlp, check};
use crate::config::{Grid, NcaConfig};
use crate::error::{Result, check_len};
use crate::params::Params;

/// Cells handled at a time: an accumulator of 4 KiB.
const BLOCK: usize = 1024;

impl Mlp for Cpu {
    fn mlp(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        z: &Buffer,
        h: &mut Buffer,
        dx: &mut Buffer,
    ) -> Result<()> {
        let (inputs, hidden, channels) = (config.perceived(), config.hidden, config.channels);
        check::automaton("mlp", config, grid)?;
        check_params("mlp", config, params)?;
        check_len("mlp", "z", z.len(), inputs * grid.cells())?;
        check_len("mlp", "h", h.len(), hidden * grid.cells())?;
        check_len("mlp", "dx", dx.len(), channels * grid.cells())?;
        self.linear(
            grid.plane(),
            hidden,
            inputs,
            z,
            h,
            |row, input| params.w1[row * inputs + input],
            |row, _, out| {
                for v in out {
                    // Not `max`, which would turn NaN into 0.
                    *v = if *v + params.b1[row] <= 0.0 {
                        0.0
                    } else {
                        *v + params.b1[row]
                    };
                }
            },
        );
        self.linear(
            grid.plane(),
            channels,
            hidden,
            h,
            dx,
            |row, input| params.w2[row * hidden + input],
            |row, _, out| {
                if let Some(b2) = &params.b2 {
                    for v in out {
                        *v += b2[row];
                    }
                }
            },
        );
        Ok(())
    }

    fn mlp_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        z: &Buffer,
        h: &Buffer,
        g_dx: &Buffer,
        g_h: &mut Buffer,
        g_z: &mut Buffer,
        grads: &mut Params<Buffer>,
    ) -> Result<()> {
        let (inputs, hidden, channels) = (config.perceived(), config.hidden, config.channels);
        check::automaton("mlp_backward", config, grid)?;
        check_params("mlp_backward", config, params)?;
        check_params("mlp_backward", config, grads)?;
        check_len("mlp_backward", "z", z.len(), inputs * grid.cells())?;
        check_len("mlp_backward", "h", h.len(), hidden * grid.cells())?;
        check_len("mlp_backward", "g_dx", g_dx.len(), channels * grid.cells())?;
        check_len("mlp_backward", "g_h", g_h.len(), hidden * grid.cells())?;
        check_len("mlp_backward", "g_z", g_z.len(), inputs * grid.cells())?;
        self.linear(
            grid.plane(),
            hidden,
            channels,
            g_dx,
            g_h,
            |row, input| params.w2[input * hidden + row],
            |_, at, out| {
                for (g, &h) in out.iter_mut().zip(&h[at..]) {
                    *g = if h > 0.0 { *g } else { 0.0 };
                }
            },
        );
        self.linear(
            grid.plane(),
            inputs,
            hidden,
            g_h,
            g_z,
            |row, input| params.w1[input * inputs + row],
            |_, _, _| {},
        );
        self.outer(grid.plane(), g_h, z, hidden, inputs, &mut grads.w1);
        self.outer(grid.plane(), g_dx, h, channels, hidden, &mut grads.w2);
        self.row_sums(grid.plane(), g_h, hidden, &mut grads.b1);
        if let Some(b2) = &mut grads.b2 {
            self.row_sums(grid.plane(), g_dx, channels, b2);
        }
        Ok(())
    }
}

/// Weights, or their gradients, must have the shapes of `config`.
pub(super) fn check_params(op: &'static str, config: &NcaConfig, params: &Params<Buffer>) -> Result<()> {
    check::params(op, config, params, |tensor| tensor.len())
}

impl Cpu {
    /// `y[b, r] = Σ_i weight(r, i)·x[b, i]`, then `finish(row, offset, part of y)`.
    ///
    /// `x [B,inputs,plane]` → `y [B,rows,plane]`.
    fn linear(
        &self,
        plane: usize,
        rows: usize,
        inputs: usize,
        x: &[f32],
        y: &mut [f32],
        weight: impl Fn(usize, usize) -> f32 + Sync,
        finish: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) {
        if y.is_empty() {
            return;
        }
        self.install(|| {
            y.par_chunks_exact_mut(plane).enumerate().for_each(|(i, y)| {
                let (sample, row) = (i / rows, i % rows);
                for (block, y) in y.chunks_mut(BLOCK).enumerate() {
                    y.fill(0.0);
                    for input in 0..inputs {
                        let w = weight(row, input);
                        let x = &x[(sample * inputs + input) * plane + block * BLOCK..];
                        for (y, &x) in y.iter_mut().zip(x) {
                            *y += w * x;
                        }
                    }
                    finish(row, i * plane + block * BLOCK, y);
                }
            });
        });
    }

    /// `g_w[r, i] += Σ_b Σ_cell g[b, r]·x[b, i]`.
    fn outer(&self, plane: usize, g: &[f32], x: &[f32], rows: usize, inputs: usize, g_w: &mut [f32]) {
        if g.is_empty() {
            return;
        }
        let batch = g.len() / (rows * plane);
        self.install(|| {
            g_w.par_chunks_exact_mut(inputs).enumerate().for_each(|(row, g_w)| {
                for (input, g_w) in g_w.iter_mut().enumerate() {
                    let sum: f64 = (0..batch)
                        .map(|b| {
                            dot(
                                &g[(b * rows + row) * plane..][..plane],
                                &x[(b * inputs + input) * plane..],
                            )
                        })
                        .sum();
                    *g_w += sum as f32;
                }
            });
        });
    }

    /// `g_b[r] += Σ_b Σ_cell g[b, r]`.
    fn row_sums(&self, plane: usize, g: &[f32], rows: usize, g_b: &mut [f32]) {
        if g.is_empty() {
            return;
        }
        self.install(|| {
            g_b.par_iter_mut().enumerate().for_each(|(row, g_b)| {
                let planes = g.chunks_exact(plane).skip(row).step_by(rows);
                *g_b += planes.flatten().map(|&v| f64::from(v)).sum::<f64>() as f32;
            });
        });
    }
}

/// `Σ a·b` over the length of `a`: eight f32 partial sums a block, blocks in f64.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let mut lanes = [0.0f32; 8];
        let (a8, b8) = (a.chunks_exact(8), b[..a.len()].chunks_exact(8));
        let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum();
        for (a, b) in a8.zip(b8) {
            for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
                *lane += a * b;
            }
        }
        sum += f64::from(lanes.iter().sum::<f32>() + rest);
    }
    sum
}
