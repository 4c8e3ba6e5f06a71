//! A factor and a summand for each channel.

// A struct of C goes to the kernel.
#![allow(unsafe_code)]

use nca_core::backend::{ChannelAffine, check};
use nca_core::{Result, check_len};

use crate::launch::{Argument, blocks, launch};
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const CHANNEL_AFFINE: Kernel = Kernel::new("channel_affine", "channel_affine");

/// Channels of one launch, `MAX_CHANNELS` in the kernel.
const CHANNELS: usize = 128;

/// `Affine` in the kernel.
#[repr(C)]
struct Affine {
    scale: [f32; CHANNELS],
    offset: [f32; CHANNELS],
}

// SAFETY: `repr(C)`, the same fields in the same order.
unsafe impl Argument for Affine {}

impl ChannelAffine for Cuda {
    fn channel_affine(&self, plane: usize, scale: &[f64], offset: &[f64], x: &Buffer, y: &mut Buffer) -> Result<()> {
        const OP: &str = "channel_affine";
        check_len(OP, "offset", offset.len(), scale.len())?;
        check::planes(OP, scale.len(), plane, x.len())?;
        check_len(OP, "y", y.len(), x.len())?;
        self.affine(OP, plane, scale, Some(offset), x, y)
    }

    fn channel_affine_backward(&self, plane: usize, scale: &[f64], g_y: &Buffer, g_x: &mut Buffer) -> Result<()> {
        const OP: &str = "channel_affine_backward";
        check::planes(OP, scale.len(), plane, g_y.len())?;
        check_len(OP, "g_x", g_x.len(), g_y.len())?;
        self.affine(OP, plane, scale, None, g_y, g_x)
    }
}

impl Cuda {
    /// `y = scale · x + offset`, some channels at a time.
    fn affine(
        &self,
        op: &'static str,
        plane: usize,
        scale: &[f64],
        offset: Option<&[f64]>,
        x: &Buffer,
        y: &Buffer,
    ) -> Result<()> {
        let channels = scale.len();
        if x.len() == 0 {
            return Ok(());
        }
        let batch = blocks(op, "samples", x.len() / (plane * channels))?;
        for first in (0..channels).step_by(CHANNELS) {
            let count = (channels - first).min(CHANNELS);
            let mut affine = Affine {
                scale: [0.0; CHANNELS],
                offset: [0.0; CHANNELS],
            };
            for c in 0..count {
                affine.scale[c] = scale[first + c] as f32;
                affine.offset[c] = offset.map_or(0.0, |offset| offset[first + c] as f32);
            }
            let [across, ..] = Shape::linear(plane).grid;
            launch!(
                self,
                CHANNEL_AFFINE,
                Shape::grid([across, count as u32, batch]),
                affine,
                first as u32,
                channels as u32,
                plane as u64,
                x.address(),
                y.address(),
            )?;
        }
        Ok(())
    }
}
