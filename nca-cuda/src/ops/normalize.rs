//! Gradient normalisation.

use nca_core::Result;
use nca_core::backend::{Normalize, check};

use crate::launch::launch;
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const SUM_OF_SQUARES: Kernel = Kernel::new("normalize", "sum_of_squares");
const NORMALIZE: Kernel = Kernel::new("normalize", "normalize");

impl Normalize for Cuda {
    fn normalize(&self, epsilon: f64, g: &mut Buffer, out: &mut Buffer, slot: usize) -> Result<()> {
        check::slot("normalize", out.len(), slot)?;
        let len = g.len();
        let shape = Shape::linear(len);
        let blocks = shape.grid[0];
        // Doubles, of two f32 each.
        let partial = self.workspace(2 * blocks as usize)?;
        launch!(self, SUM_OF_SQUARES, shape, g.address(), len as u64, partial.address())?;
        launch!(
            self,
            NORMALIZE,
            shape,
            partial.address(),
            blocks,
            epsilon,
            g.address(),
            len as u64,
            out.address(),
            slot as u64,
        )
    }
}
