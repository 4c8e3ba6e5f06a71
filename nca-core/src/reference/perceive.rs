//! Perception: every channel seen through the model's 3×3 kernels.

use ndarray::{Array2, ArrayView2, s};

use super::{Reference, view, view_mut};
use crate::backend::{Perceive, check};
use crate::config::{Grid, NcaConfig, Padding};
use crate::error::Result;
use crate::real::Real;

impl<T: Real> Perceive for Reference<T> {
    fn perceive(&self, config: &NcaConfig, grid: Grid, x: &Vec<T>, z: &mut Vec<T>) -> Result<()> {
        // x [B,C,H,W] -> z [B,KC,H,W]. Linear: backward needs nothing.
        check::automaton("perceive", config, grid)?;
        let (channels, Grid { batch, height, width }) = (config.channels, grid);
        let x = view("perceive", "x", x, (batch, channels, height, width))?;
        let mut z = view_mut("perceive", "z", z, (batch, config.perceived(), height, width))?;
        z.fill(T::zero());
        for b in 0..batch {
            for c in 0..channels {
                for (dy, dx) in NEIGHBOURHOOD {
                    let neighbour = shifted(config.padding, &x.slice(s![b, c, .., ..]), dy, dx);
                    for (k, kernel) in config.perception.kernels.iter().enumerate() {
                        z.slice_mut(s![b, k * channels + c, .., ..])
                            .scaled_add(T::of(kernel[dy][dx]), &neighbour);
                    }
                }
            }
        }
        Ok(())
    }

    fn perceive_backward(&self, config: &NcaConfig, grid: Grid, g_z: &Vec<T>, g_x: &mut Vec<T>) -> Result<()> {
        // g_z [B,KC,H,W] -> g_x [B,C,H,W] (=).
        check::automaton("perceive_backward", config, grid)?;
        let (channels, Grid { batch, height, width }) = (config.channels, grid);
        let perceived = (batch, config.perceived(), height, width);
        let g_z = view("perceive_backward", "g_z", g_z, perceived)?;
        let mut g_x = view_mut("perceive_backward", "g_x", g_x, (batch, channels, height, width))?;
        g_x.fill(T::zero());
        for b in 0..batch {
            for c in 0..channels {
                for (dy, dx) in NEIGHBOURHOOD {
                    let mut g_neighbour = Array2::zeros((height, width));
                    for (k, kernel) in config.perception.kernels.iter().enumerate() {
                        g_neighbour.scaled_add(T::of(kernel[dy][dx]), &g_z.slice(s![b, k * channels + c, .., ..]));
                    }
                    // What `shifted` read from a cell flows back into that cell.
                    for ((y, x), &g) in g_neighbour.indexed_iter() {
                        if let Some((sy, sx)) = neighbour_of(config.padding, (height, width), (y, x), dy, dx) {
                            g_x[[b, c, sy, sx]] += g;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Row and column of each kernel weight.
const NEIGHBOURHOOD: [(usize, usize); 9] = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)];

/// What each cell of `plane` sees at row `dy` and column `dx` of its neighbourhood.
fn shifted<T: Real>(padding: Padding, plane: &ArrayView2<'_, T>, dy: usize, dx: usize) -> Array2<T> {
    Array2::from_shape_fn(plane.dim(), |cell| {
        neighbour_of(padding, plane.dim(), cell, dy, dx).map_or(T::zero(), |source| plane[source])
    })
}

/// The cell that `(y, x)` sees at row `dy` and column `dx` of its neighbourhood, if there is one.
fn neighbour_of(
    padding: Padding,
    (height, width): (usize, usize),
    (y, x): (usize, usize),
    dy: usize,
    dx: usize,
) -> Option<(usize, usize)> {
    Some((along(padding, y, dy, height)?, along(padding, x, dx, width)?))
}

/// Index `i + d − 1` of an axis of `len` cells, as `padding` reads it.
fn along(padding: Padding, i: usize, d: usize, len: usize) -> Option<usize> {
    let (i, len) = (i as isize + d as isize - 1, len as isize);
    match padding {
        Padding::Circular => Some(i.rem_euclid(len) as usize),
        Padding::Replicate => Some(i.clamp(0, len - 1) as usize),
        Padding::Zero => (0..len).contains(&i).then_some(i as usize),
    }
}
