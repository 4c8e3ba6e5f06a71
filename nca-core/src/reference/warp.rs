//! Warping an image back along a flow.

use super::{Reference, view, view_mut};
use crate::backend::Warp;
use crate::error::Result;
use crate::real::Real;

impl<T: Real> Warp for Reference<T> {
    fn warp(
        &self,
        batch: usize,
        channels: usize,
        height: usize,
        width: usize,
        x: &Vec<T>,
        flow: &Vec<T>,
        y: &mut Vec<T>,
    ) -> Result<()> {
        // x [B,C,H,W], flow [B,2,H,W] -> y [B,C,H,W]. Backward needs x and flow.
        let x = view("warp", "x", x, (batch, channels, height, width))?;
        let flow = view("warp", "flow", flow, (batch, 2, height, width))?;
        let mut y = view_mut("warp", "y", y, (batch, channels, height, width))?;
        for ((b, c, i, j), y) in y.indexed_iter_mut() {
            let column = Tap::new(j, flow[[b, 0, i, j]], width);
            let row = Tap::new(i, flow[[b, 1, i, j]], height);
            let along = |p: usize| column.mix(x[[b, c, p, column.low]], x[[b, c, p, column.high]]);
            *y = row.mix(along(row.low), along(row.high));
        }
        Ok(())
    }

    fn warp_backward(
        &self,
        batch: usize,
        channels: usize,
        height: usize,
        width: usize,
        x: &Vec<T>,
        flow: &Vec<T>,
        g_y: &Vec<T>,
        g_x: &mut Vec<T>,
        g_flow: &mut Vec<T>,
    ) -> Result<()> {
        // g_y [B,C,H,W] -> g_x [B,C,H,W] (=), g_flow [B,2,H,W] (=).
        const OP: &str = "warp_backward";
        let x = view(OP, "x", x, (batch, channels, height, width))?;
        let flow = view(OP, "flow", flow, (batch, 2, height, width))?;
        let g_y = view(OP, "g_y", g_y, (batch, channels, height, width))?;
        let mut g_x = view_mut(OP, "g_x", g_x, (batch, channels, height, width))?;
        let mut g_flow = view_mut(OP, "g_flow", g_flow, (batch, 2, height, width))?;
        g_x.fill(T::zero());
        g_flow.fill(T::zero());
        let one = T::one();
        for ((b, c, i, j), &g) in g_y.indexed_iter() {
            let column = Tap::new(j, flow[[b, 0, i, j]], width);
            let row = Tap::new(i, flow[[b, 1, i, j]], height);
            let (s, t) = (row.fraction, column.fraction);
            g_x[[b, c, row.low, column.low]] += g * (one - s) * (one - t);
            g_x[[b, c, row.low, column.high]] += g * (one - s) * t;
            g_x[[b, c, row.high, column.low]] += g * s * (one - t);
            g_x[[b, c, row.high, column.high]] += g * s * t;
            let at = |p: usize, q: usize| x[[b, c, p, q]];
            if column.free {
                let slope = |p: usize| at(p, column.high) - at(p, column.low);
                g_flow[[b, 0, i, j]] += g * row.mix(slope(row.low), slope(row.high));
            }
            if row.free {
                let slope = |q: usize| at(row.high, q) - at(row.low, q);
                g_flow[[b, 1, i, j]] += g * column.mix(slope(column.low), slope(column.high));
            }
        }
        Ok(())
    }
}

/// Where a displaced position lies on a line of pixels.
struct Tap<T> {
    low: usize,
    high: usize,
    /// Weight of `high`.
    fraction: T,
    /// Strictly inside the line: the position moves with the displacement.
    free: bool,
}

impl<T: Real> Tap<T> {
    fn new(at: usize, displacement: T, len: usize) -> Self {
        let (position, last) = (T::of(at as f64) + displacement, T::of((len - 1) as f64));
        // NaN goes to the border.
        let clamped = position.max(T::zero()).min(last);
        let low = clamped.floor();
        let index = low.to_usize().unwrap_or(0);
        Self {
            low: index,
            high: (index + 1).min(len - 1),
            fraction: clamped - low,
            free: position > T::zero() && position < last,
        }
    }

    fn mix(&self, low: T, high: T) -> T {
        (T::one() - self.fraction) * low + self.fraction * high
    }
}
