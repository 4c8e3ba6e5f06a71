//! A factor and a summand for each channel.

use ndarray::Axis;

use super::{Reference, view, view_mut};
use crate::backend::{ChannelAffine, check};
use crate::error::{Result, check_len};
use crate::real::Real;

impl<T: Real> ChannelAffine for Reference<T> {
    fn channel_affine(&self, plane: usize, scale: &[f64], offset: &[f64], x: &Vec<T>, y: &mut Vec<T>) -> Result<()> {
        // x [B,C,P] -> y [B,C,P]. Backward needs nothing.
        const OP: &str = "channel_affine";
        check_len(OP, "offset", offset.len(), scale.len())?;
        let shape = samples(OP, plane, scale.len(), x.len())?;
        let x = view(OP, "x", x, shape)?;
        let mut y = view_mut(OP, "y", y, shape)?;
        for (c, (&scale, &offset)) in scale.iter().zip(offset).enumerate() {
            let channel = x.index_axis(Axis(1), c);
            y.index_axis_mut(Axis(1), c)
                .assign(&channel.mapv(|x| T::of(scale) * x + T::of(offset)));
        }
        Ok(())
    }

    fn channel_affine_backward(&self, plane: usize, scale: &[f64], g_y: &Vec<T>, g_x: &mut Vec<T>) -> Result<()> {
        // g_y [B,C,P] -> g_x [B,C,P] (=).
        const OP: &str = "channel_affine_backward";
        let shape = samples(OP, plane, scale.len(), g_y.len())?;
        let g_y = view(OP, "g_y", g_y, shape)?;
        let mut g_x = view_mut(OP, "g_x", g_x, shape)?;
        for (c, &scale) in scale.iter().enumerate() {
            let channel = g_y.index_axis(Axis(1), c);
            g_x.index_axis_mut(Axis(1), c)
                .assign(&channel.mapv(|g| T::of(scale) * g));
        }
        Ok(())
    }
}

/// `[B,C,P]` for `len` elements, which must be a whole number of samples.
pub(super) fn samples(op: &'static str, plane: usize, channels: usize, len: usize) -> Result<(usize, usize, usize)> {
    check::planes(op, channels, plane, len)?;
    let batch = len.checked_div(check::elements(&[plane, channels])).unwrap_or(0);
    Ok((batch, channels, plane))
}
