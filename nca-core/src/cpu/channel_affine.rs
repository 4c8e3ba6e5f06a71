//! A factor and a summand for each channel.

use rayon::prelude::*;

use super::{Buffer, Cpu};
use crate::backend::{ChannelAffine, check};
use crate::error::{Result, check_len};

impl ChannelAffine for Cpu {
    fn channel_affine(&self, plane: usize, scale: &[f64], offset: &[f64], x: &Buffer, y: &mut Buffer) -> Result<()> {
        const OP: &str = "channel_affine";
        check_len(OP, "offset", offset.len(), scale.len())?;
        check::planes(OP, scale.len(), plane, x.len())?;
        check_len(OP, "y", y.len(), x.len())?;
        self.map_planes(plane, x, y, |index, x, y| {
            let c = index % scale.len();
            let (scale, offset) = (scale[c] as f32, offset[c] as f32);
            for (y, x) in y.iter_mut().zip(x) {
                *y = scale * x + offset;
            }
        });
        Ok(())
    }

    fn channel_affine_backward(&self, plane: usize, scale: &[f64], g_y: &Buffer, g_x: &mut Buffer) -> Result<()> {
        const OP: &str = "channel_affine_backward";
        check::planes(OP, scale.len(), plane, g_y.len())?;
        check_len(OP, "g_x", g_x.len(), g_y.len())?;
        self.map_planes(plane, g_y, g_x, |index, g_y, g_x| {
            let scale = scale[index % scale.len()] as f32;
            for (g_x, g_y) in g_x.iter_mut().zip(g_y) {
                *g_x = scale * g_y;
            }
        });
        Ok(())
    }
}

impl Cpu {
    /// `f(plane index, input plane, output plane)` for every plane, in parallel.
    fn map_planes(&self, plane: usize, x: &[f32], y: &mut [f32], f: impl Fn(usize, &[f32], &mut [f32]) + Sync) {
        if y.is_empty() {
            return;
        }
        self.install(|| {
            y.par_chunks_exact_mut(plane)
                .zip(x.par_chunks_exact(plane))
                .enumerate()
                .for_each(|(index, (y, x))| f(index, x, y));
        });
    }
}
