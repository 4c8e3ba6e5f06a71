//! The overflow loss.

use nca_core::backend::{Overflow, check};
use nca_core::{Result, check_len};

use crate::launch::launch;
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const OVERFLOW: Kernel = Kernel::new("overflow", "overflow");
const OVERFLOW_BACKWARD: Kernel = Kernel::new("overflow", "overflow_backward");

impl Overflow for Cuda {
    fn overflow(&self, weight: f64, x: &Buffer, out: &mut Buffer, slot: usize) -> Result<()> {
        check::slot("overflow", out.len(), slot)?;
        let len = x.len();
        self.add_sum(len, weight, out, slot, |shape, partial| {
            launch!(self, OVERFLOW, shape, x.address(), len as u64, partial)
        })
    }

    fn overflow_backward(&self, weight: f64, x: &Buffer, g_x: &mut Buffer) -> Result<()> {
        check_len("overflow_backward", "g_x", g_x.len(), x.len())?;
        let len = x.len();
        launch!(
            self,
            OVERFLOW_BACKWARD,
            Shape::linear(len),
            weight as f32,
            x.address(),
            g_x.address(),
            len as u64,
        )
    }
}
