//! The picture of a state.

use nca_core::backend::Rgb;
use nca_core::{Grid, NcaConfig, Result, RgbMap};

use super::nca::{check_automaton, check_lengths};
use crate::launch::launch;
use crate::machine::Shape;
use crate::module::Kernel;
use crate::workspace::Held;
use crate::{Buffer, Cuda};

const RGB_AFFINE: Kernel = Kernel::new("rgb", "rgb_affine");
const RGB_AFFINE_BACKWARD: Kernel = Kernel::new("rgb", "rgb_affine_backward");
const RGB_EXTREMES: Kernel = Kernel::new("rgb", "rgb_extremes");
const RGB_MIN_MAX: Kernel = Kernel::new("rgb", "rgb_min_max");
const RGB_SUMS: Kernel = Kernel::new("rgb", "rgb_sums");
const RGB_MIN_MAX_BACKWARD: Kernel = Kernel::new("rgb", "rgb_min_max_backward");

/// Floats of `Extremes` and of `Sums` in the kernels.
const EXTREMES: usize = 2;
const SUMS: usize = 4;

/// Threads over `len` elements of a sample, one block row for each sample.
fn samples(grid: Grid, len: usize) -> Shape {
    let [blocks, ..] = Shape::linear(len).grid;
    Shape::grid([blocks, grid.batch as u32, 1])
}

impl Rgb for Cuda {
    fn rgb(&self, config: &NcaConfig, grid: Grid, x: &Buffer, rgb: &mut Buffer) -> Result<()> {
        check_automaton("rgb", config, grid)?;
        let (sample, colour) = (config.channels * grid.plane(), 3 * grid.plane());
        check_lengths(
            "rgb",
            &[("x", x, grid.batch * sample), ("rgb", rgb, grid.batch * colour)],
        )?;
        let (shape, sample, colour) = (samples(grid, colour), sample as u64, colour as u64);
        match config.rgb {
            RgbMap::Affine { scale, offset } => launch!(
                self,
                RGB_AFFINE,
                shape,
                scale as f32,
                offset as f32,
                x.address(),
                rgb.address(),
                sample,
                colour,
            ),
            RgbMap::MinMax => {
                let extremes = self.extremes(grid, x, sample, colour)?;
                launch!(
                    self,
                    RGB_MIN_MAX,
                    shape,
                    extremes.address(),
                    x.address(),
                    rgb.address(),
                    sample,
                    colour,
                )
            }
        }
    }

    fn rgb_backward(&self, config: &NcaConfig, grid: Grid, x: &Buffer, g_rgb: &Buffer, g_x: &mut Buffer) -> Result<()> {
        const OP: &str = "rgb_backward";
        check_automaton(OP, config, grid)?;
        let (sample, colour) = (config.channels * grid.plane(), 3 * grid.plane());
        check_lengths(
            OP,
            &[
                ("x", x, grid.batch * sample),
                ("g_rgb", g_rgb, grid.batch * colour),
                ("g_x", g_x, grid.batch * sample),
            ],
        )?;
        let (shape, sample, colour) = (samples(grid, sample), sample as u64, colour as u64);
        match config.rgb {
            RgbMap::Affine { scale, .. } => launch!(
                self,
                RGB_AFFINE_BACKWARD,
                shape,
                scale as f32,
                g_rgb.address(),
                g_x.address(),
                sample,
                colour,
            ),
            RgbMap::MinMax => {
                let held = self.extremes(grid, x, sample, colour)?;
                let (extremes, sums) = (held.address(), held.at(EXTREMES * grid.batch));
                launch!(
                    self,
                    RGB_SUMS,
                    Shape::blocks(grid.batch as u32),
                    extremes,
                    x.address(),
                    g_rgb.address(),
                    sums,
                    sample,
                    colour,
                )?;
                launch!(
                    self,
                    RGB_MIN_MAX_BACKWARD,
                    shape,
                    extremes,
                    sums,
                    x.address(),
                    g_rgb.address(),
                    g_x.address(),
                    sample,
                    colour,
                )
            }
        }
    }
}

impl Cuda {
    /// The extremes of each sample, at the start of the workspace, and room for its sums behind them.
    fn extremes(&self, grid: Grid, x: &Buffer, sample: u64, colour: u64) -> Result<Held<'_>> {
        let held = self.workspace((EXTREMES + SUMS) * grid.batch)?;
        launch!(
            self,
            RGB_EXTREMES,
            Shape::blocks(grid.batch as u32),
            x.address(),
            held.address(),
            sample,
            colour,
        )?;
        Ok(held)
    }
}
