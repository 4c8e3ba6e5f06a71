//! Warping an image back along a flow.

use super::Device;
use crate::error::Result;

/// Bilinear sampling at displaced positions, clamped to the image.
pub trait Warp: Device {
    /// `y[b,c](p) = x[b,c](clamp(p + flow[b](p)))`, bilinear between pixels.
    ///
    /// `x [B,C,H,W]`, `flow [B,2,H,W]` in pixels (x, y) → `y [B,C,H,W]`.
    fn warp(
        &self,
        batch: usize,
        channels: usize,
        height: usize,
        width: usize,
        x: &Self::Buffer,
        flow: &Self::Buffer,
        y: &mut Self::Buffer,
    ) -> Result<()>;

    /// Gradients of [`Warp::warp`]. A position on or beyond the border has no gradient across it;
    /// one on a pixel takes the slope towards the next (PyTorch's conventions).
    ///
    /// `g_y [B,C,H,W]` → `g_x [B,C,H,W]` (`=`), `g_flow [B,2,H,W]` (`=`).
    fn warp_backward(
        &self,
        batch: usize,
        channels: usize,
        height: usize,
        width: usize,
        x: &Self::Buffer,
        flow: &Self::Buffer,
        g_y: &Self::Buffer,
        g_x: &mut Self::Buffer,
        g_flow: &mut Self::Buffer,
    ) -> Result<()>;
}
