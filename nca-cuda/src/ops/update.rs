//! The stochastic residual update of the state.

use nca_core::backend::{MaskKey, Update};
use nca_core::{Grid, NcaConfig, Result};

use super::nca::{MaskArgument, check_automaton, check_lengths, clamp_argument};
use crate::launch::launch;
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const UPDATE: Kernel = Kernel::new("update", "update");
const UPDATE_BACKWARD: Kernel = Kernel::new("update", "update_backward");

/// Threads over the cells of a sample, one block row for each sample.
fn cells(grid: Grid) -> Shape {
    let [blocks, ..] = Shape::linear(grid.plane()).grid;
    Shape::grid([blocks, grid.batch as u32, 1])
}

impl Update for Cuda {
    fn update(
        &self,
        config: &NcaConfig,
        grid: Grid,
        key: MaskKey,
        x: &Buffer,
        dx: &Buffer,
        x_next: &mut Buffer,
    ) -> Result<()> {
        check_automaton("update", config, grid)?;
        let state = config.channels * grid.cells();
        check_lengths(
            "update",
            &[("x", x, state), ("dx", dx, state), ("x_next", x_next, state)],
        )?;
        launch!(
            self,
            UPDATE,
            cells(grid),
            MaskArgument::new(config, key),
            clamp_argument(config),
            x.address(),
            dx.address(),
            x_next.address(),
            config.channels as i32,
            grid.plane() as u64,
        )
    }

    fn update_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        key: MaskKey,
        x: &Buffer,
        dx: &Buffer,
        g_next: &Buffer,
        g_x: &mut Buffer,
        g_dx: &mut Buffer,
    ) -> Result<()> {
        check_automaton("update_backward", config, grid)?;
        let state = config.channels * grid.cells();
        check_lengths(
            "update_backward",
            &[
                ("x", x, state),
                ("dx", dx, state),
                ("g_next", g_next, state),
                ("g_x", g_x, state),
                ("g_dx", g_dx, state),
            ],
        )?;
        launch!(
            self,
            UPDATE_BACKWARD,
            cells(grid),
            MaskArgument::new(config, key),
            clamp_argument(config),
            x.address(),
            dx.address(),
            g_next.address(),
            g_x.address(),
            g_dx.address(),
            config.channels as i32,
            grid.plane() as u64,
        )
    }
}
