//! Scaled vector addition.

use nca_core::backend::Axpy;
use nca_core::{Result, check_len};

use crate::launch::launch;
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const AXPY: Kernel = Kernel::new("axpy", "axpy");

impl Axpy for Cuda {
    fn axpy(&self, alpha: f64, x: &Buffer, y: &mut Buffer) -> Result<()> {
        check_len("axpy", "x", x.len(), y.len())?;
        let len = y.len();
        launch!(
            self,
            AXPY,
            Shape::linear(len),
            alpha as f32,
            x.address(),
            y.address(),
            len as u64
        )
    }
}
