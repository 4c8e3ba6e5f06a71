//! The picture of a state.

use rayon::prelude::*;

use super::{Buffer, Cpu};
use crate::backend::{Rgb, check};
use crate::config::{Grid, NcaConfig, RgbMap};
use crate::error::{Result, check_len};

impl Rgb for Cpu {
    fn rgb(&self, config: &NcaConfig, grid: Grid, x: &Buffer, rgb: &mut Buffer) -> Result<()> {
        check::automaton("rgb", config, grid)?;
        let (sample, picture) = (config.channels * grid.plane(), 3 * grid.plane());
        check_len("rgb", "x", x.len(), grid.batch * sample)?;
        check_len("rgb", "rgb", rgb.len(), grid.batch * picture)?;
        if rgb.is_empty() {
            return Ok(());
        }
        self.install(|| {
            rgb.par_chunks_exact_mut(picture)
                .zip(x.par_chunks_exact(sample))
                .for_each(|(rgb, x)| {
                    let x = &x[..picture];
                    let (scale, offset) = match config.rgb {
                        RgbMap::Affine { scale, offset } => (scale as f32, offset as f32),
                        RgbMap::MinMax => {
                            let range = Range::of(x);
                            for (rgb, &x) in rgb.iter_mut().zip(x) {
                                *rgb = (x - range.min) / range.divisor();
                            }
                            return;
                        }
                    };
                    for (rgb, &x) in rgb.iter_mut().zip(x) {
                        *rgb = scale * x + offset;
                    }
                });
        });
        Ok(())
    }

    fn rgb_backward(&self, config: &NcaConfig, grid: Grid, x: &Buffer, g_rgb: &Buffer, g_x: &mut Buffer) -> Result<()> {
        check::automaton("rgb_backward", config, grid)?;
        let (sample, picture) = (config.channels * grid.plane(), 3 * grid.plane());
        check_len("rgb_backward", "x", x.len(), grid.batch * sample)?;
        check_len("rgb_backward", "g_rgb", g_rgb.len(), grid.batch * picture)?;
        check_len("rgb_backward", "g_x", g_x.len(), grid.batch * sample)?;
        if g_x.is_empty() {
            return Ok(());
        }
        self.install(|| {
            g_x.par_chunks_exact_mut(sample)
                .zip(x.par_chunks_exact(sample).zip(g_rgb.par_chunks_exact(picture)))
                .for_each(|(g_x, (x, g_rgb))| {
                    let (g_x, rest) = g_x.split_at_mut(picture);
                    rest.fill(0.0);
                    match config.rgb {
                        RgbMap::Affine { scale, .. } => {
                            for (g_x, &g) in g_x.iter_mut().zip(g_rgb) {
                                *g_x = scale as f32 * g;
                            }
                        }
                        RgbMap::MinMax => min_max_backward(&x[..picture], g_rgb, g_x),
                    }
                });
        });
        Ok(())
    }
}

/// Smallest and largest value of a picture.
struct Range {
    min: f32,
    max: f32,
}

impl Range {
    fn of(x: &[f32]) -> Self {
        let start = Self {
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
        };
        x.iter().fold(start, |range, &v| Self {
            min: range.min.min(v),
            max: range.max.max(v),
        })
    }

    fn divisor(&self) -> f32 {
        (f64::from(self.max) - f64::from(self.min) + RgbMap::MIN_MAX_EPSILON) as f32
    }
}

/// With r = max − min + ε and y = (s − min)/r: ∂y/∂s = 1/r, ∂y/∂min = (y − 1)/r, ∂y/∂max = −y/r.
fn min_max_backward(x: &[f32], g_rgb: &[f32], g_x: &mut [f32]) {
    let range = Range::of(x);
    let divisor = f64::from(range.divisor());
    let (mut g_min, mut g_max) = (0.0, 0.0);
    let (mut at_min, mut at_max) = (0u32, 0u32);
    for (&s, &g) in x.iter().zip(g_rgb) {
        let y = (f64::from(s) - f64::from(range.min)) / divisor;
        g_min += f64::from(g) * (y - 1.0) / divisor;
        g_max -= f64::from(g) * y / divisor;
        at_min += u32::from(s == range.min);
        at_max += u32::from(s == range.max);
    }
    // Elements that tie for an extreme share its derivative.
    let (g_min, g_max) = (g_min / f64::from(at_min), g_max / f64::from(at_max));
    for ((g_x, &s), &g) in g_x.iter_mut().zip(x).zip(g_rgb) {
        let mut sum = f64::from(g) / divisor;
        if s == range.min {
            sum += g_min;
        }
        if s == range.max {
            sum += g_max;
        }
        *g_x = sum as f32;
    }
}
