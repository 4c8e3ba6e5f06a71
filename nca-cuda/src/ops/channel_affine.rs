//! A factor and a summand for each channel.

// A struct of C goes to the kernel.
#![allow(unsafe_code)]

use nca_core::backend::ChannelAffine;
use nca_core::{Error, Result, check_len};

use crate::launch::{Argument, launch};
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
        check_planes(OP, plane * scale.len(), x)?;
        check_len(OP, "y", y.len(), x.len())?;
        self.affine(plane, scale, Some(offset), x, y)
    }

    fn channel_affine_backward(&self, plane: usize, scale: &[f64], g_y: &Buffer, g_x: &mut Buffer) -> Result<()> {
        const OP: &str = "channel_affine_backward";
        check_planes(OP, plane * scale.len(), g_y)?;
        check_len(OP, "g_x", g_x.len(), g_y.len())?;
        self.affine(plane, scale, None, g_y, g_x)
    }
}

impl Cuda {
    /// `y = scale · x + offset`, some channels at a time.
    fn affine(&self, plane: usize, scale: &[f64], offset: Option<&[f64]>, x: &Buffer, y: &Buffer) -> Result<()> {
        let channels = scale.len();
        if x.len() == 0 {
            return Ok(());
        }
        let batch = x.len() / (plane * channels);
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
            let [blocks, ..] = Shape::linear(plane).grid;
            launch!(
                self,
                CHANNEL_AFFINE,
                Shape::grid([blocks, count as u32, batch as u32]),
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

/// `x` must be a whole number of samples of `sample` elements.
pub(super) fn check_planes(op: &'static str, sample: usize, x: &Buffer) -> Result<()> {
    if x.len() == 0 || (sample > 0 && x.len().is_multiple_of(sample)) {
        return Ok(());
    }
    Err(Error::Length {
        op,
        what: "x",
        found: x.len(),
        expected: x.len().checked_div(sample).unwrap_or(0).max(1) * sample,
    })
}
