//! Perception.

use nca_core::backend::Perceive;
use nca_core::{Grid, NcaConfig, Result};

use super::nca::{PerceptionArgument, check_automaton, check_lengths};
use crate::launch::{blocks, launch};
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const PERCEIVE: Kernel = Kernel::new("perceive", "perceive");
const PERCEIVE_BACKWARD: Kernel = Kernel::new("perceive", "perceive_backward");

impl Perceive for Cuda {
    fn perceive(&self, config: &NcaConfig, grid: Grid, x: &Buffer, z: &mut Buffer) -> Result<()> {
        check_automaton("perceive", config, grid)?;
        let (state, perceived) = (config.channels * grid.cells(), config.perceived() * grid.cells());
        check_lengths("perceive", &[("x", x, state), ("z", z, perceived)])?;
        self.stencil("perceive", PERCEIVE, config, grid, x, z)
    }

    fn perceive_backward(&self, config: &NcaConfig, grid: Grid, g_z: &Buffer, g_x: &mut Buffer) -> Result<()> {
        check_automaton("perceive_backward", config, grid)?;
        let (state, perceived) = (config.channels * grid.cells(), config.perceived() * grid.cells());
        check_lengths("perceive_backward", &[("g_z", g_z, perceived), ("g_x", g_x, state)])?;
        self.stencil("perceive_backward", PERCEIVE_BACKWARD, config, grid, g_z, g_x)
    }
}

impl Cuda {
    fn stencil(
        &self,
        op: &'static str,
        kernel: Kernel,
        config: &NcaConfig,
        grid: Grid,
        from: &Buffer,
        to: &Buffer,
    ) -> Result<()> {
        let channels = blocks(op, "channels", config.channels)?;
        let [across, ..] = Shape::linear(grid.plane()).grid;
        launch!(
            self,
            kernel,
            Shape::grid([across, channels, grid.batch as u32]),
            PerceptionArgument::new(config),
            from.address(),
            to.address(),
            grid.height as i32,
            grid.width as i32,
        )
    }
}
