//! Perception of whole planes, one kernel after the other.
//!
//! The fused step does not come this way; this is the plain operation for callers that want the
//! perception itself.

use rayon::prelude::*;

use super::{Buffer, Cpu};
use crate::backend::{Perceive, check};
use crate::config::{Grid, NcaConfig, Padding};
use crate::error::{Result, check_len};

impl Perceive for Cpu {
    fn perceive(&self, config: &NcaConfig, grid: Grid, x: &Buffer, z: &mut Buffer) -> Result<()> {
        check::automaton("perceive", config, grid)?;
        check_len("perceive", "x", x.len(), config.channels * grid.cells())?;
        check_len("perceive", "z", z.len(), config.perceived() * grid.cells())?;
        if z.is_empty() {
            return Ok(());
        }
        let (channels, plane) = (config.channels, grid.plane());
        self.install(|| {
            z.par_chunks_exact_mut(plane).enumerate().for_each(|(i, z)| {
                let (sample, row) = (i / config.perceived(), i % config.perceived());
                let x = &x[(sample * channels + row % channels) * plane..][..plane];
                z.fill(0.0);
                for_taps(config, grid, row / channels, |weight, y, from, shift| {
                    let z = &mut z[y * grid.width..][..grid.width];
                    let x = &x[from * grid.width..][..grid.width];
                    for_columns(config.padding, grid.width, shift, |at, seen, len| {
                        for (z, &x) in z[at..at + len].iter_mut().zip(&x[seen..seen + len]) {
                            *z += weight * x;
                        }
                    });
                });
            });
        });
        Ok(())
    }

    fn perceive_backward(&self, config: &NcaConfig, grid: Grid, g_z: &Buffer, g_x: &mut Buffer) -> Result<()> {
        check::automaton("perceive_backward", config, grid)?;
        check_len("perceive_backward", "g_x", g_x.len(), config.channels * grid.cells())?;
        check_len("perceive_backward", "g_z", g_z.len(), config.perceived() * grid.cells())?;
        if g_x.is_empty() {
            return Ok(());
        }
        let (channels, plane) = (config.channels, grid.plane());
        self.install(|| {
            g_x.par_chunks_exact_mut(plane).enumerate().for_each(|(i, g_x)| {
                let (sample, channel) = (i / channels, i % channels);
                g_x.fill(0.0);
                for k in 0..config.kernels() {
                    let g_z = &g_z[(sample * config.perceived() + k * channels + channel) * plane..][..plane];
                    for_taps(config, grid, k, |weight, y, from, shift| {
                        let g_z = &g_z[y * grid.width..][..grid.width];
                        let g_x = &mut g_x[from * grid.width..][..grid.width];
                        for_columns(config.padding, grid.width, shift, |at, seen, len| {
                            for (g_x, &g_z) in g_x[seen..seen + len].iter_mut().zip(&g_z[at..at + len]) {
                                *g_x += weight * g_z;
                            }
                        });
                    });
                }
            });
        });
        Ok(())
    }
}

/// Where a neighbour at `at + shift − 1` of `0..size` is found, `None` outside under zero padding.
pub(super) fn neighbour(padding: Padding, size: usize, at: usize, shift: usize) -> Option<usize> {
    match (at + shift).checked_sub(1) {
        Some(i) if i < size => Some(i),
        outside => match padding {
            Padding::Zero => None,
            Padding::Circular => Some(if outside.is_none() { size - 1 } else { 0 }),
            Padding::Replicate => Some(if outside.is_none() { 0 } else { size - 1 }),
        },
    }
}

/// Every non-zero tap of kernel `k` at every row: `f(weight, row, row it sees, dx)`.
fn for_taps(config: &NcaConfig, grid: Grid, k: usize, mut f: impl FnMut(f32, usize, usize, usize)) {
    let kernel = config.perception.kernels[k];
    for y in 0..grid.height {
        for (dy, weights) in kernel.iter().enumerate() {
            let Some(from) = neighbour(config.padding, grid.height, y, dy) else {
                continue;
            };
            for (dx, &weight) in weights.iter().enumerate() {
                if weight != 0.0 {
                    f(weight as f32, y, from, dx);
                }
            }
        }
    }
}

/// Runs of columns that see a run of columns under horizontal shift `dx − 1`:
/// `f(first column, first column seen, length)`.
fn for_columns(padding: Padding, width: usize, dx: usize, mut f: impl FnMut(usize, usize, usize)) {
    match dx {
        0 => f(1, 0, width - 1),
        1 => return f(0, 0, width),
        _ => f(0, 1, width - 1),
    }
    let edge = if dx == 0 { 0 } else { width - 1 };
    if let Some(seen) = neighbour(padding, width, edge, dx) {
        f(edge, seen, 1);
    }
}
