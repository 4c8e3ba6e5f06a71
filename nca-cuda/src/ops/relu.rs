//! The rectifier between layers.

use nca_core::backend::Relu;
use nca_core::{Result, check_len};

use crate::launch::launch;
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const RELU: Kernel = Kernel::new("relu", "relu");
const RELU_BACKWARD: Kernel = Kernel::new("relu", "relu_backward");

impl Relu for Cuda {
    fn relu(&self, x: &mut Buffer) -> Result<()> {
        let len = x.len();
        launch!(self, RELU, Shape::linear(len), x.address(), len as u64)
    }

    fn relu_backward(&self, y: &Buffer, g: &mut Buffer) -> Result<()> {
        check_len("relu_backward", "g", g.len(), y.len())?;
        let len = g.len();
        launch!(
            self,
            RELU_BACKWARD,
            Shape::linear(len),
            y.address(),
            g.address(),
            len as u64
        )
    }
}
