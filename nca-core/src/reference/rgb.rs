//! The picture of a state.

use ndarray::{ArrayView2, s};

use super::{Reference, view, view_mut};
use crate::backend::{Rgb, check};
use crate::config::{Grid, NcaConfig, RgbMap};
use crate::error::Result;
use crate::real::Real;

impl<T: Real> Rgb for Reference<T> {
    fn rgb(&self, config: &NcaConfig, grid: Grid, x: &Vec<T>, rgb: &mut Vec<T>) -> Result<()> {
        // x [B,C,HW] -> rgb [B,3,HW]. Backward needs x.
        check::automaton("rgb", config, grid)?;
        let (batch, plane) = (grid.batch, grid.plane());
        let x = view("rgb", "x", x, (batch, config.channels, plane))?;
        let mut rgb = view_mut("rgb", "rgb", rgb, (batch, 3, plane))?;
        for b in 0..batch {
            let s = x.slice(s![b, ..3, ..]);
            rgb.slice_mut(s![b, .., ..]).assign(&match config.rgb {
                RgbMap::Affine { scale, offset } => s.mapv(|s| T::of(scale) * s + T::of(offset)),
                RgbMap::MinMax => {
                    let (min, max) = extremes(&s);
                    s.mapv(|s| (s - min) / range(min, max))
                }
            });
        }
        Ok(())
    }

    fn rgb_backward(&self, config: &NcaConfig, grid: Grid, x: &Vec<T>, g_rgb: &Vec<T>, g_x: &mut Vec<T>) -> Result<()> {
        // g_rgb [B,3,HW] -> g_x [B,C,HW] (=).
        const OP: &str = "rgb_backward";
        check::automaton(OP, config, grid)?;
        let (batch, plane) = (grid.batch, grid.plane());
        let x = view(OP, "x", x, (batch, config.channels, plane))?;
        let g_rgb = view(OP, "g_rgb", g_rgb, (batch, 3, plane))?;
        let mut g_x = view_mut(OP, "g_x", g_x, (batch, config.channels, plane))?;
        g_x.fill(T::zero());
        for b in 0..batch {
            let (s, g) = (x.slice(s![b, ..3, ..]), g_rgb.slice(s![b, .., ..]));
            g_x.slice_mut(s![b, ..3, ..]).assign(&match config.rgb {
                RgbMap::Affine { scale, .. } => g.mapv(|g| T::of(scale) * g),
                RgbMap::MinMax => {
                    // y = (s − min)/R, R = max − min + ε: besides g/R, the minimum receives
                    // −Σ g(1 − y)/R and the maximum −Σ g·y/R, shared among the elements that tie.
                    let (min, max) = extremes(&s);
                    let range = range(min, max);
                    let y = s.mapv(|s| (s - min) / range);
                    let g_min = -(&g * &y.mapv(|y| T::one() - y)).sum() / range / count(&s, min);
                    let g_max = -(&g * &y).sum() / range / count(&s, max);
                    let mut g_s = g.mapv(|g| g / range);
                    g_s.zip_mut_with(&s, |g_s, &s| {
                        if s == min {
                            *g_s += g_min;
                        }
                        if s == max {
                            *g_s += g_max;
                        }
                    });
                    g_s
                }
            });
        }
        Ok(())
    }
}

/// Smallest and largest element.
fn extremes<T: Real>(s: &ArrayView2<'_, T>) -> (T, T) {
    s.iter().fold((T::infinity(), T::neg_infinity()), |(min, max), &v| {
        (min.min(v), max.max(v))
    })
}

/// The denominator of the min–max map.
fn range<T: Real>(min: T, max: T) -> T {
    max - min + T::of(RgbMap::MIN_MAX_EPSILON)
}

/// How many elements equal `value`.
fn count<T: Real>(s: &ArrayView2<'_, T>, value: T) -> T {
    T::of(s.iter().filter(|&&v| v == value).count() as f64)
}
