//! Max pooling by two.

use nca_core::backend::MaxPool2;
use nca_core::{Result, check_len};

use super::avg_pool2::check;
use crate::launch::launch;
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const MAX_POOL2: Kernel = Kernel::new("max_pool2", "max_pool2");
const MAX_POOL2_BACKWARD: Kernel = Kernel::new("max_pool2", "max_pool2_backward");

impl MaxPool2 for Cuda {
    fn max_pool2(&self, planes: usize, height: usize, width: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        const OP: &str = "max_pool2";
        let pooled = check(OP, planes, [height, width], ("x", x), ("y", y))?;
        if y.len() == 0 {
            return Ok(());
        }
        launch!(
            self,
            MAX_POOL2,
            Shape::planes(planes, pooled),
            x.address(),
            y.address(),
            planes as u64,
            height as u32,
            width as u32,
        )
    }

    fn max_pool2_backward(
        &self,
        planes: usize,
        height: usize,
        width: usize,
        x: &Buffer,
        g_y: &Buffer,
        g_x: &mut Buffer,
    ) -> Result<()> {
        const OP: &str = "max_pool2_backward";
        check(OP, planes, [height, width], ("x", x), ("g_y", g_y))?;
        check_len(OP, "g_x", g_x.len(), x.len())?;
        if g_x.len() == 0 {
            return Ok(());
        }
        launch!(
            self,
            MAX_POOL2_BACKWARD,
            Shape::planes(planes, height.div_ceil(2) * width.div_ceil(2)),
            x.address(),
            g_y.address(),
            g_x.address(),
            planes as u64,
            height as u32,
            width as u32,
        )
    }
}
