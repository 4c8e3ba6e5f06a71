//! The stochastic residual update of the state.

use rayon::prelude::*;

use super::{Buffer, Cpu};
use crate::backend::{MaskKey, Update, check};
use crate::config::{Grid, NcaConfig};
use crate::error::{Result, check_len};
use crate::philox::{fire_threshold, is_active};

impl Update for Cpu {
    fn update(
        &self,
        config: &NcaConfig,
        grid: Grid,
        key: MaskKey,
        x: &Buffer,
        dx: &Buffer,
        x_next: &mut Buffer,
    ) -> Result<()> {
        check::automaton("update", config, grid)?;
        let len = config.channels * grid.cells();
        check_len("update", "x", x.len(), len)?;
        check_len("update", "dx", dx.len(), len)?;
        check_len("update", "x_next", x_next.len(), len)?;
        let mask = self.mask(config, grid, key);
        let bound = bound(config);
        self.for_planes(config, grid, x_next, |sample, at, out| {
            let mask = &mask[sample * grid.plane()..];
            for (i, out) in out.iter_mut().enumerate() {
                let step = if mask[i] { dx[at + i] } else { 0.0 };
                *out = (x[at + i] + step).clamp(-bound, bound);
            }
        });
        Ok(())
    }

    fn update_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        key: MaskKey,
        x: &Buffer,
        dx: &Buffer,
        g_next: &Buffer,
        g_x: &mut Buffer,
        g_dx: &mut Buffer,
    ) -> Result<()> {
        check::automaton("update_backward", config, grid)?;
        let len = config.channels * grid.cells();
        check_len("update_backward", "x", x.len(), len)?;
        check_len("update_backward", "dx", dx.len(), len)?;
        check_len("update_backward", "g_next", g_next.len(), len)?;
        check_len("update_backward", "g_x", g_x.len(), len)?;
        check_len("update_backward", "g_dx", g_dx.len(), len)?;
        let mask = self.mask(config, grid, key);
        let bound = bound(config);
        self.for_planes(config, grid, g_x, |sample, at, out| {
            let mask = &mask[sample * grid.plane()..];
            for (i, out) in out.iter_mut().enumerate() {
                let step = if mask[i] { dx[at + i] } else { 0.0 };
                // A NaN passes: it must not look like a state at rest.
                let stopped = (x[at + i] + step).abs() > bound;
                *out = if stopped { 0.0 } else { g_next[at + i] };
            }
        });
        self.for_planes(config, grid, g_dx, |sample, at, out| {
            let mask = &mask[sample * grid.plane()..];
            for (i, out) in out.iter_mut().enumerate() {
                *out = if mask[i] { g_x[at + i] } else { 0.0 };
            }
        });
        Ok(())
    }
}

/// Bound of the clamp; infinite where there is none.
pub(super) fn bound(config: &NcaConfig) -> f32 {
    config.clamp.map_or(f32::INFINITY, |c| c as f32)
}

impl Cpu {
    /// The mask of all samples, `[B,H,W]`.
    fn mask(&self, config: &NcaConfig, grid: Grid, key: MaskKey) -> Vec<bool> {
        let threshold = fire_threshold(config.fire_rate);
        let mut mask = vec![false; grid.cells()];
        if !mask.is_empty() {
            self.install(|| {
                mask.par_chunks_exact_mut(grid.plane())
                    .enumerate()
                    .for_each(|(sample, mask)| {
                        for (cell, bit) in mask.iter_mut().enumerate() {
                            *bit = is_active(key.seed, key.step, sample as u32, cell as u32, threshold);
                        }
                    });
            });
        }
        mask
    }

    /// Runs `f(sample, offset, plane)` on every channel plane of `out [B,C,H,W]`.
    fn for_planes(&self, config: &NcaConfig, grid: Grid, out: &mut [f32], f: impl Fn(usize, usize, &mut [f32]) + Sync) {
        if out.is_empty() {
            return;
        }
        self.install(|| {
            out.par_chunks_exact_mut(grid.plane())
                .enumerate()
                .for_each(|(i, plane)| f(i / config.channels, i * grid.plane(), plane));
        });
    }
}
