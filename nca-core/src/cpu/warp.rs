//! Warping an image back along a flow.

use rayon::prelude::*;

use super::{Buffer, Cpu};
use crate::backend::{Warp, check};
use crate::error::Result;

impl Warp for Cpu {
    fn warp(
        &self,
        batch: usize,
        channels: usize,
        height: usize,
        width: usize,
        x: &Buffer,
        flow: &Buffer,
        y: &mut Buffer,
    ) -> Result<()> {
        let plane = check::elements(&[height, width]);
        check::shape("warp", "x", x.len(), &[batch, channels, plane])?;
        check::shape("warp", "flow", flow.len(), &[batch, 2, plane])?;
        check::shape("warp", "y", y.len(), &[batch, channels, plane])?;
        if y.is_empty() {
            return Ok(());
        }
        self.install(|| {
            y.par_chunks_exact_mut(width).enumerate().for_each(|(index, y)| {
                let (image, row) = (index / height, index % height);
                let x = &x[image * plane..][..plane];
                let flow = &flow[image / channels * 2 * plane + row * width..];
                let (u, v) = (&flow[..width], &flow[plane..][..width]);
                for (column, y) in y.iter_mut().enumerate() {
                    let across = Tap::new(column, u[column], width);
                    let down = Tap::new(row, v[column], height);
                    let along = |p: usize| across.mix(x[p * width + across.low], x[p * width + across.high]);
                    *y = down.mix(along(down.low), along(down.high));
                }
            });
        });
        Ok(())
    }

    fn warp_backward(
        &self,
        batch: usize,
        channels: usize,
        height: usize,
        width: usize,
        x: &Buffer,
        flow: &Buffer,
        g_y: &Buffer,
        g_x: &mut Buffer,
        g_flow: &mut Buffer,
    ) -> Result<()> {
        const OP: &str = "warp_backward";
        let plane = check::elements(&[height, width]);
        check::shape(OP, "x", x.len(), &[batch, channels, plane])?;
        check::shape(OP, "flow", flow.len(), &[batch, 2, plane])?;
        check::shape(OP, "g_y", g_y.len(), &[batch, channels, plane])?;
        check::shape(OP, "g_x", g_x.len(), &[batch, channels, plane])?;
        check::shape(OP, "g_flow", g_flow.len(), &[batch, 2, plane])?;
        if g_flow.is_empty() {
            return Ok(());
        }
        let sample = channels * plane;
        self.install(|| {
            // A sample is one task: its scattered sums have a fixed order.
            g_flow
                .par_chunks_exact_mut(2 * plane)
                .zip(g_x.par_chunks_mut(sample.max(1)))
                .enumerate()
                .for_each(|(b, (g_flow, g_x))| {
                    let flow = &flow[b * 2 * plane..][..2 * plane];
                    let (x, g_y) = (&x[b * sample..][..sample], &g_y[b * sample..][..sample]);
                    g_x.fill(0.0);
                    for p in 0..plane {
                        let column = Tap::new(p % width, flow[p], width);
                        let row = Tap::new(p / width, flow[plane + p], height);
                        let (s, t) = (row.fraction, column.fraction);
                        let corners = [
                            row.low * width + column.low,
                            row.low * width + column.high,
                            row.high * width + column.low,
                            row.high * width + column.high,
                        ];
                        let weights = [(1.0 - s) * (1.0 - t), (1.0 - s) * t, s * (1.0 - t), s * t];
                        let (mut g_u, mut g_v) = (0.0, 0.0);
                        for c in 0..channels {
                            let g = g_y[c * plane + p];
                            let [a, b, d, e] = corners.map(|corner| x[c * plane + corner]);
                            for (corner, weight) in corners.iter().zip(weights) {
                                g_x[c * plane + corner] += g * weight;
                            }
                            g_u += g * row.mix(b - a, e - d);
                            g_v += g * column.mix(d - a, e - b);
                        }
                        g_flow[p] = if column.free { g_u } else { 0.0 };
                        g_flow[plane + p] = if row.free { g_v } else { 0.0 };
                    }
                });
        });
        Ok(())
    }
}

/// Where a displaced position lies on a line of pixels.
struct Tap {
    low: usize,
    high: usize,
    /// Weight of `high`.
    fraction: f32,
    /// Strictly inside the line: the position moves with the displacement.
    free: bool,
}

impl Tap {
    #[inline]
    fn new(at: usize, displacement: f32, len: usize) -> Self {
        let (position, last) = (at as f32 + displacement, (len - 1) as f32);
        // NaN goes to the border.
        let clamped = position.max(0.0).min(last);
        // Over i32, which is one instruction: no line of pixels is longer.
        let low = clamped as i32 as usize;
        Self {
            low,
            high: (low + 1).min(len - 1),
            fraction: clamped - low as f32,
            free: position > 0.0 && position < last,
        }
    }

    #[inline]
    fn mix(&self, low: f32, high: f32) -> f32 {
        (1.0 - self.fraction) * low + self.fraction * high
    }
}
