//! Average pooling by two.

use nca_core::Result;
use nca_core::backend::{AvgPool2, check};

use crate::launch::{count, launch};
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const AVG_POOL2: Kernel = Kernel::new("avg_pool2", "avg_pool2");
const AVG_POOL2_BACKWARD: Kernel = Kernel::new("avg_pool2", "avg_pool2_backward");

impl AvgPool2 for Cuda {
    fn avg_pool2(&self, planes: usize, height: usize, width: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        const OP: &str = "avg_pool2";
        let pooled = check(OP, planes, [height, width], ("x", x), ("y", y))?;
        if y.len() == 0 {
            return Ok(());
        }
        launch!(
            self,
            AVG_POOL2,
            Shape::planes(planes, pooled),
            x.address(),
            y.address(),
            planes as u64,
            height as u32,
            width as u32,
        )
    }

    fn avg_pool2_backward(
        &self,
        planes: usize,
        height: usize,
        width: usize,
        g_y: &Buffer,
        g_x: &mut Buffer,
    ) -> Result<()> {
        const OP: &str = "avg_pool2_backward";
        check(OP, planes, [height, width], ("g_x", g_x), ("g_y", g_y))?;
        if g_x.len() == 0 {
            return Ok(());
        }
        launch!(
            self,
            AVG_POOL2_BACKWARD,
            Shape::planes(planes, height * width),
            g_y.address(),
            g_x.address(),
            planes as u64,
            height as u32,
            width as u32,
        )
    }
}

/// `full` must be `[N,H,W]` and `pooled` `[N,⌊H/2⌋,⌊W/2⌋]`; returns the elements of a pooled plane.
pub(super) fn check(
    op: &'static str,
    planes: usize,
    [height, width]: [usize; 2],
    (full_name, full): (&'static str, &Buffer),
    (pooled_name, pooled): (&'static str, &Buffer),
) -> Result<usize> {
    let plane = check::elements(&[height / 2, width / 2]);
    check::shape(op, full_name, full.len(), &[planes, height, width])?;
    check::shape(op, pooled_name, pooled.len(), &[planes, plane])?;
    count(op, "elements of a plane", check::elements(&[height, width]))?;
    Ok(plane)
}
